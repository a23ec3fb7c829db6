//! Adjustments: the difference to a charge's newest price, booked once for each table that prices it.
//!
//! A positive difference is judged like a charge where the charge's window still runs; it may warn, reach and kill. A
//! closed window triggers nothing, and a refund neither triggers nor takes back what was triggered. A call that supersedes
//! its estimate and has no price counts what it used at once; the estimate's money stands for its price until that is there.

use std::sync::Arc;

use pricing::{Money, Timestamp};

use super::settle::Booking;
use super::{State, Verdict, allowance, unpriced};
use crate::adjust::{Adjust, AdjustReason, Adjustment, Turns};
use crate::charge::{Charge, Priced};
use crate::entry::Fact;
#[cfg(feature = "mistakes")]
use crate::mistakes::{Mistake::SettledTwice, Mistake::UnpricedIsLost, made};
use crate::state::Who;

/// The newest price of a charge, and the table that gave it.
struct Newest {
    total: Option<Money>,
    digest: Option<Arc<str>>,
}

/// Books the difference. `Unchanged` when the charge has that price already, or has a price of that table.
pub(super) fn adjust(state: &State, now: Timestamp, adjust: Adjust, facts: &mut Vec<Fact>) -> Verdict {
    // A run of that name which is younger than the charge is another one: the charge's own was forgotten.
    let found = state.find(&adjust.charge.execution).filter(|(_, run)| run.opened_seq <= adjust.of);
    let Some((number, run)) = found else { return Verdict::UnknownExecution };
    let Some(newest) = newest(state, &adjust) else { return Verdict::Stale };
    let supersedes = matches!(adjust.reason, AdjustReason::Superseded(_));
    let total = match adjust.priced.total() {
        Some(total) => total,
        #[cfg(feature = "mistakes")]
        None if made(UnpricedIsLost) => return Verdict::Unchanged,
        None if supersedes && may_stay_open(state, &adjust, &newest) => newest.total.unwrap_or(Money::ZERO),
        None => return Verdict::Unchanged,
    };
    #[cfg(feature = "mistakes")]
    let newest = if made(SettledTwice) { Newest { digest: None, ..newest } } else { newest };
    let open = newest.total.is_none() || state.is_quarantined(adjust.of);
    if supersedes {
        // Once: what is superseded is an estimate no longer.
        if !state.is_estimate(adjust.of) {
            return Verdict::Unchanged;
        }
    } else if !open
        && (newest.total == Some(total) || (newest.digest.is_some() && newest.digest.as_ref() == table(&adjust)))
    {
        return Verdict::Unchanged;
    }
    let Some(delta) = total.checked_sub(newest.total.unwrap_or(Money::ZERO)) else { return Verdict::OutOfRange };
    let time = adjust.effective_time();
    // A price that comes late draws on the allowance of its own time as far as it is not used up by now.
    let credits = match (&adjust.reason, adjust.priced.cost()) {
        (AdjustReason::Settled | AdjustReason::Superseded(_), Some(cost)) => allowance::credits(state, cost),
        _ => Vec::new(),
    };
    let net = credits.last().map_or(total, |credit| credit.after.total);
    let Some(moved) = net.checked_sub(newest.total.unwrap_or(Money::ZERO)) else { return Verdict::OutOfRange };
    let booking = Booking { state, now, time, run, moved: adjust.reason.moved(moved), adjusts: true };
    let call = &adjust.charge.subject;
    let who = Who::call(Some(number), run, &run.execution.subject, call, run.parent);
    let Some(effects) = booking.effects(Some(number), who, None) else { return Verdict::OutOfRange };
    let turns = match (open, adjust.priced.total()) {
        (true, Some(_)) => Turns::Priced,
        (false, None) => Turns::Unpriced,
        (true, None) | (false, Some(_)) => Turns::Not,
    };
    let ceiling = (turns == Turns::Unpriced).then(|| ceiling_beside(state, who, &adjust, total)).flatten();
    let event_time = adjust.event_time();
    let Adjust { of, charge, priced, reason, run: pricing_run, .. } = adjust;
    let credits = allowance::facts(of, &charge, (time, event_time), credits);
    let execution = charge.execution.clone();
    facts.push(Fact::Adjusted(Box::new(Adjustment {
        of,
        event_id: charge.event_id,
        execution: charge.execution,
        subject: charge.subject,
        called: charge.called,
        time,
        event_time,
        reason,
        before: newest.total,
        priced,
        delta,
        turns,
        ceiling,
        run: pricing_run,
    })));
    facts.extend(credits);
    let fenced = booking.write(Some(number), execution, effects, facts);
    Verdict::Booked { cost: Some(net), fenced }
}

/// What the state knows of the charge goes before what the caller read; `None` when neither can be sure.
fn newest(state: &State, adjust: &Adjust) -> Option<Newest> {
    if let Some(standing) = state.standing(adjust.of) {
        return Some(Newest { total: Some(standing.total), digest: Some(Arc::clone(&standing.digest)) });
    }
    if state.is_quarantined(adjust.of) && adjust.standing.is_none() && adjust.charge.price().is_none() {
        return Some(Newest { total: None, digest: None });
    }
    if adjust.read_to < state.adjustments_forgotten_to() {
        return None;
    }
    Some(match (&adjust.standing, &adjust.charge.priced) {
        (Some(standing), _) => Newest { total: Some(standing.total), digest: Some(Arc::clone(&standing.digest)) },
        (None, Priced::Cost(cost)) => Newest { total: Some(cost.total), digest: Some(Arc::clone(&cost.table.digest)) },
        (None, priced) => Newest { total: priced.total(), digest: None },
    })
}

/// A call without a price takes its estimate's place only where it can be listed until it has one.
fn may_stay_open(state: &State, adjust: &Adjust, newest: &Newest) -> bool {
    state.is_quarantined(adjust.of) || (newest.total.is_some() && state.may_list())
}

/// What budgets hold for such a call beyond the money of its estimate, which stays spent.
fn ceiling_beside(state: &State, who: Who<'_, '_>, adjust: &Adjust, booked: Money) -> Option<Money> {
    let call = Charge { priced: adjust.priced.clone(), claim: None, ..adjust.charge.clone() };
    let beside = unpriced::ceiling(state, who, &call)?.checked_sub(booked)?;
    (beside > Money::ZERO).then_some(beside)
}

/// The digest of the table that gives the new price; a person's statement has none.
fn table(adjust: &Adjust) -> Option<&Arc<str>> {
    match (&adjust.reason, &adjust.priced) {
        (AdjustReason::Settled | AdjustReason::Repriced, Priced::Cost(cost)) => Some(&cost.table.digest),
        _ => None,
    }
}
