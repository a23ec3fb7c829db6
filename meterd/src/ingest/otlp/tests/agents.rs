//! Logs and metrics of coding agents: usage events by record, increases by series, each once however often it is sent.

use budget::charge::{CallOutcome, Called};
use pricing::UsageKey;
use serde_json::{Value, json};

use super::super::{Defaults, Encoding, Last, Rule, decode_logs, decode_points};
use crate::event::UsageEvent;
use crate::ingest::Item;

fn attributes(pairs: Value) -> Value {
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
    let record =
        |pairs: &Value| json!({ "timeUnixNano": "1795341600000000000", "attributes": attributes(pairs.clone()) });
    let body = json!({ "resourceLogs": [{
        "resource": { "attributes": attributes(json!({ "service.name": service })) },
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

fn metrics(temporality: i64, start: u64, time: u64, points: &[(&str, f64)]) -> Vec<u8> {
    let point = |(kind, value): &(&str, f64)| {
        json!({
            "startTimeUnixNano": start.to_string(), "timeUnixNano": time.to_string(), "asDouble": value,
            "attributes": attributes(json!({ "type": kind, "model": "claude-sonnet-4-5", "session.id": "s-1" })),
        })
    };
    let sum = json!({
        "aggregationTemporality": temporality, "isMonotonic": true, "dataPoints": points.iter().map(point).collect::<Vec<_>>(),
    });
    json!({ "resourceMetrics": [{
        "resource": { "attributes": attributes(json!({ "service.name": "claude-code" })) },
        "scopeMetrics": [{ "metrics": [{ "name": "claude_code.token.usage", "sum": sum }] }],
    }] })
    .to_string()
    .into_bytes()
}

fn only() -> Defaults {
    let rule = Rule { service: "claude-*".into(), metrics_only: true, team: Some("tools".into()), ..Rule::default() };
    Defaults { rules: [rule].into(), ..Defaults::default() }
}

const T: u64 = 1_795_341_600_000_000_000;

#[test]
fn metrics_are_read_only_where_nothing_better_comes() {
    let body = metrics(1, T, T + 1, &[("input", 10.0)]);
    let batch = decode_points(&body, Encoding::Json, &Defaults::default(), &mut Last::default()).unwrap();
    assert_eq!((batch.points, batch.items.len()), (1, 0));
    let batch = decode_points(&body, Encoding::Json, &only(), &mut Last::default()).unwrap();
    assert_eq!(event(&batch.items, 0).team.as_deref(), Some("tools"));
}

#[test]
fn a_delta_is_its_own_increase() {
    let body =
        metrics(1, T, T + 1, &[("input", 100.0), ("cacheRead", 1200.0), ("cacheCreation", 300.0), ("output", 40.0)]);
    let mut last = Last::default();
    let batch = decode_points(&body, Encoding::Json, &only(), &mut last).unwrap();
    assert_eq!(batch.items.len(), 1, "the types of one moment are one event");
    let keys = [UsageKey::InputTokens, UsageKey::CacheReadTokens, UsageKey::CacheWriteTokens, UsageKey::OutputTokens];
    assert_eq!(counts(event(&batch.items, 0), &keys), [1600, 1200, 300, 40]);
    let again = decode_points(&body, Encoding::Json, &only(), &mut last).unwrap();
    assert_eq!(again.items[0].id, batch.items[0].id);
}

#[test]
fn a_cumulative_counter_counts_its_increase_over_resets_and_restarts() {
    let mut last = Last::default();
    let mut ids = Vec::new();
    let mut output = |last: &mut Last, start, value| {
        let body = metrics(2, start, start + 1_000, &[("output", value)]);
        let batch = decode_points(&body, Encoding::Json, &only(), last).unwrap();
        ids.extend(batch.items.iter().filter_map(|item| item.id.clone()));
        batch.items.first().map_or(0, |item| counts(item.event.as_ref().unwrap(), &[UsageKey::OutputTokens])[0])
    };
    assert_eq!(output(&mut last, T, 100.0), 100);
    assert_eq!(output(&mut last, T, 100.0), 0, "sent again");
    assert_eq!(output(&mut last, T, 140.0), 40);
    assert_eq!(output(&mut last, T + 500, 30.0), 30, "a new start");
    assert_eq!(output(&mut last, T, 150.0), 0, "an old one, too late");
    assert_eq!(output(&mut last, T + 500, 10.0), 10, "it fell: it began anew");
    assert_eq!(output(&mut last, T + 500, 15.0), 5);
    // What was booked is all that a restart needs.
    let mut after = Last::default();
    for id in &ids {
        after.learn(id);
    }
    let body = metrics(2, T + 500, T + 2_000, &[("output", 45.0)]);
    let batch = decode_points(&body, Encoding::Json, &only(), &mut after).unwrap();
    assert_eq!(counts(event(&batch.items, 0), &[UsageKey::OutputTokens]), [15]);
}
