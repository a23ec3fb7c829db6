//! Where a kill is in its plan: the fold of its facts. What follows from it is `next`.

use pricing::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Attempt, Channel, Kill, KillState, Tried};

/// Where in its plan a kill is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Track {
    /// The channel whose turn it is; `None`: the first of the plan.
    pub channel: Option<Channel>,
    /// Times that the whole plan was gone through in vain.
    pub rounds: u32,
    /// When this step, or the pause before the next round, began.
    pub since: Timestamp,
    /// Attempts in this step.
    pub tries: u32,
    /// Newest attempt in this step.
    pub tried_at: Option<Timestamp>,
    /// First attempt in this step that the transport took.
    pub taken_at: Option<Timestamp>,
    /// A person was called.
    pub manual: bool,
}

impl Kill {
    /// The fence stands from this entry on.
    pub(crate) fn fence(&mut self, at: Timestamp, seq: u64) {
        if self.fenced_at.is_none() {
            self.fenced_at = Some(at);
            self.fence_seq = Some(seq);
            if !self.state.is_closed() {
                self.state = KillState::Fenced;
            }
            self.track = Track { since: at, ..Track::default() };
        }
    }

    pub(crate) fn tried(&mut self, tried: Tried) {
        if self.attempts.len() >= super::ATTEMPTS_KEPT_MAX {
            self.attempts.remove(0);
        }
        let Tried { at, channel, attempt, .. } = tried.clone();
        self.attempts.push(tried);
        let taken = attempt == Attempt::Delivered;
        if self.fenced_at.is_none() {
            // What a turn's signal met is told apart from what the kill meets.
            return;
        }
        // A stream takes its kill whenever somebody listens; all else happens in the step it belongs to.
        let track = &mut self.track;
        if channel != Channel::Stream || track.channel.is_none_or(|now| now == Channel::Stream) {
            if track.channel != Some(channel) {
                *track =
                    Track { channel: Some(channel), since: at, tries: 0, tried_at: None, taken_at: None, ..*track };
            }
            track.tries = track.tries.saturating_add(1);
            track.tried_at = Some(at);
            if taken {
                track.taken_at.get_or_insert(at);
            }
        }
        if taken && !self.state.is_closed() {
            self.sent_at.get_or_insert(at);
            if matches!(self.state, KillState::Fenced | KillState::Escalated | KillState::Unreachable) {
                self.state = KillState::Sent;
            }
        }
    }

    pub(crate) fn escalated(&mut self, at: Timestamp, to: Option<Channel>) {
        let rounds = self.track.rounds.saturating_add(u32::from(to.is_none()));
        self.track = Track { channel: to, rounds, since: at, manual: self.track.manual, ..Track::default() };
        if !self.state.is_closed() && self.state != KillState::Manual {
            self.state = if to.is_none() { KillState::Unreachable } else { KillState::Escalated };
        }
    }

    pub(crate) fn manual(&mut self) {
        self.track.manual = true;
        if !self.state.is_closed() {
            self.state = KillState::Manual;
        }
    }

    pub(crate) fn acked(&mut self, at: Timestamp, channel: Channel) {
        self.acked_at.get_or_insert(at);
        self.acked_by.get_or_insert(channel);
        if !self.state.is_closed() && self.fenced_at.is_some() {
            self.state = KillState::Acked;
        }
    }

    pub(crate) fn confirmed(&mut self, at: Timestamp, proof: super::Proof) {
        if self.confirmed_at.is_some() {
            return;
        }
        self.confirmed_at = Some(at);
        self.proof = Some(proof);
        // A run that ended before any transport took its kill ended by itself.
        let told = self.sent_at.is_some()
            || self.acked_at.is_some()
            || self.attempts.iter().any(|tried| tried.attempt == Attempt::Delivered);
        let moot = proof == super::Proof::PhaseTerminal && !told;
        self.state = if moot { KillState::Moot } else { KillState::Confirmed };
    }
}
