//! Reservations: check and hold are one step, for every counter that binds the call, of every run above it as well.
//!
//! A seen id has its outcome already. A denial names the fence, the end, or the counter that lacks headroom; a grant
//! holds on all counters at once. Spend is never refused here: settling is `settle`'s.

use std::borrow::Cow;
use std::sync::Arc;

use pricing::{Money, Timestamp};

use super::settle::opening;
use super::{State, Verdict};
use crate::budget::{Action, Unit};
use crate::charge::Subject;
use crate::entry::Fact;
#[cfg(feature = "mistakes")]
use crate::mistakes::{Mistake, made};
use crate::policy::OnUnpriced;
use crate::reservation::{Amounts, Denial, EXPIRED_PER_DECISION_MAX, Reservation, Reserve, Reserved, Standing, expiry};
use crate::scope::Ref;
use crate::state::{Bound, Run, Who};

/// Grants or refuses; what is seen again is answered as the first time.
pub(super) fn reserve(state: &State, now: Timestamp, wish: Box<Reserve>, facts: &mut Vec<Fact>) -> Verdict {
    let known = state.reservation(&wish.id);
    #[cfg(feature = "mistakes")]
    let known = known.filter(|known| !made(Mistake::DeniedThenGranted) || known.standing != Standing::Denied);
    if let Some(known) = known {
        return seen(known, wish.body);
    }
    let opened;
    let (number, run, opening) = match state.find(&wish.execution) {
        Some((number, run)) => (Some(number), run, None),
        None => {
            let opening = opening(state, &wish.execution, &wish.subject, wish.parent.as_ref(), None);
            let mut run = Run::open(&opening, now);
            run.carry(state.waiting_budget(&wish.execution), now);
            opened = run;
            (None, &opened, Some(opening))
        }
    };
    let (subject, call) = subjects(run, &wish.subject);
    let above = state.above_of(run, &wish.execution, wish.parent.as_ref());
    let who = Who::call(number, run, &subject, &call, above);
    let per_call = state.per_call(who);
    let asked = asked(state, who, &wish, per_call.as_ref().map(|(_, limit)| *limit));
    let denial = fence(run).or_else(|| match (state.turn_left(&run.execution), asked) {
        // The last turn has its own allowance, which stands above the limits of the budgets that grant one; others hold.
        (Some(turn), Ok(amounts)) if !turn.has_room(now, amounts.usd) || run.execution.holds > 0 => {
            Some(Denial::Fenced(turn.kill))
        }
        (turn, Ok(amounts)) => {
            let unpriced = wish.estimate.unpriced;
            too_dear(per_call, &amounts).or_else(|| short_of(state, now, who, &amounts, unpriced, turn.is_some()))
        }
        (_, Err(_)) => Some(refused_unpriced(state, who, &wish).unwrap_or(Denial::NoEstimate)),
    });
    let (Ok(amounts) | Err(amounts)) = asked;
    let expires_at = wish.expires_at(now);
    let Reserve { id, body, execution, subject, parent, .. } = *wish;
    facts.extend(opening.map(|opening| Fact::Opened(Box::new(opening))));
    facts.push(Fact::Reserved(Reserved {
        id,
        body,
        execution,
        subject,
        parent,
        asked: amounts,
        expires_at,
        generation: state.limits().generation,
        denial: denial.clone().map(Box::new),
    }));
    match denial {
        Some(denial) => Verdict::Refused { denial: Box::new(denial), asked: amounts, again: false },
        None => Verdict::Granted { asked: amounts, expires_at, standing: Standing::Held, again: false },
    }
}

fn seen(known: &Reservation, body: u64) -> Verdict {
    if known.body != body {
        return Verdict::ReservationConflict;
    }
    let asked = known.asked;
    match &known.denial {
        Some(denial) => Verdict::Refused { denial: denial.clone(), asked, again: true },
        None => Verdict::Granted { asked, expires_at: known.until, standing: known.standing, again: true },
    }
}

/// The run's subject as it is after the call, and the call's own.
fn subjects<'r, 'c>(run: &'r Run, call: &'c Subject) -> (Cow<'r, Subject>, Cow<'c, Subject>) {
    let mut subject = Cow::Borrowed(&run.execution.subject);
    if subject.lacks(call) {
        subject.to_mut().fill_from(call);
    }
    let mut call = Cow::Borrowed(call);
    if call.lacks(&subject) {
        call.to_mut().fill_from(&subject);
    }
    (subject, call)
}

/// The fence: a killed or finished run reserves nothing.
fn fence(run: &Run) -> Option<Denial> {
    let ended = (!run.is_live()).then_some(Denial::Ended(run.execution.phase));
    run.execution.kill.clone().map(Denial::Fenced).or(ended)
}

/// What is to be held. An estimate without an amount is a ceiling: what one call may cost on its route, else the highest
/// that its budgets name, else the caller's. `Err`: dollars are limited and nobody says how many.
fn asked(state: &State, who: Who<'_, '_>, wish: &Reserve, per_call: Option<Money>) -> Result<Amounts, Amounts> {
    let estimate = wish.estimate;
    let counts = Amounts {
        usd: Money::ZERO,
        tokens: estimate.tokens,
        tool_calls: estimate.tool_calls,
        model_calls: estimate.model_calls,
    };
    if let Some(usd) = estimate.usd {
        return Ok(Amounts { usd, ..counts });
    }
    let mut ceiling: Option<Money> = None;
    let mut limited = false;
    state.each_bound(who, |bound| {
        let budget = &bound.slot.budget;
        ceiling = ceiling.max(budget.policy.estimate_ceiling);
        // A call without a price that a budget lets go on needs no amount for it.
        let goes_on = estimate.unpriced && budget.policy.on_unpriced == OnUnpriced::Allow;
        limited |= bound.row.unit == Unit::Usd && budget.on_hard_limit >= Action::Deny && !goes_on;
    });
    match per_call.or(ceiling).or(wish.ceiling) {
        Some(usd) => Ok(Amounts { usd, ..counts }),
        None if limited => Err(counts),
        None => Ok(counts),
    }
}

/// The first thing that the call is too much for, if it is.
fn short_of(
    state: &State,
    now: Timestamp,
    who: Who<'_, '_>,
    asked: &Amounts,
    unpriced: bool,
    in_turn: bool,
) -> Option<Denial> {
    let mut denial = None;
    let unpriced = unpriced || who.run.execution.unpriced_calls > 0;
    state.each_bound(who, |bound| {
        #[cfg(feature = "mistakes")]
        if in_turn && made(Mistake::TurnPassesAll) {
            return;
        }
        if in_turn && bound.slot.budget.grants_a_turn() {
            return;
        }
        if denial.is_none() {
            denial = super::unpriced::denial(&bound, unpriced).or_else(|| lacking(state, now, &bound, asked));
        }
    });
    denial
}

/// The call alone is more than its route lets one call cost.
fn too_dear(per_call: Option<(Ref, Money)>, asked: &Amounts) -> Option<Denial> {
    per_call.filter(|(_, limit)| asked.usd > *limit).map(|(budget, limit)| Denial::PerCall { budget, limit })
}

/// The budget that refuses a call because nobody knows its price.
fn refused_unpriced(state: &State, who: Who<'_, '_>, wish: &Reserve) -> Option<Denial> {
    let mut denial = None;
    state.each_bound(who, |bound| {
        denial = denial.take().or_else(|| super::unpriced::denial(&bound, wish.estimate.unpriced))
    });
    denial
}

/// The denial of a counter for which `spent + held + asked` is above the limit. A unit that the call does not use is no
/// reason to refuse it; a model call uses tokens, also where its caller says no number.
fn lacking(state: &State, now: Timestamp, bound: &Bound<'_>, asked: &Amounts) -> Option<Denial> {
    if bound.slot.budget.on_hard_limit < Action::Deny {
        return None;
    }
    let unit = bound.row.unit;
    let mut amount = asked.unit(unit);
    if amount == 0 {
        if unit != Unit::Tokens || asked.model_calls == 0 {
            return None;
        }
        amount = 1;
    }
    let (window, tally, _) = state.judged(bound, now, now);
    #[cfg(feature = "mistakes")]
    let tally = crate::counter::Tally { held: if made(Mistake::HeldIgnored) { 0 } else { tally.held }, ..tally };
    let after = tally.spent.saturating_add(tally.held).saturating_add(amount);
    if after <= bound.cap.amount {
        return None;
    }
    let mut counter = bound.slot.counter_at(bound.row, window, tally)?;
    counter.resets_at = bound.row.resets_at(window, after.saturating_sub(bound.cap.amount));
    Some(Denial::Limit(counter))
}

/// Gives a live reservation back.
pub(super) fn release(state: &State, id: &Arc<str>, facts: &mut Vec<Fact>) -> Verdict {
    let Some((known, execution)) = find(state, id) else { return Verdict::UnknownReservation };
    match known.standing {
        Standing::Held => {
            let (reservation, standing) = (Arc::clone(id), Standing::Released);
            facts.push(Fact::Resolved { reservation, execution, standing });
            Verdict::Done
        }
        Standing::Released => Verdict::Unchanged,
        standing => Verdict::AlreadyResolved(standing),
    }
}

/// Gives a live reservation more time, counted from now. A run that is fenced or over gets none.
pub(super) fn extend(state: &State, now: Timestamp, id: &Arc<str>, ttl_ms: u64, facts: &mut Vec<Fact>) -> Verdict {
    let Some((known, execution)) = find(state, id) else { return Verdict::UnknownReservation };
    if !known.is_held() {
        return Verdict::AlreadyResolved(known.standing);
    }
    if let Some(denial) = state.find(&execution).and_then(|(_, run)| fence(run)) {
        return Verdict::Refused { denial: Box::new(denial), asked: known.asked, again: false };
    }
    let expires_at = expiry(now, ttl_ms);
    facts.push(Fact::Extended { reservation: Arc::clone(id), execution, expires_at });
    Verdict::Granted { asked: known.asked, expires_at, standing: Standing::Held, again: false }
}

/// Lets expire what is due: at most `EXPIRED_PER_DECISION_MAX` at once.
pub(super) fn expire(state: &State, now: Timestamp, facts: &mut Vec<Fact>) -> Verdict {
    let before = facts.len();
    for due in state.expired(now).take(EXPIRED_PER_DECISION_MAX) {
        let Some(execution) = state.reserved_for(due).cloned() else { continue };
        facts.push(Fact::Resolved { reservation: Arc::clone(&due.id), execution, standing: Standing::Expired });
    }
    if facts.len() == before { Verdict::Unchanged } else { Verdict::Done }
}

fn find<'a>(state: &'a State, id: &str) -> Option<(&'a Reservation, Ref)> {
    let known = state.reservation(id)?;
    Some((known, state.reserved_for(known)?.clone()))
}
