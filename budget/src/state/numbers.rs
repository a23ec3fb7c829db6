//! Which number a text has: 8 bytes and a little for each, since the text itself is where the number leads. Never a text.

use std::hash::{Hash, Hasher};

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use rustc_hash::FxHasher;

/// Numbers by the hash of their text. Whoever asks says whether a number is that of the text.
#[derive(Clone, Debug, Default)]
pub(super) struct Numbers(HashTable<Place>);

/// The hash stays, so that growing reads no text.
#[derive(Clone, Copy, Debug)]
struct Place {
    hash: u32,
    number: u32,
}

impl Place {
    /// The table takes its place from the low bits and a tag from the highest: all must depend on the hash.
    fn spread(hash: u32) -> u64 {
        u64::from(hash).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }
}

impl Numbers {
    pub(super) fn get<T: Hash + ?Sized>(&self, text: &T, is: impl Fn(u32) -> bool) -> Option<u32> {
        let hash = hash(text);
        let found = self.0.find(Place::spread(hash), |place| place.hash == hash && is(place.number))?;
        Some(found.number)
    }

    /// Gives a text a number, also where it had another.
    pub(super) fn insert<T: Hash + ?Sized>(&mut self, text: &T, number: u32, is: impl Fn(u32) -> bool) {
        let hash = hash(text);
        let same = |place: &Place| place.hash == hash && is(place.number);
        match self.0.entry(Place::spread(hash), same, |place| Place::spread(place.hash)) {
            Entry::Occupied(mut known) => known.get_mut().number = number,
            Entry::Vacant(free) => {
                free.insert(Place { hash, number });
            }
        }
    }

    pub(super) fn remove<T: Hash + ?Sized>(&mut self, text: &T, is: impl Fn(u32) -> bool) -> Option<u32> {
        let hash = hash(text);
        let found = self.0.find_entry(Place::spread(hash), |place| place.hash == hash && is(place.number)).ok()?;
        Some(found.remove().0.number)
    }
}

fn hash<T: Hash + ?Sized>(text: &T) -> u32 {
    let mut hasher = FxHasher::default();
    text.hash(&mut hasher);
    let whole = hasher.finish();
    u32::try_from((whole ^ (whole >> 32)) & u64::from(u32::MAX)).unwrap_or(0)
}
