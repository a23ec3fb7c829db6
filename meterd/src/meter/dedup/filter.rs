//! Which keys are surely not in a run: a Bloom filter whose bits for one key lie in one cache line.
//!
//! Sixteen bits a key; one or two in a thousand strange keys pass, and cost one read of a block. Keys are hashes already.
//!
//! A question takes one cache line, which is seldom in a cache. Nothing branches on what is in it, so that a processor works
//! on the lines of many keys at once: asked one after the other, each would wait for its own.

/// Bits for each key.
const BITS_PER_KEY: usize = 16;
/// Bits set for each key.
const PROBES: u32 = 7;
/// Words of one cache line.
const LINE: usize = 8;

/// The filter of one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Filter {
    lines: Vec<[u64; LINE]>,
}

impl Filter {
    /// Room for so many keys.
    pub(super) fn for_keys(keys: u64) -> Self {
        let bits = usize::try_from(keys).unwrap_or(usize::MAX).saturating_mul(BITS_PER_KEY);
        Self { lines: vec![[0; LINE]; bits.div_ceil(LINE * 64).max(1)] }
    }

    pub(super) fn insert(&mut self, key: u128) {
        let probe = Probe::of(key);
        let at = self.line(probe.high);
        for (word, bits) in self.lines.get_mut(at).into_iter().flatten().zip(&probe.bits) {
            *word |= bits;
        }
    }

    /// May the key be there? Never `false` for one that is.
    pub(super) fn may_hold(&self, probe: &Probe) -> bool {
        let Some(line) = self.lines.get(self.line(probe.high)) else { return true };
        let missing = line.iter().zip(&probe.bits).fold(0, |missing, (word, bits)| missing | (bits & !word));
        missing == 0
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        self.lines.iter().flatten().flat_map(|word| word.to_le_bytes()).collect()
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut lines = Vec::with_capacity(bytes.len() / (LINE * 8));
        let chunks = bytes.chunks_exact(LINE * 8);
        if !chunks.remainder().is_empty() || bytes.is_empty() {
            return None;
        }
        for chunk in chunks {
            let mut line = [0; LINE];
            for (word, bytes) in line.iter_mut().zip(chunk.chunks_exact(8)) {
                *word = u64::from_le_bytes(*bytes.first_chunk()?);
            }
            lines.push(line);
        }
        Some(Self { lines })
    }

    pub(super) fn bytes(&self) -> usize {
        self.lines.len() * LINE * 8
    }

    /// The high half picks the line, without a division.
    fn line(&self, high: u64) -> usize {
        usize::try_from((u128::from(high) * self.lines.len() as u128) >> 64).unwrap_or(0)
    }
}

/// What is asked of a filter for a key: the same of every filter.
#[derive(Clone, Copy, Debug)]
pub(super) struct Probe {
    high: u64,
    bits: [u64; LINE],
}

impl Probe {
    /// The bits come from the low half of the key, nine for each.
    pub(super) fn of(key: u128) -> Self {
        let low = (key as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut bits = [0_u64; LINE];
        for probe in 0..PROBES {
            let place = (low >> (probe * 9)) & 511;
            if let Some(word) = bits.get_mut((place >> 6) as usize) {
                *word |= 1 << (place & 63);
            }
        }
        Self { high: (key >> 64) as u64, bits }
    }
}
