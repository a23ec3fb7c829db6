//! One call told of twice: an estimate gives way to the call's own event, and a second source of a reservation counts for nothing.
//!
//! Looked up only for ids, responses and reservations that are known already; the ledger is read for those alone.

use budget::adjust::{Adjust, Superseded};
use budget::charge::Called;
use budget::reservation::Standing;
use budget::{AdjustReason, Charge, Command, Entry, Fact, Verdict};

use super::Core;
use crate::meter::Booked;

/// The source of costs that are stated for a reservation.
const STATED: &str = "reservation";

impl Core {
    /// Books what an event says of its call, of which entry `of` is an estimate, as the difference to that. `None` when it is no
    /// estimate, or when this event knows no more of the call. Without a price it counts what was used, and waits for one.
    pub(super) fn supersede(&mut self, of: u64, event: &Charge) -> Option<Booked> {
        if !Superseded::knows_more(event) || !self.state.is_estimate(of) {
            return None;
        }
        let same_kind = |one: &Called| std::mem::discriminant(one) == std::mem::discriminant(&event.called);
        let (logged, mut estimate) = self.charge_at(of).filter(|(_, estimate)| {
            let stated = &*estimate.source == STATED || &*event.source == STATED;
            estimate.execution == event.execution && (stated || same_kind(&estimate.called))
        })?;
        // As this event asks for it: what the estimate was booked with is what was held.
        estimate.ceiling = event.ceiling;
        let known = Superseded::of(&estimate, event);
        let (priced, reason) = (event.priced.clone(), AdjustReason::Superseded(known.into()));
        let wish = Adjust { of, logged, charge: estimate, standing: None, read_to: of, priced, reason, run: None };
        let Verdict::Booked { fenced, .. } = self.command(Command::Adjust(Box::new(wish))) else { return None };
        let seq = self.entries.iter().rev().find(|entry| matches!(entry.fact, Fact::Adjusted(_)));
        let seq = seq.map_or(of, |entry| entry.seq);
        let own = |claim: &&budget::Claim| {
            let found = self.state.reservation(&claim.reservation);
            claim.last
                && found
                    .is_some_and(|found| found.is_held() && self.state.reserved_for(found) == Some(&event.execution))
        };
        if let Some(claim) = event.claim.as_ref().filter(own) {
            // The estimate left it open for more; now nothing more comes.
            self.command(Command::Release { reservation: claim.reservation.clone() });
        }
        Some(Booked::Accepted { seq, fenced })
    }

    /// The charge that settled the reservation which an event of another source names: it is of the same call.
    pub(super) fn same_call(&mut self, event: &Charge) -> Option<u64> {
        let claim = event.claim.as_ref()?;
        let found = self.state.reservation(&claim.reservation)?;
        let settled_by = found.settled_by;
        let over = !matches!(found.standing, Standing::Held | Standing::Denied) && settled_by > 0;
        if !over || self.state.reserved_for(found) != Some(&event.execution) {
            return None;
        }
        let (_, first) = self.charge_at(settled_by)?;
        let stated = [&first, event].iter().any(|one| &*one.source == STATED);
        let same_kind = stated || std::mem::discriminant(&first.called) == std::mem::discriminant(&event.called);
        let other_source = first.source != event.source && !matches!(event.called, Called::Approval);
        (other_source && same_kind).then_some(settled_by)
    }

    /// A charge, of this batch or of the ledger. Where that cannot be read nothing can be decided any more: a guess would book the
    /// call twice.
    fn charge_at(&mut self, seq: u64) -> Option<(pricing::Timestamp, Charge)> {
        let pending = self.entries.iter().find(|entry| entry.seq == seq).cloned();
        let found = match pending {
            Some(pending) => Some(pending),
            None => self.writer.reader().entry(seq).unwrap_or_else(|error| {
                self.broken.get_or_insert(error);
                None
            }),
        };
        match found {
            Some(Entry { at, fact: Fact::Charged(charge), .. }) => Some((at, *charge)),
            _ => None,
        }
    }
}
