//! `decide`: the heart. State, time and a command in; a verdict and the facts to make durable out. Nothing is mutated.

mod adjust;
mod allowance;
mod kill;
mod reserve;
mod resource;
mod run;
mod settle;
mod slice;
mod tree;
mod unpriced;

use std::sync::Arc;

use pricing::{Money, Timestamp};

pub use self::kill::KILLS_PER_DECISION_MAX;
pub use self::slice::{FOLLOWING_MAX, unfollowed};
use crate::adjust::Adjust;
use crate::budget::{Action, Unit};
use crate::charge::Charge;
use crate::entry::{Applied, Audit, Fact, Opened, Phase};
pub use crate::reservation::Denial;
use crate::reservation::{Amounts, Reserve, Standing};
use crate::scope::Ref;
use crate::signal::{Attempt, Channel, CounterAt, Process, Proof};
use crate::state::{State, Who};

/// What somebody wants to happen. Dedup by event id is done before: a `Charge` that comes here is new.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Open a run or update its description.
    Open(Box<Opened>),
    /// End a run.
    End {
        /// The run.
        execution: Ref,
        /// Terminal phase.
        phase: Phase,
    },
    /// Book a call.
    Charge(Box<Charge>),
    /// Give a booked charge another price.
    Adjust(Box<Adjust>),
    /// Hold an amount for a call.
    Reserve(Box<Reserve>),
    /// Give a reservation back.
    Release {
        /// The reservation.
        reservation: Arc<str>,
    },
    /// Give a reservation more time, counted from now.
    Extend {
        /// The reservation.
        reservation: Arc<str>,
        /// In milliseconds.
        ttl_ms: u64,
    },
    /// Let expire what is due.
    Expire,
    /// Create or change a resource (its `generation` is set by `decide`).
    Apply(Applied),
    /// Remove a resource.
    Remove {
        /// Kind.
        kind: Arc<str>,
        /// Name.
        id: Ref,
    },
    /// A price table came into force.
    Pin(pricing::cost::TableRef),
    /// Somebody did something, or was refused.
    Audit(Audit),
    /// An operator kills a run.
    Kill {
        /// The run.
        execution: Ref,
        /// Why.
        reason: Arc<str>,
        /// Who.
        by: Arc<str>,
    },
    /// A delivery attempt was made.
    Sent {
        /// The kill.
        kill: Arc<str>,
        /// The channel.
        channel: Channel,
        /// The result.
        attempt: Attempt,
        /// How long it took, in microseconds.
        took_us: u64,
    },
    /// The agent acknowledged a kill.
    Ack {
        /// The run it claims to be.
        execution: Ref,
        /// The kill.
        kill: Arc<str>,
        /// How it came.
        channel: Channel,
    },
    /// The killed run is proven gone.
    Confirm {
        /// The kill.
        kill: Arc<str>,
        /// How it is known.
        proof: Proof,
    },
    /// The turn of a run is over.
    Fence {
        /// The kill.
        kill: Arc<str>,
    },
    /// A channel did not do.
    Escalate {
        /// The kill.
        kill: Arc<str>,
        /// The channel that is next; `None`: all were tried in vain.
        to: Option<Channel>,
    },
    /// A person was called.
    Manual {
        /// The kill.
        kill: Arc<str>,
    },
    /// Other runs went with a process that was signalled.
    Collateral {
        /// The kill.
        kill: Arc<str>,
        /// Those runs.
        executions: Vec<Ref>,
    },
    /// A process registers as the worker of a run.
    Register {
        /// The run.
        execution: Ref,
        /// The process.
        process: Process,
    },
    /// Runs that ended, or were put to rest, before this time leave the state, as far as nothing can come for them any more.
    Forget {
        /// The time.
        before: Timestamp,
    },
    /// Runs that are not over are put to rest when nothing has named them since this time and nothing is open for them.
    Rest {
        /// The time.
        before: Timestamp,
    },
    /// Slices below a run follow its budget that could not in one decision.
    Follow {
        /// The run.
        execution: Ref,
    },
}

/// The answer to a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Done; facts were written.
    Done,
    /// It was so already; nothing was written.
    Unchanged,
    /// The call, or another price of it, is booked.
    Booked {
        /// Its cost now; `None` while it has no price.
        cost: Option<Money>,
        /// The run was fenced before or by this call.
        fenced: bool,
    },
    /// The reservation holds, or did when it was first asked for.
    Granted {
        /// What was granted.
        asked: Amounts,
        /// When it expires, or was resolved.
        expires_at: Timestamp,
        /// Where it stands.
        standing: Standing,
        /// It was decided before.
        again: bool,
    },
    /// The reservation is refused.
    Refused {
        /// Why.
        denial: Box<Denial>,
        /// What was asked for.
        asked: Amounts,
        /// It was decided before.
        again: bool,
    },
    /// The same reservation id was used for something else.
    ReservationConflict,
    /// No such reservation.
    UnknownReservation,
    /// The reservation is no longer live.
    AlreadyResolved(Standing),
    /// The run is fenced; this is its kill.
    Killed {
        /// The kill.
        kill: Arc<str>,
    },
    /// The command names a run that is not known.
    UnknownExecution,
    /// The command names a kill that is not known, or that is of another run.
    UnknownKill,
    /// The run is to have a slice of its parent's budget, and its parent is not known or has none.
    NothingToSlice,
    /// The run is over; a terminal phase does not change.
    AlreadyEnded(Phase),
    /// The ledger must be read again: the charge may have been adjusted since.
    Stale,
    /// An amount would leave the range of 38 digits; nothing was written.
    OutOfRange,
}

/// What a run may still spend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// `None`: go on.
    pub denial: Option<Denial>,
    /// The last turn of a run that is winding down: what is left of its allowance, and until when.
    pub turn: Option<TurnLeft>,
    /// Dollars that may still be spent, by the tightest limit; `None` where nothing limits them. None are left behind a fence.
    pub remaining: Option<Money>,
    /// Every counter that binds the run, at this moment.
    pub counters: Vec<CounterAt>,
}

/// What is left to a run that is winding down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TurnLeft {
    /// The kill that follows.
    pub kill: Arc<str>,
    /// What may still be spent; never negative.
    pub left: Money,
    /// The fence comes then at the latest.
    pub until: Timestamp,
}

impl TurnLeft {
    /// May a call of so much be made in it at `now`?
    #[must_use]
    pub fn has_room(&self, now: Timestamp, usd: Money) -> bool {
        #[cfg(feature = "mistakes")]
        if crate::mistakes::made(crate::mistakes::Mistake::TurnGoesOn) {
            return usd <= self.left;
        }
        usd <= self.left && now < self.until
    }
}

/// Decides one command: appends the facts that make it true to `facts` and answers. Pure.
///
/// The facts of one command are appended to the ledger together, directly after the entries that `state` was folded
/// from and after those in `facts` already: a kill's id holds the sequence number that its entry will get. Log time
/// never goes back, so a `now` before the newest entry counts as that entry's time.
pub fn decide(state: &State, now: Timestamp, command: Command, facts: &mut Vec<Fact>) -> Verdict {
    let now = now.max(state.log_time());
    match command {
        Command::Open(opened) => run::open(state, now, *opened, facts),
        Command::End { execution, phase } => run::end(state, execution, phase, facts),
        Command::Charge(charge) => settle::charge(state, now, charge, facts),
        Command::Adjust(wish) => adjust::adjust(state, now, *wish, facts),
        Command::Reserve(wish) => reserve::reserve(state, now, wish, facts),
        Command::Release { reservation } => reserve::release(state, &reservation, facts),
        Command::Extend { reservation, ttl_ms } => reserve::extend(state, now, &reservation, ttl_ms, facts),
        Command::Expire => reserve::expire(state, now, facts),
        Command::Apply(applied) => resource::apply(state, now, applied, facts),
        Command::Remove { kind, id } => resource::remove(state, kind, id, facts),
        Command::Pin(table) => resource::pin(state, table, facts),
        Command::Audit(audit) => {
            facts.push(Fact::Audited(audit));
            Verdict::Done
        }
        Command::Kill { execution, reason, by } => kill::operator(state, execution, reason, by, facts),
        Command::Sent { kill, channel, attempt, took_us } => {
            kill::known(state, kill, facts, |kill| Fact::KillSent { kill, channel, attempt, took_us })
        }
        Command::Ack { execution, kill, channel } => kill::ack(state, &execution, kill, channel, facts),
        Command::Confirm { kill, proof } => kill::confirm(state, kill, proof, facts),
        Command::Fence { kill } => kill::end_turn(state, kill, facts),
        Command::Escalate { kill, to } => kill::open(state, kill, facts, |kill| Fact::KillEscalated { kill, to }),
        Command::Manual { kill } => kill::open(state, kill, facts, |kill| Fact::KillManual { kill }),
        Command::Collateral { kill, executions } => {
            kill::known(state, kill, facts, |kill| Fact::KillCollateral { kill, executions })
        }
        Command::Register { execution, process } => run::register(state, execution, process, facts),
        Command::Forget { before } => run::forget(state, before, facts),
        Command::Rest { before } => run::rest(state, before, facts),
        Command::Follow { execution } => slice::follow_on(state, now, &execution, facts),
    }
}

/// What a run may still spend at `now`; `None` for a run that is not known. Pure.
///
/// Figures are those of the windows that run at `now`: a window that has begun without a charge has spent nothing.
/// The denial is the fence, else the end of the run, else the first budget that refuses: by a counter without headroom, or
/// because a call has no price.
#[must_use]
pub fn allowance(state: &State, now: Timestamp, execution: &Ref) -> Option<Allowance> {
    let now = now.max(state.log_time());
    let (number, run) = state.find(execution)?;
    let ended = (!run.is_live()).then_some(Denial::Ended(run.execution.phase));
    let mut denial = run.execution.kill.clone().map(Denial::Fenced).or(ended);
    let turn = state.turn_left(&run.execution);
    let (mut counters, mut tightest) = (Vec::new(), None);
    let in_turn = turn.as_ref().is_some_and(|turn| turn.left > Money::ZERO && turn.has_room(now, Money::ZERO));
    if let Some(turn) = turn.as_ref().filter(|_| denial.is_none() && !in_turn) {
        denial = Some(Denial::Fenced(turn.kill.clone()));
    }
    state.each_bound(Who::run(number, run), |bound| {
        // In the last turn the allowance is the limit that counts, for the budgets that grant one.
        let counts = !in_turn || !bound.slot.budget.grants_a_turn();
        if counts && denial.is_none() {
            denial = unpriced::denial(&bound, run.execution.unpriced_calls > 0);
        }
        let (window, tally, _) = state.judged(&bound, now, now);
        let Some(counter) = bound.slot.counter_at(bound.row, window, tally) else { return };
        let used_up = counter.spent.saturating_add(counter.held) >= counter.limit;
        if counts && denial.is_none() && used_up && bound.slot.budget.on_hard_limit >= Action::Deny {
            denial = Some(Denial::Limit(counter.clone()));
        }
        if counts && counter.unit == Unit::Usd {
            let left = counter.limit.saturating_sub(counter.spent).saturating_sub(counter.held);
            tightest = Some(tightest.map_or(left, |tightest: i128| tightest.min(left)));
        }
        counters.push(counter);
    });
    let of_turn = turn.as_ref().map(|turn| turn.left.scaled());
    let remaining = match denial {
        Some(Denial::Fenced(_) | Denial::Ended(_)) => Some(Money::ZERO),
        _ => tightest.into_iter().chain(of_turn).min().and_then(|left| Money::from_scaled(left.max(0))),
    };
    Some(Allowance { denial, turn, remaining, counters })
}
