//! One call of the quarantine, by hand: what it is, and the price that a person states for it, booked once.
//!
//! A release is for calls that no table will ever price: their usage is missing or contradicts itself, or the price was agreed
//! elsewhere. Once a call has a price, a release changes it no more: that is an adjustment.

use std::sync::Arc;

use budget::charge::Priced;
use budget::{Adjust, AdjustReason, Entry, Fact, State, Turns};
use pricing::Money;

use super::book::book;
use super::walk::{Paper, calls_at, newest_adjustment};
use super::{Cut, Settler, blocking, price_of, settlement};

/// What is wished for a quarantined call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    /// The price; without one the tables in force are asked.
    pub cost: Option<Money>,
    /// Why.
    pub reason: Arc<str>,
    /// Who.
    pub by: Arc<str>,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Released {
    /// It has this price now.
    Booked(Money),
    /// It had a price already, this one; nothing was booked.
    Before(Money),
    /// No table in force has a price for it.
    NoPrice,
    /// The run's cost would leave the range.
    OutOfRange,
    /// There is no call in this entry that was ever without a price.
    Unknown,
}

/// A call that is or was in quarantine.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    /// The call, as booked.
    pub entry: Entry,
    /// What gave it a price; `None` while it has none.
    pub adjusted: Option<Entry>,
}

impl Settler {
    /// The call of entry `seq`, if it was booked without a price.
    pub async fn case(&self, seq: u64) -> Result<Option<Case>, Cut> {
        let view = &self.shared.view;
        let listed = view.read_fresh(|state| known_by(state, seq)).await;
        let reader = view.ledger().clone();
        blocking(move || {
            let Some(mut entry) = reader.entry(seq)? else { return Ok(None) };
            let Fact::Charged(charge) = &mut entry.fact else { return Ok(None) };
            let (unpriced, estimated) = (charge.price().is_none(), charge.estimated);
            if let Some(known_by) = listed {
                let Some(paper) = calls_at(&reader, &[(seq, known_by)])?.pop() else { return Ok(None) };
                **charge = paper.charge;
                return Ok(Some(Case { entry, adjusted: None }));
            }
            let adjusted = if unpriced || estimated { newest_adjustment(&reader, seq)? } else { None };
            let is_settled = adjusted.as_ref().is_some_and(
                |entry| matches!(&entry.fact, Fact::Adjusted(adjustment) if adjustment.turns == Turns::Priced),
            );
            Ok((unpriced || is_settled).then_some(Case { entry, adjusted }))
        })
        .await
    }

    /// Books the price of the call of entry `seq`, unless it has one.
    pub async fn release(&self, seq: u64, wish: &Wish) -> Result<Released, Cut> {
        let super::Shared { meter, view, prices, turn, .. } = &*self.shared;
        // Whatever else changes prices waits: between the look and the booking nothing comes in.
        let _turn = turn.lock().await;
        let Some(Case { adjusted, .. }) = self.case(seq).await? else { return Ok(Released::Unknown) };
        if let Some(Fact::Adjusted(adjustment)) = adjusted.map(|entry| entry.fact) {
            return Ok(Released::Before(adjustment.priced.total().unwrap_or_default()));
        }
        let known_by = view.read_fresh(|state| known_by(state, seq)).await.flatten();
        let (reader, book_in_force, wish) = (view.ledger().clone(), prices.load_full(), wish.clone());
        let read_to = reader.committed();
        let adjust = blocking(move || {
            let Some(paper) = calls_at(&reader, &[(seq, known_by)])?.pop() else { return Ok(None) };
            let Some(cost) = wish.cost else {
                let cost = price_of(&book_in_force, &paper.charge);
                return Ok(cost.map(|cost| settlement(paper, cost, read_to)));
            };
            let Paper { seq: of, logged, charge, standing, .. } = paper;
            let (priced, reason) =
                (Priced::Reported(cost), AdjustReason::Operator { reason: wish.reason, by: wish.by });
            Ok(Some(Adjust { of, logged, charge, standing, read_to, priced, reason, run: None }))
        });
        let Some(adjust) = adjust.await? else { return Ok(Released::NoPrice) };
        let price = adjust.priced.total().unwrap_or_default();
        let booked = book(meter, vec![adjust]).await?;
        Ok(if booked.out_of_range > 0 { Released::OutOfRange } else { Released::Booked(price) })
    }
}

/// The entry that says what the quarantined call of entry `seq` was, where an estimate of it was booked; `None` when none waits there.
fn known_by(state: &State, seq: u64) -> Option<Option<u64>> {
    let (_, listed) = state.quarantine(seq).next().filter(|(first, _)| *first == seq)?;
    Some(listed.known_by)
}
