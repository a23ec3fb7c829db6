//! Kills: who is fenced and why, and what becomes of the signal. The fence is the kill; it is never taken back.

use std::collections::BTreeSet;
use std::sync::Arc;

use pricing::{Money, Timestamp};

use super::{State, Verdict};
use crate::budget::{Action, Source};
use crate::counter::Tally;
use crate::entry::{Fact, Phase};
use crate::limits::{RowRef, Slot};
#[cfg(feature = "mistakes")]
use crate::mistakes::{Mistake, made};
use crate::policy::Policy;
use crate::scope::Ref;
use crate::signal::{Cause, Channel, CounterAt, Kill, Proof, Turn};
use crate::state::Run;
use crate::window::{Span, Window};

/// Kills that one decision writes; runs beyond it are killed at their next charge.
pub const KILLS_PER_DECISION_MAX: usize = 1_000;

/// The kills of one decision: each run at most once, the whole bounded.
pub(super) struct Kills<'a> {
    state: &'a State,
    now: Timestamp,
    killed: BTreeSet<u32>,
}

impl<'a> Kills<'a> {
    pub(super) fn of(state: &'a State, now: Timestamp) -> Self {
        Self { state, now, killed: BTreeSet::new() }
    }

    pub(super) fn state(&self) -> &'a State {
        self.state
    }

    /// No further kill in this decision.
    pub(super) fn is_full(&self) -> bool {
        self.killed.len() >= KILLS_PER_DECISION_MAX
    }

    /// Kills a run that is live and has no kill yet, in the way of the budget whose `policy` it is.
    pub(super) fn kill(
        &mut self,
        number: u32,
        run: &Run,
        counter: CounterAt,
        policy: &Policy,
        cost: Money,
        facts: &mut Vec<Fact>,
    ) {
        let spare = self.killed.len() < KILLS_PER_DECISION_MAX;
        let untouched = run.execution.kill.is_none() && run.execution.winding.is_none();
        if spare && run.is_live() && untouched && self.killed.insert(number) {
            decided(self.state, self.now, run, counter, policy, cost, facts);
        }
    }

    /// Fences every live run that `counter`, a shared window of `slot`, binds.
    pub(super) fn sharing(&mut self, slot: &Slot, row: u32, counter: &CounterAt, facts: &mut Vec<Fact>) {
        #[cfg(feature = "mistakes")]
        if made(Mistake::SharersGoOn) {
            return;
        }
        let state = self.state;
        for (number, run) in state.live_runs() {
            if self.killed.len() >= KILLS_PER_DECISION_MAX {
                return;
            }
            let agent = run.execution.subject.agent.as_ref();
            let bound = slot.row(row).is_some_and(|row| row.share.binds(agent, &slot.budget.by_agent));
            if bound && state.limits().links.bind(&slot.budget, run.of_run(), &run.execution.subject) {
                self.kill(number, run, counter.clone(), &slot.budget.policy, run.execution.cost, facts);
            }
        }
    }

    /// Fences every run of `runs` for which a limit of `slot`, as it will be, is used up at `now`.
    pub(super) fn over<'r>(
        &mut self,
        now: Timestamp,
        slot: &Slot,
        at: u32,
        runs: impl IntoIterator<Item = (u32, &'r Run)>,
        facts: &mut Vec<Fact>,
    ) {
        if slot.budget.on_hard_limit != Action::Terminate {
            return;
        }
        for (number, run) in runs {
            if self.killed.len() >= KILLS_PER_DECISION_MAX {
                return;
            }
            let execution = &run.execution;
            if execution.kill.is_some()
                || (slot.budget.source != Source::Execution
                    && !self.state.limits().links.bind(&slot.budget, run.of_run(), &execution.subject))
            {
                continue;
            }
            if let Some(counter) = self.used_up(now, slot, at, run) {
                self.kill(number, run, counter, &slot.budget.policy, execution.cost, facts);
            }
        }
    }

    fn used_up(&self, now: Timestamp, slot: &Slot, at: u32, run: &Run) -> Option<CounterAt> {
        slot.bound(run.execution.subject.agent.as_ref()).find_map(|(number, row)| {
            let per_run = row.window == Window::Run;
            if per_run && slot.budget.source == Source::Agent && !run.inherit {
                return None;
            }
            let (window, tally) = if per_run {
                let tally = run.tally(self.state.limits(), RowRef { slot: at, row: number }, row, true);
                (Span { start: run.execution.started_at, end: None }, tally)
            } else {
                let window = row.window_at(&slot.calendar, now);
                (window, row.tally(window))
            };
            let amount = row.cap.as_ref()?.amount;
            is_used_up(tally, amount).then(|| slot.counter_at(row, window, tally)).flatten()
        })
    }
}

/// Something was spent, and it is as much as the limit or more.
pub(super) fn is_used_up(tally: Tally, amount: i128) -> bool {
    tally.spent >= amount && tally.spent > 0
}

/// An operator kills a run.
pub(super) fn operator(
    state: &State,
    execution: Ref,
    reason: Arc<str>,
    by: Arc<str>,
    facts: &mut Vec<Fact>,
) -> Verdict {
    let Some((_, run)) = state.find(&execution) else { return Verdict::UnknownExecution };
    if let Some(kill) = &run.execution.kill {
        return Verdict::Killed { kill: kill.clone() };
    }
    if !run.is_live() {
        return Verdict::AlreadyEnded(run.execution.phase);
    }
    // An operator does not wait for the turn of a run that is winding down.
    if let Some(kill) = run.execution.winding.as_ref().and_then(|kill| state.kill(kill)) {
        facts.push(fenced(kill, run.execution.cost));
        return Verdict::Killed { kill: kill.id.clone() };
    }
    let kill = kill_id(state, facts);
    facts.push(Fact::Killed {
        kill: kill.clone(),
        execution,
        cause: Cause::Operator { reason, by },
        cost: run.execution.cost,
    });
    Verdict::Killed { kill }
}

/// A fact about a kill that is known.
pub(super) fn known(
    state: &State,
    kill: Arc<str>,
    facts: &mut Vec<Fact>,
    fact: impl FnOnce(Arc<str>) -> Fact,
) -> Verdict {
    if state.kill(&kill).is_none() {
        return Verdict::UnknownKill;
    }
    facts.push(fact(kill));
    Verdict::Done
}

/// A fact about a kill that is not closed.
pub(super) fn open(
    state: &State,
    kill: Arc<str>,
    facts: &mut Vec<Fact>,
    fact: impl FnOnce(Arc<str>) -> Fact,
) -> Verdict {
    if state.kill(&kill).is_some_and(|known| known.state.is_closed()) {
        return Verdict::Unchanged;
    }
    known(state, kill, facts, fact)
}

/// The turn of a run is over: the fence.
pub(super) fn end_turn(state: &State, kill: Arc<str>, facts: &mut Vec<Fact>) -> Verdict {
    let Some(known) = state.kill(&kill) else { return Verdict::UnknownKill };
    if known.fenced_at.is_some() || known.state.is_closed() {
        return Verdict::Unchanged;
    }
    let cost = state.execution(&known.execution).map_or(known.cost_at_decision, |run| run.cost);
    facts.push(fenced(known, cost));
    Verdict::Done
}

/// The fact that ends the turn of a run.
pub(super) fn fenced(kill: &Kill, cost: Money) -> Fact {
    Fact::Fenced { kill: kill.id.clone(), execution: kill.execution.clone(), cause: kill.cause.clone(), cost }
}

/// The agent acknowledged a kill of its own run.
pub(super) fn ack(state: &State, execution: &Ref, kill: Arc<str>, channel: Channel, facts: &mut Vec<Fact>) -> Verdict {
    match state.kill(&kill) {
        #[cfg(feature = "mistakes")]
        Some(known) if made(Mistake::KillOfAnotherRun) && known.acked_at.is_none() => {
            facts.push(Fact::KillAcked { kill, channel });
            Verdict::Done
        }
        Some(known) if known.execution == *execution => {
            if known.acked_at.is_some() {
                return Verdict::Unchanged;
            }
            facts.push(Fact::KillAcked { kill, channel });
            Verdict::Done
        }
        _ => Verdict::UnknownKill,
    }
}

/// The killed run is proven gone. A process that is gone takes its run with it: a live run ends as cancelled.
pub(super) fn confirm(state: &State, kill: Arc<str>, proof: Proof, facts: &mut Vec<Fact>) -> Verdict {
    let Some(known) = state.kill(&kill) else { return Verdict::UnknownKill };
    #[cfg(feature = "mistakes")]
    let known = &Kill { confirmed_at: known.confirmed_at.filter(|_| !made(Mistake::ConfirmedTwice)), ..known.clone() };
    if known.confirmed_at.is_some() {
        return Verdict::Unchanged;
    }
    let live = state.find(&known.execution).is_some_and(|(_, run)| run.is_live());
    facts.push(Fact::KillConfirmed { kill, proof });
    if live && proof == Proof::ProcessGone {
        facts.push(Fact::Ended { execution: known.execution.clone(), phase: Phase::Cancelled });
    }
    Verdict::Done
}

/// Writes a budget's kill of a run as the next fact: fenced at once, or after one bounded turn.
fn decided(
    state: &State,
    now: Timestamp,
    run: &Run,
    counter: CounterAt,
    policy: &Policy,
    cost: Money,
    facts: &mut Vec<Fact>,
) {
    let kill = kill_id(state, facts);
    let execution = run.execution.id.clone();
    let cause = Cause::Budget(counter);
    facts.push(match policy.turn() {
        None => Fact::Killed { kill: kill.clone(), execution, cause, cost },
        Some(wind_down) => {
            let grace = i64::try_from(wind_down.grace_ms.saturating_mul(1_000_000)).unwrap_or(i64::MAX);
            let turn = Turn { allowance: wind_down.allowance, until: now.saturating_add(grace) };
            Fact::WindDown { kill: kill.clone(), execution, cause, cost, turn }
        }
    });
    if !policy.kill_plan.is_empty() {
        facts.push(Fact::KillPlanned { kill, steps: policy.kill_plan.clone() });
    }
}

/// The id of a kill that is the next fact: its entry follows those of the state and of the facts before it.
fn kill_id(state: &State, facts: &[Fact]) -> Arc<str> {
    let before = u64::try_from(facts.len()).unwrap_or(u64::MAX);
    Arc::from(format!("kill-{}", state.seq().saturating_add(before).saturating_add(1)))
}
