//! Reservations: what is held, for whom, until when. What a counter holds is worked out anew from the live ones.

use std::collections::BTreeSet;

use budget::policy::OnUnpriced;
use budget::reservation::Standing;
use budget::{Action, Unit, Window};

use super::counters::{Bound, Moved, Who};
use super::{Expected, Oracle};
use crate::words::{Call, Held, Key, RunNo, Said, Seen, Wish};

/// A reservation, live or resolved.
#[derive(Clone, Debug)]
pub struct Hold {
    pub run: RunNo,
    pub body: u64,
    /// Whom it is for, where that is not the run's own subject.
    pub call: Option<Who>,
    pub held: Held,
    pub reserved_at: i64,
    pub until: i64,
    pub standing: Standing,
    /// Its run was forgotten: what has that name now is another one.
    pub gone: bool,
    /// Calls of it that have no price.
    pub unpriced: u32,
    /// The charge that settled it, or came after its end.
    pub settled_by: Option<u64>,
}

impl Hold {
    /// Does it, or its money, count?
    pub fn counts(&self) -> bool {
        self.standing == Standing::Held || self.unpriced > 0
    }
}

impl Held {
    pub fn unit(&self, unit: Unit) -> i128 {
        match unit {
            Unit::Usd => self.usd,
            Unit::Tokens => i128::from(self.tokens),
            Unit::ToolCalls => i128::from(self.tool_calls),
            Unit::ModelCalls => i128::from(self.model_calls),
        }
    }
}

impl Oracle {
    /// What is held on a counter over the window that holds `at`.
    pub fn held_on(&self, key: &Key, at: i64) -> i128 {
        let (start, end) = self.counters.window(key, at);
        let live = self
            .holds
            .values()
            .filter(|hold| hold.standing == Standing::Held || hold.unpriced > 0 && self.is_held_unpriced(key));
        let inside = live.filter(|hold| key.window == Window::Run || (start..end).contains(&hold.reserved_at));
        let on = inside.filter(|hold| {
            let run = &self.runs[&hold.run];
            let bound = self.bound(hold.run, run.inherit, run.who, hold.call.unwrap_or(run.who));
            bound.iter().any(|bound| bound.key == *key)
        });
        on.map(|hold| hold.held.unit(key.unit)).sum::<i128>() + self.covered_on(key, (start, end))
    }

    /// Lets expire what is due, then grants or refuses.
    pub(super) fn reserve(&mut self, clock: i64, wish: &Wish) -> Expected {
        let mut seen = self.expire_due(clock);
        let now = self.now(clock);
        let (said, more) = self.grant(now, wish);
        self.advance(now, more.len());
        seen.extend(more);
        Expected { said: vec![said], seen }
    }

    /// A charge on the run of the reservation that it names.
    pub(super) fn settle(&mut self, clock: i64, call: &Call) -> Expected {
        let mut seen = self.expire_due(clock);
        let now = self.now(clock);
        let hold = call.claim.and_then(|(id, _)| self.holds.get(&id)).filter(|hold| !hold.gone);
        let Some(run) = hold.map(|hold| hold.run) else {
            return Expected { said: vec![Said::UnknownReservation], seen };
        };
        let (said, more) = self.charge(now, &Call { run, ..call.clone() });
        self.advance(now, more.len());
        seen.extend(more);
        Expected { said: vec![said], seen }
    }

    fn expire_due(&mut self, clock: i64) -> Vec<Seen> {
        let live = |hold: &&mut Hold| hold.standing == Standing::Held;
        if !self.holds.values_mut().filter(live).any(|hold| hold.until <= clock) {
            return Vec::new();
        }
        let now = self.now(clock);
        let seen = self.expire(now).1;
        self.advance(now, seen.len());
        seen
    }

    pub(super) fn expire(&mut self, now: i64) -> (Said, Vec<Seen>) {
        let due = self.holds.iter_mut().filter(|(_, hold)| hold.standing == Standing::Held && hold.until <= now);
        let seen: Vec<Seen> = due
            .map(|(id, hold)| {
                hold.standing = Standing::Expired;
                Seen::Resolved { id: *id, standing: Standing::Expired }
            })
            .collect();
        (if seen.is_empty() { Said::Unchanged } else { Said::Done }, seen)
    }

    fn grant(&mut self, now: i64, wish: &Wish) -> (Said, Vec<Seen>) {
        if let Some(known) = self.holds.get(&wish.id) {
            let said = match known.standing {
                _ if known.body != wish.body => Said::ReservationConflict,
                Standing::Denied => Said::Refused,
                Standing::Held => Said::Granted { until: known.until, standing: Standing::Held },
                standing => Said::Granted { until: 0, standing },
            };
            return (said, Vec::new());
        }
        let mut seen = Vec::new();
        let said = Who { team: wish.team, agent: wish.agent };
        if !self.runs.contains_key(&wish.run) {
            seen.push(Seen::Opened { run: wish.run });
            let run = self.new_run(now, said, None, true);
            self.runs.insert(wish.run, run);
        }
        let run = &self.runs[&wish.run];
        let (call, subject) = (said.filled_from(run.who), run.who.filled_from(said));
        let bound = self.bound(wish.run, run.inherit, subject, call);
        let live = self.holds.values().any(|hold| hold.run == wish.run && hold.standing == Standing::Held);
        // The last turn has its own allowance, and one call at a time; limits of budgets that grant none hold.
        let turn = self.turn_left(run, now);
        let counts = |bound: &&Bound| turn.is_none() || !self.counters.specs[&bound.key.budget].grants_a_turn();
        let refused = turn.is_some_and(|(left, over)| wish.held.usd > left || over || live)
            || bound.iter().filter(counts).any(|bound| self.lacks(bound, wish, now));
        let denied = run.kill.is_some() || !run.live() || refused;
        let reserved_at = now + i64::try_from(seen.len()).unwrap();
        seen.push(Seen::Reserved { id: wish.id, run: wish.run, held: wish.held, denied });
        self.learn_subject(wish.run, subject);
        let until = if denied { reserved_at } else { now + wish.ttl_ms.cast_signed() * 1_000_000 };
        let standing = if denied { Standing::Denied } else { Standing::Held };
        let call = (call != subject).then_some(call);
        let hold = Hold {
            run: wish.run,
            body: wish.body,
            call,
            held: wish.held,
            reserved_at,
            until,
            standing,
            gone: false,
            unpriced: 0,
            settled_by: None,
        };
        self.holds.insert(wish.id, hold);
        (if denied { Said::Refused } else { Said::Granted { until, standing } }, seen)
    }

    /// Would `spent + held + asked` be above a limit that denies?
    fn lacks(&self, bound: &Bound, wish: &Wish, now: i64) -> bool {
        let spec = &self.counters.specs[&bound.key.budget];
        if spec.unpriced == OnUnpriced::Deny && self.runs[&wish.run].unpriced > 0 {
            return true;
        }
        if spec.action < Action::Deny {
            return false;
        }
        let asked = match wish.held.unit(bound.key.unit) {
            0 if bound.key.unit == Unit::Tokens && wish.held.model_calls > 0 => 1,
            0 => return false,
            asked => asked,
        };
        let spent = self.figures(bound, wish.run, now, now).1.spent;
        spent + self.held_on(&bound.key, now) + asked > bound.cap
    }

    pub(super) fn release(&mut self, id: u64) -> (Said, Vec<Seen>) {
        match self.holds.get_mut(&id).filter(|hold| !hold.gone) {
            None => (Said::UnknownReservation, Vec::new()),
            Some(hold) if hold.standing == Standing::Held => {
                hold.standing = Standing::Released;
                (Said::Done, vec![Seen::Resolved { id, standing: Standing::Released }])
            }
            Some(hold) if hold.standing == Standing::Released => (Said::Unchanged, Vec::new()),
            Some(hold) => (Said::AlreadyResolved(hold.standing), Vec::new()),
        }
    }

    pub(super) fn extend(&mut self, now: i64, id: u64, ttl_ms: u64) -> (Said, Vec<Seen>) {
        let Some(hold) = self.holds.get_mut(&id).filter(|hold| !hold.gone) else {
            return (Said::UnknownReservation, Vec::new());
        };
        if hold.standing != Standing::Held {
            return (Said::AlreadyResolved(hold.standing), Vec::new());
        }
        let run = &self.runs[&hold.run];
        if run.kill.is_some() || !run.live() {
            return (Said::Refused, Vec::new());
        }
        hold.until = now + ttl_ms.cast_signed() * 1_000_000;
        (Said::Granted { until: hold.until, standing: Standing::Held }, vec![Seen::Extended { id, until: hold.until }])
    }

    /// What binds the holds of these runs is worked out anew: their counters follow the budgets as they are.
    pub(super) fn hold_again(&mut self, concerns: impl Fn(&Self, RunNo) -> bool) {
        let live = self.holding_runs().map(|(run, _)| run);
        let runs: BTreeSet<RunNo> = live.filter(|run| concerns(self, *run)).collect();
        runs.into_iter().for_each(|run| self.touch(run));
    }

    /// A run learns from a call whom it is for.
    pub(super) fn learn_subject(&mut self, number: RunNo, subject: Who) {
        let run = self.runs.get_mut(&number).unwrap();
        if run.who != subject {
            run.who = subject;
            self.hold_again(|oracle, run| oracle.is_below(run, number));
        }
    }

    /// The time that picks the windows of a charge which names this reservation, if it is live and of its run.
    pub(super) fn claimed_at(&self, id: u64, run: RunNo) -> Option<i64> {
        let hold = self.holds.get(&id).filter(|hold| hold.run == run && hold.standing == Standing::Held)?;
        Some(hold.reserved_at)
    }

    /// A charge takes off what it used, and with `last` the rest.
    pub(super) fn take_off(&mut self, seq: u64, id: u64, moved: &Moved, last: bool) {
        let Some(hold) = self.holds.get_mut(&id) else { return };
        let held = &mut hold.held;
        held.usd -= held.usd.min(moved.cost).max(0);
        held.tokens -= held.tokens.min(moved.tokens);
        held.tool_calls -= held.tool_calls.min(u32::try_from(moved.tool_calls).unwrap_or(u32::MAX));
        held.model_calls -= held.model_calls.min(u32::try_from(moved.model_calls).unwrap_or(u32::MAX));
        if last {
            hold.standing = Standing::Settled;
            hold.settled_by = Some(seq);
        }
    }

    /// A last charge for a reservation that is over.
    pub(super) fn settled_late(&mut self, seq: u64, id: u64, run: RunNo) {
        if let Some(hold) =
            self.holds.get_mut(&id).filter(|hold| hold.run == run && !hold.gone && hold.standing != Standing::Denied)
        {
            hold.settled_by.get_or_insert(seq);
        }
    }
}
