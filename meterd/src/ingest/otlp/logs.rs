//! OTLP logs: the usage events of coding agents (Claude Code, Codex) → usage events. Every other record says nothing that is
//! metered here; the records that repeat a span's usage are among those.

use std::sync::Arc;

use budget::charge::CallOutcome;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use prost::Message;
use serde_json::Value as Json;

use super::attributes::Value;
use super::bag::{Bag, integer, list, member};
use super::draft::{Draft, Who};
use super::tokens::{Tokens, whole};
use super::{Defaults, Encoding, SPANS_MAX, preflight};
use crate::event::Rejection;
use crate::ingest::{BodyError, Item};

/// Attributes of records that are read.
const RECORD: &[&str] = &[
    "event.name",
    "event.kind",
    "event.sequence",
    "session.id",
    "conversation.id",
    "prompt.id",
    "request_id",
    "call_id",
    "tool_use_id",
    "model",
    "slug",
    "cost_usd",
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_creation_tokens",
    "input_token_count",
    "output_token_count",
    "cached_token_count",
    "reasoning_token_count",
    "tool_name",
    "success",
    "error",
    "error.message",
    "mcp_server",
    "status_code",
];

/// What a log export held.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogBatch {
    /// The records that count.
    pub items: Vec<Item>,
    /// All records.
    pub records: usize,
}

struct Record {
    resource: usize,
    nanos: u64,
    name: String,
    bag: Bag,
}

/// Reads the body of a log export.
pub fn decode_logs(body: &[u8], encoding: Encoding, defaults: &Defaults) -> Result<LogBatch, BodyError> {
    let (resources, records) = match encoding {
        Encoding::Protobuf => protobuf(body, defaults)?,
        Encoding::Json => json(body, defaults)?,
    };
    let count = records.len();
    let mut items = Vec::new();
    for (index, record) in records.iter().enumerate() {
        let Some(resource) = resources.get(record.resource) else { continue };
        items.extend(read(index, record, resource, defaults));
    }
    Ok(LogBatch { items, records: count })
}

type Read = (Vec<Bag>, Vec<Record>);

fn protobuf(body: &[u8], defaults: &Defaults) -> Result<Read, BodyError> {
    preflight::protobuf_messages(body)?;
    let message = ExportLogsServiceRequest::decode(body).map_err(|error| {
        let message = format!("the body is not an OTLP log export request in protobuf: {error}");
        BodyError::bad_request("malformed_protobuf", message)
    })?;
    let (mut resources, mut records) = (Vec::new(), Vec::new());
    for group in message.resource_logs {
        let attributes = group.resource.map(|resource| resource.attributes).unwrap_or_default();
        resources.push(Bag::of_proto(attributes, |key| Who::reads(key, defaults)));
        for record in group.scope_logs.into_iter().flat_map(|scope| scope.log_records) {
            let wanted = |key: &str| RECORD.contains(&key) || Who::reads(key, defaults);
            let bag = Bag::of_proto(record.attributes, wanted);
            let name = name(&record.event_name, &bag);
            let nanos = if record.time_unix_nano > 0 { record.time_unix_nano } else { record.observed_time_unix_nano };
            records.push(Record { resource: resources.len().saturating_sub(1), nanos, name, bag });
        }
    }
    preflight::spans(records.len())?;
    Ok((resources, records))
}

fn json(body: &[u8], defaults: &Defaults) -> Result<Read, BodyError> {
    preflight::json(body)?;
    let message: Json = serde_json::from_slice(body).map_err(|error| {
        BodyError::bad_request("malformed_json", format!("the body is not an OTLP log export request in JSON: {error}"))
    })?;
    let (mut resources, mut records) = (Vec::new(), Vec::new());
    for group in list(&message, "resourceLogs", "resource_logs") {
        let attributes = group.get("resource").and_then(|resource| resource.get("attributes"));
        resources.push(Bag::of_json(attributes, |key| Who::reads(key, defaults)));
        for scope in list(group, "scopeLogs", "scope_logs") {
            for record in list(scope, "logRecords", "log_records") {
                let wanted = |key: &str| RECORD.contains(&key) || Who::reads(key, defaults);
                let bag = Bag::of_json(record.get("attributes"), wanted);
                let own = member(record, "eventName", "event_name").and_then(Json::as_str).unwrap_or_default();
                let time = |camel, snake| {
                    let nanos = member(record, camel, snake).and_then(integer)?;
                    u64::try_from(nanos).ok().filter(|nanos| *nanos > 0)
                };
                let nanos = time("timeUnixNano", "time_unix_nano");
                let nanos = nanos.or_else(|| time("observedTimeUnixNano", "observed_time_unix_nano")).unwrap_or(0);
                let name = name(own, &bag);
                records.push(Record { resource: resources.len().saturating_sub(1), nanos, name, bag });
            }
        }
        preflight::spans(records.len())?;
    }
    debug_assert!(records.len() <= SPANS_MAX);
    Ok((resources, records))
}

/// The attribute before the record's own field: there Codex, through its logging bridge, names its line of code.
fn name(own: &str, bag: &Bag) -> String {
    let named = bag.text(&["event.name"]).unwrap_or_else(|| own.to_owned());
    named.trim_start_matches("claude_code.").to_owned()
}

fn read(index: usize, record: &Record, resource: &Bag, defaults: &Defaults) -> Option<Item> {
    let service = resource.text(&["service.name"]).unwrap_or_default();
    let bag = &record.bag;
    let claude = service.starts_with("claude") || bag.get("prompt.id").is_some() || bag.get("session.id").is_some();
    let kind = bag.text(&["event.kind"]).unwrap_or_default();
    let draft = match record.name.as_str() {
        "api_request" if claude => model(record, "anthropic", claude_tokens(bag), CallOutcome::Ok),
        "api_error" if claude => model(record, "anthropic", Ok(Tokens::default()), CallOutcome::Error),
        "tool_result" if claude => tool(record),
        "codex.sse_event" if kind == "response.completed" => codex_response(record)?,
        "codex.tool_result" => tool(record),
        _ => return None,
    };
    let who = Who { resource, own: bag, defaults, session: &["session.id", "conversation.id"] };
    Some(match draft {
        Ok(draft) => draft.item(index, "otlp-log", &who),
        Err(rejection) => Draft::refused(index, rejection),
    })
}

fn model(
    record: &Record,
    provider: &'static str,
    tokens: Result<Tokens, Rejection>,
    outcome: CallOutcome,
) -> Result<Draft, Rejection> {
    let reported = match record.bag.get("cost_usd") {
        Some(Value::Double(cost)) => crate::ingest::amount::from_double(*cost),
        Some(Value::Text(cost)) => crate::ingest::amount::from_text(cost),
        Some(Value::Int(cost)) => crate::ingest::amount::from_text(&cost.to_string()),
        _ => None,
    };
    let model = record.bag.text(&["model", "slug"]).unwrap_or_else(|| "unknown".to_owned());
    Ok(Draft {
        id: id(record),
        nanos: record.nanos,
        outcome,
        reported: reported.filter(|cost| !cost.is_negative()),
        ..Draft::model(provider, &model, tokens?)
    })
}

fn tool(record: &Record) -> Result<Draft, Rejection> {
    let failed = match record.bag.get("success") {
        Some(Value::Bool(success)) => !success,
        Some(Value::Text(text)) => &**text == "false",
        _ => false,
    };
    let name = record.bag.text(&["tool_name"]).unwrap_or_else(|| "unknown".to_owned());
    let outcome = if failed { CallOutcome::Error } else { CallOutcome::Ok };
    let draft = Draft::tool(&name, record.bag.text(&["mcp_server"]).as_deref());
    Ok(Draft { id: id(record), nanos: record.nanos, outcome, ..draft })
}

/// Of one response Codex writes two records: one that the event came in, which says no counts, and one with them.
fn codex_response(record: &Record) -> Option<Result<Draft, Rejection>> {
    let bag = &record.bag;
    if ["input_token_count", "output_token_count"].iter().any(|name| bag.get(name).is_some()) {
        return Some(model(record, "openai", codex_tokens(bag), CallOutcome::Ok));
    }
    bag.get("error.message").map(|_| model(record, "openai", Ok(Tokens::default()), CallOutcome::Error))
}

/// Anthropic counts cached tokens beside `input_tokens`.
fn claude_tokens(bag: &Bag) -> Result<Tokens, Rejection> {
    let mut tokens = Tokens {
        input: count(bag, "input_tokens")?,
        cache_read: count(bag, "cache_read_tokens")?,
        cache_write: count(bag, "cache_creation_tokens")?,
        output: count(bag, "output_tokens")?,
        ..Tokens::default()
    };
    let cached = tokens.cache_read.unwrap_or(0).saturating_add(tokens.cache_write.unwrap_or(0));
    tokens.input = tokens.input.map(|input| input.saturating_add(cached));
    Ok(tokens)
}

/// OpenAI counts cached tokens within the input and reasoning within the output.
fn codex_tokens(bag: &Bag) -> Result<Tokens, Rejection> {
    Ok(Tokens {
        input: count(bag, "input_token_count")?,
        cache_read: count(bag, "cached_token_count")?,
        output: count(bag, "output_token_count")?,
        reasoning: count(bag, "reasoning_token_count")?,
        ..Tokens::default()
    })
}

fn count(bag: &Bag, name: &str) -> Result<Option<u64>, Rejection> {
    let Some(value) = bag.get(name) else { return Ok(None) };
    whole(value).map(Some).ok_or_else(|| {
        let message = format!("`{name}` must be a whole number that is not negative");
        Rejection::new("invalid_quantity", format!("/attributes/{name}"), message)
    })
}

/// The call's own id where it has one; else what makes a record itself, so that an export that is sent again is the same.
fn id(record: &Record) -> Arc<str> {
    let own = record.bag.text(&["request_id", "tool_use_id", "call_id"]);
    match own {
        Some(own) => Arc::from(format!("{}:{own}", record.name)),
        None => Arc::from(super::draft::digest(&[&record.name, &record.nanos.to_string(), &record.bag.canonical()])),
    }
}
