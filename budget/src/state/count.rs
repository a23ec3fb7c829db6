//! The counters' side of the fold: which sums a charge moves, and what was reported about them.

use std::borrow::Cow;

use pricing::Timestamp;

use super::hold::HeldRow;
use super::run::plus;
use super::{Overshoot, State, Truth, Who};
use crate::budget::Source;
use crate::charge::{Moved, Subject};
use crate::counter::Tally;
use crate::limits::{OWN, RowRef, Slot};
#[cfg(feature = "mistakes")]
use crate::mistakes::{Mistake::SkipACounter, made};
use crate::scope::Ref;
use crate::signal::CounterAt;
use crate::window::Window;

impl State {
    /// Adds a call, dated `time`, to every counter that binds it: the walk that `decide` makes, and then the sums. `over` is
    /// what of it nothing was held for.
    pub(super) fn count(
        &mut self,
        now: Timestamp,
        number: u32,
        call: &Subject,
        time: Timestamp,
        moved: &Moved,
        over: &Overshoot,
    ) {
        let run_class = self.rebind(number);
        let Some(run) = self.truth.runs.get(place(number)).and_then(Option::as_deref) else { return };
        let subject = &run.execution.subject;
        let mut class = run_class;
        if call != subject {
            // Remembered before the walk, so that the walk and the next call of this kind find it.
            let limits = &self.truth.limits;
            let key = limits.class_key(run.of_run(), call);
            let make = || limits.class(run.of_run(), call);
            class = Some(self.index.class_number(limits, key, make));
        }
        let mut rows = std::mem::take(&mut self.index.scratch);
        let who = Who::call(Some(number), run, subject, call, run.parent);
        self.each_bound(who, |bound| rows.push(bound.held_row()));
        for HeldRow { at, unit, window, whole_run, up } in rows.drain(..) {
            let delta = moved.unit(unit);
            #[cfg(feature = "mistakes")]
            if window == Window::Hour && made(SkipACounter) {
                continue;
            }
            let Some(owner) = (if up == 0 { Some(number) } else { self.above(number, up) }) else { continue };
            if window == Window::Run {
                self.change(owner, at, whole_run, |tally| tally.add(delta));
            } else if let Some(slot) = self.slot_mut(owner, at.slot) {
                slot.book(at.row, now, time, delta);
            }
        }
        self.index.scratch = rows;
        for slot in class.and_then(|class| self.index.class_at(class)).into_iter().flat_map(|class| &class.slots) {
            if let Some(slot) = self.truth.limits.slot_mut(*slot) {
                slot.charged = plus(slot.charged, moved.cost);
                slot.overshoot = plus(slot.overshoot, over.total());
            }
        }
    }

    /// Lets a run follow the limits and its subject; the number of its class.
    pub(super) fn rebind(&mut self, number: u32) -> Option<u32> {
        let limits = &self.truth.limits;
        let run = self.truth.runs.get_mut(place(number))?.as_deref_mut()?;
        if run.bound_at == limits.generation
            && let Some(class) = self.index.known_class(number)
        {
            return Some(class);
        }
        run.follow(limits);
        let subject = &run.execution.subject;
        let key = limits.class_key(run.of_run(), subject);
        let class = self.index.class_number(limits, key, || limits.class(run.of_run(), subject));
        self.index.set_class(number, Some(class));
        Some(class)
    }

    /// Changes the tally of a per-run limit.
    pub(super) fn change(&mut self, number: u32, at: RowRef, whole_run: bool, change: impl FnOnce(&mut Tally)) {
        let Truth { limits, runs, .. } = &mut self.truth;
        let Some(run) = runs.get_mut(place(number)).and_then(Option::as_deref_mut) else { return };
        let slot = if at.slot == OWN { run.own.as_deref() } else { limits.slot(at.slot) };
        let Some(row) = slot.and_then(|slot| slot.row(at.row)) else { return };
        let (term, total) = (row.term, run.whole_total(at, row, whole_run));
        run.change(at, term, total, change);
    }

    pub(super) fn slot_mut(&mut self, number: u32, slot: u32) -> Option<&mut Slot> {
        if slot == OWN { self.run_mut(number)?.own.as_deref_mut() } else { self.truth.limits.slot_mut(slot) }
    }

    /// Notes what was reported about a counter.
    pub(super) fn mark(&mut self, execution: &Ref, counter: &CounterAt, note: impl FnOnce(&mut Tally)) {
        // A run's own budget has the run's name; the call may be of a run below it.
        let owner = if counter.source == Source::Execution { self.number(&counter.budget) } else { None };
        let Some(number) = owner.or_else(|| self.number(execution)) else { return };
        let slot = match counter.source {
            Source::Execution => Some(OWN),
            source => self.truth.limits.find(source, &counter.budget),
        };
        let Some(slot_number) = slot else { return };
        let Some(slot) = self.slot_mut(number, slot_number) else { return };
        let Some(row) = slot.find(counter) else { return };
        if counter.window == Window::Run {
            self.change(number, RowRef { slot: slot_number, row }, false, note);
        } else {
            slot.mark(row, counter.span, note);
        }
    }
}

/// A call's subject with what it leaves out taken from its run.
pub(super) fn filled<'a>(call: &'a Subject, run: &Subject) -> Cow<'a, Subject> {
    if !call.lacks(run) {
        return Cow::Borrowed(call);
    }
    let mut call = call.clone();
    call.fill_from(run);
    Cow::Owned(call)
}

fn place(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
