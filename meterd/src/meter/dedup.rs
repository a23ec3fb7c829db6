//! Which events were booked already: a fold of the ledger, rebuilt from it, kept for the horizon.
//!
//! An event is known by (tenant, source, id) and, when it has one, by its provider's response id, so that the same call
//! seen through two sources counts once (I4). What is forgotten is older than a mark, and what is older than the mark is
//! refused: an event is remembered, or too old, or new, whatever the clocks did meanwhile.

use std::collections::hash_map::Entry as Slot;
use std::time::Duration;

use budget::{Charge, Entry, Fact};
use pricing::Timestamp;
use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

/// The ids booked within the horizon.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dedup {
    by_event: FxHashMap<u128, First>,
    by_response: FxHashMap<u128, First>,
    /// Ids of events before this time may be forgotten.
    forgotten_before: Timestamp,
}

/// The first time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct First {
    seq: u64,
    body: u64,
    /// The later of the event's own time and the log's.
    at: Timestamp,
}

/// What is known of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// Booked by this entry.
    Same(u64),
    /// The id was booked with another body, by this entry.
    Other(u64),
    /// It is of a time whose ids are forgotten.
    Forgotten,
}

impl Dedup {
    pub(super) fn seen(&self, charge: &Charge) -> Option<Seen> {
        if let Some(first) = self.by_event.get(&charge.key) {
            return Some(if first.body == charge.body { Seen::Same(first.seq) } else { Seen::Other(first.seq) });
        }
        // Another source describes the same call in its own words, so the bodies may differ: the first one counts.
        if let Some(first) = charge.response_key.and_then(|key| self.by_response.get(&key)) {
            return Some(Seen::Same(first.seq));
        }
        (charge.time < self.forgotten_before).then_some(Seen::Forgotten)
    }

    /// Folds one entry in.
    pub fn apply(&mut self, entry: &Entry) {
        let Fact::Charged(charge) = &entry.fact else { return };
        let first = First { seq: entry.seq, body: charge.body, at: entry.at.max(charge.time) };
        self.by_event.insert(charge.key, first);
        if let Some(key) = charge.response_key
            && let Slot::Vacant(slot) = self.by_response.entry(key)
        {
            slot.insert(first);
        }
    }

    /// Forgets what was booked longer ago than the horizon. The mark never goes back, though the clock may.
    pub(super) fn forget_before(&mut self, now: Timestamp, horizon: Duration) {
        let horizon = i64::try_from(horizon.as_nanos()).unwrap_or(i64::MAX);
        let keep = now.saturating_add(horizon.saturating_neg()).max(self.forgotten_before);
        self.forgotten_before = keep;
        self.by_event.retain(|_, first| first.at >= keep);
        self.by_response.retain(|_, first| first.at >= keep);
    }

    /// The same ids, whatever was forgotten before them?
    #[cfg(test)]
    pub(super) fn same_ids(&self, other: &Self) -> bool {
        self.by_event == other.by_event && self.by_response == other.by_response
    }

    /// How many event ids are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_event.len()
    }

    /// Nothing remembered?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_event.is_empty()
    }
}

/// On disk: pairs sorted by entry, so that equal contents are equal bytes.
#[derive(Serialize, Deserialize)]
struct OnDisk {
    by_event: Vec<(u128, First)>,
    by_response: Vec<(u128, First)>,
    forgotten_before: Timestamp,
}

impl Serialize for Dedup {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let sorted = |map: &FxHashMap<u128, First>| {
            let mut pairs: Vec<_> = map.iter().map(|(key, first)| (*key, *first)).collect();
            pairs.sort_unstable_by_key(|(key, first)| (first.seq, *key));
            pairs
        };
        OnDisk {
            by_event: sorted(&self.by_event),
            by_response: sorted(&self.by_response),
            forgotten_before: self.forgotten_before,
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Dedup {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let OnDisk { by_event, by_response, forgotten_before } = OnDisk::deserialize(deserializer)?;
        Ok(Self {
            by_event: by_event.into_iter().collect(),
            by_response: by_response.into_iter().collect(),
            forgotten_before,
        })
    }
}
