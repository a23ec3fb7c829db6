//! Holds follow what binds them: before a change they are taken off the old rows, after it they are put on the new ones.
//!
//! Only holds that a change concerns move. An edit of amounts, levels or actions leaves every row where it is, so it
//! touches none: its cost does not depend on how many reservations are live.

use super::hold::Part;
use super::{Run, State};
use crate::budget::{Budget, Source};
use crate::entry::Applied;
use crate::reservation::Reservation;
use crate::scope::Ref;

/// Whose holds a change concerns.
#[derive(Clone, Debug, Default)]
pub(super) struct Concerns {
    /// Everybody's: what refers to budgets has changed.
    all: bool,
    /// Those of these runs and of the runs below them.
    runs: Vec<u32>,
    /// Those of calls that these budgets bind.
    budgets: Vec<Budget>,
}

impl Concerns {
    /// Those of a run and of the runs below it.
    pub(super) fn run(state: &State, run: u32) -> Self {
        // A run that holds nothing and has nobody below it concerns nobody.
        let held = |run: &Run| run.execution.holds > 0 || run.execution.unpriced_calls > 0 || run.height > 0;
        let runs = state.run(run).filter(|found| held(found)).map(|_| run);
        Self { runs: runs.into_iter().collect(), ..Self::default() }
    }

    /// Those that a resource binds, before or after, where what it says of that changes.
    pub(super) fn resource(state: &State, id: &Ref, old: Option<&Applied>, new: Option<&Applied>) -> Self {
        let link = |applied: Option<&Applied>| applied.map(|applied| applied.link.clone()).unwrap_or_default();
        let mut concerns = Self { all: link(old) != link(new), ..Self::default() };
        let budgets = |applied: Option<&Applied>| applied.map(|applied| applied.budgets.clone()).unwrap_or_default();
        let (old, new) = (budgets(old), budgets(new));
        for (these, those) in [(&old, &new), (&new, &old)] {
            for budget in these {
                let mut same = those.iter().filter(|other| other.source == budget.source && other.id == budget.id);
                if same.any(|other| same_shape(budget, other)) {
                    continue;
                }
                if budget.source == Source::Execution {
                    concerns.runs.extend(state.number(budget.scope.execution.as_ref().unwrap_or(id)));
                } else {
                    concerns.budgets.push(budget.clone());
                }
            }
        }
        concerns
    }

    fn is_empty(&self) -> bool {
        !self.all && self.runs.is_empty() && self.budgets.is_empty()
    }

    fn holds(&self, state: &State, found: &Reservation) -> bool {
        let Some(run) = state.run(found.run) else { return false };
        let above = || (0..=u8::MAX).map_while(|up| state.above(found.run, up));
        if self.all || !self.runs.is_empty() && above().any(|above| self.runs.contains(&above)) {
            return true;
        }
        let links = &state.limits().links;
        self.budgets.iter().any(|budget| {
            let binds = |subject| links.bind(budget, run.of_run(), subject);
            binds(&run.execution.subject) || found.call.as_deref().is_some_and(binds)
        })
    }
}

impl State {
    /// Takes every hold that a change concerns off its counters; give the answer to [`State::hold_again`].
    pub(super) fn lift(&mut self, concerns: &Concerns) -> Vec<u32> {
        let reservations = &self.truth.reservations;
        if concerns.is_empty() || (reservations.held == 0 && reservations.covers.is_empty()) {
            return Vec::new();
        }
        let counting = reservations.counting().filter(|(_, found)| concerns.holds(self, found));
        let lifted: Vec<u32> = counting.map(|(number, _)| number).collect();
        for number in &lifted {
            let Some(found) = self.truth.reservations.get(*number) else { continue };
            let (run, rows, at, held) = (found.run, found.rows, found.reserved_at, found.held);
            self.put(run, rows, at, &held, -1);
            self.let_go(rows);
        }
        lifted
    }

    /// Puts lifted holds on the counters that bind their runs now.
    pub(super) fn hold_again(&mut self, lifted: Vec<u32>) {
        for number in lifted {
            let Some(found) = self.truth.reservations.get(number) else { continue };
            let (run, at, held, call) = (found.run, found.reserved_at, found.held, found.call.clone());
            let part = Part::of(found);
            self.rebind(run);
            let rows = self.rows_for(run, call.as_deref(), part);
            if let Some(found) = self.truth.reservations.get_mut(number) {
                found.rows = rows;
            }
            self.put(run, rows, at, &held, 1);
        }
    }
}

/// Do two generations of a budget have the same counters, for the same calls, cut by the same calendar?
fn same_shape(before: &Budget, after: &Budget) -> bool {
    let kinds = |budget: &Budget| {
        let mut kinds: Vec<_> = budget.limits.iter().map(|limit| (limit.unit, limit.window)).collect();
        kinds.sort_unstable();
        kinds.dedup();
        kinds
    };
    let agents = |budget: &Budget| budget.by_agent.iter().map(|(agent, _)| agent.clone()).collect::<Vec<_>>();
    before.scope == after.scope
        && before.calendar() == after.calendar()
        && before.policy.on_unpriced == after.policy.on_unpriced
        && kinds(before) == kinds(after)
        && agents(before) == agents(after)
}
