//! Charges: spend is a fact and is never refused. What a charge moves may warn, reach a limit, and kill.

use std::sync::Arc;

use pricing::{Money, Timestamp};

use super::kill::{Kills, fenced, is_used_up};
use super::{State, Verdict, allowance, unpriced};
use crate::budget::{Action, Fraction, Unit};
use crate::charge::{Charge, Moved, Subject};
use crate::counter::{AHEAD_MAX_NANOS, Tally};
use crate::entry::{Fact, Opened};
use crate::limits::{OWN, RowRef};
#[cfg(feature = "mistakes")]
use crate::mistakes::{Mistake, made};
use crate::policy::Policy;
use crate::reservation::{Found, Standing};
use crate::scope::Ref;
use crate::signal::CounterAt;
use crate::state::{Bound, Run, Who};
use crate::window::{Span, Window};

/// What a charge sets off, in the order in which it is written.
#[derive(Default)]
pub(super) struct Effects<'a> {
    warned: Vec<(CounterAt, Fraction)>,
    reached: Vec<CounterAt>,
    /// The first terminating counter that is used up.
    cause: Option<(CounterAt, &'a Policy)>,
    /// Terminating shared counters that this charge used up.
    shared: Vec<(Bound<'a>, CounterAt)>,
    /// Runs whose own terminating budget is used up, for all runs below them.
    trees: Vec<(u32, CounterAt, &'a Policy)>,
}

/// A charge, or a difference to one, about to be booked.
pub(super) struct Booking<'a> {
    pub(super) state: &'a State,
    pub(super) now: Timestamp,
    pub(super) time: Timestamp,
    pub(super) run: &'a Run,
    pub(super) moved: Moved,
    /// A difference to a charge that was booked before: it triggers only what it moves itself.
    pub(super) adjusts: bool,
}

/// Books a call. A run that nobody opened is opened by it; what the call does not say is taken from the run.
pub(super) fn charge(state: &State, now: Timestamp, mut charge: Box<Charge>, facts: &mut Vec<Fact>) -> Verdict {
    let opened;
    let (number, run, opening) = match state.find(&charge.execution) {
        Some((number, run)) => (Some(number), run, None),
        None => {
            let Charge { execution, subject, parent, conversation, .. } = &*charge;
            let opening = opening(state, execution, subject, parent.as_ref(), conversation.clone());
            let mut run = Run::open(&opening, now);
            run.carry(state.waiting_budget(&charge.execution), now);
            opened = run;
            (None, &opened, Some(opening))
        }
    };
    charge.subject.fill_from(&run.execution.subject);
    if charge.conversation.is_none() {
        charge.conversation.clone_from(&run.execution.conversation);
    }
    let mut subject = std::borrow::Cow::Borrowed(&run.execution.subject);
    if subject.lacks(&charge.subject) {
        subject.to_mut().fill_from(&charge.subject);
    }
    find_claim(state, &mut charge);
    let above = state.above_of(run, &charge.execution, charge.parent.as_ref());
    let who = Who::call(number, run, &subject, &charge.subject, above);
    charge.ceiling = unpriced::ceiling(state, who, &charge);
    let credits = charge.priced.cost().map_or_else(Vec::new, |cost| allowance::credits(state, cost));
    let net = credits.last().map(|credit| credit.after.total);
    let moved = charge.moved();
    let moved = Moved { cost: net.unwrap_or(moved.cost), ..moved };
    let booking = Booking { state, now, time: charge.window_time(), run, moved, adjusts: false };
    let who = Who::call(number, run, &subject, &charge.subject, above);
    let Some(effects) = booking.effects(number, who, charge.parent.as_ref()) else { return Verdict::OutOfRange };
    let cost = net.or(charge.price());
    let execution = charge.execution.clone();
    facts.extend(opening.map(|opening| Fact::Opened(Box::new(opening))));
    let of = state.seq().saturating_add(u64::try_from(facts.len()).unwrap_or(u64::MAX)).saturating_add(1);
    let ahead_max = now.saturating_add(AHEAD_MAX_NANOS);
    let times = (charge.window_time().min(ahead_max), charge.time.min(ahead_max));
    let credits = allowance::facts(of, &charge, times, credits);
    facts.push(Fact::Charged(charge));
    facts.extend(credits);
    let fenced = booking.write(number, execution, effects, facts);
    Verdict::Booked { cost, fenced }
}

/// What the reservation that a charge names is to it.
fn find_claim(state: &State, charge: &mut Charge) {
    let Some(claim) = &mut charge.claim else { return };
    let known = state.reservation(&claim.reservation);
    let own = known.filter(|known| state.reserved_for(known) == Some(&charge.execution));
    claim.found = match own.map(|known| (known.standing, known.reserved_at)) {
        Some((Standing::Held, at)) => Found::Held(at),
        Some((Standing::Settled | Standing::Released | Standing::Expired, _)) => Found::Late,
        Some((Standing::Denied, _)) | None => Found::Nothing,
    };
}

/// The opening of a run by its first call or reservation.
pub(super) fn opening(
    state: &State,
    execution: &Ref,
    subject: &Subject,
    parent: Option<&Ref>,
    conversation: Option<Arc<str>>,
) -> Opened {
    let parent = parent.filter(|parent| state.accepts_parent(execution, parent)).cloned();
    Opened {
        execution: execution.clone(),
        subject: subject.clone(),
        parent,
        conversation,
        inherit_from_agent: true,
        budget: None,
        route: None,
        document: None,
    }
}

impl<'a> Booking<'a> {
    /// What it sets off; `None` when some sum would leave the range. `parent` is the one that the call names.
    pub(super) fn effects(&self, number: Option<u32>, who: Who<'a, '_>, parent: Option<&Ref>) -> Option<Effects<'a>> {
        self.check_totals(number, parent)?;
        let mut effects = Effects::default();
        let mut in_range = true;
        self.state.each_bound(who, |bound| in_range &= self.judge(bound, &mut effects).is_some());
        in_range.then_some(effects)
    }

    /// Every total of the run and of the runs above it stays within 38 digits.
    fn check_totals(&self, number: Option<u32>, parent: Option<&Ref>) -> Option<()> {
        let cost = self.moved.cost;
        let execution = &self.run.execution;
        execution.cost.checked_add(cost)?;
        execution.cost_after_fence.checked_add(cost)?;
        // A parent that this charge names first takes over all that the run has cost so far.
        let named = parent.filter(|_| execution.parent.is_none());
        let above = named.and_then(|parent| self.state.number(parent));
        let more = above.map_or(Some(cost), |_| execution.subtree_cost.checked_add(cost))?;
        execution.subtree_cost.checked_add(cost)?;
        let upwards = above.or_else(|| number.and(self.run.parent));
        for (_, run) in upwards.into_iter().flat_map(|parent| self.state.ancestry(parent)) {
            run.execution.subtree_cost.checked_add(more)?;
        }
        Some(())
    }

    /// Judges one counter; `None` when its sum would leave the range.
    fn judge(&self, bound: Bound<'a>, effects: &mut Effects<'a>) -> Option<()> {
        let delta = self.moved.unit(bound.row.unit);
        let (mut window, before, counts) = self.state.judged(&bound, self.time, self.now);
        if bound.row.window == Window::Run {
            window.start = if bound.up == 0 { self.run.started_with(self.time) } else { window.start };
        }
        let mut after = before;
        if counts {
            after.spent = before.spent.checked_add(delta)?;
            if bound.row.unit == Unit::Usd {
                Money::from_scaled(after.spent)?;
            }
        }
        if counts && delta > 0 {
            self.report(&bound, window, after, effects);
        }
        let triggers = !self.adjusts || (counts && delta > 0);
        if bound.slot.budget.on_hard_limit != Action::Terminate || !triggers {
            return Some(());
        }
        if bound.at.slot == OWN
            && (bound.up > 0 || bound.run.height > 0)
            && is_used_up(after, bound.cap.amount)
            && let Some(root) = self.state.number(&bound.run.execution.id)
        {
            effects.trees.extend(bound.slot.counter_at(bound.row, window, after).map(|counter| {
                let policy = &bound.slot.budget.policy;
                (root, counter, policy)
            }));
        }
        if effects.cause.is_none() && is_used_up(after, bound.cap.amount) {
            let counter = bound.slot.counter_at(bound.row, window, after);
            effects.cause = counter.map(|counter| (counter, &bound.slot.budget.policy));
        } else if effects.cause.is_none() && self.time > self.now && !self.adjusts {
            // A call dated into a later window was judged there; the window that runs holds as well.
            let (window, standing, _) = self.state.judged(&bound, self.now, self.now);
            if bound.row.window != Window::Run && is_used_up(standing, bound.cap.amount) {
                let counter = bound.slot.counter_at(bound.row, window, standing);
                effects.cause = counter.map(|counter| (counter, &bound.slot.budget.policy));
            }
        }
        Some(())
    }

    /// Soft levels and the hard limit that the counter stands at or above and that were not reported.
    fn report(&self, bound: &Bound<'a>, window: Span, after: Tally, effects: &mut Effects<'a>) {
        let Bound { slot, row, cap, .. } = *bound;
        for (level, from) in &cap.levels {
            #[cfg(feature = "mistakes")]
            if made(Mistake::SoftLevelLate) && after.spent == *from {
                continue;
            }
            if *level > after.warned && after.spent >= *from {
                effects.warned.extend(slot.counter_at(row, window, after).map(|counter| (counter, *level)));
            }
        }
        #[cfg(feature = "mistakes")]
        if made(Mistake::LimitLate) && after.spent == cap.amount {
            return;
        }
        if !is_used_up(after, cap.amount) || after.reached {
            return;
        }
        let Some(counter) = slot.counter_at(row, window, after) else { return };
        if row.window != Window::Run && slot.budget.on_hard_limit == Action::Terminate {
            effects.shared.push((*bound, counter.clone()));
        }
        effects.reached.push(counter);
    }

    /// Writes the effects; is the run fenced?
    pub(super) fn write(
        &self,
        number: Option<u32>,
        execution: Ref,
        effects: Effects<'a>,
        facts: &mut Vec<Fact>,
    ) -> bool {
        let Effects { warned, reached, cause, shared, trees } = effects;
        let warned = warned.into_iter();
        facts.extend(warned.map(|(counter, level)| Fact::Warned { execution: execution.clone(), counter, level }));
        facts.extend(reached.into_iter().map(|counter| Fact::Reached { execution: execution.clone(), counter }));
        let mut kills = Kills::of(self.state, self.now);
        let mut is_fenced = self.run.execution.kill.is_some();
        #[cfg(feature = "mistakes")]
        if made(Mistake::FencedCallUnsaid) {
            is_fenced = false;
        }
        let cost = self.run.execution.cost.checked_add(self.moved.cost).unwrap_or(self.run.execution.cost);
        if let Some(kill) = self.state.turn_used_up(&self.run.execution, cost) {
            facts.push(fenced(kill, cost));
            is_fenced = true;
        } else if let Some((counter, policy)) = cause {
            let before = facts.len();
            // A run that this charge opens gets the next number, which no other run has.
            kills.kill(number.unwrap_or(u32::MAX), self.run, counter, policy, cost, facts);
            is_fenced |= facts.get(before..).into_iter().flatten().any(|fact| matches!(fact, Fact::Killed { .. }));
        }
        for (Bound { slot, at: RowRef { row, .. }, .. }, counter) in shared {
            kills.sharing(slot, row, &counter, facts);
        }
        for (root, counter, policy) in trees {
            kills.tree(root, &counter, policy, facts);
        }
        is_fenced
    }
}
