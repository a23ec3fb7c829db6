//! Calls without a price: what is held for each until its price arrives, and cost that nothing was held for.
//!
//! A call that has reserved is covered by what its reservation holds, which stays as long as such a call is open; any other
//! one by a hold of its own, as much as its entry says. Each is given back once: by the adjustment that gives its charge
//! its first price. A call without one that superseded its estimate holds what a ceiling is above that.

use pricing::{Money, Timestamp};

use super::hold::{Part, place};
use super::run::plus;
use super::{Overshoot, State};
use crate::adjust::{Adjustment, QUARANTINE_LISTED_MAX, Turns};
use crate::charge::{Charge, Subject};
use crate::counter::Row;
#[cfg(feature = "mistakes")]
use crate::mistakes::{Mistake, made};
use crate::reservation::{Amounts, Claim, Found, Reservation, Standing};

impl State {
    /// Does the reservation that a charge settles hold money, which covers a price that is missing?
    pub(crate) fn is_covered(&self, charge: &Charge) -> bool {
        let Some(Claim { reservation, found: Found::Held(_), .. }) = &charge.claim else { return false };
        self.reservation(reservation).is_some_and(|found| found.is_held() && found.held.usd > Money::ZERO)
    }

    /// Is there room for one more hold of a call without a price? As many as the quarantine lists.
    pub(crate) fn may_cover(&self) -> bool {
        self.truth.reservations.covers.len() < QUARANTINE_LISTED_MAX
    }

    /// What is held for a charge without a price, until it has one.
    #[must_use]
    pub fn held_unpriced(&self, charge: u64) -> Option<Money> {
        let found = self.truth.reservations.covers.get(&charge)?;
        self.truth.reservations.get(*found).map(|found| found.held.usd).filter(|held| *held > Money::ZERO)
    }

    /// Holds for a charge that has no price. Comes before its reservation is resolved by it.
    pub(super) fn cover(&mut self, seq: u64, now: Timestamp, run: u32, call: &Subject, charge: &Charge) {
        if charge.price().is_some() || !self.may_cover() {
            return;
        }
        if self.is_covered(charge) {
            let id = charge.claim.as_ref().map(|claim| &claim.reservation);
            let Some(at) = id.and_then(|id| self.place_of(id)) else { return };
            if let Some(found) = self.truth.reservations.get_mut(at) {
                found.unpriced = found.unpriced.saturating_add(1);
            }
            self.truth.reservations.covers.insert(seq, at);
            return;
        }
        // Also where nothing can be held: the price that comes is known to be of a call that had reserved nothing, or was late.
        let late = charge.claim.as_ref().is_some_and(|claim| claim.found == Found::Late);
        let usd = charge.ceiling.unwrap_or(Money::ZERO);
        self.hold_alone(seq, run, call, usd, Row::effective(charge.window_time(), now), late);
    }

    /// Holds for a call that superseded its estimate and has no price. A price that comes then is late.
    pub(super) fn cover_superseding(&mut self, now: Timestamp, run: u32, adjustment: &Adjustment) {
        if self.may_cover()
            && let Some(ceiling) = adjustment.ceiling
        {
            // For whom the estimate was booked, whatever the run has learnt of itself since.
            let call = &adjustment.subject;
            self.hold_alone(adjustment.of, run, call, ceiling, Row::effective(adjustment.time, now), true);
        }
    }

    /// A hold of its own for the charge of entry `seq`.
    fn hold_alone(&mut self, seq: u64, run: u32, call: &Subject, usd: Money, at: Timestamp, late: bool) {
        let own = self.run(run).is_some_and(|run| run.execution.subject == *call);
        let call = (!own).then(|| Box::new(call.clone()));
        let rows = self.rows_for(run, call.as_deref(), Part::Unpriced);
        let asked = Amounts::money(usd);
        let held = Reservation {
            id: "".into(),
            run,
            rows,
            call,
            body: 0,
            asked,
            held: asked,
            spent: Money::ZERO,
            reserved_at: at,
            until: at,
            generation: 0,
            standing: if late { Standing::Expired } else { Standing::Settled },
            denial: None,
            unpriced: 1,
            settled_by: seq,
        };
        let number = self.truth.reservations.insert(held);
        self.truth.reservations.covers.insert(seq, number);
        self.put(run, rows, at, &asked, 1);
    }

    /// Gives back what stood for the price of a charge, which costs so much; what of it nothing was held for. `None` for a
    /// charge that had a price.
    fn uncover(&mut self, charge: u64, cost: Money) -> Option<Overshoot> {
        let at = self.truth.reservations.covers.remove(&charge)?;
        let found = self.truth.reservations.get_mut(at)?;
        let used = found.held.usd.min(cost).max(Money::ZERO);
        found.unpriced = found.unpriced.saturating_sub(1);
        found.spent = plus(found.spent, cost);
        let over = !found.counts();
        let back = if over { found.held } else { Amounts::money(used) };
        found.held = found.held.less(&back);
        let (run, rows, time, nobodys) = (found.run, found.rows, found.reserved_at, found.is_cover());
        let mut not_held = Overshoot::default();
        match (nobodys, found.standing) {
            (false, _) => not_held.above_estimate = above(cost, used),
            (true, Standing::Expired) => not_held.late = above(cost, Money::ZERO),
            (true, _) => not_held.unreserved = above(cost, Money::ZERO),
        }
        #[cfg(feature = "mistakes")]
        if made(Mistake::CeilingKept) {
            return Some(not_held);
        }
        self.put(run, rows, time, &back, -1);
        if over {
            self.let_go(rows);
            if nobodys {
                let reservations = &mut self.truth.reservations;
                if let Some(free) = reservations.all.get_mut(place(at)) {
                    *free = None;
                }
                reservations.free.push(at);
            } else {
                self.retire(at);
            }
        }
        Some(not_held)
    }

    /// What a charge costs above what is held for it. Comes before that is taken off.
    pub(super) fn overshoot_of(&self, charge: &Charge) -> Overshoot {
        let cost = charge.amount();
        let mut over = Overshoot::default();
        match charge.claim.as_ref().map(|claim| (&claim.reservation, claim.found)) {
            Some((id, Found::Held(_))) => {
                let held = self.reservation(id).map_or(Money::ZERO, |found| found.held.usd);
                over.above_estimate = above(cost, held);
            }
            Some((_, Found::Late)) => over.late = above(cost, Money::ZERO),
            Some((_, Found::Nothing)) | None => over.unreserved = above(cost, Money::ZERO),
        }
        over
    }

    /// What an adjustment adds above what is held for its charge, which is given back by it.
    pub(super) fn overshoot_settled(&mut self, adjustment: &Adjustment) -> Overshoot {
        let settled =
            (adjustment.turns == Turns::Priced).then(|| self.uncover(adjustment.of, adjustment.delta)).flatten();
        settled.unwrap_or_else(|| Overshoot { late: above(adjustment.delta, Money::ZERO), ..Overshoot::default() })
    }
}

/// `(cost − held)⁺`.
fn above(cost: Money, held: Money) -> Money {
    cost.checked_sub(held).unwrap_or(cost).max(Money::ZERO)
}
