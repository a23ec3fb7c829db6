//! The fold of reservations: what is held, on which counters, for whom.
//!
//! `held` of a counter is the sum of the live holds whose rows name it, at every entry. Whenever what binds a run may
//! change, its holds are taken off the old rows first and put on the new ones after; both sides are the same walk.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use pricing::Timestamp;
use serde::{Deserialize, Serialize};

use super::count::filled;
use super::run::plus;
use super::{Bound, State, Who};
use crate::budget::Unit;
use crate::charge::{Moved, Subject};
use crate::limits::RowRef;
#[cfg(feature = "mistakes")]
use crate::mistakes::{Mistake, made};
use crate::reservation::{Amounts, RESOLVED_KEPT_MAX, Reservation, Reserved, Standing};
use crate::scope::Ref;
use crate::window::Window;

/// One counter that a hold is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct HeldRow {
    pub(crate) at: RowRef,
    pub(crate) unit: Unit,
    pub(crate) window: Window,
    pub(crate) whole_run: bool,
    /// Steps up the tree to the run whose own budget it is; 0 for all that is not an ancestor's.
    pub(crate) up: u8,
}

/// Rows that several reservations share.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Rows {
    pub(super) rows: Arc<[HeldRow]>,
    /// Holds that have them; at 0 the place is free.
    holders: u32,
}

/// Every reservation that is live or remembered. Places are numbers that stay; free ones are used again, last first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Reservations {
    pub(super) all: Vec<Option<Reservation>>,
    pub(super) free: Vec<u32>,
    /// Those that are resolved and hold nothing more, oldest first; at most `RESOLVED_KEPT_MAX`.
    resolved: VecDeque<u32>,
    pub(super) rows: Vec<Rows>,
    free_rows: Vec<u32>,
    pub(super) held: u64,
    /// What stands for the price of a charge that has none, by the charge's entry.
    pub(super) covers: BTreeMap<u64, u32>,
}

/// Which of the counters that bind a call a hold is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// Every one.
    All,
    /// Dollars of budgets that hold a ceiling while a price is missing.
    Unpriced,
}

impl Part {
    fn takes(self, bound: &Bound<'_>) -> bool {
        self == Self::All || bound.holds_unpriced()
    }

    /// What a hold that stands so is on.
    pub(super) fn of(found: &Reservation) -> Self {
        if found.is_held() { Self::All } else { Self::Unpriced }
    }
}

impl Rows {
    pub(super) const fn is_used(&self) -> bool {
        self.holders > 0
    }
}

impl Reservations {
    pub(super) fn get(&self, number: u32) -> Option<&Reservation> {
        self.all.get(place(number))?.as_ref()
    }

    pub(super) fn get_mut(&mut self, number: u32) -> Option<&mut Reservation> {
        self.all.get_mut(place(number))?.as_mut()
    }

    pub(super) fn insert(&mut self, reservation: Reservation) -> u32 {
        if let Some(number) = self.free.pop()
            && let Some(free) = self.all.get_mut(place(number))
        {
            *free = Some(reservation);
            return number;
        }
        // More reservations than 32 bits can number do not fit into memory.
        let number = u32::try_from(self.all.len()).unwrap_or(u32::MAX);
        self.all.push(Some(reservation));
        number
    }

    /// Those that count on counters with their numbers, in the order of their places.
    pub(super) fn counting(&self) -> impl Iterator<Item = (u32, &Reservation)> {
        let numbered = (0_u32..).zip(&self.all);
        numbered.filter_map(|(at, found)| Some((at, found.as_ref().filter(|found| found.counts())?)))
    }
}

impl State {
    /// One reservation by id.
    #[must_use]
    pub fn reservation(&self, id: &str) -> Option<&Reservation> {
        self.truth.reservations.get(self.place_of(id)?)
    }

    /// The place of the reservation of an id.
    pub(super) fn place_of(&self, id: &str) -> Option<u32> {
        let all = &self.truth.reservations;
        self.index.reservations.get(id, |place| all.get(place).is_some_and(|found| *found.id == *id))
    }

    /// The run of a reservation.
    #[must_use]
    pub fn reserved_for(&self, reservation: &Reservation) -> Option<&Ref> {
        self.run(reservation.run).map(|run| &run.execution.id)
    }

    /// Every reservation that is live or remembered, in no particular order.
    pub fn reservations(&self) -> impl Iterator<Item = &Reservation> {
        self.truth.reservations.all.iter().flatten().filter(|found| !found.is_cover())
    }

    /// How many reservations are live.
    #[must_use]
    pub fn held_reservations(&self) -> u64 {
        self.truth.reservations.held
    }

    /// Live reservations of a run.
    #[must_use]
    pub fn holds_of(&self, execution: &Ref) -> u32 {
        self.find(execution).map_or(0, |(_, run)| run.execution.holds)
    }

    /// When the next live reservation expires.
    #[must_use]
    pub fn next_expiry(&self) -> Option<Timestamp> {
        self.index.expiries.first().map(|(at, _)| *at)
    }

    /// Live reservations whose time is over at `now`, the oldest first.
    pub(crate) fn expired(&self, now: Timestamp) -> impl Iterator<Item = &Reservation> {
        let due = self.index.expiries.iter().take_while(move |(at, _)| *at <= now);
        due.filter_map(|(_, number)| self.truth.reservations.get(*number))
    }

    pub(super) fn reserved(&mut self, at: Timestamp, seq: u64, reserved: &Reserved) {
        let Some(number) = self.number(&reserved.execution) else { return };
        self.meet(number, &reserved.subject, reserved.parent.as_ref());
        let denied = reserved.denial.is_some();
        let call = self.run(number).map(|run| filled(&reserved.subject, &run.execution.subject).into_owned());
        let call = call.filter(|call| self.run(number).is_some_and(|run| *call != run.execution.subject)).map(Box::new);
        let rows = if denied { 0 } else { self.rows_for(number, call.as_deref(), Part::All) };
        let reservation = Reservation {
            id: Arc::clone(&reserved.id),
            run: number,
            rows,
            call,
            body: reserved.body,
            asked: reserved.asked,
            held: if denied { Amounts::ZERO } else { reserved.asked },
            spent: pricing::Money::ZERO,
            reserved_at: at,
            until: if denied { at } else { reserved.expires_at },
            generation: reserved.generation,
            standing: if denied { Standing::Denied } else { Standing::Held },
            denial: reserved.denial.clone(),
            unpriced: 0,
            settled_by: 0,
        };
        let until = reservation.until;
        let place = self.truth.reservations.insert(reservation);
        let all = &self.truth.reservations;
        let same = |known: u32| known != place && all.get(known).is_some_and(|found| found.id == reserved.id);
        self.index.reservations.insert(&*reserved.id, place, same);
        if denied {
            self.retire(place);
        } else {
            self.index.expiries.insert((until, place));
            self.truth.reservations.held = self.truth.reservations.held.saturating_add(1);
            self.put(number, rows, at, &reserved.asked, 1);
        }
        if let Some(run) = self.run_mut(number) {
            run.execution.holds = run.execution.holds.saturating_add(u32::from(!denied));
            run.touch(seq, at);
        }
    }

    /// Takes what a charge used off its hold; with `last` the rest as well.
    pub(super) fn take_off(&mut self, now: Timestamp, seq: u64, id: &str, moved: &Moved, last: bool) {
        let Some(place) = self.place_of(id) else { return };
        let Some(found) = self.truth.reservations.get_mut(place).filter(|found| found.is_held()) else { return };
        found.spent = plus(found.spent, moved.cost);
        if last {
            found.settled_by = seq;
        }
        let used = found.held.used_by(moved);
        #[cfg(feature = "mistakes")]
        let used = if made(Mistake::HoldKeptAfterSettle) { Amounts::ZERO } else { used };
        let (run, rows, at) = (found.run, found.rows, found.reserved_at);
        found.held = found.held.less(&used);
        self.put(run, rows, at, &used, -1);
        if last {
            self.resolve(now, place, Standing::Settled);
        }
    }

    /// Notes the charge that came for a reservation which was over: another source may know the same call.
    pub(super) fn settled_late(&mut self, seq: u64, id: &str) {
        let place = self.place_of(id);
        if let Some(found) =
            place.and_then(|place| self.truth.reservations.get_mut(place)).filter(|found| found.settled_by == 0)
        {
            found.settled_by = seq;
        }
    }

    pub(super) fn resolved(&mut self, now: Timestamp, seq: u64, id: &str, standing: Standing) {
        let Some(place) = self.place_of(id) else { return };
        let run = self.truth.reservations.get(place).map(|found| found.run);
        self.resolve(now, place, standing);
        if let Some(run) = run.and_then(|run| self.run_mut(run)) {
            run.touch(seq, now);
        }
    }

    pub(super) fn extended(&mut self, id: &str, expires_at: Timestamp) {
        let Some(place) = self.place_of(id) else { return };
        let Some(found) = self.truth.reservations.get_mut(place).filter(|found| found.is_held()) else { return };
        self.index.expiries.remove(&(found.until, place));
        found.until = expires_at;
        self.index.expiries.insert((expires_at, place));
    }

    /// Ends a live reservation: gives back what is held and frees its rows. Money that stands for a price that is missing
    /// stays where a budget wants that.
    fn resolve(&mut self, now: Timestamp, place: u32, standing: Standing) {
        let Some(found) = self.truth.reservations.get_mut(place).filter(|found| found.is_held()) else { return };
        let (run, rows, at, all) = (found.run, found.rows, found.reserved_at, found.held);
        self.index.expiries.remove(&(found.until, place));
        let stays = found.unpriced > 0;
        found.held = if stays { Amounts::money(all.usd) } else { Amounts::ZERO };
        found.standing = standing;
        found.until = now;
        let (money, call) = (found.held, if stays { found.call.clone() } else { None });
        self.truth.reservations.held = self.truth.reservations.held.saturating_sub(1);
        self.put(run, rows, at, &all, -1);
        #[cfg(feature = "mistakes")]
        if made(Mistake::ReleasedTwice) && standing == Standing::Expired {
            self.put(run, rows, at, &all, -1);
        }
        self.let_go(rows);
        if let Some(run) = self.run_mut(run) {
            run.execution.holds = run.execution.holds.saturating_sub(1);
        }
        if !stays {
            self.retire(place);
            return;
        }
        let rows = self.rows_for(run, call.as_deref(), Part::Unpriced);
        if let Some(found) = self.truth.reservations.get_mut(place) {
            found.rows = rows;
        }
        self.put(run, rows, at, &money, 1);
    }

    /// Remembers a resolved reservation, and forgets the oldest beyond the bound.
    pub(super) fn retire(&mut self, place: u32) {
        let reservations = &mut self.truth.reservations;
        reservations.resolved.push_back(place);
        if reservations.resolved.len() <= RESOLVED_KEPT_MAX {
            return;
        }
        let Some(oldest) = reservations.resolved.pop_front() else { return };
        let forgotten = reservations.all.get_mut(self::place(oldest)).and_then(Option::take);
        reservations.free.push(oldest);
        if let Some(forgotten) = forgotten {
            self.index.reservations.remove(&*forgotten.id, |known| known == oldest);
        }
    }

    /// The rows that bind a call, or a part of them, shared with every hold that has the same.
    pub(super) fn rows_for(&mut self, number: u32, call: Option<&Subject>, part: Part) -> u32 {
        let mut rows = std::mem::take(&mut self.index.held_rows);
        if let Some(run) = self.run(number) {
            let subject = &run.execution.subject;
            let who = Who::call(Some(number), run, subject, call.unwrap_or(subject), run.parent);
            self.each_bound(who, |bound| {
                if part.takes(&bound) {
                    rows.push(bound.held_row());
                }
            });
        }
        let found = self.index.by_rows.get(rows.as_slice()).copied();
        let number = found.unwrap_or_else(|| {
            let shared: Arc<[HeldRow]> = Arc::from(rows.as_slice());
            let entry = Rows { rows: Arc::clone(&shared), holders: 0 };
            let reservations = &mut self.truth.reservations;
            let number = match reservations.free_rows.pop() {
                Some(number) => {
                    if let Some(free) = reservations.rows.get_mut(place(number)) {
                        *free = entry;
                    }
                    number
                }
                None => {
                    reservations.rows.push(entry);
                    u32::try_from(reservations.rows.len()).unwrap_or(u32::MAX).saturating_sub(1)
                }
            };
            self.index.by_rows.insert(shared, number);
            number
        });
        if let Some(entry) = self.truth.reservations.rows.get_mut(place(number)) {
            entry.holders = entry.holders.saturating_add(1);
        }
        rows.clear();
        self.index.held_rows = rows;
        number
    }

    pub(super) fn let_go(&mut self, number: u32) {
        let reservations = &mut self.truth.reservations;
        let Some(entry) = reservations.rows.get_mut(place(number)) else { return };
        entry.holders = entry.holders.saturating_sub(1);
        if entry.holders == 0 {
            self.index.by_rows.remove(&entry.rows);
            entry.rows = Arc::from([]);
            reservations.free_rows.push(number);
        }
    }

    /// Adds (`sign` 1) or takes (`sign` -1) amounts on rows.
    pub(super) fn put(&mut self, run: u32, rows: u32, at: Timestamp, amounts: &Amounts, sign: i128) {
        let Some(rows) = self.truth.reservations.rows.get(place(rows)).map(|entry| Arc::clone(&entry.rows)) else {
            return;
        };
        for row in rows.iter() {
            self.put_one(run, row, at, amounts.unit(row.unit).saturating_mul(sign));
        }
    }

    pub(super) fn put_one(&mut self, run: u32, row: &HeldRow, at: Timestamp, delta: i128) {
        if delta == 0 {
            return;
        }
        let owner = if row.up == 0 { Some(run) } else { self.above(run, row.up) };
        let Some(owner) = owner else { return };
        if row.window == Window::Run {
            // Never the sum: whether something was held while a limit counted the whole run must not change what it
            // counts once it binds only some calls of it.
            self.change(owner, row.at, false, |tally| tally.held = tally.held.saturating_add(delta));
        } else if let Some(slot) = self.slot_mut(owner, row.at.slot) {
            slot.hold(row.at.row, at, delta);
        }
    }
}

pub(super) fn place(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
