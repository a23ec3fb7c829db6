//! Entries: the durable facts. State is their fold and nothing else; what is not an entry did not happen.

use std::sync::Arc;

use pricing::cost::TableRef;
use pricing::{Money, Timestamp};
use serde::{Deserialize, Serialize};

use crate::adjust::Adjustment;
use crate::budget::{Budget, Fraction};
use crate::charge::{Charge, Subject};
use crate::link::Link;
use crate::policy::KillStep;
use crate::reservation::{Reserved, Standing};
use crate::scope::Ref;
use crate::signal::{Attempt, Cause, Channel, CounterAt, Process, Proof, Turn};

/// One durable fact and its place in the order of all facts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Position, from 1, without gaps.
    pub seq: u64,
    /// Log time: strictly increasing over the ledger.
    pub at: Timestamp,
    /// What happened.
    pub fact: Fact,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fact {
    /// A resource was created or changed; its budgets replace those it had before.
    Applied(Applied),
    /// A resource was removed, with its budgets.
    Removed {
        /// `Budget`, `Agent` …
        kind: Arc<str>,
        /// Its name.
        id: Ref,
    },
    /// A price table came into force (its content is pinned beside the ledger by digest).
    Pinned(TableRef),
    /// A run was opened or its description changed.
    Opened(Box<Opened>),
    /// A run reached a terminal phase.
    Ended {
        /// The run.
        execution: Ref,
        /// Its last phase.
        phase: Phase,
    },
    /// A call was booked.
    Charged(Box<Charge>),
    /// A counter passed a soft level.
    Warned {
        /// The run whose charge did it.
        execution: Ref,
        /// The counter after the charge.
        counter: CounterAt,
        /// The level passed.
        level: Fraction,
    },
    /// A counter reached its hard limit; what follows depends on the budget's action.
    Reached {
        /// The run whose charge did it.
        execution: Ref,
        /// The counter after the charge.
        counter: CounterAt,
    },
    /// A run is fenced and its kill is in the outbox.
    Killed {
        /// `kill-` and this entry's sequence number.
        kill: Arc<str>,
        /// The run.
        execution: Ref,
        /// Why.
        cause: Cause,
        /// The run's own cost at this moment.
        cost: Money,
    },
    /// One attempt to deliver a kill.
    KillSent {
        /// The kill.
        kill: Arc<str>,
        /// The channel tried.
        channel: Channel,
        /// What became of it.
        attempt: Attempt,
        /// How long the transport took, in microseconds.
        took_us: u64,
    },
    /// The agent acknowledged a kill.
    KillAcked {
        /// The kill.
        kill: Arc<str>,
        /// How the acknowledgement came.
        channel: Channel,
    },
    /// The killed run is proven gone.
    KillConfirmed {
        /// The kill.
        kill: Arc<str>,
        /// How it is known.
        proof: Proof,
    },
    /// A booked charge got another price. What was added last stands last: the order is the ledger's format.
    Adjusted(Box<Adjustment>),
    /// Somebody changed something that is not usage, or was refused.
    Audited(Audit),
    /// A kill is decided; the run has one bounded turn before its fence.
    WindDown {
        /// `kill-` and this entry's sequence number.
        kill: Arc<str>,
        /// The run.
        execution: Ref,
        /// Why.
        cause: Cause,
        /// The run's own cost at this moment.
        cost: Money,
        /// What is left to it.
        turn: Turn,
    },
    /// The turn is over: the run is fenced.
    Fenced {
        /// The kill.
        kill: Arc<str>,
        /// The run.
        execution: Ref,
        /// Why.
        cause: Cause,
        /// The run's own cost at this moment.
        cost: Money,
    },
    /// The order of channels that the budget wants for a kill; follows the kill's own entry.
    KillPlanned {
        /// The kill.
        kill: Arc<str>,
        /// The order.
        steps: Vec<KillStep>,
    },
    /// A channel did not do: the next one is due, or with `None` all were tried in vain.
    KillEscalated {
        /// The kill.
        kill: Arc<str>,
        /// The next channel.
        to: Option<Channel>,
    },
    /// A person was called to a kill that reaches nobody.
    KillManual {
        /// The kill.
        kill: Arc<str>,
    },
    /// Other live runs of the process that was signalled went with it.
    KillCollateral {
        /// The kill.
        kill: Arc<str>,
        /// Those runs.
        executions: Vec<Ref>,
    },
    /// A process registered as the worker of a run.
    Registered {
        /// The run.
        execution: Ref,
        /// The process.
        process: Process,
    },
    /// A reservation was granted or refused.
    Reserved(Reserved),
    /// A live reservation ended without a last charge.
    Resolved {
        /// The reservation.
        reservation: Arc<str>,
        /// Its run.
        execution: Ref,
        /// How.
        standing: Standing,
    },
    /// A live reservation has more time.
    Extended {
        /// The reservation.
        reservation: Arc<str>,
        /// Its run.
        execution: Ref,
        /// When it expires now.
        expires_at: Timestamp,
    },
    /// Runs that ended long ago, or have rested for so long, left the state; what they cost stays in the ledger.
    Forgotten {
        /// The runs.
        executions: Vec<Ref>,
    },
    /// Runs that are not over, and that nothing has named for long: the next entry that names one wakes it.
    Rested {
        /// The runs.
        executions: Vec<Ref>,
    },
}

/// Who did what, or was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Audit {
    /// The principal's name.
    pub principal: Arc<str>,
    /// Its tenant.
    pub tenant: Arc<str>,
    /// The operation, such as `POST /v1/resources/apply`.
    pub action: Arc<str>,
    /// What it was done to.
    pub object: Arc<str>,
    /// The result, as an HTTP status.
    pub status: u16,
}

/// A resource as applied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applied {
    /// `Budget`, `Agent`, `Execution` …
    pub kind: Arc<str>,
    /// Its name.
    pub id: Ref,
    /// Rises with each change of this resource.
    pub generation: u64,
    /// Where it came from.
    pub origin: Origin,
    /// The whole document as canonical JSON, unknown fields included.
    pub document: Arc<str>,
    /// The budgets that it carries.
    pub budgets: Vec<Budget>,
    /// What it says about budgets that others carry.
    pub link: Link,
}

/// Who owns a resource: a reload of the directory removes only what came from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Origin {
    /// The watched directory.
    Directory,
    /// `apply`, through the API.
    Api,
}

/// A run's description.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opened {
    /// The run.
    pub execution: Ref,
    /// Whom it is for.
    pub subject: Subject,
    /// The run that started it.
    pub parent: Option<Ref>,
    /// Conversation.
    pub conversation: Option<Arc<str>>,
    /// Takes the agent's per-run limits (joch's `budgets.inheritFromAgent`; on unless said otherwise).
    pub inherit_from_agent: bool,
    /// Its own limits, as a budget of source `Execution`.
    pub budget: Option<Budget>,
    /// The ModelRoute that it takes instead of its agent's (joch's `modelRouteOverride`).
    pub route: Option<Ref>,
    /// The Execution document as sent, as canonical JSON; `None` when an event opened the run.
    pub document: Option<Arc<str>>,
}

/// joch's phases, as far as meterd moves them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Phase {
    /// Opened, nothing seen yet.
    Pending,
    /// Live.
    Running,
    /// Ended well.
    Succeeded,
    /// Ended badly.
    Failed,
    /// Cancelled, by its owner or by a kill.
    Cancelled,
}

impl Phase {
    /// Over?
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }

    /// joch's word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Running => "Running",
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
            Self::Cancelled => "Cancelled",
        }
    }
}
