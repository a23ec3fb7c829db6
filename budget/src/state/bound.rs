//! Which counters bind a call. One walk for decisions, allowances and the fold, so that they cannot differ.
//!
//! A call counts towards every per-run limit of its run, whomever the call is for; towards the per-run limits that
//! match the call's own subject; and towards the shared limits that match the call's own subject. An agent's share of
//! any limit counts that agent's calls only.

use std::borrow::Cow;

use pricing::{Money, Timestamp};

use super::hold::HeldRow;
use super::{Run, State};
use crate::budget::{Budget, Source, Unit};
use crate::charge::Subject;
use crate::counter::{Cap, Row, Share, Tally};
use crate::limits::{Class, OWN, RowRef, Slot};
#[cfg(feature = "mistakes")]
use crate::mistakes::{Mistake::LateCallCounts, made};
use crate::policy::OnUnpriced;
use crate::scope::Ref;
use crate::signal::CounterAt;
use crate::window::{Span, Window};

/// A call's run and whom the call is for.
#[derive(Clone, Copy)]
pub(crate) struct Who<'a, 'c> {
    /// The run's number, if it is open.
    pub(crate) number: Option<u32>,
    pub(crate) run: &'a Run,
    /// The run's subject, as it is after the call.
    pub(crate) subject: &'c Subject,
    /// The call's subject.
    pub(crate) call: &'c Subject,
    /// The call's subject is the run's.
    same: bool,
    /// The run above, also where the call is the first to name it.
    pub(crate) above: Option<u32>,
}

/// One counter that binds a call.
#[derive(Clone, Copy)]
pub(crate) struct Bound<'a> {
    pub(crate) slot: &'a Slot,
    pub(crate) row: &'a Row,
    pub(crate) cap: &'a Cap,
    pub(crate) at: RowRef,
    /// A per-run limit that counts all calls of the run.
    pub(crate) whole_run: bool,
    /// The run whose counter it is, for limits of a run: the call's own, or one above it whose own budget it is.
    pub(crate) run: &'a Run,
    /// Steps up the tree to that run.
    pub(crate) up: u8,
}

impl Bound<'_> {
    pub(crate) fn held_row(&self) -> HeldRow {
        let Row { unit, window, .. } = *self.row;
        HeldRow { at: self.at, unit, window, whole_run: self.whole_run, up: self.up }
    }

    /// Dollars of a budget that holds a ceiling while a call has no price?
    pub(crate) fn holds_unpriced(&self) -> bool {
        self.row.unit == Unit::Usd && self.slot.budget.policy.on_unpriced == OnUnpriced::Hold
    }
}

impl<'a> Who<'a, 'a> {
    /// A run that makes no call.
    pub(crate) fn run(number: u32, run: &'a Run) -> Self {
        let subject = &run.execution.subject;
        Self { number: Some(number), run, subject, call: subject, same: true, above: run.parent }
    }
}

impl<'a, 'c> Who<'a, 'c> {
    /// A call of a run.
    pub(crate) fn call(
        number: Option<u32>,
        run: &'a Run,
        subject: &'c Subject,
        call: &'c Subject,
        above: Option<u32>,
    ) -> Self {
        Self { number, run, subject, call, same: std::ptr::eq(subject, call) || subject == call, above }
    }
}

impl State {
    /// Every counter that binds a call: the run's own budget, its per-run limits, shared limits, and the own budgets of
    /// the runs above it, which count all that is below them.
    pub(crate) fn each_bound<'a>(&'a self, who: Who<'a, '_>, mut each: impl FnMut(Bound<'a>)) {
        each_own(who.run, who.call, 0, &mut each);
        let run_class = self.class_of(who, who.subject);
        self.each_row(who, &run_class.run, true, &mut each);
        if who.same {
            self.each_row(who, &run_class.shared, false, &mut each);
        } else {
            let class = self.class_of(who, who.call);
            for at in class.run.iter().filter(|at| !run_class.run.contains(at)) {
                self.each_row(who, std::slice::from_ref(at), false, &mut each);
            }
            self.each_row(who, &class.shared, false, &mut each);
        }
        if let Some(above) = who.above {
            for ((_, run), up) in self.ancestry(above).zip(1..) {
                each_own(run, who.call, up, &mut each);
            }
        }
    }

    /// What one call may cost at most, by the route that it takes: the lowest such amount, and whose it is.
    pub(crate) fn per_call(&self, who: Who<'_, '_>) -> Option<(Ref, Money)> {
        let class = self.class_of(who, if who.same { who.subject } else { who.call });
        let slots = class.slots.iter().filter_map(|slot| self.truth.limits.slot(*slot));
        let limits = slots.filter_map(|slot| Some((&slot.budget, slot.budget.policy.per_call?)));
        limits.min_by_key(|(_, limit)| *limit).map(|(budget, limit)| (budget.id.clone(), limit))
    }

    fn each_row<'a>(&'a self, who: Who<'a, '_>, rows: &[RowRef], whole_run: bool, mut each: impl FnMut(Bound<'a>)) {
        let Who { call, run, .. } = who;
        for at in rows {
            let slot = self.truth.limits.slot(at.slot);
            let row = slot.and_then(|slot| slot.row(at.row));
            if let (Some(slot), Some(row)) = (slot, row)
                && let Some(cap) = &row.cap
                && row.share.binds(call.agent.as_ref(), &slot.budget.by_agent)
            {
                each(Bound { slot, row, cap, at: *at, whole_run, run, up: 0 });
            }
        }
    }

    fn class_of<'a>(&'a self, who: Who<'_, '_>, subject: &Subject) -> Cow<'a, Class> {
        let limits = &self.truth.limits;
        let run = who.run;
        let own = &run.execution.subject;
        if let Some(number) = who.number
            && (std::ptr::eq(subject, own) || subject == own)
            && run.bound_at == limits.generation
            && let Some(class) = self.index.class_of_run(number)
        {
            return Cow::Borrowed(class);
        }
        let key = limits.class_key(run.of_run(), subject);
        match self.index.class(limits.generation, &key) {
            Some(class) => Cow::Borrowed(class),
            None => Cow::Owned(limits.class(run.of_run(), subject)),
        }
    }

    /// A counter's window and sums for a call dated `time` and logged at `now`: those of the running window, or of a
    /// later one when the call is dated ahead; and whether the call counts there.
    pub(crate) fn judged(&self, bound: &Bound<'_>, time: Timestamp, now: Timestamp) -> (Span, Tally, bool) {
        let Bound { slot, row, run, .. } = bound;
        if row.window == Window::Run {
            let tally = run.tally(&self.truth.limits, bound.at, row, bound.whole_run);
            return (Span { start: run.execution.started_at, end: None }, tally, true);
        }
        let at = Row::effective(time, now);
        #[cfg(feature = "mistakes")]
        let at = if made(LateCallCounts) { at.max(now) } else { at };
        let window = row.window_at(&slot.calendar, at.max(now));
        (window, row.tally(window), window.contains(at))
    }

    /// Every counter of a shared window at `now`, budget by budget.
    #[must_use]
    pub fn counters(&self, now: Timestamp) -> Vec<CounterAt> {
        let mut all = Vec::new();
        for (_, slot) in self.truth.limits.iter() {
            for row in slot.rows.iter().filter(|row| row.window != Window::Run) {
                let window = row.window_at(&slot.calendar, now);
                all.extend(slot.counter_at(row, window, row.tally(window)));
            }
        }
        all
    }

    /// For each budget with a per-run limit in USD: the highest share of it that a live run has used, in parts per
    /// million; 0 when none has. A run's own budget is not listed.
    #[must_use]
    pub fn run_utilization(&self) -> Vec<(Source, Ref, u64)> {
        let mut highest: Vec<Option<u64>> = Vec::new();
        for (_, slot) in self.truth.limits.iter() {
            let limited = |row: &Row| row.window == Window::Run && row.unit == Unit::Usd && row.cap.is_some();
            highest.push(slot.rows.iter().any(limited).then_some(0));
        }
        let order: Vec<u32> = self.truth.limits.iter().map(|(at, _)| at).collect();
        for (number, run) in self.live_runs() {
            self.each_bound(Who::run(number, run), |bound| {
                let Bound { row, at, cap, .. } = bound;
                if row.window != Window::Run || row.unit != Unit::Usd || row.share != Share::Whole {
                    return;
                }
                let spent = run.tally(&self.truth.limits, at, row, bound.whole_run).spent;
                let found = order.binary_search(&at.slot).ok().and_then(|position| highest.get_mut(position));
                if let Some(Some(highest)) = found {
                    *highest = share_ppm(spent, cap.amount).max(*highest);
                }
            });
        }
        let slots = self.truth.limits.iter().map(|(_, slot)| &slot.budget);
        slots.zip(highest).filter_map(|(budget, most)| Some((budget.source, budget.id.clone(), most?))).collect()
    }

    /// Is a run bound by a budget: has one been charged to it, or does one of the newest `runs_max` match?
    #[must_use]
    pub fn binds_some_run(&self, budget: &Budget, runs_max: usize) -> bool {
        let slot = self.truth.limits.find(budget.source, &budget.id).and_then(|slot| self.truth.limits.slot(slot));
        let charged = slot.is_some_and(|slot| !slot.charged.is_zero());
        charged || self.executions().rev().take(runs_max).any(|run| self.binds(budget, &run.id))
    }

    /// Cost of calls that a budget binds for which nothing was held, since it was created.
    #[must_use]
    pub fn overshoot_of_budget(&self, source: Source, id: &Ref) -> Option<Money> {
        let slot = self.truth.limits.find(source, id)?;
        Some(self.truth.limits.slot(slot)?.overshoot)
    }

    /// Money charged to each budget since it was created, all windows together; it never falls at a window's end.
    pub fn charged_by_budget(&self) -> impl Iterator<Item = (Source, &Ref, Money)> {
        self.truth.limits.iter().map(|(_, slot)| (slot.budget.source, &slot.budget.id, slot.charged))
    }
}

/// The counters of the budget that a run carries itself.
fn each_own<'a>(run: &'a Run, call: &Subject, up: u8, each: &mut impl FnMut(Bound<'a>)) {
    let Some(slot) = &run.own else { return };
    for (row, found) in slot.bound(call.agent.as_ref()) {
        if let Some(cap) = &found.cap {
            each(Bound { slot, row: found, cap, at: RowRef { slot: OWN, row }, whole_run: true, run, up });
        }
    }
}

/// `spent ÷ limit` in parts per million, rounded down; any spending of a limit of zero is the highest share.
fn share_ppm(spent: i128, limit: i128) -> u64 {
    if spent <= 0 {
        return 0;
    }
    let ppm = match spent.checked_mul(1_000_000) {
        Some(scaled) => scaled.checked_div(limit),
        None => spent.checked_div(limit.checked_div(1_000_000).unwrap_or(0)),
    };
    ppm.and_then(|ppm| u64::try_from(ppm).ok()).unwrap_or(u64::MAX)
}
