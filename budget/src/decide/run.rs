//! Runs: opening, describing, ending. Never a charge.

use pricing::Timestamp;

use super::kill::Kills;
use super::slice::{follow, sliced};
use super::{State, Verdict};
use crate::entry::{Fact, Opened, Phase};
use crate::limits::{OWN, Slot};
use crate::scope::Ref;
use crate::signal::{Process, Proof};

/// Opens a run, or changes what is known of one that is not over. A budget of its own that is used up already fences
/// it at once, if that budget terminates. What a description leaves out stays; a parent is named once.
pub(super) fn open(state: &State, now: Timestamp, mut opened: Opened, facts: &mut Vec<Fact>) -> Verdict {
    if opened.parent.as_ref().is_some_and(|parent| !state.accepts_parent(&opened.execution, parent)) {
        opened.parent = None;
    }
    let known = state.find(&opened.execution);
    let above = known.and_then(|(_, run)| run.parent).or_else(|| state.number(opened.parent.as_ref()?));
    if let Some(budget) = opened.budget.take() {
        let own = above.and_then(|above| state.run(above)).and_then(|above| above.own.as_ref());
        let Some(budget) = sliced(budget, own.map(|own| &own.budget)) else { return Verdict::NothingToSlice };
        opened.budget = Some(budget);
    }
    let Some((number, run)) = known else {
        let generation = state.waiting_budget(&opened.execution).map_or(0, |budget| budget.generation);
        if let Some(budget) = &mut opened.budget {
            budget.generation = generation.saturating_add(1);
        }
        facts.push(Fact::Opened(Box::new(opened)));
        return Verdict::Done;
    };
    if !run.is_live() {
        return Verdict::AlreadyEnded(run.execution.phase);
    }
    let old = run.own.as_ref().map(|own| &own.budget);
    if let Some(budget) = &mut opened.budget {
        budget.generation = old.map_or(0, |old| old.generation);
        if old != Some(budget) {
            budget.generation = budget.generation.saturating_add(1);
        }
    }
    let budget = opened.budget.as_ref().filter(|budget| old != Some(*budget));
    let mut after = run.clone();
    after.describe(&opened);
    let parent = opened.parent.is_some() && run.execution.parent.is_none();
    if budget.is_none() && !parent && after == *run {
        return Verdict::Unchanged;
    }
    let changed = budget.map(|budget| match &run.own {
        Some(own) => {
            let mut own = own.clone();
            own.replace(budget.clone(), now);
            own
        }
        None => Box::new(Slot::new(budget.clone(), now)),
    });
    facts.push(Fact::Opened(Box::new(opened)));
    if let Some(slot) = &changed {
        Kills::of(state, now).over(now, slot, OWN, [(number, run)], facts);
        follow(state, now, number, &slot.budget, facts);
    }
    Verdict::Done
}

/// Runs forgotten, or put to rest, by one command.
const FORGOTTEN_MAX: usize = 4_096;

/// Forgets runs that ended long ago.
pub(super) fn forget(state: &State, before: Timestamp, facts: &mut Vec<Fact>) -> Verdict {
    let executions = state.forgettable(before, FORGOTTEN_MAX);
    if executions.is_empty() {
        return Verdict::Unchanged;
    }
    facts.push(Fact::Forgotten { executions });
    Verdict::Done
}

/// Puts runs to rest that nothing has named for long.
pub(super) fn rest(state: &State, before: Timestamp, facts: &mut Vec<Fact>) -> Verdict {
    let executions = state.restable(before, FORGOTTEN_MAX);
    if executions.is_empty() {
        return Verdict::Unchanged;
    }
    facts.push(Fact::Rested { executions });
    Verdict::Done
}

/// Ends a run. A kill that is still open is closed by it: confirmed, or moot if no transport had taken it.
pub(super) fn end(state: &State, execution: Ref, phase: Phase, facts: &mut Vec<Fact>) -> Verdict {
    let Some((_, run)) = state.find(&execution) else { return Verdict::UnknownExecution };
    if !run.is_live() && run.execution.phase != phase {
        return Verdict::AlreadyEnded(run.execution.phase);
    }
    if !run.is_live() || !phase.is_terminal() {
        return Verdict::Unchanged;
    }
    let kill = run.execution.kill.as_ref().or(run.execution.winding.as_ref());
    let open = kill.and_then(|kill| state.kill(kill)).filter(|kill| kill.confirmed_at.is_none());
    let confirmed = open.map(|kill| Fact::KillConfirmed { kill: kill.id.clone(), proof: Proof::PhaseTerminal });
    facts.push(Fact::Ended { execution, phase });
    #[cfg(feature = "mistakes")]
    let confirmed = confirmed.filter(|_| !crate::mistakes::made(crate::mistakes::Mistake::OpenKillAtEnd));
    facts.extend(confirmed);
    Verdict::Done
}

/// A process registers as the worker of a run, in the place of one that registered before.
pub(super) fn register(state: &State, execution: Ref, process: Process, facts: &mut Vec<Fact>) -> Verdict {
    let Some((_, run)) = state.find(&execution) else { return Verdict::UnknownExecution };
    if !run.is_live() {
        return Verdict::AlreadyEnded(run.execution.phase);
    }
    if state.process(&execution) == Some(&process) {
        return Verdict::Unchanged;
    }
    facts.push(Fact::Registered { execution, process });
    Verdict::Done
}
