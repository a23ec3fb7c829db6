//! The fold of adjustments, and what is known of unpriced and of adjusted charges.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use pricing::Timestamp;
use serde::{Deserialize, Serialize};

use super::State;
use super::fold::pin;
use crate::adjust::{
    ADJUSTMENTS_KEPT_MAX, AdjustReason, Adjustment, Beyond, ESTIMATES_KEPT_MAX, QUARANTINE_LISTED_MAX, Quarantined,
    Standing, Turns,
};
use crate::charge::{Charge, Priced};
#[cfg(feature = "mistakes")]
use crate::mistakes::{Mistake::RefundNotCounted, Mistake::SupersededTwice, made};

/// Unpriced charges and the newest adjustments.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Prices {
    /// By sequence number of the charge; at most `QUARANTINE_LISTED_MAX`.
    quarantine: BTreeMap<u64, Quarantined>,
    beyond: Beyond,
    /// By sequence number of the adjustment: the charge and its price. At most `ADJUSTMENTS_KEPT_MAX`, and never two
    /// of one charge.
    pub(super) recent: BTreeMap<u64, (u64, Standing)>,
    /// Sequence number of the newest adjustment that is not kept.
    forgotten_to: u64,
    /// Charges that are estimates; at most `ESTIMATES_KEPT_MAX`.
    estimates: BTreeSet<u64>,
}

impl State {
    /// Charges without a price from sequence number `from` on, oldest first: those that are listed.
    pub fn quarantine(&self, from: u64) -> impl Iterator<Item = (u64, &Quarantined)> {
        self.truth.prices.quarantine.range(from..).map(|(seq, quarantined)| (*seq, quarantined))
    }

    /// How many charges have no price, listed or not.
    #[must_use]
    pub fn quarantined(&self) -> u64 {
        let Prices { quarantine, beyond, .. } = &self.truth.prices;
        u64::try_from(quarantine.len()).unwrap_or(u64::MAX).saturating_add(beyond.count)
    }

    /// Charges without a price that are not listed.
    #[must_use]
    pub fn quarantine_beyond(&self) -> Beyond {
        self.truth.prices.beyond
    }

    /// What a recent adjustment made of a charge's price.
    #[must_use]
    pub fn standing(&self, charge: u64) -> Option<&Standing> {
        let seq = self.index.adjusted.get(&charge)?;
        self.truth.prices.recent.get(seq).map(|(_, standing)| standing)
    }

    /// Is this charge an estimate that the call's own event would supersede?
    #[must_use]
    pub fn is_estimate(&self, charge: u64) -> bool {
        self.truth.prices.estimates.contains(&charge)
    }

    /// Remembers a charge that is an estimate.
    pub(super) fn estimated(&mut self, seq: u64, charge: &Charge) {
        if charge.estimated {
            let estimates = &mut self.truth.prices.estimates;
            estimates.insert(seq);
            if estimates.len() > ESTIMATES_KEPT_MAX {
                estimates.pop_first();
            }
        }
    }

    pub(crate) fn is_quarantined(&self, charge: u64) -> bool {
        self.truth.prices.quarantine.contains_key(&charge)
    }

    /// Is there room to list one more call without a price?
    pub(crate) fn may_list(&self) -> bool {
        self.truth.prices.quarantine.len() < QUARANTINE_LISTED_MAX
    }

    pub(crate) fn adjustments_forgotten_to(&self) -> u64 {
        self.truth.prices.forgotten_to
    }

    /// Lists a charge that has no price.
    pub(super) fn set_aside(&mut self, seq: u64, charge: &Charge) {
        let Some(quarantined) = Quarantined::of(charge) else { return };
        let Prices { quarantine, beyond, .. } = &mut self.truth.prices;
        if quarantine.len() < QUARANTINE_LISTED_MAX {
            quarantine.insert(seq, quarantined);
            return;
        }
        if beyond.count == 0 {
            beyond.from = seq;
        }
        beyond.count = beyond.count.saturating_add(1);
    }

    pub(super) fn adjusted(&mut self, seq: u64, now: Timestamp, adjustment: &Adjustment) {
        let Some(number) = self.number(&adjustment.execution) else { return };
        let moved = adjustment.moved();
        #[cfg(feature = "mistakes")]
        let moved = if made(RefundNotCounted) && moved.cost < pricing::Money::ZERO {
            crate::charge::Moved::money(pricing::Money::ZERO)
        } else {
            moved
        };
        let over = self.overshoot_settled(adjustment);
        if adjustment.turns == Turns::Unpriced {
            self.cover_superseding(now, number, adjustment);
        }
        self.count(now, number, &adjustment.subject, adjustment.time, &moved, &over);
        self.add_to_tree(number, &moved);
        let after_fence = self.is_after_fence(number, adjustment.of);
        if let Some(run) = self.run_mut(number) {
            run.touch(seq, now);
            run.execution.overshoot.add(&over);
            run.adjust(&moved, adjustment.turns, after_fence);
            if let Priced::Cost(cost) = &adjustment.priced {
                pin(&mut run.execution.tables, &cost.table);
            }
        }
        match &adjustment.reason {
            AdjustReason::Allowance(drawn) => self.draw(drawn),
            #[cfg(feature = "mistakes")]
            AdjustReason::Superseded(_) if made(SupersededTwice) => {}
            AdjustReason::Superseded(_) => {
                self.truth.prices.estimates.remove(&adjustment.of);
            }
            AdjustReason::Settled | AdjustReason::Repriced | AdjustReason::Operator { .. } => {}
        }
        self.remember(seq, adjustment);
    }

    /// Was this charge booked after its run was fenced?
    fn is_after_fence(&self, number: u32, charge: u64) -> bool {
        let kill = self.run(number).and_then(|run| run.execution.kill.as_deref());
        let fence = kill.and_then(|kill| self.kill(kill)?.fence_seq);
        fence.is_some_and(|fence| charge > fence)
    }

    fn remember(&mut self, seq: u64, adjustment: &Adjustment) {
        let Prices { quarantine, beyond, recent, forgotten_to, .. } = &mut self.truth.prices;
        if let Some(listed) = Quarantined::of_superseding(seq, adjustment) {
            quarantine.insert(adjustment.of, listed);
        }
        if adjustment.turns == Turns::Priced && quarantine.remove(&adjustment.of).is_none() {
            beyond.count = beyond.count.saturating_sub(1);
            if beyond.count == 0 {
                beyond.from = 0;
            }
        }
        let Some(total) = adjustment.priced.total() else { return };
        let digest = match &adjustment.priced {
            Priced::Cost(cost) => Arc::clone(&cost.table.digest),
            Priced::Zero(_) | Priced::Reported(_) | Priced::Unpriced(_) => Arc::from(""),
        };
        if let Some(before) = self.index.adjusted.insert(adjustment.of, seq) {
            recent.remove(&before);
        }
        recent.insert(seq, (adjustment.of, Standing { total, digest }));
        if recent.len() > ADJUSTMENTS_KEPT_MAX
            && let Some((oldest, (charge, _))) = recent.pop_first()
        {
            *forgotten_to = oldest;
            self.index.adjusted.remove(&charge);
        }
    }
}
