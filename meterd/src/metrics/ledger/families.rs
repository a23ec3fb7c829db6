//! The figures behind the ledger's families: one table of series for each, with caps, overflow and eviction.
//!
//! Knows labels and amounts, not entries. Totals only rise; an evicted series is hidden, keeps its total and goes on
//! from it, so nothing ever looks like new spend.

use std::collections::{BTreeMap, BTreeSet};

use rustc_hash::FxHashSet;
use serde::{Deserialize, Serialize};

use super::caps::{Admission, Caps, Value};
use super::kinds::{Counter, Histogram};
use super::series::{Buckets, Cause, Key, Symbol, Symbols, Table, key};
use super::shown::Hidden;
use crate::metrics::catalog::Family;

/// One counter series.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Total {
    pub(super) amount: i128,
    /// The execution behind the newest large step, for an exemplar.
    pub(super) cause: Option<Box<Cause>>,
}

/// The labels that may have to give way, first to last, when a family is full.
const FOLDED: [&str; 7] = ["agent", "model", "tool", "provider", "budget", "team", "agent_namespace"];

/// Labels that a family may put into overflow.
pub(super) fn foldable(family: &Family) -> impl Iterator<Item = &'static str> {
    family.labels.iter().copied().filter(|label| FOLDED.contains(label))
}

/// Updates that went into an overflow series, by family and label.
type Overflow = BTreeMap<(String, String), u64>;

/// Every table, and what decides about their labels.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Families {
    #[serde(skip)]
    pub(super) caps: Caps,
    pub(super) symbols: Symbols,
    pub(super) admission: Admission,
    counters: Vec<Table<Total>>,
    histograms: Vec<Table<Buckets>>,
    overflow: Overflow,
    evicted: BTreeMap<(String, String), u64>,
    pub(super) hidden: Hidden,
    /// Sets of series that were made known since the start: there is nothing left to do for them.
    #[serde(skip)]
    begun: FxHashSet<(usize, Key)>,
}

/// Sets that are remembered at most; beyond, each call looks at all of its set again.
const BEGUN_MAX: usize = 65_536;

impl Families {
    /// A label value from a closed set or from configuration: no cap of its own.
    pub(super) fn closed(&mut self, text: &str) -> Value {
        Value::of(self.symbols.intern(text))
    }

    pub(super) fn table(&self, counter: Counter) -> Option<&Table<Total>> {
        self.counters.get(counter as usize)
    }

    pub(super) fn buckets(&self, histogram: Histogram) -> Option<&Table<Buckets>> {
        self.histograms.get(histogram as usize)
    }

    /// Adds to a series; values in the catalogue's order. A credit is another family: `amount` is never negative.
    pub(super) fn add(&mut self, counter: Counter, values: &[Value], amount: i128, cause: Option<Cause>) {
        let family = counter.family();
        for label in over(family, values) {
            count(&mut self.overflow, family.name, label);
        }
        if self.counters.len() < Counter::ALL.len() {
            self.counters.resize_with(Counter::ALL.len(), Table::default);
        }
        let Some(table) = self.counters.get_mut(counter as usize) else { return };
        let key = fit(table, &mut self.overflow, family, key_of(values), self.caps.series_max);
        let Some(total) = table.entry(key) else { return };
        total.amount = total.amount.saturating_add(amount.max(0));
        if let Some(cause) = cause
            && total.cause.as_deref().is_none_or(|kept| supersedes(&cause, kept))
        {
            total.cause = Some(Box::new(cause));
        }
    }

    /// Is it the first time that these values come, so that the set of series that share them is to be made known? `true`
    /// more than once changes nothing.
    pub(super) fn begins(&mut self, counter: Counter, values: &[Value]) -> bool {
        // What a full cap turned away makes nothing known.
        if values.iter().any(|value| value.over) {
            return true;
        }
        let key = (counter as usize, key_of(values));
        !self.begun.contains(&key) && (self.begun.len() >= BEGUN_MAX || self.begun.insert(key))
    }

    /// Makes a series known at 0, so that its first charge is an increase and not a beginning.
    pub(super) fn zero(&mut self, counter: Counter, values: &[Value]) {
        let table = self.table(counter);
        let room = table.is_none_or(|table| table.len() < self.caps.series_max);
        if room && over(counter.family(), values).next().is_none() {
            self.add(counter, values, 0, None);
        }
    }

    /// Counts one observation.
    pub(super) fn observe(&mut self, histogram: Histogram, values: &[Value], value: i128, cause: Option<Cause>) {
        let family = histogram.family();
        for label in over(family, values) {
            count(&mut self.overflow, family.name, label);
        }
        let Some(buckets) = self.slot(histogram, values) else { return };
        buckets.observe(histogram.bounds(), value);
        buckets.newest = cause.or(buckets.newest.take());
    }

    /// Makes a histogram known with no observation.
    pub(super) fn zero_histogram(&mut self, histogram: Histogram, values: &[Value]) {
        let table = self.buckets(histogram);
        let room = table.is_none_or(|table| table.len() < self.caps.series_max);
        if room && over(histogram.family(), values).next().is_none() {
            let _ = self.slot(histogram, values);
        }
    }

    fn slot(&mut self, histogram: Histogram, values: &[Value]) -> Option<&mut Buckets> {
        if self.histograms.len() < Histogram::ALL.len() {
            self.histograms.resize_with(Histogram::ALL.len(), Table::default);
        }
        let table = self.histograms.get_mut(histogram as usize)?;
        let key = fit(table, &mut self.overflow, histogram.family(), key_of(values), self.caps.series_max);
        table.entry(key)
    }

    /// Updates put into overflow.
    pub(super) fn overflowed(&self, family: &str, label: &str) -> u64 {
        self.overflow.get(&(family.to_owned(), label.to_owned())).copied().unwrap_or(0)
    }

    /// Series taken out.
    pub(super) fn evicted(&self, family: &str, reason: &str) -> u64 {
        self.evicted.get(&(family.to_owned(), reason.to_owned())).copied().unwrap_or(0)
    }

    /// Is this series written?
    pub(super) fn shows(&self, family: &Family, key: &Key) -> bool {
        self.hidden.shows(family, key)
    }

    /// Which agents and tools rest, from now on; counts the series that go.
    pub(super) fn rest(&mut self, agents: BTreeSet<(Symbol, Symbol)>, tools: BTreeSet<Symbol>) {
        if agents == self.hidden.agents && tools == self.hidden.tools {
            return;
        }
        let before = self.shown();
        self.hidden.agents = agents;
        self.hidden.tools = tools;
        self.count_evicted(&before, "idle");
    }

    /// An agent and perhaps a tool are at work: their series are back, with the totals they had.
    pub(super) fn wake(&mut self, agent: (Symbol, Symbol), tool: Option<Symbol>) {
        self.hidden.agents.remove(&agent);
        if let Some(tool) = tool {
            self.hidden.tools.remove(&tool);
        }
    }

    /// A budget went out of force or came back.
    pub(super) fn budget_in_force(&mut self, budget: (Symbol, Symbol), in_force: bool) {
        if in_force {
            self.hidden.budgets.remove(&budget);
        } else if !self.hidden.budgets.contains(&budget) {
            let before = self.shown();
            self.hidden.budgets.insert(budget);
            self.count_evicted(&before, "removed");
        }
    }

    /// Series written, by counter family.
    pub(super) fn shown(&self) -> Vec<usize> {
        let shown = |counter: &Counter| {
            let family = counter.family();
            self.table(*counter).map_or(0, |table| table.iter().filter(|(key, _)| self.shows(family, key)).count())
        };
        Counter::ALL.iter().map(shown).collect()
    }

    fn count_evicted(&mut self, before: &[usize], reason: &str) {
        let after = self.shown();
        for ((counter, before), after) in Counter::ALL.iter().zip(before).zip(&after) {
            let gone = u64::try_from(before.saturating_sub(*after)).unwrap_or(0);
            if gone > 0 {
                let sum = self.evicted.entry((counter.family().name.to_owned(), reason.to_owned())).or_default();
                *sum = sum.saturating_add(gone);
            }
        }
    }
}

/// A larger step, or any step a minute later: large ones stay long enough to be scraped.
fn supersedes(new: &Cause, kept: &Cause) -> bool {
    new.amount >= kept.amount || new.at_nanos.saturating_sub(kept.at_nanos) >= 60 * 1_000_000_000
}

fn key_of(values: &[Value]) -> Key {
    let mut symbols = [Symbol::EMPTY; super::series::LABELS_MAX];
    for (symbol, value) in symbols.iter_mut().zip(values) {
        *symbol = value.symbol;
    }
    key(&symbols)
}

fn over<'a>(family: &'static Family, values: &'a [Value]) -> impl Iterator<Item = &'static str> + 'a {
    family.labels.iter().copied().zip(values).filter(|(_, value)| value.over).map(|(label, _)| label)
}

fn count(overflow: &mut Overflow, family: &str, label: &str) {
    let sum = overflow.entry((family.to_owned(), label.to_owned())).or_default();
    *sum = sum.saturating_add(1);
}

/// The key itself while there is room, else with one label after the other as `_other` until it is a series that
/// exists. The last resort, everything `_other`, may always be made: closed labels bound how many of those there are.
fn fit<T>(table: &Table<T>, overflow: &mut Overflow, family: &Family, mut key: Key, series_max: usize) -> Key {
    if table.len() < series_max || table.contains(&key) {
        return key;
    }
    for label in FOLDED {
        let Some(place) = family.labels.iter().position(|name| *name == label) else { continue };
        let Some(symbol) = key.get_mut(place).filter(|symbol| **symbol != Symbol::OTHER) else { continue };
        *symbol = Symbol::OTHER;
        count(overflow, family.name, label);
        if table.contains(&key) {
            break;
        }
    }
    key
}
