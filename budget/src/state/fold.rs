//! `apply`: one entry folded in. Never fails, never decides: what an entry does not say does not happen here.

use std::sync::Arc;

use pricing::Timestamp;
use pricing::cost::TableRef;

use super::count::filled;
use super::hold::Concerns;
use super::{Run, State};
use crate::budget::{Budget, Source};
use crate::charge::{Charge, Priced, Subject};
use crate::entry::{Applied, Entry, Fact, Opened, Phase};
use crate::reservation::{Claim, Found};
use crate::scope::Ref;
use crate::signal::{ATTEMPTS_KEPT_MAX, Attempt, Cause, Kill, KillState, Proof};

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
            Fact::Warned { execution, counter, level } => {
                self.mark(execution, counter, |tally| tally.warned = tally.warned.max(*level));
                self.name(at, execution, |run| run.execution.soft_limit = Some((counter.budget.clone(), at.time)));
            }
            Fact::Reached { execution, counter } => {
                self.mark(execution, counter, |tally| tally.reached = true);
                self.name(at, execution, |run| run.execution.hard_limit = Some((counter.budget.clone(), at.time)));
            }
            Fact::Killed { kill, execution, cause, cost } => {
                debug_assert_eq!(**kill, *format!("kill-{}", entry.seq), "a kill is named after its entry");
                self.killed(
                    at,
                    Kill {
                        id: kill.clone(),
                        execution: execution.clone(),
                        cause: cause.clone(),
                        state: KillState::Fenced,
                        decided_at: at.time,
                        sent_at: None,
                        acked_at: None,
                        acked_by: None,
                        confirmed_at: None,
                        cost_at_decision: *cost,
                        attempts: Vec::new(),
                    },
                );
            }
            Fact::KillSent { .. } | Fact::KillAcked { .. } | Fact::KillConfirmed { .. } => {
                self.signalled(at, &entry.fact)
            }
            Fact::Audited(_) => {}
        }
    }

    fn applied(&mut self, at: At, applied: &Applied) {
        let lifted = self.lift(Concerns::All);
        let key = (applied.kind.clone(), applied.id.clone());
        let old = self.truth.resources.insert(key, applied.clone());
        for budget in old.iter().flat_map(|old| &old.budgets) {
            let same = |new: &Budget| new.source == budget.source && new.id == budget.id;
            if !applied.budgets.iter().any(same) {
                self.drop_budget(at, budget, &applied.id);
            }
        }
        for budget in &applied.budgets {
            match carrier(budget, &applied.id) {
                Some(execution) => self.carry(at, execution, Some(budget.clone())),
                None => self.truth.limits.put(budget.clone(), at.time),
            }
        }
        self.hold_again(lifted);
    }

    fn removed(&mut self, at: At, kind: &Arc<str>, id: &Ref) {
        let lifted = self.lift(Concerns::All);
        let old = self.truth.resources.remove(&(kind.clone(), id.clone()));
        for budget in old.iter().flat_map(|old| &old.budgets) {
            self.drop_budget(at, budget, id);
        }
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
                let lifted = self.lift(Concerns::Run(number));
                if let Some(run) = self.run_mut(number) {
                    run.describe(opened);
                    if opened.budget.is_some() {
                        run.carry(opened.budget.clone(), at.time);
                    }
                }
                self.index.set_class(number, None);
                self.hold_again(lifted);
                number
            }
            None => {
                let mut run = Run::open(opened, at.time);
                if run.own.is_none() {
                    run.carry(self.waiting_budget(id), at.time);
                }
                // More runs than 32 bits can number do not fit into memory.
                let number = u32::try_from(self.truth.runs.len()).unwrap_or(u32::MAX);
                self.truth.runs.push(run);
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
        self.count(at.time, number, &call, charge.window_time(), &moved);
        self.add_to_tree(number, &moved);
        if let Some(Claim { reservation, last, found: Found::Held(_) }) = &charge.claim {
            self.take_off(at.time, reservation, &moved, *last);
        }
        self.name(at, &charge.execution, |run| {
            run.book(&moved, charge.time);
            if run.execution.conversation.is_none() {
                run.execution.conversation.clone_from(&charge.conversation);
            }
            match &charge.priced {
                Priced::Unpriced(_) => run.execution.unpriced_calls = run.execution.unpriced_calls.saturating_add(1),
                Priced::Cost(cost) => pin(&mut run.execution.tables, &cost.table),
                Priced::Zero(_) | Priced::Reported(_) => {}
            }
        });
        self.set_aside(at.seq, charge);
    }

    /// Takes from a call what was not known of its run: whom it is for, and the run above it.
    pub(super) fn meet(&mut self, number: u32, subject: &Subject, parent: Option<&Ref>) {
        let Some(run) = self.run(number) else { return };
        let parent = parent.filter(|_| run.execution.parent.is_none());
        let lacks = run.execution.subject.lacks(subject);
        if !lacks && parent.is_none() {
            return;
        }
        let lifted = self.lift(Concerns::Run(number));
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
        self.index.add_kill(&kill.id, self.truth.kills.len());
        self.name(at, &kill.execution, |run| {
            run.execution.kill = Some(kill.id.clone());
            if let Cause::Budget(counter) = &kill.cause {
                run.execution.hard_limit = Some((counter.budget.clone(), at.time));
            }
        });
        self.truth.kills.push(kill);
    }

    /// A kill only moves forward; what comes late is noted and changes no state.
    fn signalled(&mut self, at: At, fact: &Fact) {
        let (Fact::KillSent { kill: id, .. } | Fact::KillAcked { kill: id, .. } | Fact::KillConfirmed { kill: id, .. }) =
            fact
        else {
            return;
        };
        let Some(kill) = self.index.kill(id).and_then(|kill| self.truth.kills.get_mut(kill)) else { return };
        match fact {
            Fact::KillSent { channel, attempt, .. } => {
                if kill.attempts.len() >= ATTEMPTS_KEPT_MAX {
                    kill.attempts.remove(0);
                }
                kill.attempts.push((at.time, *channel, attempt.clone()));
                if *attempt == Attempt::Delivered {
                    kill.sent_at.get_or_insert(at.time);
                    kill.state = kill.state.max(KillState::Sent);
                }
            }
            Fact::KillAcked { channel, .. } => {
                kill.acked_at.get_or_insert(at.time);
                kill.acked_by.get_or_insert(*channel);
                kill.state = kill.state.max(KillState::Acked);
            }
            Fact::KillConfirmed { proof, .. } if kill.confirmed_at.is_none() => {
                kill.confirmed_at = Some(at.time);
                // A run that ended before any transport took its kill ended by itself.
                let moot = *proof == Proof::PhaseTerminal && kill.state == KillState::Fenced;
                kill.state = if moot { KillState::Moot } else { KillState::Confirmed };
            }
            _ => {}
        }
    }

    /// Changes a run that an entry names.
    fn name(&mut self, at: At, execution: &Ref, change: impl FnOnce(&mut Run)) {
        if let Some(run) = self.number(execution).and_then(|number| self.run_mut(number)) {
            run.touch(at.seq);
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
