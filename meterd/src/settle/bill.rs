//! What a provider billed, booked: the difference between a bill and what was metered, spread over the calls that it is for.
//!
//! Booked once, the bill and the ledger agree, so booking the same bill again finds no difference. Cut off in the middle, a
//! repeat books what is left.

use std::collections::BTreeSet;
use std::sync::Arc;

use budget::charge::{Called, Priced};
use budget::{Adjust, AdjustReason};
use pricing::{Money, Timestamp};

use super::walk::{Paper, Walk, first_logged};
use super::{Cut, Settler, blocking, book::book};
use crate::ledger::Reader;

/// Calls of one line of a bill, at most: beyond that a table with the right price is the way.
const CALLS_MAX: usize = 200_000;
const DAY_NANOS: i64 = 86_400_000_000_000;

/// One line to book.
#[derive(Clone, Debug)]
pub struct BillLine {
    /// Start of the day, UTC.
    pub day: Timestamp,
    /// Providers of the calls; empty for all.
    pub providers: Vec<Arc<str>>,
    /// Models of the calls.
    pub models: BTreeSet<Arc<str>>,
    /// What their cost must come to.
    pub billed: Money,
    /// Whose bill, for the reason.
    pub bill: Arc<str>,
}

/// What became of a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Booking {
    /// Adjustments booked.
    pub booked: u64,
    /// Their sum.
    pub difference: Money,
    /// There are too many calls, or none, to spread it over.
    pub left: bool,
}

/// A call and its price now.
struct Call {
    paper: Paper,
    price: i128,
}

impl Settler {
    /// Books the difference of one line over its calls, each by its share of their cost.
    pub async fn book_bill(&self, line: &BillLine) -> Result<Booking, Cut> {
        let super::Shared { meter, view, turn, .. } = &*self.shared;
        let _turn = turn.lock().await;
        let (reader, wanted) = (view.ledger().clone(), line.clone());
        let read_to = reader.committed();
        let calls = blocking(move || calls_of(reader, &wanted)).await?;
        let Some(calls) = calls.filter(|calls| !calls.is_empty()) else {
            return Ok(Booking { left: true, ..Booking::default() });
        };
        let metered = calls.iter().fold(0_i128, |sum, call| sum.saturating_add(call.price));
        let difference = line.billed.scaled().saturating_sub(metered);
        let Some(difference) = Money::from_scaled(difference) else { return Err(Cut::OutOfRange) };
        let wishes = spread(calls, difference.scaled()).filter_map(|(call, price)| wish(call, price, line, read_to));
        let booked = book(meter, wishes.collect()).await?.booked;
        Ok(Booking { booked, difference, left: false })
    }
}

/// The calls of a line; `None` when there are too many.
fn calls_of(reader: Reader, line: &BillLine) -> Result<Option<Vec<Call>>, crate::ledger::LedgerError> {
    let end = line.day.saturating_add(DAY_NANOS);
    // A call is logged at most an hour before its own time.
    let from = first_logged(&reader, line.day.saturating_add(-budget::counter::AHEAD_MAX_NANOS))?;
    let mut walk = Walk::open(reader, from)?;
    let mut calls = Vec::new();
    while let Some(papers) = walk.next_charges()? {
        for paper in papers {
            let charge = &paper.charge;
            let Called::Model { provider, model, .. } = &charge.called else { continue };
            let ours = line.providers.is_empty() || line.providers.contains(provider);
            if !ours || !line.models.contains(model) || charge.time < line.day || charge.time >= end {
                continue;
            }
            if calls.len() == CALLS_MAX {
                return Ok(None);
            }
            let price = paper.standing.as_ref().map(|standing| standing.total).or(charge.price()).unwrap_or_default();
            calls.push(Call { price: price.scaled(), paper });
        }
    }
    Ok(Some(calls))
}

/// New prices: each call's and its share of the difference. The shares sum to it exactly; calls that cost nothing share alike
/// when all of them do.
fn spread(calls: Vec<Call>, difference: i128) -> impl Iterator<Item = (Call, i128)> {
    let total: u128 = calls.iter().map(|call| call.price.unsigned_abs()).fold(0, u128::saturating_add);
    let alike = total == 0;
    let whole = if alike { calls.len() as u128 } else { total };
    let (mut weighed, mut given) = (0_u128, 0_i128);
    calls.into_iter().map(move |call| {
        weighed = weighed.saturating_add(if alike { 1 } else { call.price.unsigned_abs() });
        let so_far = share(difference.unsigned_abs(), weighed, whole);
        let so_far = i128::try_from(so_far).unwrap_or(i128::MAX) * difference.signum();
        let price = call.price.saturating_add(so_far - given);
        given = so_far;
        (call, price)
    })
}

/// `amount × part / whole`, rounded down, without ever holding the product: `part` is at most `whole`.
fn share(amount: u128, part: u128, whole: u128) -> u128 {
    let Some(high) = amount.checked_div(whole) else { return 0 };
    let low = amount % whole;
    let (mut quotient, mut rest) = (0_u128, 0_u128);
    for bit in (0..u128::BITS).rev() {
        quotient = quotient.saturating_mul(2);
        rest = rest.saturating_mul(2);
        if part >> bit & 1 == 1 {
            quotient = quotient.saturating_add(high);
            rest = rest.saturating_add(low);
        }
        quotient = quotient.saturating_add(rest / whole);
        rest %= whole;
    }
    quotient
}

fn wish(call: Call, price: i128, line: &BillLine, read_to: u64) -> Option<Adjust> {
    let total = Money::from_scaled(price)?;
    if price == call.price && call.paper.charge.price().is_some() {
        return None;
    }
    let day = line.day.to_string();
    let day = day.get(..10).unwrap_or(&day);
    Some(Adjust {
        of: call.paper.seq,
        logged: call.paper.logged,
        charge: call.paper.charge,
        standing: call.paper.standing,
        read_to,
        priced: Priced::Reported(total),
        reason: AdjustReason::Operator {
            reason: Arc::from(format!("bill of {} for {day}", line.bill)),
            by: Arc::from("reconcile"),
        },
        run: Some(Arc::from(format!("bill-{}-{day}", line.bill))),
    })
}

#[cfg(test)]
mod tests {
    use super::share;

    #[test]
    fn shares_are_exact_beyond_what_a_product_can_hold() {
        assert_eq!(share(10, 1, 3), 3);
        assert_eq!(share(10, 3, 3), 10);
        let (amount, whole) = (10_u128.pow(37) + 7, 10_u128.pow(36) + 3);
        assert_eq!(share(amount, whole, whole), amount);
        // Half of a whole that is even: exactly half, rounded down.
        assert_eq!(share(amount, 10_u128.pow(36) / 2, 10_u128.pow(36)), amount / 2);
        assert_eq!(share(0, 1, 1), 0);
    }
}
