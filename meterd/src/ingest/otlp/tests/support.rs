//! Spans for tests: written as OTLP/JSON, read by the real decoder, summed up for comparison.

use budget::charge::{CallOutcome, Called};
use pricing::UsageKey;
use serde_json::{Map, Value, json};

use super::super::{Defaults, Encoding, TraceBatch, decode_traces};
use crate::event::UsageEvent;
use crate::ingest::Item;

/// A span in the making.
#[derive(Clone)]
pub(super) struct SpanText {
    trace: u8,
    id: u8,
    parent: Option<u8>,
    name: String,
    scope: String,
    error: bool,
    nanos: (u64, u64),
    attributes: Vec<(String, Value)>,
}

/// Span `id` of trace 1.
pub(super) fn span(id: u8, name: &str) -> SpanText {
    SpanText {
        trace: 1,
        id,
        parent: None,
        name: name.into(),
        scope: "test".into(),
        error: false,
        nanos: (1_795_374_801_272_972_004, 1_795_374_802_772_972_004),
        attributes: vec![],
    }
}

impl SpanText {
    pub(super) fn trace(mut self, trace: u8) -> Self {
        self.trace = trace;
        self
    }

    pub(super) fn under(mut self, parent: u8) -> Self {
        self.parent = Some(parent);
        self
    }

    pub(super) fn scope(mut self, scope: &str) -> Self {
        self.scope = scope.into();
        self
    }

    /// Longer by so many nanoseconds at either end.
    pub(super) fn around(mut self, nanos: u64) -> Self {
        self.nanos = (self.nanos.0 - nanos, self.nanos.1 + nanos);
        self
    }

    /// Later by so many nanoseconds.
    pub(super) fn shifted(mut self, nanos: u64) -> Self {
        self.nanos = (self.nanos.0 + nanos, self.nanos.1 + nanos);
        self
    }

    pub(super) fn error(mut self) -> Self {
        self.error = true;
        self
    }

    /// One attribute; the value's JSON type picks the attribute's.
    pub(super) fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.attributes.push((key.into(), value.into()));
        self
    }

    fn json(&self) -> Value {
        let mut span = json!({
            "traceId": format!("{:032x}", self.trace),
            "spanId": format!("{:016x}", self.id),
            "name": self.name,
            "startTimeUnixNano": self.nanos.0.to_string(),
            "endTimeUnixNano": self.nanos.1.to_string(),
            "status": { "code": if self.error { 2 } else { 0 } },
            "attributes": self.attributes.iter().map(attribute).collect::<Vec<_>>(),
        });
        if let Some(parent) = self.parent {
            span["parentSpanId"] = json!(format!("{parent:016x}"));
        }
        span
    }
}

fn attribute((key, value): &(String, Value)) -> Value {
    let kind = match value {
        Value::String(_) => "stringValue",
        Value::Bool(_) => "boolValue",
        Value::Number(number) if number.is_f64() => "doubleValue",
        _ => "intValue",
    };
    json!({ "key": key, "value": Map::from_iter([(kind.to_owned(), value.clone())]) })
}

/// The body of a request with these spans, each in a scope of its own, under one resource.
pub(super) fn body(spans: &[SpanText], resource: &[(&str, &str)]) -> Vec<u8> {
    let resource: Vec<Value> =
        resource.iter().map(|(key, value)| attribute(&((*key).to_owned(), Value::from(*value)))).collect();
    let scopes: Vec<Value> =
        spans.iter().map(|span| json!({ "scope": { "name": span.scope }, "spans": [span.json()] })).collect();
    let request = json!({ "resourceSpans": [{ "resource": { "attributes": resource }, "scopeSpans": scopes }] });
    serde_json::to_vec(&request).unwrap()
}

pub(super) fn decode(spans: &[SpanText]) -> TraceBatch {
    decode_traces(&body(spans, &[("service.name", "worker")]), Encoding::Json, &Defaults::default()).unwrap()
}

/// The only event of these spans.
pub(super) fn only(spans: &[SpanText]) -> UsageEvent {
    let mut batch = decode(spans);
    assert_eq!(batch.items.len(), 1, "{batch:#?}");
    batch.items.remove(0).event.unwrap()
}

/// What a batch adds up to; the columns of the expectations that come with the captures.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Sums {
    pub(super) calls: u64,
    pub(super) failed: u64,
    pub(super) input_total: u64,
    pub(super) cache_read: u64,
    pub(super) cache_write: u64,
    pub(super) output_total: u64,
    pub(super) reasoning: u64,
    pub(super) embeddings_input: u64,
    pub(super) tool_calls: u64,
}

pub(super) fn sums(batch: &TraceBatch) -> Sums {
    assert_eq!(batch.spans, batch.items.len() + batch.duplicates + batch.not_billable);
    sums_of(&batch.items)
}

/// What items of any source add up to.
pub(super) fn sums_of(items: &[Item]) -> Sums {
    let mut sums = Sums::default();
    for item in items {
        let event = item.event.as_ref().unwrap_or_else(|rejection| panic!("{rejection:?}"));
        let count = |key| event.usage.as_ref().map_or(0, |usage| usage.count(key));
        match &event.called {
            Called::Tool { .. } => sums.tool_calls += count(UsageKey::Calls),
            Called::Approval => panic!("no approval comes over OTLP"),
            Called::Model { .. } if event.usage.is_none() && event.outcome == CallOutcome::Error => sums.failed += 1,
            Called::Model { model, .. } if model.contains("embedding") => {
                sums.calls += 1;
                sums.embeddings_input += count(UsageKey::InputTokens);
            }
            Called::Model { .. } => {
                sums.calls += 1;
                sums.input_total += count(UsageKey::InputTokens);
                sums.cache_read += count(UsageKey::CacheReadTokens);
                sums.cache_write += count(UsageKey::CacheWriteTokens);
                sums.output_total += count(UsageKey::OutputTokens);
                sums.reasoning += count(UsageKey::OutputReasoningTokens);
            }
        }
        if let Some(usage) = &event.usage {
            usage.validate().unwrap();
        }
    }
    sums
}
