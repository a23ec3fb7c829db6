//! Which keys are surely not in a run: a Bloom filter whose bits for one key lie in one cache line.
//!
//! Twelve bits a key; some four in a thousand strange keys pass, and cost one read of a block. Keys are hashes already.

/// Bits for each key.
const BITS_PER_KEY: usize = 12;
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
        let at = self.line(key);
        let Some(line) = self.lines.get_mut(at) else { return };
        for (word, bit) in probes(key) {
            if let Some(word) = line.get_mut(word) {
                *word |= bit;
            }
        }
    }

    /// May the key be there? Never `false` for one that is.
    pub(super) fn may_hold(&self, key: u128) -> bool {
        let Some(line) = self.lines.get(self.line(key)) else { return true };
        probes(key).all(|(word, bit)| line.get(word).is_none_or(|word| word & bit != 0))
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
    fn line(&self, key: u128) -> usize {
        let high = key >> 64;
        usize::try_from((high * self.lines.len() as u128) >> 64).unwrap_or(0)
    }
}

/// Word and bit of each probe, from the low half of the key: nine bits each.
fn probes(key: u128) -> impl Iterator<Item = (usize, u64)> {
    let low = (key as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (0..PROBES).map(move |probe| {
        let bits = (low >> (probe * 9)) & 511;
        ((bits >> 6) as usize, 1 << (bits & 63))
    })
}
