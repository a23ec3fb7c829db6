//! Resources: applying, removing, pinning. A changed limit acts from its entry on.

use std::sync::Arc;

use pricing::Timestamp;
use pricing::cost::TableRef;

use super::kill::Kills;
use super::{State, Verdict};
use crate::budget::{Action, Source};
use crate::entry::{Applied, Fact};
use crate::limits::{OWN, Slot};
use crate::scope::Ref;

/// The slot number of a budget that is not in force yet.
const NEW: u32 = OWN - 1;

/// Creates or changes a resource. Live runs that a terminating limit of it leaves without headroom are killed: at most
/// `KILLS_PER_DECISION_MAX` at once, the others at their next charge.
pub(super) fn apply(state: &State, now: Timestamp, mut applied: Applied, facts: &mut Vec<Fact>) -> Verdict {
    let old = state.resource(&applied.kind, &applied.id);
    let generation = old.map_or(0, |old| old.generation);
    number(&mut applied, generation);
    if old == Some(&applied) {
        return Verdict::Unchanged;
    }
    number(&mut applied, generation.saturating_add(1));
    facts.push(Fact::Applied(applied.clone()));
    let mut kills = Kills::of(state, now);
    for budget in applied.budgets.into_iter().filter(|budget| budget.on_hard_limit == Action::Terminate) {
        if budget.source == Source::Execution {
            let execution = budget.scope.execution.clone().unwrap_or_else(|| applied.id.clone());
            if let Some((number, run)) = state.find(&execution).filter(|(_, run)| run.is_live()) {
                let slot = changed(run.own.as_deref(), budget, now);
                kills.over(now, &slot, OWN, [(number, run)], facts);
            }
        } else {
            let at = state.limits().find(budget.source, &budget.id);
            let slot = changed(at.and_then(|at| state.limits().slot(at)), budget, now);
            kills.over(now, &slot, at.unwrap_or(NEW), state.live_runs(), facts);
        }
    }
    Verdict::Done
}

/// Removes a resource with its budgets.
pub(super) fn remove(state: &State, kind: Arc<str>, id: Ref, facts: &mut Vec<Fact>) -> Verdict {
    if state.resource(&kind, &id).is_none() {
        return Verdict::Unchanged;
    }
    facts.push(Fact::Removed { kind, id });
    Verdict::Done
}

/// Notes that a price table came into force.
pub(super) fn pin(state: &State, table: TableRef, facts: &mut Vec<Fact>) -> Verdict {
    if state.pin(&table.name) == Some(&table) {
        return Verdict::Unchanged;
    }
    facts.push(Fact::Pinned(table));
    Verdict::Done
}

fn number(applied: &mut Applied, generation: u64) {
    applied.generation = generation;
    for budget in &mut applied.budgets {
        budget.generation = generation;
    }
}

fn changed(slot: Option<&Slot>, budget: crate::budget::Budget, now: Timestamp) -> Slot {
    match slot {
        Some(slot) => {
            let mut slot = slot.clone();
            slot.replace(budget, now);
            slot
        }
        None => Slot::new(budget, now),
    }
}
