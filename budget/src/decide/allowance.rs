//! Free allowances: what of a call is free is booked as credits, each an entry of its own after the charge.
//!
//! Pricing says on the line which quota a call may draw on; only here is known what is left of it. The credit is an
//! adjustment of the charge, so every counter, sum and proof treats it as one.

use std::sync::Arc;

use pricing::cost::{Cost, Free, Line, without_free};
use pricing::{Money, Quantity, Timestamp};

use super::State;
use crate::adjust::{AdjustReason, Adjustment, Drawn, Turns};
use crate::charge::{Charge, Priced};
use crate::entry::Fact;

/// A credit, and the price that the charge has with it and those before it.
pub(super) struct Credit {
    drawn: Drawn,
    before: Money,
    pub(super) after: Cost,
}

/// The credits of a price, in the order of its lines; none where a sum would leave the range.
pub(super) fn credits(state: &State, cost: &Cost) -> Vec<Credit> {
    let mut credits: Vec<Credit> = Vec::new();
    for (index, line) in cost.lines.iter().enumerate().filter(|(_, line)| !line.amount.is_zero()) {
        let Some(free) = line.free.as_deref() else { continue };
        let within = credits.iter().map(|credit| &credit.drawn);
        let Some(quantity) = left(state, free, within).map(|left| left.min(line.quantity)) else { continue };
        if quantity.is_zero() {
            continue;
        }
        let so_far = credits.last().map_or(cost, |credit| &credit.after);
        let Some(after) = with_credit(so_far, index, quantity) else { continue };
        let Free { name, group, start, end, .. } = free.clone();
        let drawn = Drawn { name, group, start, end, unit: line.unit, quantity };
        credits.push(Credit { drawn, before: so_far.total, after });
    }
    credits
}

/// What is left of a quota, less what earlier lines of the same call took.
fn left<'a>(state: &State, free: &Free, within: impl Iterator<Item = &'a Drawn>) -> Option<Quantity> {
    let used = state.allowance_used(&free.group, free.start)?;
    let mine = within.filter(|drawn| drawn.group == free.group && drawn.start == free.start);
    let used = mine.map(|drawn| drawn.quantity).try_fold(used, Quantity::checked_add)?;
    Some(free.quota.checked_sub(used).unwrap_or(Quantity::ZERO))
}

/// The same price with that much of one line for nothing.
fn with_credit(cost: &Cost, index: usize, quantity: Quantity) -> Option<Cost> {
    let mut after = cost.clone();
    let line: &mut Line = after.lines.get_mut(index)?;
    let amount = without_free(line, quantity)?;
    (line.quantity, line.amount) = (line.quantity.checked_sub(quantity)?, amount);
    after.total = Money::checked_sum(after.lines.iter().map(|line| line.amount))?;
    Some(after)
}

/// The credits as entries; `of` is the charge's own, `time` the one that its windows took it by, `event_time` its own.
pub(super) fn facts(
    of: u64,
    charge: &Charge,
    (time, event_time): (Timestamp, Timestamp),
    credits: Vec<Credit>,
) -> Vec<Fact> {
    let fact = |Credit { drawn, before, after }: Credit| {
        let delta = after.total.checked_sub(before).unwrap_or(Money::ZERO);
        Fact::Adjusted(Box::new(Adjustment {
            of,
            event_id: charge.event_id.clone(),
            execution: charge.execution.clone(),
            subject: charge.subject.clone(),
            called: charge.called.clone(),
            time,
            event_time,
            reason: AdjustReason::Allowance(Arc::new(drawn)),
            before: Some(before),
            priced: Priced::Cost(after),
            delta,
            turns: Turns::Not,
            ceiling: None,
            run: None,
        }))
    };
    credits.into_iter().map(fact).collect()
}
