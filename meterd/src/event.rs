//! UsageEvent: the one normalised inbound fact. Every wire format ends here, before anything is priced.
//!
//! Holds ids and numbers only: no prompt, completion or tool argument ever gets this far. Everything has a bound, and every
//! decoder ends in `UsageEvent::validate`. No I/O.

pub mod charge;
pub mod estimate;

use std::sync::Arc;

use budget::charge::{CallOutcome, Called};
use pricing::{Attrs, Money, Timestamp, Usage};

/// Labels, sorted by key.
pub type Labels = Vec<(Arc<str>, Arc<str>)>;

/// The namespace of events that name none.
pub const DEFAULT_NAMESPACE: &str = "default";
/// The source of events that name none.
pub const DEFAULT_SOURCE: &str = "api";
/// Longest `id`, `response_id` and `reservation`, in bytes.
pub const ID_BYTES_MAX: usize = 256;
/// Longest `source`, in bytes.
pub const SOURCE_BYTES_MAX: usize = 256;
/// Longest name of an execution, namespace, agent, team, environment, conversation, provider or tool, in bytes.
pub const NAME_BYTES_MAX: usize = 253;
/// Longest model id, in bytes (some are resource paths).
pub const MODEL_BYTES_MAX: usize = 512;
/// Most labels on one event.
pub const LABELS_MAX: usize = 32;
/// Most served attributes on one event.
pub const ATTRS_MAX: usize = 32;
/// Longest key of a label or attribute, in bytes.
pub const KEY_BYTES_MAX: usize = 128;
/// Longest value of a label or attribute, in bytes.
pub const VALUE_BYTES_MAX: usize = 256;

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
    pub labels: Labels,
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

impl Rejection {
    /// A rejection of the field at `pointer`.
    #[must_use]
    pub fn new(code: &'static str, pointer: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code, pointer: pointer.into(), message: message.into() }
    }
}

impl UsageEvent {
    /// The checks in which every decoder ends: nothing empty, nothing over its bound, no control characters.
    pub fn validate(&self) -> Result<(), Rejection> {
        text("/id", &self.id, ID_BYTES_MAX)?;
        text("/source", &self.source, SOURCE_BYTES_MAX)?;
        text("/namespace", &self.namespace, NAME_BYTES_MAX)?;
        text("/execution", &self.execution, NAME_BYTES_MAX)?;
        optional("/parent_execution", self.parent_execution.as_ref(), NAME_BYTES_MAX)?;
        optional("/agent", self.agent.as_ref(), NAME_BYTES_MAX)?;
        optional("/team", self.team.as_ref(), NAME_BYTES_MAX)?;
        optional("/environment", self.environment.as_ref(), NAME_BYTES_MAX)?;
        optional("/conversation", self.conversation.as_ref(), NAME_BYTES_MAX)?;
        optional("/reservation", self.reservation.as_ref(), ID_BYTES_MAX)?;
        self.validate_called()?;
        pairs("/labels", self.labels.iter().map(|(key, value)| (&**key, &**value)), LABELS_MAX)?;
        pairs("/attrs", self.attrs.iter(), ATTRS_MAX)?;
        if self.parent_execution.as_ref() == Some(&self.execution) {
            return Err(Rejection::new(
                "invalid_value",
                "/parent_execution",
                "an execution cannot be its own parent; leave parent_execution out for a run nobody started",
            ));
        }
        if self.reported_cost.is_some_and(Money::is_negative) {
            return Err(Rejection::new(
                "negative_amount",
                "/reported_cost_usd",
                "a reported cost is never below zero; corrections are made with `meterd adjust`",
            ));
        }
        Ok(())
    }

    fn validate_called(&self) -> Result<(), Rejection> {
        match &self.called {
            Called::Model { provider, model, request_model, response_id } => {
                text("/provider", provider, NAME_BYTES_MAX)?;
                text("/model", model, MODEL_BYTES_MAX)?;
                optional("/request_model", request_model.as_ref(), MODEL_BYTES_MAX)?;
                optional("/response_id", response_id.as_ref(), ID_BYTES_MAX)
            }
            Called::Tool { tool, mcp_server } => {
                text("/tool", tool, NAME_BYTES_MAX)?;
                optional("/mcp_server", mcp_server.as_ref(), NAME_BYTES_MAX)
            }
            Called::Approval => Ok(()),
        }
    }
}

fn optional(pointer: &str, value: Option<&Arc<str>>, bytes_max: usize) -> Result<(), Rejection> {
    value.map_or(Ok(()), |value| text(pointer, value, bytes_max))
}

fn text(pointer: &str, value: &str, bytes_max: usize) -> Result<(), Rejection> {
    if value.is_empty() {
        let message = "this is empty; give a value, or leave the field out if it is optional";
        return Err(Rejection::new("empty_value", pointer, message));
    }
    if value.len() > bytes_max {
        let message = format!("this has {} bytes; at most {bytes_max} are kept", value.len());
        return Err(Rejection::new("too_long", pointer, message));
    }
    if value.chars().any(char::is_control) {
        let message = "this holds a control character; names and ids are printable text";
        return Err(Rejection::new("control_character", pointer, message));
    }
    Ok(())
}

fn pairs<'a>(
    pointer: &str,
    pairs: impl Iterator<Item = (&'a str, &'a str)>,
    pairs_max: usize,
) -> Result<(), Rejection> {
    for (count, (key, value)) in pairs.enumerate() {
        if count >= pairs_max {
            return Err(Rejection::new("too_many", pointer, format!("at most {pairs_max} entries are kept")));
        }
        text(pointer, key, KEY_BYTES_MAX)?;
        if value.is_empty() {
            continue;
        }
        if value.len() > VALUE_BYTES_MAX || value.chars().any(char::is_control) {
            text(&format!("{pointer}/{}", escape_pointer(key)), value, VALUE_BYTES_MAX)?;
        }
    }
    Ok(())
}

/// One step of a JSON pointer (RFC 6901): `~` and `/` are escaped.
#[must_use]
pub fn escape_pointer(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests;
