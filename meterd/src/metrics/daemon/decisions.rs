//! Answers to budget checks, by budget. Budget names are free text, so the `prometheus` crate does not keep them.

use std::collections::BTreeMap;

use budget::signal::CounterAt;
use budget::{Denial, Ref, Source};
use rustc_hash::FxHashMap;

use crate::metrics::catalog::BUDGET_DECISIONS;
use crate::metrics::ledger::words;
use crate::metrics::text::Writer;

/// Most budgets with series; the rest is counted as `_other`.
const BUDGETS_MAX: usize = 5000;
const OVERFLOW: &str = "_other";
/// Every `result`.
const RESULTS: [&str; 2] = ["allow", "deny"];

/// Answers so far, for each budget in the order of `RESULTS`. Kept as budgets are named, so that a decision makes no text.
#[derive(Debug, Default)]
pub(super) struct Decisions {
    budgets: FxHashMap<(Source, Ref), [u64; 2]>,
    overflow: [u64; 2],
}

impl Decisions {
    /// Counts one answer for every budget that binds the run: `deny` for the one that lacked headroom, and `allow` for
    /// each of the others only when the whole answer was to go on.
    pub(super) fn answered(&mut self, denial: Option<&Denial>, counters: &[CounterAt]) {
        match denial {
            Some(Denial::Limit(counter)) => self.count(counter.source, &counter.budget, 1),
            Some(Denial::Unpriced(id) | Denial::PerCall { budget: id, .. }) => self.count(Source::Budget, id, 1),
            // A fence, an end or a missing estimate is no budget's answer.
            Some(Denial::Fenced(_) | Denial::Ended(_) | Denial::NoEstimate) => {}
            None => {
                for (at, counter) in counters.iter().enumerate() {
                    let same = |other: &CounterAt| other.source == counter.source && other.budget == counter.budget;
                    if !counters.iter().take(at).any(same) {
                        self.count(counter.source, &counter.budget, 0);
                    }
                }
            }
        }
    }

    fn count(&mut self, source: Source, budget: &Ref, result: usize) {
        if !words::has_series(source) {
            return;
        }
        let key = (source, budget.clone());
        let room = self.budgets.len() < BUDGETS_MAX || self.budgets.contains_key(&key);
        let answers = if room { self.budgets.entry(key).or_default() } else { &mut self.overflow };
        if let Some(answers) = answers.get_mut(result) {
            *answers = answers.saturating_add(1);
        }
    }

    pub(super) fn write(&self, writer: &mut Writer) {
        writer.family(&BUDGET_DECISIONS);
        let named = self.budgets.iter().filter_map(|((source, budget), answers)| {
            Some(((budget.namespace.to_string(), words::budget(*source, &budget.name)?), answers))
        });
        let other = (self.overflow != [0; 2]).then(|| ((OVERFLOW.to_owned(), OVERFLOW.to_owned()), &self.overflow));
        let rows: BTreeMap<(String, String), &[u64; 2]> = named.chain(other).collect();
        for ((namespace, budget), answers) in rows {
            for (result, count) in RESULTS.iter().zip(answers) {
                let sample = writer.sample(&BUDGET_DECISIONS, "").label("agent_namespace", &namespace);
                sample.label("budget", &budget).label("result", result).count(*count);
            }
        }
    }
}
