//! What a scraper has been shown: the amounts of every series at one entry, to write once more when series begin.
//!
//! A series that is first seen at 5 USD has not risen by 5 USD for a scraper. So the scrape that brings it shows it at 0,
//! and beside it everything as it stood at the scraper's last scrape: one position, and nothing is lost, only later by
//! one scrape.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::LedgerMetrics;
use super::families::{Families, Total};
use super::kinds::{Counter, Histogram};
use super::series::{Buckets, Key, Symbol, Table};
use crate::metrics::catalog::Family;

/// Series that exist and are not written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Hidden {
    /// Agents, with their namespace, that rest.
    pub(super) agents: BTreeSet<(Symbol, Symbol)>,
    /// Tools that rest.
    pub(super) tools: BTreeSet<Symbol>,
    /// Budgets (namespace, label) that are gone.
    pub(super) budgets: BTreeSet<(Symbol, Symbol)>,
}

impl Hidden {
    /// Is this series written?
    pub(super) fn shows(&self, family: &Family, key: &Key) -> bool {
        let place = |label: &str| {
            let place = family.labels.iter().position(|name| *name == label)?;
            key.get(place).copied()
        };
        if !self.tools.is_empty() && place("tool").is_some_and(|tool| self.tools.contains(&tool)) {
            return false;
        }
        if self.agents.is_empty() && self.budgets.is_empty() {
            return true;
        }
        let Some(namespace) = place("agent_namespace") else { return true };
        !place("agent").is_some_and(|agent| self.agents.contains(&(namespace, agent)))
            && !place("budget").is_some_and(|budget| self.budgets.contains(&(namespace, budget)))
    }
}

/// The amounts at one entry. Series are only ever added at the end of their table, so a row's place says which it is.
#[derive(Clone, Debug, Default)]
pub struct Amounts {
    counters: Vec<Vec<i128>>,
    histograms: Vec<Vec<Buckets>>,
    hidden: Hidden,
}

impl Amounts {
    /// The amount of a row then; a row that was not there yet had none.
    pub(super) fn counter(&self, counter: Counter, row: usize) -> i128 {
        self.counters.get(counter as usize).and_then(|rows| rows.get(row)).copied().unwrap_or(0)
    }

    /// The observations of a row then.
    pub(super) fn buckets(&self, histogram: Histogram, row: usize) -> Option<&Buckets> {
        self.histograms.get(histogram as usize).and_then(|rows| rows.get(row))
    }

    /// Would a series of this table be seen for the first time, or again after a rest, with more than it had?
    fn begins(&self, families: &Families, counter: Counter) -> bool {
        let Some(table) = families.table(counter) else { return false };
        let known = self.counters.get(counter as usize).map_or(0, Vec::len);
        let family = counter.family();
        let fresh = |(row, (key, total)): (usize, (&Key, &Total))| {
            let seen = row < known && self.hidden.shows(family, key);
            !seen && total.amount != self.counter(counter, row) && families.shows(family, key)
        };
        // Rows that were written before can only begin again when what is hidden has changed.
        let first = if self.hidden == families.hidden { known } else { 0 };
        table.iter().enumerate().skip(first).any(fresh)
    }
}

impl LedgerMetrics {
    /// What a scrape of now shows, to be remembered.
    #[must_use]
    pub fn amounts(&self) -> Amounts {
        let families = &self.families;
        let amounts = |table: Option<&Table<Total>>| -> Vec<i128> {
            table.into_iter().flat_map(|table| table.iter().map(|(_, total)| total.amount)).collect()
        };
        let buckets = |table: Option<&Table<Buckets>>| -> Vec<Buckets> {
            table.into_iter().flat_map(|table| table.iter().map(|(_, buckets)| buckets.clone())).collect()
        };
        Amounts {
            counters: Counter::ALL.iter().map(|counter| amounts(families.table(*counter))).collect(),
            histograms: Histogram::ALL.iter().map(|histogram| buckets(families.buckets(*histogram))).collect(),
            hidden: families.hidden.clone(),
        }
    }

    /// Do series begin above 0 for a scraper that has last been shown `before`?
    #[must_use]
    pub fn begins_series(&self, before: &Amounts) -> bool {
        let observed = |histogram: &Histogram| {
            let known = before.histograms.get(*histogram as usize).map_or(0, Vec::len);
            let table = self.families.buckets(*histogram);
            table.is_some_and(|table| table.iter().skip(known).any(|(_, buckets)| buckets.count() > 0))
        };
        Counter::ALL.iter().any(|counter| before.begins(&self.families, *counter))
            || Histogram::ALL.iter().any(observed)
    }
}
