//! The last value of every cumulative counter, so that a next one counts by its increase.
//!
//! A counter is a series, a type of token and a start time: counters of one series may begin at different times, and two
//! processes that call themselves the same count beside each other. Bounded: the longest silent are forgotten, and what might
//! be one of those is refused rather than counted a second time. All of it stands in the ids of the events that were booked.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use rustc_hash::FxHashMap;

use super::TokenType;

/// Most counters that are remembered.
const COUNTERS_MAX: usize = 100_000;
/// Ids of events of cumulative counters begin so.
const PREFIX: &str = "c";

/// One cumulative counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Counter {
    pub(super) series: u128,
    pub(super) token_type: TokenType,
    /// Nanoseconds since the epoch; 0 where the sender states none.
    pub(super) start: u64,
}

/// Where a counter stood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    pub(super) counter: Counter,
    pub(super) time: u64,
    pub(super) value: u64,
}

/// What a value says after those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Increase {
    By(u64),
    /// Sent again, or overtaken by a later one.
    Stale,
    /// It may have been counted and forgotten.
    Forgotten,
}

/// The last values of cumulative counters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Last {
    counters: FxHashMap<Counter, (u64, u64)>,
    /// The same by time, the longest silent first.
    silent: BTreeSet<(u64, Counter)>,
    /// The newest time at which a counter that was forgotten had a value.
    forgotten_to: Option<u64>,
    /// Fewer let a test forget.
    counters_max: Option<usize>,
}

impl Last {
    /// Nothing is known yet, and counters from before `nanos` will not be learned of.
    #[must_use]
    pub fn since(nanos: u64) -> Self {
        Self { forgotten_to: Some(nanos), ..Self::default() }
    }

    /// Learns from the id of an event that was booked.
    pub fn learn(&mut self, id: &str) {
        for step in steps(id).into_iter().flatten() {
            self.learn_step(step);
        }
    }

    /// Learns where a counter stands; what is older than what is known says nothing.
    pub fn learn_step(&mut self, Step { counter, time, value }: Step) {
        if let Some((known, _)) = self.counters.get(&counter).copied() {
            if known > time {
                return;
            }
            self.silent.remove(&(known, counter));
        }
        self.counters.insert(counter, (time, value));
        self.silent.insert((time, counter));
        while self.counters.len() > self.counters_max.unwrap_or(COUNTERS_MAX)
            && let Some((time, counter)) = self.silent.pop_first()
        {
            self.counters.remove(&counter);
            self.forgotten_to = self.forgotten_to.max(Some(time));
        }
    }

    /// What a value adds, after what is known and, before that, `newer`: what the same request said of it.
    pub(super) fn increase(&self, step: &Step, newer: Option<(u64, u64)>) -> Increase {
        match newer.or_else(|| self.counters.get(&step.counter).copied()) {
            Some((time, _)) if step.time <= time => Increase::Stale,
            // A counter that fell without a new start began anew.
            Some((_, value)) => Increase::By(step.value.checked_sub(value).unwrap_or(step.value)),
            // One that began after the last value of every forgotten counter is none of them.
            None if self.forgotten_to.is_some_and(|time| step.counter.start <= time) => Increase::Forgotten,
            None => Increase::By(step.value),
        }
    }

    #[cfg(test)]
    pub(in crate::ingest::otlp) fn bounded(counters_max: usize) -> Self {
        Self { counters_max: Some(counters_max), ..Self::default() }
    }

    #[cfg(test)]
    pub(in crate::ingest::otlp) fn len(&self) -> usize {
        self.counters.len()
    }
}

/// The id of the event that takes counters of one series to these values.
pub(super) fn id(series: u128, time: u64, steps: &[Step]) -> String {
    let mut id = format!("{PREFIX}:{series:032x}:{time:x}");
    for Step { counter, value, .. } in steps {
        // Writing to a String cannot fail.
        let _ = write!(id, ":{}{:x}-{value:x}", counter.token_type.letter(), counter.start);
    }
    id
}

/// What such an id says; `None` for every other id.
fn steps(id: &str) -> Option<Vec<Step>> {
    let mut parts = id.split(':');
    if parts.next() != Some(PREFIX) {
        return None;
    }
    let series = u128::from_str_radix(parts.next()?, 16).ok()?;
    let time = u64::from_str_radix(parts.next()?, 16).ok()?;
    let step = |part: &str| {
        let mut letters = part.chars();
        let token_type = TokenType::of_letter(letters.next()?)?;
        let (start, value) = letters.as_str().split_once('-')?;
        let start = u64::from_str_radix(start, 16).ok()?;
        let value = u64::from_str_radix(value, 16).ok()?;
        Some(Step { counter: Counter { series, token_type, start }, time, value })
    };
    parts.map(step).collect()
}
