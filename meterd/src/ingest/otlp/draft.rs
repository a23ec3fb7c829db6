//! What a log record or data point says → a `UsageEvent`: who it is for, by the same precedence as spans.

use std::sync::Arc;

use budget::charge::{CallOutcome, Called};
use pricing::{Attrs, Money, Quantity, Timestamp, Usage, UsageKey};
use sha2::{Digest as _, Sha256};

use super::Defaults;
use super::attributes::{ALIASES, Field, cut};
use super::bag::Bag;
use super::tokens::Tokens;
use crate::event::{MODEL_BYTES_MAX, NAME_BYTES_MAX, Rejection, SOURCE_BYTES_MAX, UsageEvent};
use crate::ingest::Item;

/// Attributes that say for whom a call was made.
const WHO: [Field; 8] = [
    Field::Execution,
    Field::Reservation,
    Field::Conversation,
    Field::Agent,
    Field::Namespace,
    Field::Team,
    Field::Environment,
    Field::ServiceName,
];

/// For whom: the record's own attributes, then the resource's, then the configuration.
pub(super) struct Who<'a> {
    pub(super) own: &'a Bag,
    pub(super) resource: &'a Bag,
    pub(super) defaults: &'a Defaults,
    /// Where nothing names the execution, these attributes do.
    pub(super) session: &'static [&'static str],
}

impl Who<'_> {
    /// Is this attribute read?
    pub(super) fn reads(key: &str, defaults: &Defaults) -> bool {
        WHO.iter().any(|field| names(*field).contains(&key))
            || key == "user.id"
            || defaults.execution_keys.iter().any(|known| **known == *key)
    }

    fn text(&self, keys: &[&str]) -> Option<String> {
        self.own.text(keys).or_else(|| self.resource.text(keys))
    }

    fn field(&self, field: Field) -> Option<Arc<str>> {
        self.text(names(field)).map(|name| printable(&name, NAME_BYTES_MAX)).filter(|name| !name.is_empty())
    }

    /// The service that sends.
    pub(super) fn service(&self) -> Option<Arc<str>> {
        self.field(Field::ServiceName)
    }

    fn execution(&self) -> Option<Arc<str>> {
        let known = self.text(names(Field::Execution));
        let configured = || {
            let keys: Vec<&str> = self.defaults.execution_keys.iter().map(|key| &**key).collect();
            self.text(&keys)
        };
        let session = || self.text(self.session);
        known.or_else(configured).or_else(session).map(|name| Arc::from(name.trim()))
    }
}

/// A call, before it is known for whom.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) id: Arc<str>,
    pub(super) nanos: u64,
    pub(super) called: Called,
    pub(super) tokens: Option<Tokens>,
    pub(super) outcome: CallOutcome,
    pub(super) reported: Option<Money>,
}

impl Draft {
    /// A call of a model.
    pub(super) fn model(provider: &str, model: &str, tokens: Tokens) -> Self {
        let called = Called::Model {
            provider: Arc::from(provider),
            model: printable(model, MODEL_BYTES_MAX),
            request_model: None,
            response_id: None,
        };
        Self { id: Arc::from(""), nanos: 0, called, tokens: Some(tokens), outcome: CallOutcome::Ok, reported: None }
    }

    /// A call of a tool, of an MCP server's where one is named.
    pub(super) fn tool(name: &str, mcp_server: Option<&str>) -> Self {
        let mcp_server = mcp_server.map(|server| printable(server, NAME_BYTES_MAX)).filter(|server| !server.is_empty());
        let called = Called::Tool { tool: printable(name, NAME_BYTES_MAX), mcp_server };
        Self { id: Arc::from(""), nanos: 0, called, tokens: None, outcome: CallOutcome::Ok, reported: None }
    }

    /// A record that is refused.
    pub(super) fn refused(index: usize, rejection: Rejection) -> Item {
        Item { index, id: None, event: Err(rejection), ignored_fields: Vec::new(), notes: Vec::new() }
    }

    /// The event of a call.
    pub(super) fn item(self, index: usize, via: &str, who: &Who<'_>) -> Item {
        let mut notes = Vec::new();
        let id = Arc::clone(&self.id);
        let event = self.event(via, who, &mut notes);
        Item { index, id: Some(id), event, ignored_fields: Vec::new(), notes }
    }

    fn event(self, via: &str, who: &Who<'_>, notes: &mut Vec<&'static str>) -> Result<UsageEvent, Rejection> {
        let usage = match self.tokens {
            None => Some(one_call()?),
            Some(mut tokens) => {
                if tokens.make_inclusive() {
                    notes.push(crate::ingest::NOTE_INCONSISTENT_USAGE);
                }
                tokens.usage(|| "/attributes".to_owned())?
            }
        };
        let nanos = i64::try_from(self.nanos).ok().filter(|nanos| *nanos > 0).ok_or_else(|| {
            Rejection::new("invalid_time", "/timeUnixNano", "a record needs its time, in nanoseconds since 1970")
        })?;
        let service = who.service();
        let rule = who.defaults.rule(service.as_deref());
        let source = format!("{via}/{}", service.as_deref().unwrap_or("unknown"));
        let execution = who.execution().ok_or_else(|| {
            let message = "nothing names the run: set joch.execution.id as a resource attribute \
                           (OTEL_RESOURCE_ATTRIBUTES), or executionKeys of this source";
            Rejection::new("missing_field", "/attributes", message)
        })?;
        let agent = who.field(Field::Agent).or_else(|| rule.and_then(|rule| rule.agent.clone()));
        let namespace = who.field(Field::Namespace).or_else(|| rule.and_then(|rule| rule.namespace.clone()));
        let team = who.field(Field::Team).or_else(|| rule.and_then(|rule| rule.team.clone()));
        let reservation = who.own.text(names(Field::Reservation)).map(Arc::from);
        let event = UsageEvent {
            id: self.id,
            source: printable(&source, SOURCE_BYTES_MAX),
            time: Timestamp::from_nanos(nanos),
            namespace: namespace.unwrap_or_else(|| Arc::clone(&who.defaults.namespace)),
            execution,
            parent_execution: None,
            agent: agent.or_else(|| who.defaults.agent.clone()).or(service),
            team: team.or_else(|| who.defaults.team.clone()),
            environment: who.field(Field::Environment),
            conversation: who.field(Field::Conversation),
            labels: Vec::new(),
            called: self.called,
            usage,
            attrs: Attrs::new(),
            outcome: self.outcome,
            estimated: false,
            settles: reservation.is_some(),
            reservation,
            reported_cost: self.reported,
        };
        event.validate()?;
        Ok(event)
    }
}

/// One call of a tool.
fn one_call() -> Result<Usage, Rejection> {
    let mut usage = Usage::new();
    let one = Quantity::from_u64(1).unwrap_or_default();
    usage.set(UsageKey::Calls, one).map_err(|error| Rejection::new("invalid_quantity", "", error.to_string()))?;
    Ok(usage)
}

fn names(field: Field) -> &'static [&'static str] {
    ALIASES.iter().find(|(known, _)| *known == field).map(|(_, names)| *names).unwrap_or_default()
}

/// Without control characters, and not longer than it may be.
pub(super) fn printable(text: &str, bytes_max: usize) -> Arc<str> {
    let clean: String = text.chars().filter(|c| !c.is_control()).collect();
    Arc::from(cut(clean.trim(), bytes_max))
}

/// A short name for what makes a record itself.
pub(super) fn digest(parts: &[&str]) -> String {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    hasher.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}
