//! Tables of series: label values as small numbers, a counter or a histogram for each set of them.
//!
//! A key holds one number for each label, so values that concatenate alike stay two series. Never more series than the
//! caller's cap and what the closed labels multiply to.

use std::sync::Arc;

use rustc_hash::FxHashMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A label value, as its place in `Symbols`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(super) struct Symbol(u32);

impl Symbol {
    /// The empty value: not known.
    pub(super) const EMPTY: Self = Self(0);
    /// `_other`: the value that stands for all that have no series of their own.
    pub(super) const OTHER: Self = Self(1);
}

/// The text of the overflow value.
const OTHER: &str = "_other";

/// Every label value that some series has.
#[derive(Clone, Debug)]
pub(super) struct Symbols {
    texts: Vec<Arc<str>>,
    places: FxHashMap<Arc<str>, Symbol>,
}

impl Default for Symbols {
    fn default() -> Self {
        Self::from_texts(vec![Arc::from(""), Arc::from(OTHER)])
    }
}

impl Symbols {
    fn from_texts(texts: Vec<Arc<str>>) -> Self {
        let places = texts.iter().cloned().zip((0..).map(Symbol)).collect();
        Self { texts, places }
    }

    /// The number of a text that has one.
    pub(super) fn find(&self, text: &str) -> Option<Symbol> {
        self.places.get(text).copied()
    }

    /// The number of a text, a new one if need be. Callers ask only for what a cap has admitted.
    pub(super) fn intern(&mut self, text: &str) -> Symbol {
        if let Some(symbol) = self.find(text) {
            return symbol;
        }
        let Ok(place) = u32::try_from(self.texts.len()) else { return Symbol::OTHER };
        let text: Arc<str> = Arc::from(text);
        self.texts.push(Arc::clone(&text));
        self.places.insert(text, Symbol(place));
        Symbol(place)
    }

    /// The text of a number.
    pub(super) fn text(&self, symbol: Symbol) -> &str {
        usize::try_from(symbol.0).ok().and_then(|place| self.texts.get(place)).map_or("", |text| text)
    }
}

impl Serialize for Symbols {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.texts.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Symbols {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::deserialize(deserializer).map(Self::from_texts)
    }
}

/// The most labels that a family of the ledger has.
pub(super) const LABELS_MAX: usize = 6;

/// One label value for each label of the family, in the catalogue's order; the rest is empty.
pub(super) type Key = [Symbol; LABELS_MAX];

/// A key of these values.
pub(super) fn key(values: &[Symbol]) -> Key {
    let mut key = [Symbol::EMPTY; LABELS_MAX];
    for (slot, value) in key.iter_mut().zip(values) {
        *slot = *value;
    }
    key
}

/// A family's series: a figure for each key, in the order of first use.
#[derive(Clone, Debug)]
pub(super) struct Table<T> {
    rows: Vec<(Key, T)>,
    places: FxHashMap<Key, usize>,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self::from_rows(Vec::new())
    }
}

impl<T> Table<T> {
    fn from_rows(rows: Vec<(Key, T)>) -> Self {
        let places = rows.iter().enumerate().map(|(place, (key, _))| (*key, place)).collect();
        Self { rows, places }
    }

    /// Every series.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Key, &T)> {
        self.rows.iter().map(|(key, value)| (key, value))
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(super) fn contains(&self, key: &Key) -> bool {
        self.places.contains_key(key)
    }

    /// The figure of a key, a new one if need be.
    pub(super) fn entry(&mut self, key: Key) -> Option<&mut T>
    where
        T: Default,
    {
        let end = self.rows.len();
        let place = *self.places.entry(key).or_insert(end);
        if place == end {
            self.rows.push((key, T::default()));
        }
        self.rows.get_mut(place).map(|(_, value)| value)
    }
}

impl<T: Serialize> Serialize for Table<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.rows.serialize(serializer)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Table<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::deserialize(deserializer).map(Self::from_rows)
    }
}

/// Observations in buckets, with an exact sum.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Buckets {
    /// Observations in each bucket alone; the last one is above every bound.
    counts: Vec<u64>,
    /// Sum, in the family's scale.
    pub(super) sum: i128,
    /// The newest observation that has an execution, for an exemplar.
    pub(super) newest: Option<Cause>,
}

/// Which execution caused a figure's newest change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Cause {
    /// The execution's name.
    pub(super) execution: Arc<str>,
    /// The trace of the call that caused it.
    pub(super) trace: Option<u128>,
    /// The amount, in the family's scale.
    pub(super) amount: i128,
    /// When, in nanoseconds since the epoch.
    pub(super) at_nanos: i64,
}

impl Buckets {
    /// Counts `value` in the first bucket whose bound is not below it.
    pub(super) fn observe(&mut self, bounds: &[i128], value: i128) {
        let bucket = bounds.partition_point(|bound| *bound < value);
        if self.counts.len() <= bounds.len() {
            self.counts.resize(bounds.len().saturating_add(1), 0);
        }
        if let Some(count) = self.counts.get_mut(bucket) {
            *count = count.saturating_add(1);
        }
        self.sum = self.sum.saturating_add(value);
    }

    /// Observations at or below each bound.
    pub(super) fn cumulative(&self, bounds: &[i128]) -> impl Iterator<Item = u64> {
        let mut sum = 0u64;
        (0..bounds.len()).map(move |bucket| {
            sum = sum.saturating_add(self.counts.get(bucket).copied().unwrap_or(0));
            sum
        })
    }

    /// All observations.
    pub(super) fn count(&self) -> u64 {
        self.counts.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }
}
