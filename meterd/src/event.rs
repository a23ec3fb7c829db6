//! UsageEvent: the one normalised inbound fact. Every wire format ends here, before anything is priced.
//!
//! Holds ids and numbers only: no prompt, completion or tool argument ever gets this far. No I/O.

use std::sync::Arc;

use budget::charge::{CallOutcome, Called};
use pricing::{Attrs, Money, Timestamp, Usage};

/// The namespace of events that name none.
pub const DEFAULT_NAMESPACE: &str = "default";

/// One model call, tool call or approval, as its source reports it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageEvent {
    /// Unique within `source`.
    pub id: Arc<str>,
    /// Who reports it; part of the identity.
    pub source: Arc<str>,
    /// Start of the call; it picks the price and the window.
    pub time: Timestamp,
    /// Namespace; `default` when the source names none.
    pub namespace: Arc<str>,
    /// The run it belongs to; a run nobody opened is opened by it.
    pub execution: Arc<str>,
    /// The run that started that run, in the same namespace.
    pub parent_execution: Option<Arc<str>>,
    /// Agent.
    pub agent: Option<Arc<str>>,
    /// Team.
    pub team: Option<Arc<str>>,
    /// Environment.
    pub environment: Option<Arc<str>>,
    /// Conversation.
    pub conversation: Option<Arc<str>>,
    /// Labels, sorted by key.
    pub labels: Vec<(Arc<str>, Arc<str>)>,
    /// What was called.
    pub called: Called,
    /// Inclusive totals with named subsets, as declared; `None` when a call that should have usage has none.
    pub usage: Option<Usage>,
    /// Served attributes that decide the price.
    pub attrs: Attrs,
    /// How the call ended.
    pub outcome: CallOutcome,
    /// The usage is an estimate.
    pub estimated: bool,
    /// The reservation it settles.
    pub reservation: Option<Arc<str>>,
    /// Nothing more will come for that reservation.
    pub settles: bool,
    /// What the source says it cost.
    pub reported_cost: Option<Money>,
}

/// Why an event is refused: a stable code, the field, and a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// Stable code, such as `invalid_quantity`.
    pub code: &'static str,
    /// JSON pointer to the field, such as `/usage/input_tokens`; empty for the whole event.
    pub pointer: String,
    /// What is wrong and what would be right.
    pub message: String,
}
