//! Bodies that are wrong in the ways in which bodies are wrong: cut, spliced, repeated, with other bytes, lengths and numbers.

/// Numbers that decoders stumble over.
const NUMBERS: [&str; 14] = [
    "-1",
    "0",
    "1e308",
    "-0.0",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551616",
    "1e-400",
    "NaN",
    "00",
    "1.5",
    "99999999999999999999999999999999999999999",
    "2147483648",
    "\"12\"",
];
/// Words between which structure is lost or won.
const WORDS: [&str; 16] = [
    "{", "}", "[", "]", ",", ":", "\"", "\\u0000", "\\ud800", "null", "true", "\n", "&a *a", "---\n", "- ", "\u{feff}",
];
/// No body grows beyond this.
const BODY_BYTES_MAX: usize = 256 << 10;
/// Larger bodies are picked less often: what is wrong with them is wrong with the small ones.
const SMALL_BYTES: usize = 8 << 10;

/// Makes bodies from a seed.
pub(crate) struct Mutator(u64);

impl Mutator {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn next(&mut self) -> u64 {
        // splitmix64
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        if bound == 0 { 0 } else { usize::try_from(self.next() % bound as u64).unwrap() }
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        let place = self.below(from.len());
        &from[place]
    }

    fn seed<'a>(&mut self, seeds: &'a [Vec<u8>]) -> &'a [u8] {
        let mut seed = self.pick(seeds);
        for _ in 0..3 {
            if seed.len() <= SMALL_BYTES {
                break;
            }
            seed = self.pick(seeds);
        }
        seed
    }

    /// One body, with one to eight things wrong.
    pub(crate) fn body(&mut self, seeds: &[Vec<u8>]) -> Vec<u8> {
        let mut body = self.seed(seeds).to_vec();
        for _ in 0..=self.below(8) {
            self.wrong(&mut body, seeds);
        }
        body.truncate(BODY_BYTES_MAX);
        body
    }

    fn range(&mut self, body: &[u8], most: usize) -> std::ops::Range<usize> {
        let start = self.below(body.len() + 1);
        let len = self.below(most.min(body.len() - start) + 1);
        start..start + len
    }

    fn wrong(&mut self, body: &mut Vec<u8>, seeds: &[Vec<u8>]) {
        let place = self.below(body.len() + 1);
        match self.below(12) {
            0 => {
                if let Some(byte) = body.get_mut(place) {
                    *byte ^= 1 << (self.next() % 8);
                }
            }
            1 => {
                let value = *self.pick(&[0u8, 1, 0x7f, 0x80, 0xff, b'"', b'{', 0x0a, 0x12]);
                if let Some(byte) = body.get_mut(place) {
                    *byte = value;
                }
            }
            2 => body.truncate(place),
            3 => drop(body.drain(self.range(body, 64))),
            4 => {
                let range = self.range(body, 512);
                let part = body[range].to_vec();
                body.splice(place..place, part);
            }
            5 => {
                let other = self.seed(seeds);
                let range = self.range(other, 512);
                body.splice(place..place, other[range].iter().copied());
            }
            6 => {
                let word = self.pick(&WORDS).as_bytes();
                body.splice(place..place, word.iter().copied());
            }
            7 => self.number(body, place),
            8 => {
                let word = self.pick(&WORDS).as_bytes();
                let times = self.below(2_000);
                body.splice(place..place, word.repeat(times));
            }
            9 => {
                // A varint that says anything.
                let bytes: Vec<u8> = (0..=self.below(10)).map(|_| (self.next() & 0xff) as u8 | 0x80).collect();
                let end = (place + bytes.len()).min(body.len());
                body.splice(place..end, bytes);
            }
            10 => {
                let range = self.range(body, 128);
                let part = body[range].to_vec();
                let times = self.below(64);
                body.splice(place..place, part.repeat(times));
            }
            _ => {
                let bytes: Vec<u8> = (0..self.below(16)).map(|_| (self.next() & 0xff) as u8).collect();
                body.splice(place..place, bytes);
            }
        }
        body.truncate(BODY_BYTES_MAX);
    }

    /// Another number where the next one stands.
    fn number(&mut self, body: &mut Vec<u8>, from: usize) {
        let number = self.pick(&NUMBERS).as_bytes().to_vec();
        let Some(start) = body[from..].iter().position(u8::is_ascii_digit).map(|at| from + at) else { return };
        let length = body[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        body.splice(start..start + length, number);
    }
}
