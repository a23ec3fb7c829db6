//! Kills: a fence in the state, an outbox entry in the ledger, and what became of each attempt to stop the run.
//!
//! The fence is the kill; the signal is a courtesy. Delivery itself is I/O and lives elsewhere; what it does next is
//! [`next`], a pure function of the kill, so that a restart goes on where the last daemon stopped.

mod next;
mod process;
mod track;

use std::sync::Arc;

use pricing::{Money, Timestamp};
use serde::{Deserialize, Serialize};

pub use self::next::{ACK_WITHIN_MS, ATTEMPTS_PER_STEP_MAX, CONFIRM_WITHIN_MS, Next, ROUNDS_BEFORE_MANUAL, next};
pub use self::process::{Members, Process};
pub use self::track::Track;
use crate::budget::{Source, Unit};
use crate::policy::KillStep;
use crate::scope::Ref;
use crate::window::{Span, Window};

/// A counter's identity and its figures at one moment, for denials, warnings and kills.
#[derive(Clone, Debug, Eq, Serialize, Deserialize)]
pub struct CounterAt {
    /// Which kind of resource the budget came from.
    pub source: Source,
    /// Budget name.
    pub budget: Ref,
    /// The budget's generation at that moment.
    pub generation: u64,
    /// Unit.
    pub unit: Unit,
    /// Window.
    pub window: Window,
    /// The window's span.
    pub span: Span,
    /// The agent whose allocated share this is, if it is one.
    pub agent: Option<Arc<str>>,
    /// Limit in force.
    pub limit: i128,
    /// Booked.
    pub spent: i128,
    /// Reserved.
    pub held: i128,
    /// When time alone makes room: at the window's end, or once enough of a rolling window has left it. For answers only: not
    /// kept, and `None` where it is not known.
    #[serde(skip)]
    pub resets_at: Option<Timestamp>,
}

/// Two are the same that say the same of their counter; when it has room again is worked out from that.
impl PartialEq for CounterAt {
    fn eq(&self, other: &Self) -> bool {
        let key = |at: &Self| (at.source, at.generation, at.unit, at.window, at.span, at.limit, at.spent, at.held);
        key(self) == key(other) && self.budget == other.budget && self.agent == other.agent
    }
}

/// Why a run is killed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cause {
    /// A hard limit was reached by a charge.
    Budget(CounterAt),
    /// An operator asked for it.
    Operator {
        /// Reason given.
        reason: Arc<str>,
        /// Who, as far as known.
        by: Arc<str>,
    },
}

/// How a kill travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Channel {
    /// Server-sent events or long poll on the execution.
    Stream,
    /// Signals to a process that meterd holds.
    Process,
    /// A signed webhook.
    Webhook,
    /// joch's cancel.
    Joch,
}

impl Channel {
    /// Every channel, for closed label sets.
    pub const ALL: [Self; 4] = [Self::Stream, Self::Process, Self::Webhook, Self::Joch];

    /// `stream`, `process`, `webhook`, `joch`: metric label and the wire's word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stream => "stream",
            Self::Process => "process",
            Self::Webhook => "webhook",
            Self::Joch => "joch",
        }
    }
}

/// What became of one attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Attempt {
    /// The transport took it.
    Delivered,
    /// It could not be delivered.
    Failed(Arc<str>),
}

/// One attempt, its time and how long it took.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tried {
    /// When its outcome was recorded.
    pub at: Timestamp,
    /// How.
    pub channel: Channel,
    /// What became of it.
    pub attempt: Attempt,
    /// How long the transport took, in microseconds.
    pub took_us: u64,
}

/// How the end of a killed run was proven.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Proof {
    /// The process is gone (its pidfd became readable, or its parent reaped it).
    ProcessGone,
    /// The execution's phase became terminal.
    PhaseTerminal,
    /// The target that was told says that the run is over (joch's phase, a webhook's answer).
    Target,
}

impl Proof {
    /// The wire's word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ProcessGone => "process_gone",
            Self::PhaseTerminal => "phase_terminal",
            Self::Target => "target",
        }
    }
}

/// Where a kill stands. `Confirmed` and `Moot` close it; the order of the variants means nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum KillState {
    /// Fenced: nothing more is granted from this entry on.
    Fenced,
    /// A transport took it.
    Sent,
    /// The agent confirmed the kill id.
    Acked,
    /// The run is proven gone.
    Confirmed,
    /// The run had ended by itself.
    Moot,
    /// The run has one bounded turn left before its fence.
    WindDown,
    /// A channel did not do; the next one of the plan is tried.
    Escalated,
    /// Every channel of the plan was tried in vain; they are tried again, more slowly.
    Unreachable,
    /// Tried in vain so often that a person has to look; still tried.
    Manual,
}

impl KillState {
    /// Proven or moot: nothing is left to do.
    #[must_use]
    pub const fn is_closed(self) -> bool {
        matches!(self, Self::Confirmed | Self::Moot)
    }

    /// Open, and the agent has not said that it knows.
    #[must_use]
    pub const fn is_unanswered(self) -> bool {
        !matches!(self, Self::Acked | Self::Confirmed | Self::Moot)
    }

    /// `wind_down`, `fenced`, `sent` …: the wire's word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fenced => "fenced",
            Self::Sent => "sent",
            Self::Acked => "acked",
            Self::Confirmed => "confirmed",
            Self::Moot => "moot",
            Self::WindDown => "wind_down",
            Self::Escalated => "escalated",
            Self::Unreachable => "unreachable",
            Self::Manual => "manual",
        }
    }
}

/// The last turn of a run, as it was granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Turn {
    /// What the run may cost from the decision on.
    pub allowance: Money,
    /// The fence comes then at the latest.
    pub until: Timestamp,
}

/// A kill as the state remembers it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kill {
    /// `kill-` and the sequence number of the entry that decided it.
    pub id: Arc<str>,
    /// The run.
    pub execution: Ref,
    /// Why.
    pub cause: Cause,
    /// Where it stands.
    pub state: KillState,
    /// Decided.
    pub decided_at: Timestamp,
    /// The bounded turn before the fence, if there was one.
    pub turn: Option<Turn>,
    /// Fenced: with the decision (the same entry), or at the end of the turn.
    pub fenced_at: Option<Timestamp>,
    /// Sequence number of the entry that fenced it.
    pub fence_seq: Option<u64>,
    /// First taken by a transport.
    pub sent_at: Option<Timestamp>,
    /// Acknowledged.
    pub acked_at: Option<Timestamp>,
    /// Channel of the acknowledgement.
    pub acked_by: Option<Channel>,
    /// Proven.
    pub confirmed_at: Option<Timestamp>,
    /// How.
    pub proof: Option<Proof>,
    /// The run's own cost when it was decided.
    pub cost_at_decision: Money,
    /// Channels in the order of the budget; empty: the daemon's own order.
    pub plan: Vec<KillStep>,
    /// Where in the plan it is.
    pub track: Track,
    /// Attempts, newest last, bounded by `ATTEMPTS_KEPT_MAX`.
    pub attempts: Vec<Tried>,
    /// Other live runs of the process that was signalled, bounded by `COLLATERAL_MAX`.
    pub collateral: Vec<Ref>,
}

/// How many attempts a kill remembers in the state; all are in the ledger.
pub const ATTEMPTS_KEPT_MAX: usize = 32;
/// How many other runs a kill remembers that went with it.
pub const COLLATERAL_MAX: usize = 64;

impl Kill {
    /// A kill that was just decided; it has no fence yet.
    #[must_use]
    pub fn new(id: Arc<str>, execution: Ref, cause: Cause, decided_at: Timestamp, cost: Money) -> Self {
        Self {
            id,
            execution,
            cause,
            state: KillState::WindDown,
            decided_at,
            turn: None,
            fenced_at: None,
            fence_seq: None,
            sent_at: None,
            acked_at: None,
            acked_by: None,
            confirmed_at: None,
            proof: None,
            cost_at_decision: cost,
            plan: Vec::new(),
            track: Track::default(),
            attempts: Vec::new(),
            collateral: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests;
