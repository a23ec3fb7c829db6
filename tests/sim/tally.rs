//! What a run went through: steps, answers and faults, counted by kind.

use std::collections::BTreeMap;
use std::fmt;

/// Counts by name; printed in order of the names.
#[derive(Clone, Debug, Default)]
pub struct Tally(BTreeMap<&'static str, u64>);

impl Tally {
    pub fn count(&mut self, what: &'static str) {
        self.add(what, 1);
    }

    pub fn add(&mut self, what: &'static str, more: u64) {
        *self.0.entry(what).or_default() += more;
    }

    /// Did it happen?
    pub fn has(&self, what: &str) -> bool {
        self.0.contains_key(what)
    }

    pub fn merge(&mut self, other: &Self) {
        other.0.iter().for_each(|(what, more)| self.add(what, *more));
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|(what, count)| writeln!(f, "  {count:>12}  {what}"))
    }
}
