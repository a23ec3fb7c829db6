//! A model or tool call as one span reports it. What several spans of one call know is put together in `relatives`.

use std::sync::Arc;

use pricing::Money;

use super::attributes::{Field, Value};
use super::dialect::{Class, classify};
use super::span::Span;
use super::tokens::Tokens;
use super::{langfuse, provider};
use crate::event::Rejection;
use crate::ingest::amount;

/// A model or tool call as one span reports it, and what its duplicates add.
#[derive(Debug)]
pub(super) struct Call {
    /// Index of its span.
    pub(super) span: usize,
    /// Model or tool.
    pub(super) class: Class,
    /// Provider, normalised.
    pub(super) provider: Arc<str>,
    /// The provider's id of the response.
    pub(super) response_id: Option<Arc<str>>,
    /// Token counts.
    pub(super) tokens: Tokens,
    /// Why the counts cannot be read.
    pub(super) rejection: Option<Rejection>,
    /// Served tier.
    pub(super) service_tier: Option<Arc<str>>,
    /// What the source says it cost.
    pub(super) reported_cost: Option<Money>,
    /// MCP server of a tool.
    pub(super) mcp_server: Option<Arc<str>>,
    /// It failed.
    pub(super) failed: bool,
    /// Another span counts instead.
    pub(super) duplicate: bool,
}

impl Call {
    /// The call that a span reports, if it reports one.
    pub(super) fn read(index: usize, span: &Span) -> Option<Self> {
        let class = classify(span);
        if !class.is_model() && class != Class::Tool {
            return None;
        }
        let attributes = &span.attributes;
        let read = if class.is_model() { Tokens::read(span, class == Class::Embedding) } else { Ok(Tokens::default()) };
        let (tokens, rejection) = match read {
            Ok(tokens) => (tokens, None),
            Err(rejection) => (Tokens::default(), Some(rejection)),
        };
        let named = attributes.text(Field::Provider);
        Some(Self {
            span: index,
            class,
            provider: named.map_or_else(|| unnamed(span), |name| provider::normalise(name, span.from_ai_sdk)),
            response_id: attributes.name(Field::ResponseId),
            tokens,
            rejection,
            service_tier: attributes.name(Field::ServiceTier),
            reported_cost: reported_cost(span),
            mcp_server: attributes.name(Field::McpServer),
            failed: span.failed(),
            duplicate: false,
        })
    }

    /// Does it say what was used, readably or not?
    pub(super) fn has_usage(&self) -> bool {
        !self.tokens.is_empty() || self.rejection.is_some()
    }

    /// Takes over what only `other`, a report of the same call, knows.
    pub(super) fn fill_from(&mut self, other: &Known) {
        if self.tokens.agrees_with(&other.tokens) {
            self.tokens.fill_from(&other.tokens);
        }
        if self.response_id.is_none() {
            self.response_id.clone_from(&other.response_id);
        }
        if self.service_tier.is_none() {
            self.service_tier.clone_from(&other.service_tier);
        }
        if self.mcp_server.is_none() {
            self.mcp_server.clone_from(&other.mcp_server);
        }
        self.reported_cost = self.reported_cost.or(other.reported_cost);
    }
}

/// What one report of a call can give to another.
pub(super) struct Known {
    tokens: Tokens,
    response_id: Option<Arc<str>>,
    service_tier: Option<Arc<str>>,
    mcp_server: Option<Arc<str>>,
    reported_cost: Option<Money>,
}

impl Known {
    /// Of one report.
    pub(super) fn of(call: &Call) -> Self {
        Self {
            tokens: call.tokens,
            response_id: call.response_id.clone(),
            service_tier: call.service_tier.clone(),
            mcp_server: call.mcp_server.clone(),
            reported_cost: call.reported_cost,
        }
    }
}

/// Langfuse and some others name a model and nobody who serves it.
fn unnamed(span: &Span) -> Arc<str> {
    let model = span.attributes.text(Field::ResponseModel).or_else(|| span.attributes.text(Field::RequestModel));
    Arc::from(model.and_then(provider::of_model).unwrap_or(provider::UNKNOWN))
}

/// A double by its shortest decimal, text by itself; a negative or unreadable amount says nothing.
fn reported_cost(span: &Span) -> Option<Money> {
    let cost = match span.attributes.get(Field::ReportedCost) {
        Some(Value::Double(cost)) => amount::from_double(*cost),
        Some(Value::Int(cost)) => amount::from_text(&cost.to_string()),
        Some(Value::Text(cost)) => amount::from_text(cost),
        Some(Value::Bool(_)) => None,
        None => span.attributes.text(Field::CostDetails).and_then(langfuse::cost),
    };
    cost.filter(|cost| !cost.is_negative())
}
