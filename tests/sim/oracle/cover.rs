//! Calls without a price: what is held for each until it has one. Worked out anew from the open ones, like holds.

use budget::policy::OnUnpriced;
use budget::{Unit, Window};

use super::counters::Who;
use super::{Oracle, Paper};
use crate::words::{Call, Key, RunNo};

/// What stands for a missing price.
#[derive(Clone, Debug)]
pub enum Cover {
    /// The money of the reservation that the call settles.
    Reserved(u64),
    /// An amount of its own, for a run, whom the call was for where that differs, in the windows of a time.
    Own { run: RunNo, call: Option<Who>, usd: i128, time: i64 },
}

impl Oracle {
    /// What must be held for a call without a price, said in its entry: the highest ceiling of the budgets that hold.
    pub(super) fn ceiling_of(&self, call: &Call, subject: Who, who: Who) -> Option<i128> {
        if call.price.is_some() || self.covering(call).is_some() {
            return None;
        }
        let run = &self.runs[&call.run];
        let bound = self.bound(call.run, run.inherit, subject, who);
        let specs =
            bound.iter().filter(|one| one.key.unit == Unit::Usd).map(|one| &self.counters.specs[&one.key.budget]);
        let holding: Vec<Option<i128>> =
            specs.filter(|spec| spec.unpriced == OnUnpriced::Hold).map(|spec| spec.ceiling).collect();
        let named = holding.iter().flatten().max().copied();
        named.or(call.ceiling).filter(|usd| !holding.is_empty() && *usd > 0)
    }

    /// What must be held for a call without a price beyond what its estimate was booked with.
    pub(super) fn ceiling_beside(&self, call: &Call, estimate: &Paper) -> Option<i128> {
        let alone = Call { claim: None, price: None, ..call.clone() };
        let ceiling = self.ceiling_of(&alone, self.runs[&estimate.run].who, estimate.who)?;
        Some(ceiling - estimate.price.unwrap_or(0)).filter(|beside| *beside > 0)
    }

    pub(super) fn cover_beside(&mut self, seq: u64, estimate: &Paper, held: Option<i128>) {
        if let Some(usd) = held {
            let own = (estimate.who != self.runs[&estimate.run].who).then_some(estimate.who);
            self.covers.insert(seq, Cover::Own { run: estimate.run, call: own, usd, time: estimate.time });
        }
    }

    /// The reservation whose money covers the call.
    pub(super) fn covering(&self, call: &Call) -> Option<u64> {
        let (id, _) = call.claim?;
        self.claimed_at(id, call.run)?;
        (self.holds[&id].held.usd > 0).then_some(id)
    }

    /// Holds for a call without a price that was booked as entry `seq`.
    pub(super) fn cover(&mut self, seq: u64, call: &Call, who: Who, time: i64, ceiling: Option<i128>) {
        if call.price.is_some() {
            return;
        }
        if let Some(id) = self.covering(call) {
            self.holds.get_mut(&id).unwrap().unpriced += 1;
            self.covers.insert(seq, Cover::Reserved(id));
        } else {
            let usd = ceiling.unwrap_or(0);
            let own = (who != self.runs[&call.run].who).then_some(who);
            self.covers.insert(seq, Cover::Own { run: call.run, call: own, usd, time });
        }
    }

    /// The price is there: what stood for it is given back.
    pub(super) fn uncover(&mut self, seq: u64, price: i128) {
        if let Some(Cover::Reserved(id)) = self.covers.remove(&seq) {
            let hold = self.holds.get_mut(&id).unwrap();
            hold.held.usd -= hold.held.usd.min(price);
            hold.unpriced -= 1;
        }
    }

    /// What is held on a counter for calls without a price that have no reservation.
    pub(super) fn covered_on(&self, key: &Key, (start, end): (i64, i64)) -> i128 {
        if !self.is_held_unpriced(key) {
            return 0;
        }
        let own = self.covers.values().filter_map(|cover| match cover {
            Cover::Own { run, call, usd, time } => Some((*run, *call, *usd, *time)),
            Cover::Reserved(_) => None,
        });
        let on = own.filter(|(number, call, _, time)| {
            let run = &self.runs[number];
            (key.window == Window::Run || (start..end).contains(time))
                && self.bound(*number, run.inherit, run.who, call.unwrap_or(run.who)).iter().any(|one| one.key == *key)
        });
        on.map(|(.., usd, _)| usd).sum()
    }

    /// Is this a counter of dollars of a budget that holds while a price is missing?
    pub(super) fn is_held_unpriced(&self, key: &Key) -> bool {
        let spec = self.counters.specs.get(&key.budget);
        key.unit == Unit::Usd && spec.is_some_and(|spec| spec.unpriced == OnUnpriced::Hold)
    }

    /// Runs for which something is held.
    pub(super) fn holding_runs(&self) -> impl Iterator<Item = (RunNo, Option<Who>)> + '_ {
        let own = self.covers.values().filter_map(|cover| match cover {
            Cover::Own { run, call, .. } => Some((*run, *call)),
            Cover::Reserved(_) => None,
        });
        self.holds.values().filter(|hold| hold.counts()).map(|hold| (hold.run, hold.call)).chain(own)
    }
}
