//! Kills: a fence in the state, an outbox entry in the ledger, and what became of each attempt to stop the run.
//!
//! The fence is the kill; the signal is a courtesy. Delivery itself is I/O and lives elsewhere.

use std::sync::Arc;

use pricing::{Money, Timestamp};
use serde::{Deserialize, Serialize};

use crate::budget::{Source, Unit};
use crate::scope::Ref;
use crate::window::{Span, Window};

/// A counter's identity and its figures at one moment, for denials, warnings and kills.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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

/// How the end of a killed run was proven.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Proof {
    /// The process is gone (its pidfd became readable, or its parent reaped it).
    ProcessGone,
    /// The execution's phase became terminal.
    PhaseTerminal,
}

/// A kill's life. `Confirmed` and `Moot` close it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum KillState {
    /// Decided; the run is fenced from this entry on.
    Fenced,
    /// A transport took it.
    Sent,
    /// The agent confirmed the kill id.
    Acked,
    /// The run is proven gone.
    Confirmed,
    /// The run had ended by itself.
    Moot,
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
    /// Decided (and fenced: the same entry).
    pub decided_at: Timestamp,
    /// First taken by a transport.
    pub sent_at: Option<Timestamp>,
    /// Acknowledged.
    pub acked_at: Option<Timestamp>,
    /// Channel of the acknowledgement.
    pub acked_by: Option<Channel>,
    /// Proven.
    pub confirmed_at: Option<Timestamp>,
    /// The run's own cost when it was decided.
    pub cost_at_decision: Money,
    /// Attempts, newest last, bounded by `ATTEMPTS_KEPT_MAX`.
    pub attempts: Vec<(Timestamp, Channel, Attempt)>,
}

/// How many attempts a kill remembers in the state; all are in the ledger.
pub const ATTEMPTS_KEPT_MAX: usize = 32;
