//! Adjustments: the difference to a charge's newest price, booked once for each table that prices it.
//!
//! A positive difference is judged like a charge where the charge's window still runs; it may warn, reach and kill. A
//! closed window triggers nothing, and a refund neither triggers nor takes back what was triggered.

use std::sync::Arc;

use pricing::{Money, Timestamp};

use super::settle::Booking;
use super::{State, Verdict, allowance};
use crate::adjust::{Adjust, AdjustReason, Adjustment};
use crate::charge::Priced;
use crate::entry::Fact;
#[cfg(feature = "mistakes")]
use crate::mistakes::{Mistake::SettledTwice, made};
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
    let Some(total) = adjust.priced.total() else { return Verdict::Unchanged };
    #[cfg(feature = "mistakes")]
    let newest = if made(SettledTwice) { Newest { digest: None, ..newest } } else { newest };
    let supersedes = matches!(adjust.reason, AdjustReason::Superseded(_));
    if supersedes {
        // Once: what is superseded is an estimate no longer.
        if !state.is_estimate(adjust.of) {
            return Verdict::Unchanged;
        }
    } else if newest.total == Some(total) || (newest.digest.is_some() && newest.digest.as_ref() == table(&adjust)) {
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
    let who = Who { number: Some(number), run, subject: &run.execution.subject, call, above: run.parent };
    let Some(effects) = booking.effects(Some(number), who, None) else { return Verdict::OutOfRange };
    let Adjust { of, charge, priced, reason, run: pricing_run, .. } = adjust;
    let credits = allowance::facts(of, &charge, time, credits);
    let execution = charge.execution.clone();
    facts.push(Fact::Adjusted(Box::new(Adjustment {
        of,
        event_id: charge.event_id,
        execution: charge.execution,
        subject: charge.subject,
        called: charge.called,
        time,
        reason,
        before: newest.total,
        priced,
        delta,
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
    if state.is_quarantined(adjust.of) {
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

/// The digest of the table that gives the new price; a person's statement has none.
fn table(adjust: &Adjust) -> Option<&Arc<str>> {
    match (&adjust.reason, &adjust.priced) {
        (AdjustReason::Settled | AdjustReason::Repriced, Priced::Cost(cost)) => Some(&cost.table.digest),
        _ => None,
    }
}
