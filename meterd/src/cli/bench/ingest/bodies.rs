//! Request bodies that differ in their ids alone: made once, and stamped with a number for each request.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use pricing::Timestamp;
use prost::Message;

/// Bytes that stand where a request's number goes: sixteen hexadecimal digits, in the ids of every event.
const MARK: &[u8; 16] = b"fedcba9876543210";
/// Runs that the events belong to.
const RUNS: usize = 1_000;

/// A body, and where the numbers stand in it.
pub(super) struct Template {
    body: Vec<u8>,
    places: Vec<usize>,
    path: &'static str,
    content_type: &'static str,
}

impl Template {
    /// Spans as the GenAI instrumentation of OpenAI sends them, each of one call.
    pub(super) fn otlp(batch: usize) -> Self {
        let spans = (0..batch).map(span).collect();
        let scope = InstrumentationScope {
            name: "opentelemetry.instrumentation.genai.openai".to_owned(),
            ..InstrumentationScope::default()
        };
        let attributes = vec![text("service.name", "bench"), text("service.namespace", "bench")];
        let request = ExportTraceServiceRequest {
            resource_spans: vec![ResourceSpans {
                resource: Some(Resource { attributes, ..Resource::default() }),
                scope_spans: vec![ScopeSpans { scope: Some(scope), spans, ..ScopeSpans::default() }],
                ..ResourceSpans::default()
            }],
        };
        Self::new(request.encode_to_vec(), "/v1/traces", "application/x-protobuf")
    }

    /// Native events, one a line.
    pub(super) fn ndjson(batch: usize) -> Self {
        let mark = String::from_utf8_lossy(MARK);
        let time = now();
        let line = |place: usize| {
            format!(
                "{{\"id\":\"{mark}-{place}\",\"source\":\"bench\",\"time\":\"{time}\",\"namespace\":\"bench\",\
                 \"execution\":\"run-{}\",\"agent\":\"bench\",\"kind\":\"model\",\"provider\":\"openai\",\
                 \"model\":\"gpt-4o-mini\",\"response_id\":\"r-{mark}-{place}\",\"usage\":{{\"input_tokens\":2048,\
                 \"cache_read_tokens\":1024,\"output_tokens\":321,\"output_reasoning_tokens\":128}}}}\n",
                place % RUNS
            )
        };
        Self::new((0..batch).map(line).collect::<String>().into_bytes(), "/v1/usage", "application/x-ndjson")
    }

    fn new(body: Vec<u8>, path: &'static str, content_type: &'static str) -> Self {
        let places = body.windows(MARK.len()).enumerate().filter(|(_, window)| window == MARK).map(|(at, _)| at);
        let places = places.collect();
        Self { body, places, path, content_type }
    }

    /// The body of a request.
    pub(super) fn body(&self, number: u64) -> Vec<u8> {
        let mut body = self.body.clone();
        let digits = format!("{number:016x}");
        for place in &self.places {
            if let Some(slot) = body.get_mut(*place..place.saturating_add(MARK.len())) {
                slot.copy_from_slice(digits.as_bytes());
            }
        }
        body
    }

    /// Its length.
    pub(super) fn bytes(&self) -> usize {
        self.body.len()
    }

    /// Where it goes.
    pub(super) const fn path(&self) -> &'static str {
        self.path
    }

    /// What it is.
    pub(super) const fn content_type(&self) -> &'static str {
        self.content_type
    }
}

fn now() -> Timestamp {
    crate::clock::Clock::wall().now()
}

fn span(place: usize) -> Span {
    let start = u64::try_from(now().nanos()).unwrap_or(0);
    let mark = String::from_utf8_lossy(MARK);
    Span {
        trace_id: MARK.to_vec(),
        span_id: (place as u64 + 1).to_be_bytes().to_vec(),
        name: "chat gpt-4o-mini".to_owned(),
        start_time_unix_nano: start,
        end_time_unix_nano: start.saturating_add(700_000_000),
        attributes: vec![
            text("gen_ai.operation.name", "chat"),
            text("gen_ai.provider.name", "openai"),
            text("gen_ai.request.model", "gpt-4o-mini"),
            text("gen_ai.response.model", "gpt-4o-mini-2024-07-18"),
            text("gen_ai.response.id", &format!("chatcmpl-{mark}-{place}")),
            text("server.address", "api.openai.com"),
            text("joch.execution.id", &format!("run-{}", place % RUNS)),
            int("gen_ai.usage.input_tokens", 2048),
            int("gen_ai.usage.cache_read.input_tokens", 1024),
            int("gen_ai.usage.output_tokens", 321),
            int("gen_ai.usage.reasoning.output_tokens", 128),
            text("openai.response.service_tier", "default"),
        ],
        ..Span::default()
    }
}

fn text(key: &str, value: &str) -> KeyValue {
    attribute(key, any_value::Value::StringValue(value.to_owned()))
}

fn int(key: &str, value: i64) -> KeyValue {
    attribute(key, any_value::Value::IntValue(value))
}

fn attribute(key: &str, value: any_value::Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}
