//! Reservations on the writer's thread: what a grant leaves, and charges that name nothing but their reservation.
//!
//! Asked here and not of the view, so that a caller that settles at once never waits for a reader to catch up.

use budget::reservation::{Amounts, Standing};
use budget::signal::CounterAt;
use budget::{Charge, Command, Ref, Reserve, Verdict, allowance};

use super::Core;
use crate::meter::Booked;

/// The answer to a wish to hold an amount.
#[derive(Clone, Debug, PartialEq)]
pub struct Held {
    /// Granted, refused, or a conflict.
    pub verdict: Verdict,
    /// Every counter that binds the run, after the decision.
    pub counters: Vec<CounterAt>,
}

/// What became of a charge that settles a reservation.
#[derive(Clone, Debug, PartialEq)]
pub struct Settled {
    /// The charge.
    pub booked: Booked,
    /// The reservation's run.
    pub execution: Ref,
    /// What is still held.
    pub held: Amounts,
    /// Where the reservation stands.
    pub standing: Standing,
    /// It was resolved before.
    pub late: bool,
}

impl Core {
    /// Lets expire what is due, then grants or refuses.
    pub(super) fn reserve(&mut self, wish: Box<Reserve>) -> Held {
        self.expire();
        let execution = wish.execution.clone();
        let verdict = self.command(Command::Reserve(wish));
        let now = self.log_time(self.clock.now());
        let counters = allowance(&self.state, now, &execution).map(|allowance| allowance.counters);
        Held { verdict, counters: counters.unwrap_or_default() }
    }

    /// Books a charge on the run of the reservation that it names; `None` for a reservation that is not known.
    pub(super) fn settle(&mut self, mut charge: Charge) -> Option<Settled> {
        self.expire();
        let id = charge.claim.as_ref().map(|claim| claim.reservation.clone())?;
        let before = self.state.reservation(&id)?;
        let late = !before.is_held();
        let execution = self.state.reserved_for(before)?.clone();
        charge.execution = execution.clone();
        let look = self.dedup.look(std::slice::from_ref(&charge)).first().copied().unwrap_or_default();
        let booked = self.charge(charge, look);
        let after = self.state.reservation(&id)?;
        Some(Settled { booked, execution, held: after.held, standing: after.standing, late })
    }

    /// Logs what has expired. The commands that follow see the room that it frees.
    fn expire(&mut self) {
        let now = self.clock.now();
        while self.state.next_expiry().is_some_and(|at| at <= now) {
            if self.command(Command::Expire) != Verdict::Done {
                return;
            }
        }
    }
}
