//! `apply`: one entry folded in. Never fails, never decides: what an entry does not say does not happen here.

use std::sync::Arc;

use pricing::Timestamp;
use pricing::cost::TableRef;

use super::count::filled;
use super::lift::Concerns;
use super::{Run, State};
use crate::budget::{Budget, Source};
use crate::charge::{Charge, Priced, Subject};
use crate::entry::{Applied, Entry, Fact, Opened, Phase};
#[cfg(feature = "mistakes")]
use crate::mistakes::{Mistake, made};
use crate::reservation::{Claim, Found};
use crate::scope::Ref;
use crate::signal::{COLLATERAL_MAX, Cause, Kill, Tried};

/// An entry's place.
#[derive(Clone, Copy)]
struct At {
    seq: u64,
    time: Timestamp,
}

impl State {
    /// Folds one entry in. Entries come in order, without gaps.
    pub fn apply(&mut self, entry: &Entry) {
        let at = At { seq: entry.seq, time: entry.at };
        debug_assert_eq!(entry.seq, self.seq().saturating_add(1), "entries come in order, without gaps");
        self.truth.seq = entry.seq;
        self.truth.log_time = entry.at;
        match &entry.fact {
            Fact::Applied(applied) => self.applied(at, applied),
            Fact::Removed { kind, id } => self.removed(at, kind, id),
            Fact::Pinned(table) => {
                self.truth.pins.insert(table.name.clone(), table.clone());
            }
            Fact::Opened(opened) => self.opened(at, opened),
            Fact::Ended { execution, phase } => self.ended(at, execution, *phase),
            Fact::Charged(charge) => self.charged(at, charge),
            Fact::Reserved(reserved) => self.reserved(at.time, at.seq, reserved),
            Fact::Resolved { reservation, standing, .. } => self.resolved(at.time, at.seq, reservation, *standing),
            Fact::Extended { reservation, expires_at, .. } => self.extended(reservation, *expires_at),
            Fact::Adjusted(adjustment) => self.adjusted(at.seq, at.time, adjustment),
            #[cfg(feature = "mistakes")]
            Fact::Warned { .. } if made(Mistake::SoftLevelTwice) => {}
            Fact::Warned { execution, counter, level } => {
                self.mark(execution, counter, |tally| tally.warned = tally.warned.max(*level));
                self.name(at, execution, |run| run.execution.soft_limit = Some((counter.budget.clone(), at.time)));
            }
            Fact::Reached { execution, counter } => {
                self.mark(execution, counter, |tally| tally.reached = true);
                self.name(at, execution, |run| run.execution.hard_limit = Some((counter.budget.clone(), at.time)));
            }
            Fact::Killed { kill, execution, cause, cost } => {
                let mut new = Kill::new(kill.clone(), execution.clone(), cause.clone(), at.time, *cost);
                new.fence(at.time, at.seq);
                self.killed(at, new);
            }
            Fact::WindDown { kill, execution, cause, cost, turn } => {
                let mut new = Kill::new(kill.clone(), execution.clone(), cause.clone(), at.time, *cost);
                new.turn = Some(*turn);
                self.killed(at, new);
            }
            Fact::Registered { execution, process } => {
                if let Some(number) = self.number(execution) {
                    self.truth.processes.insert(number, process.clone());
                }
                self.name(at, execution, |_| {});
            }
            Fact::KillSent { kill, .. }
            | Fact::KillAcked { kill, .. }
            | Fact::KillConfirmed { kill, .. }
            | Fact::Fenced { kill, .. }
            | Fact::KillPlanned { kill, .. }
            | Fact::KillEscalated { kill, .. }
            | Fact::KillManual { kill }
            | Fact::KillCollateral { kill, .. } => self.signalled(at, kill, &entry.fact),
            Fact::Audited(_) => {}
            Fact::Forgotten { executions } => executions.iter().for_each(|execution| self.forget(execution)),
            Fact::Rested { executions } => executions.iter().for_each(|execution| self.rest(at.time, execution)),
        }
    }

    fn applied(&mut self, at: At, applied: &Applied) {
        let key = (applied.kind.clone(), applied.id.clone());
        let old = self.truth.resources.insert(key, applied.clone());
        let concerns = Concerns::resource(self, &applied.id, old.as_ref(), Some(applied));
        let lifted = self.lift(&concerns);
        for budget in old.iter().flat_map(|old| &old.budgets) {
            let same = |new: &Budget| new.source == budget.source && new.id == budget.id;
            if !applied.budgets.iter().any(same) {
                self.drop_budget(at, budget, &applied.id);
            }
        }
        self.truth.limits.link(applied);
        for budget in &applied.budgets {
            match carrier(budget, &applied.id) {
                Some(execution) => self.carry(at, execution, Some(budget.clone())),
                None => self.truth.limits.put(budget.clone(), at.time),
            }
        }
        self.hold_again(lifted);
    }

    fn removed(&mut self, at: At, kind: &Arc<str>, id: &Ref) {
        let old = self.truth.resources.remove(&(kind.clone(), id.clone()));
        let concerns = Concerns::resource(self, id, old.as_ref(), None);
        let lifted = self.lift(&concerns);
        for budget in old.iter().flat_map(|old| &old.budgets) {
            self.drop_budget(at, budget, id);
        }
        self.truth.limits.unlink(kind, id);
        self.hold_again(lifted);
    }

    fn drop_budget(&mut self, at: At, budget: &Budget, resource: &Ref) {
        match carrier(budget, resource) {
            Some(execution) => self.carry(at, execution, None),
            None => self.truth.limits.remove(budget.source, &budget.id),
        }
    }

    fn carry(&mut self, at: At, execution: &Ref, budget: Option<Budget>) {
        if let Some(run) = self.number(execution).and_then(|number| self.run_mut(number)) {
            run.carry(budget, at.time);
        }
    }

    fn opened(&mut self, at: At, opened: &Opened) {
        let id = &opened.execution;
        let number = match self.number(id) {
            Some(number) => {
                let lifted = self.lift(&Concerns::run(self, number));
                if let Some(run) = self.run_mut(number) {
                    run.describe(opened);
                    if opened.budget.is_some() {
                        run.carry(opened.budget.clone(), at.time);
                    }
                }
                self.index.set_class(number, None);
                // Before the holds come back: they are on the budgets of the runs above as well.
                if let Some(parent) = &opened.parent {
                    self.link(number, parent);
                }
                self.hold_again(lifted);
                number
            }
            None => {
                let mut run = Run::open(opened, at.time);
                run.opened_seq = at.seq;
                if run.own.is_none() {
                    run.carry(self.waiting_budget(id), at.time);
                }
                // More runs than 32 bits can number do not fit into memory.
                let number = u32::try_from(self.truth.runs.len()).unwrap_or(u32::MAX);
                self.truth.runs.push(Some(Box::new(run)));
                self.index.add_run(number, id);
                self.adopt(number, id);
                number
            }
        };
        if let Some(parent) = &opened.parent {
            self.link(number, parent);
        }
        self.rebind(number);
        self.name(at, id, |_| {});
    }

    /// The budget of an Execution document that was applied before the run was opened.
    pub(crate) fn waiting_budget(&self, execution: &Ref) -> Option<Budget> {
        let resource = self.resource("Execution", execution)?;
        resource.budgets.iter().find(|budget| carrier(budget, &resource.id) == Some(execution)).cloned()
    }

    fn ended(&mut self, at: At, execution: &Ref, phase: Phase) {
        if let Some(number) = self.number(execution) {
            self.index.live.remove(&number);
            self.truth.processes.remove(&number);
        }
        self.name(at, execution, |run| {
            run.execution.phase = phase;
            run.execution.completed_at = Some(at.time);
        });
    }

    fn charged(&mut self, at: At, charge: &Charge) {
        let Some(number) = self.number(&charge.execution) else { return };
        self.meet(number, &charge.subject, charge.parent.as_ref());
        let moved = charge.moved();
        let Some(call) = self.run(number).map(|run| filled(&charge.subject, &run.execution.subject)) else { return };
        let over = self.overshoot_of(charge);
        self.count(at.time, number, &call, charge.window_time(), &moved, &over);
        self.cover(at.seq, at.time, number, &call, charge);
        self.add_to_tree(number, &moved);
        self.name(at, &charge.execution, |run| {
            run.book(&moved, charge.time);
            run.execution.overshoot.add(&over);
            #[cfg(feature = "mistakes")]
            if made(Mistake::EndedRunsAgain) {
                run.execution.phase = Phase::Running;
            }
            if run.execution.conversation.is_none() {
                run.execution.conversation.clone_from(&charge.conversation);
            }
            match &charge.priced {
                Priced::Unpriced(_) => run.execution.unpriced_calls = run.execution.unpriced_calls.saturating_add(1),
                Priced::Cost(cost) => pin(&mut run.execution.tables, &cost.table),
                Priced::Zero(_) | Priced::Reported(_) => {}
            }
        });
        if let Some(Claim { reservation, last, found: Found::Held(_) }) = &charge.claim {
            self.take_off(at.time, at.seq, reservation, &moved, *last);
        } else if let Some(Claim { reservation, last: true, found: Found::Late }) = &charge.claim {
            self.settled_late(at.seq, reservation);
        }
        #[cfg(feature = "mistakes")]
        if made(Mistake::UnpricedForgotten) {
            return;
        }
        self.set_aside(at.seq, charge);
        self.estimated(at.seq, charge);
    }

    /// Takes from a call what was not known of its run: whom it is for, and the run above it.
    pub(super) fn meet(&mut self, number: u32, subject: &Subject, parent: Option<&Ref>) {
        let Some(run) = self.run(number) else { return };
        let parent = parent.filter(|_| run.execution.parent.is_none());
        let lacks = run.execution.subject.lacks(subject);
        if !lacks && parent.is_none() {
            return;
        }
        let lifted = self.lift(&Concerns::run(self, number));
        if lacks && let Some(run) = self.run_mut(number) {
            run.execution.subject.fill_from(subject);
            self.index.set_class(number, None);
        }
        if let Some(parent) = parent {
            self.link(number, parent);
        }
        self.hold_again(lifted);
    }

    fn killed(&mut self, at: At, kill: Kill) {
        debug_assert_eq!(*kill.id, *format!("kill-{}", at.seq), "a kill is named after its entry");
        self.index.add_kill(&kill.id, self.truth.kills.len());
        let fenced = kill.fenced_at.is_some();
        self.name(at, &kill.execution, |run| {
            let place = if fenced { &mut run.execution.kill } else { &mut run.execution.winding };
            *place = Some(kill.id.clone());
            if let Cause::Budget(counter) = &kill.cause {
                run.execution.hard_limit = Some((counter.budget.clone(), at.time));
            }
        });
        self.truth.kills.push(Some(Box::new(kill)));
    }

    /// A kill only moves forward; what comes late is noted and changes no state.
    fn signalled(&mut self, at: At, id: &str, fact: &Fact) {
        let Some(number) = self.index.kill(id) else { return };
        let Some(Some(kill)) = self.truth.kills.get_mut(number) else { return };
        match fact {
            Fact::KillSent { channel, attempt, took_us, .. } => {
                kill.tried(Tried { at: at.time, channel: *channel, attempt: attempt.clone(), took_us: *took_us });
            }
            Fact::KillAcked { channel, .. } => kill.acked(at.time, *channel),
            Fact::KillConfirmed { proof, .. } => {
                kill.confirmed(at.time, *proof);
                self.index.open_kills.remove(&number);
            }
            Fact::KillPlanned { steps, .. } => kill.plan.clone_from(steps),
            Fact::KillEscalated { to, .. } => kill.escalated(at.time, *to),
            Fact::KillManual { .. } => kill.manual(),
            Fact::KillCollateral { executions, .. } => {
                let room = COLLATERAL_MAX.saturating_sub(kill.collateral.len());
                kill.collateral.extend(executions.iter().take(room).cloned());
            }
            Fact::Fenced { .. } => {
                kill.fence(at.time, at.seq);
                let (id, execution) = (kill.id.clone(), kill.execution.clone());
                self.name(at, &execution, |run| {
                    run.execution.winding = None;
                    run.execution.kill = Some(id);
                });
            }
            _ => {}
        }
    }

    /// Changes a run that an entry names.
    fn name(&mut self, at: At, execution: &Ref, change: impl FnOnce(&mut Run)) {
        if let Some(run) = self.number(execution).and_then(|number| self.run_mut(number)) {
            run.touch(at.seq, at.time);
            change(run);
        }
    }
}

/// The run that carries a budget itself.
fn carrier<'a>(budget: &'a Budget, resource: &'a Ref) -> Option<&'a Ref> {
    (budget.source == Source::Execution).then(|| budget.scope.execution.as_ref().unwrap_or(resource))
}

pub(super) fn pin(tables: &mut Vec<TableRef>, table: &TableRef) {
    if !tables.contains(table) {
        tables.push(table.clone());
    }
}
