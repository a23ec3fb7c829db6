//! What happens next with a kill: a pure function of what is recorded, so that any daemon that reads the ledger goes on.
//!
//! Never waits, never sends. Pauses carry a jitter that is drawn from the kill's own id: the same for every reader,
//! different for every kill.

use pricing::Timestamp;

use super::{Channel, Kill};
use crate::policy::KillStep;

/// Attempts on one channel before the next one is tried, where a transport does not take the kill.
pub const ATTEMPTS_PER_STEP_MAX: u32 = 4;
/// A channel that took a kill has so long for the acknowledgement, in milliseconds (a process: until SIGKILL).
pub const ACK_WITHIN_MS: u64 = 5_000;
/// An agent that acknowledged has so long to be gone, in milliseconds.
pub const CONFIRM_WITHIN_MS: u64 = 10_000;
/// Rounds through the plan before a person is called.
pub const ROUNDS_BEFORE_MANUAL: u32 = 3;

const RETRY_MIN_MS: u64 = 250;
const ROUND_MIN_MS: u64 = 2_000;
const ROUND_MAX_MS: u64 = 300_000;
const NANOS_PER_MS: u64 = 1_000_000;

/// What happens next with a kill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// It is closed.
    Nothing,
    /// Nothing before this time, unless something new is recorded.
    Wait(Timestamp),
    /// The turn is over: fence.
    Fence,
    /// Try this channel.
    Try {
        /// How.
        channel: Channel,
        /// The channel took it before: a process is killed, not asked.
        again: bool,
    },
    /// Record that the next channel is due, or, with `None`, that the plan is exhausted.
    Escalate(Option<Channel>),
    /// Call a person.
    Manual,
}

/// What happens next with `kill` at `now`. `plan` is the order in force for it; `able` says which channels lead anywhere.
#[must_use]
pub fn next(kill: &Kill, now: Timestamp, plan: &[KillStep], able: impl Fn(Channel) -> bool) -> Next {
    if kill.state.is_closed() {
        return Next::Nothing;
    }
    let Some(fenced) = kill.fenced_at else {
        let until = kill.turn.map_or(kill.decided_at, |turn| turn.until);
        return if now >= until { Next::Fence } else { Next::Wait(until) };
    };
    let track = &kill.track;
    if track.rounds >= ROUNDS_BEFORE_MANUAL && !track.manual {
        return Next::Manual;
    }
    if let (None, Some(rest)) = (track.channel, pause(kill)) {
        // Between two rounds.
        let until = track.since.saturating_add(rest);
        if now < until {
            return Next::Wait(until);
        }
    }
    let at = track.channel.and_then(|channel| plan.iter().position(|step| step.channel == channel));
    let from = at.unwrap_or(0);
    let mut steps = plan.iter().skip(from).filter(|step| able(step.channel));
    let Some(step) = steps.next() else { return Next::Escalate(None) };
    if track.channel.is_some_and(|channel| channel != step.channel) {
        return Next::Escalate(Some(step.channel));
    }
    let following = steps.next().map(|step| step.channel);
    within(kill, now, fenced, step, following)
}

/// What happens next within one step.
fn within(kill: &Kill, now: Timestamp, fenced: Timestamp, step: &KillStep, following: Option<Channel>) -> Next {
    let track = &kill.track;
    let (Some(tried), true) = (track.tried_at, track.channel == Some(step.channel)) else {
        return Next::Try { channel: step.channel, again: false };
    };
    let grace = nanos(step.grace_ms.unwrap_or(ACK_WITHIN_MS));
    if let Some(taken) = track.taken_at {
        let mut until = taken.saturating_add(grace);
        // Who has answered in this step gets time to end.
        if let Some(acked) = kill.acked_at.filter(|acked| *acked >= fenced && *acked >= track.since) {
            until = until.max(acked.saturating_add(nanos(CONFIRM_WITHIN_MS)));
        }
        if step.channel == Channel::Process && track.tries < 2 {
            let kill_at = taken.saturating_add(grace);
            return if now < kill_at { Next::Wait(kill_at) } else { Next::Try { channel: step.channel, again: true } };
        }
        if step.channel == Channel::Process {
            until = tried.saturating_add(nanos(ACK_WITHIN_MS));
        }
        return if now < until { Next::Wait(until) } else { Next::Escalate(following) };
    }
    // Nobody who listens will be there the sooner for being called again; a worker that is not to be found is not found.
    let tries_max = if matches!(step.channel, Channel::Stream | Channel::Process) { 1 } else { ATTEMPTS_PER_STEP_MAX };
    if track.tries >= tries_max {
        // Where no other channel is left, the step keeps its time: an agent that is just coming back still finds its kill.
        let until = track.since.saturating_add(grace);
        return if following.is_none() && now < until { Next::Wait(until) } else { Next::Escalate(following) };
    }
    let until = tried.saturating_add(nanos(jittered(kill, backoff(RETRY_MIN_MS, track.tries.saturating_sub(1)))));
    if now < until { Next::Wait(until) } else { Next::Try { channel: step.channel, again: false } }
}

/// The pause before the next round, if one was gone through in vain.
fn pause(kill: &Kill) -> Option<i64> {
    let rounds = kill.track.rounds.checked_sub(1)?;
    Some(nanos(jittered(kill, backoff(ROUND_MIN_MS, rounds).min(ROUND_MAX_MS))))
}

/// `first` doubled `times` times.
fn backoff(first: u64, times: u32) -> u64 {
    first.saturating_mul(1_u64.checked_shl(times.min(20)).unwrap_or(1))
}

/// Between three quarters and five quarters of a pause.
fn jittered(kill: &Kill, ms: u64) -> u64 {
    let seed = kill.id.bytes().fold(u64::from(kill.track.tries), |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3).rotate_left(23)
    });
    let half = (ms >> 1).max(1);
    ms.saturating_sub(ms >> 2).saturating_add(seed.checked_rem(half).unwrap_or(0))
}

fn nanos(ms: u64) -> i64 {
    i64::try_from(ms.saturating_mul(NANOS_PER_MS)).unwrap_or(i64::MAX)
}
