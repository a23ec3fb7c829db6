//! Answers to budget checks, by budget. Budget names are free text, so the `prometheus` crate does not keep them.

use std::collections::{BTreeMap, BTreeSet};

use budget::Denial;
use budget::signal::CounterAt;

use crate::metrics::catalog::BUDGET_DECISIONS;
use crate::metrics::ledger::words;
use crate::metrics::text::Writer;

/// Most budgets with series; the rest is counted as `_other`.
const BUDGETS_MAX: usize = 5000;
const OVERFLOW: &str = "_other";
/// Every `result`.
const RESULTS: [&str; 2] = ["allow", "deny"];

/// Answers so far, for each budget in the order of `RESULTS`.
#[derive(Debug, Default)]
pub(super) struct Decisions(BTreeMap<(String, String), [u64; 2]>);

impl Decisions {
    /// Counts one answer for every budget that binds the run: `deny` for the one that lacked headroom, and `allow` for
    /// each of the others only when the whole answer was to go on.
    pub(super) fn answered(&mut self, denial: Option<&Denial>, counters: &[CounterAt]) {
        match denial {
            Some(Denial::Limit(counter)) => self.count(budget(counter), 1),
            Some(Denial::Unpriced(id) | Denial::PerCall { budget: id, .. }) => {
                self.count(Some((id.namespace.to_string(), id.name.to_string())), 1);
            }
            // A fence, an end or a missing estimate is no budget's answer.
            Some(Denial::Fenced(_) | Denial::Ended(_) | Denial::NoEstimate) => {}
            None => {
                let budgets: BTreeSet<_> = counters.iter().filter_map(budget).collect();
                budgets.into_iter().for_each(|budget| self.count(Some(budget), 0));
            }
        }
    }

    fn count(&mut self, budget: Option<(String, String)>, result: usize) {
        let Some(mut budget) = budget else { return };
        if self.0.len() >= BUDGETS_MAX && !self.0.contains_key(&budget) {
            budget = (OVERFLOW.to_owned(), OVERFLOW.to_owned());
        }
        if let Some(answers) = self.0.entry(budget).or_default().get_mut(result) {
            *answers = answers.saturating_add(1);
        }
    }

    pub(super) fn write(&self, writer: &mut Writer) {
        writer.family(&BUDGET_DECISIONS);
        for ((namespace, budget), answers) in &self.0 {
            for (result, count) in RESULTS.iter().zip(answers) {
                let sample = writer.sample(&BUDGET_DECISIONS, "").label("agent_namespace", namespace);
                sample.label("budget", budget).label("result", result).count(*count);
            }
        }
    }
}

/// The labels of a counter's budget, when it has series.
fn budget(counter: &CounterAt) -> Option<(String, String)> {
    let label = words::budget(counter.source, &counter.budget.name)?;
    Some((counter.budget.namespace.to_string(), label))
}
