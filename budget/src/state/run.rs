//! A run and its own counters. What it shares with other runs lives in `limits`.

use pricing::{Money, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Execution, Overshoot, Tokens};
use crate::adjust::Turns;
use crate::budget::{Budget, Unit};
use crate::charge::Moved;
use crate::counter::{Row, Share, Tally};
use crate::entry::{Opened, Phase};
use crate::limits::{Limits, OWN, RowRef, Slot};
use crate::link::OfRun;
use crate::scope::Ref;

/// A run: what everybody may see of it, and what only budgets need.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Run {
    pub(crate) execution: Execution,
    pub(crate) inherit: bool,
    /// The route that it takes instead of its agent's.
    pub(crate) route: Option<Ref>,
    /// Its parent's number, once that run is known.
    pub(crate) parent: Option<u32>,
    /// Generations below it.
    pub(crate) height: u32,
    /// What the runs below it used, beside money.
    pub(crate) below: Below,
    /// The entry that opened it: what is older is of another run of that name.
    pub(crate) opened_seq: u64,
    /// Log time of the newest entry that named it.
    pub(crate) named_at: Timestamp,
    /// The budget that it carries itself.
    pub(crate) own: Option<Box<Slot>>,
    /// Counters of per-run limits.
    counters: Vec<RunCounter>,
    /// Generation of the limits that `counters` follow.
    pub(crate) bound_at: u64,
}

/// What the runs below a run used, beside money, of which `Execution::subtree_cost` has the sum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Below {
    pub(crate) tokens: i128,
    pub(crate) tool_calls: i64,
    pub(crate) model_calls: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct RunCounter {
    at: RowRef,
    /// The row's term that it counts.
    term: u32,
    tally: Tally,
}

impl Below {
    pub(super) fn of(moved: &Moved) -> Self {
        let tool_calls = i64::try_from(moved.unit(Unit::ToolCalls)).unwrap_or(i64::MAX);
        Self { tokens: moved.unit(Unit::Tokens), tool_calls, model_calls: moved.model_calls }
    }

    pub(super) fn add(&mut self, more: &Self) {
        self.tokens = self.tokens.saturating_add(more.tokens);
        self.tool_calls = self.tool_calls.saturating_add(more.tool_calls);
        self.model_calls = self.model_calls.saturating_add(more.model_calls);
    }
}

impl RunCounter {
    /// Follows a changed budget; false when its limit is gone.
    fn follow(&mut self, slot: Option<&Slot>) -> bool {
        let row = slot.and_then(|slot| slot.row(self.at.row)).filter(|row| row.term == self.term);
        let Some(cap) = row.and_then(|row| row.cap.as_ref()) else { return false };
        self.tally = self.tally.rearmed(cap);
        true
    }
}

impl Run {
    /// A run as its opening says; the parent is linked by whoever knows the other runs.
    pub(crate) fn open(opened: &Opened, at: Timestamp) -> Self {
        let mut subject = opened.subject.clone();
        subject.share();
        let mut id = opened.execution.clone();
        id.namespace = pricing::text::shared(&id.namespace);
        let execution = Execution {
            id,
            subject,
            parent: None,
            conversation: opened.conversation.clone(),
            phase: Phase::Pending,
            document: opened.document.clone(),
            started_at: at,
            completed_at: None,
            rested_at: None,
            cost: Money::ZERO,
            subtree_cost: Money::ZERO,
            model_calls: 0,
            tool_calls: 0,
            approvals: 0,
            tokens: Tokens::default(),
            unpriced_calls: 0,
            calls_after_fence: 0,
            cost_after_fence: Money::ZERO,
            tables: Vec::new(),
            kill: None,
            winding: None,
            soft_limit: None,
            hard_limit: None,
            last_seq: 0,
            revision: 0,
            holds: 0,
            overshoot: Overshoot::default(),
        };
        let own = opened.budget.clone().map(|budget| Box::new(Slot::new(budget, at)));
        Self {
            execution,
            inherit: opened.inherit_from_agent,
            route: opened.route.clone(),
            parent: None,
            height: 0,
            below: Below::default(),
            opened_seq: 0,
            named_at: at,
            own,
            counters: Vec::new(),
            bound_at: 0,
        }
    }

    /// Takes what a new description says; what it leaves out stays.
    pub(crate) fn describe(&mut self, opened: &Opened) {
        let mut subject = opened.subject.clone();
        subject.fill_from(&self.execution.subject);
        self.execution.subject = subject;
        if opened.conversation.is_some() {
            self.execution.conversation.clone_from(&opened.conversation);
        }
        if opened.document.is_some() {
            self.execution.document.clone_from(&opened.document);
        }
        if opened.route.is_some() {
            self.route.clone_from(&opened.route);
        }
        self.inherit = opened.inherit_from_agent;
    }

    /// Takes a budget of its own, or gives it up.
    pub(crate) fn carry(&mut self, budget: Option<Budget>, now: Timestamp) {
        match (&mut self.own, budget) {
            (Some(own), Some(budget)) => {
                own.replace(budget, now);
                self.counters.retain_mut(|counter| counter.at.slot != OWN || counter.follow(Some(own)));
            }
            (own, Some(budget)) => *own = Some(Box::new(Slot::new(budget, now))),
            (own, None) => {
                *own = None;
                self.counters.retain(|counter| counter.at.slot != OWN);
            }
        }
    }

    /// What decides which budgets bind its calls.
    pub(crate) fn of_run(&self) -> OfRun<'_> {
        OfRun { execution: &self.execution.id, inherit: self.inherit, route: self.route.as_ref() }
    }

    /// Live: not over yet.
    pub(crate) fn is_live(&self) -> bool {
        !self.execution.phase.is_terminal()
    }

    /// What the run and all runs below it used, beside money.
    pub(super) fn whole(&self) -> Below {
        let mut whole = self.below;
        let Execution { tokens, tool_calls, model_calls, .. } = &self.execution;
        let tool_calls = i64::try_from(*tool_calls).unwrap_or(i64::MAX);
        whole.add(&Below { tokens: tokens.total(), tool_calls, model_calls: *model_calls });
        whole
    }

    /// The total of a unit of the run and of all runs below it: what its own budget counts.
    pub(crate) fn subtree_total(&self, unit: Unit) -> i128 {
        match unit {
            Unit::Usd => self.execution.subtree_cost.scaled(),
            Unit::Tokens => self.total(unit).saturating_add(self.below.tokens),
            Unit::ToolCalls => self.total(unit).saturating_add(i128::from(self.below.tool_calls)),
            Unit::ModelCalls => self.total(unit).saturating_add(i128::from(self.below.model_calls)),
        }
    }

    /// The run's total of a unit.
    pub(crate) fn total(&self, unit: Unit) -> i128 {
        let Execution { cost, tokens, tool_calls, model_calls, .. } = &self.execution;
        match unit {
            Unit::Usd => cost.scaled(),
            Unit::Tokens => tokens.total(),
            Unit::ToolCalls => i128::from(*tool_calls),
            Unit::ModelCalls => i128::from(*model_calls),
        }
    }

    /// The tally of a per-run limit. What counts the whole run is the run's total, also where the limit came later; a
    /// share of it, or a limit that binds only some of its calls, starts at zero.
    pub(crate) fn tally(&self, limits: &Limits, at: RowRef, row: &Row, whole_run: bool) -> Tally {
        let total = self.whole_total(at, row, whole_run);
        let known = self.counters.iter().find(|counter| counter.at == at && counter.term == row.term);
        let mut tally = known.map_or_else(Tally::default, |counter| counter.tally);
        tally.spent = total.unwrap_or(tally.spent);
        match &row.cap {
            Some(cap) if self.bound_at != limits.generation && at.slot != OWN => tally.rearmed(cap),
            _ => tally,
        }
    }

    /// The run's total, if that is what a row counts.
    pub(crate) fn whole_total(&self, at: RowRef, row: &Row, whole_run: bool) -> Option<i128> {
        let total = || if at.slot == OWN { self.subtree_total(row.unit) } else { self.total(row.unit) };
        (whole_run && row.share == Share::Whole).then(total)
    }

    /// Changes a tally, which is made when it is new. With a `total` its sum is taken from there first. What an earlier term
    /// of the limit counted is no tally of this one: it would be dropped, with the change, once the run follows the limits.
    pub(crate) fn change(&mut self, at: RowRef, term: u32, total: Option<i128>, change: impl FnOnce(&mut Tally)) {
        let set = |tally: &mut Tally| tally.spent = total.unwrap_or(tally.spent);
        self.counters.retain(|counter| counter.at != at || counter.term == term);
        if let Some(counter) = self.counters.iter_mut().find(|counter| counter.at == at) {
            set(&mut counter.tally);
            change(&mut counter.tally);
            return;
        }
        let mut tally = Tally::default();
        set(&mut tally);
        change(&mut tally);
        self.counters.push(RunCounter { at, term, tally });
    }

    /// Brings the counters to the present generation of the limits: those of limits out of force go.
    pub(crate) fn follow(&mut self, limits: &Limits) {
        if self.bound_at == limits.generation {
            return;
        }
        self.counters.retain_mut(|counter| counter.at.slot == OWN || counter.follow(limits.slot(counter.at.slot)));
        self.bound_at = limits.generation;
    }

    /// When the run will have started once a call of this time is booked: with its earliest call.
    pub(crate) fn started_with(&self, time: Timestamp) -> Timestamp {
        if self.execution.calls() == 0 { time } else { self.execution.started_at.min(time) }
    }

    /// Adds a charge to the run's own totals.
    pub(crate) fn book(&mut self, moved: &Moved, time: Timestamp) {
        self.revise();
        let started_at = self.started_with(time);
        let execution = &mut self.execution;
        execution.started_at = started_at;
        if execution.phase == Phase::Pending {
            execution.phase = Phase::Running;
        }
        execution.cost = plus(execution.cost, moved.cost);
        execution.model_calls = execution.model_calls.saturating_add(moved.model_calls);
        execution.tool_calls = execution.tool_calls.saturating_add(moved.tool_calls);
        execution.approvals = execution.approvals.saturating_add(moved.approvals);
        execution.tokens.add(&moved.tokens.into());
        if execution.kill.is_some() {
            execution.calls_after_fence = execution.calls_after_fence.saturating_add(1);
            execution.cost_after_fence = plus(execution.cost_after_fence, moved.cost);
        }
    }

    /// Adds the difference to a charge to the run's own totals.
    pub(crate) fn adjust(&mut self, moved: &Moved, turns: Turns, after_fence: bool) {
        self.revise();
        let execution = &mut self.execution;
        execution.cost = plus(execution.cost, moved.cost);
        execution.tokens.add(&Tokens::difference(&moved.tokens, &moved.fewer));
        let tool_calls = execution.tool_calls.saturating_add(moved.tool_calls);
        execution.tool_calls = tool_calls.saturating_sub(moved.fewer_tool_calls);
        if after_fence {
            execution.cost_after_fence = plus(execution.cost_after_fence, moved.cost);
        }
        let unpriced = &mut execution.unpriced_calls;
        match turns {
            Turns::Not => {}
            Turns::Priced => *unpriced = unpriced.saturating_sub(1),
            Turns::Unpriced => *unpriced = unpriced.saturating_add(1),
        }
    }

    /// Notes that an entry named this run. One that was at rest is awake again.
    pub(crate) fn touch(&mut self, seq: u64, at: Timestamp) {
        self.execution.last_seq = seq;
        #[cfg(feature = "mistakes")]
        if crate::mistakes::made(crate::mistakes::Mistake::RevisedByAny) {
            self.revise();
        }
        self.named_at = at;
        #[cfg(feature = "mistakes")]
        if crate::mistakes::made(crate::mistakes::Mistake::RestedAwake) {
            return;
        }
        self.execution.rested_at = None;
    }

    /// Counts one more entry that came to the sum of a run which had ended.
    fn revise(&mut self) {
        if self.execution.completed_at.is_some() {
            self.execution.revision = self.execution.revision.saturating_add(1);
        }
    }
}

/// A sum for the fold, which cannot fail: `decide` has refused what would leave the range.
pub(crate) fn plus(sum: Money, more: Money) -> Money {
    sum.checked_add(more).unwrap_or(sum)
}
