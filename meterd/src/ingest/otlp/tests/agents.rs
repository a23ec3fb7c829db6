//! Logs of coding agents: usage events by record, each once however often it is sent.

use budget::charge::{CallOutcome, Called};
use pricing::UsageKey;
use serde_json::{Value, json};

use super::super::{Defaults, Encoding, decode_logs};
use crate::event::UsageEvent;
use crate::ingest::Item;

pub(super) fn attributes(pairs: &Value) -> Value {
    let one = |(key, value): (&String, &Value)| {
        let kind = match value {
            Value::String(_) => "stringValue",
            Value::Bool(_) => "boolValue",
            Value::Number(number) if number.is_f64() => "doubleValue",
            _ => "intValue",
        };
        json!({ "key": key, "value": { kind: value } })
    };
    pairs.as_object().unwrap().iter().map(one).collect()
}

fn logs(service: &str, records: &[Value]) -> Vec<Item> {
    let record = |pairs: &Value| json!({ "timeUnixNano": "1795341600000000000", "attributes": attributes(pairs) });
    let body = json!({ "resourceLogs": [{
        "resource": { "attributes": attributes(&json!({ "service.name": service })) },
        "scopeLogs": [{ "logRecords": records.iter().map(record).collect::<Vec<_>>() }],
    }] });
    decode_logs(body.to_string().as_bytes(), Encoding::Json, &Defaults::default()).unwrap().items
}

fn event(items: &[Item], index: usize) -> &UsageEvent {
    items[index].event.as_ref().unwrap()
}

fn counts(event: &UsageEvent, keys: &[UsageKey]) -> Vec<u64> {
    keys.iter().map(|key| event.usage.as_ref().unwrap().count(*key)).collect()
}

#[test]
fn claude_codes_requests_and_tools_are_calls() {
    let request = json!({
        "event.name": "api_request", "model": "claude-sonnet-4-5", "session.id": "s-1", "event.sequence": 4, "cost_usd": 0.0125,
        "input_tokens": "100", "output_tokens": 40, "cache_read_tokens": 1200, "cache_creation_tokens": 300, "prompt": "secret",
    });
    let failed = json!({ "event.name": "claude_code.api_error", "model": "claude-sonnet-4-5", "session.id": "s-1", "error": "429" });
    let tool = json!({ "event.name": "tool_result", "tool_name": "Bash", "success": "true", "session.id": "s-1" });
    let prompt = json!({ "event.name": "user_prompt", "session.id": "s-1" });
    let items = logs("claude-code", &[request.clone(), failed, tool, prompt]);
    assert_eq!(items.len(), 3);
    let first = event(&items, 0);
    // Anthropic counts cached tokens beside the input.
    let keys = [UsageKey::InputTokens, UsageKey::CacheReadTokens, UsageKey::CacheWriteTokens, UsageKey::OutputTokens];
    assert_eq!(counts(first, &keys), [1600, 1200, 300, 40]);
    assert_eq!((&*first.execution, first.conversation.as_deref()), ("s-1", Some("s-1")));
    assert_eq!(first.reported_cost.unwrap().to_string(), "0.0125");
    assert_eq!(event(&items, 1).outcome, CallOutcome::Error);
    assert!(matches!(&event(&items, 2).called, Called::Tool { tool, .. } if &**tool == "Bash"));
    assert_eq!(logs("claude-code", std::slice::from_ref(&request))[0].id, items[0].id, "sent again it is the same");
    let mut next = request;
    next["event.sequence"] = json!(5);
    assert_ne!(logs("claude-code", &[next])[0].id, items[0].id);
}

#[test]
fn codexs_completed_responses_are_calls() {
    let completed = json!({
        "event.name": "codex.sse_event", "event.kind": "response.completed", "model": "gpt-5", "conversation.id": "c-1",
        "input_token_count": 2048, "cached_token_count": 1024, "output_token_count": 321, "reasoning_token_count": 128,
    });
    let other = json!({ "event.name": "codex.sse_event", "event.kind": "response.created", "conversation.id": "c-1" });
    let tool = json!({ "event.name": "codex.tool_result", "tool_name": "shell", "call_id": "t-1", "success": false, "conversation.id": "c-1" });
    let items = logs("codex_cli_rs", &[completed, other, tool]);
    assert_eq!(items.len(), 2);
    let keys =
        [UsageKey::InputTokens, UsageKey::CacheReadTokens, UsageKey::OutputTokens, UsageKey::OutputReasoningTokens];
    assert_eq!(counts(event(&items, 0), &keys), [2048, 1024, 321, 128]);
    assert_eq!(event(&items, 1).outcome, CallOutcome::Error);
}

/// A record without any run is refused rather than charged to nobody.
#[test]
fn a_record_that_names_no_run_is_refused() {
    let items = logs("codex_cli_rs", &[json!({ "event.name": "codex.tool_result", "tool_name": "shell" })]);
    assert_eq!(items[0].event.as_ref().unwrap_err().code, "missing_field");
}
