//! Payloads that LiteLLM sent, and what its versions leave out.

use budget::charge::{CallOutcome, Called};
use pricing::UsageKey;
use serde_json::{Value, json};

use super::decode;
use crate::event::UsageEvent;
use crate::ingest::json::BodyKind;

fn payload(change: Value) -> Value {
    let mut payload = json!({
        "id": "chatcmpl-1", "litellm_call_id": "call-1", "trace_id": "exec-1", "session_id": "", "call_type": "acompletion",
        "cache_hit": null, "status": "success", "custom_llm_provider": "anthropic", "startTime": 1795373016.576572,
        "model": "anthropic/claude-sonnet-4-5", "response_cost": 0.008025000000000001, "prompt_tokens": 2000,
        "completion_tokens": 321, "request_tags": ["team:support", "plain"],
        "messages": [{ "role": "user", "content": "a secret" }],
        "metadata": { "user_api_key_team_alias": null, "usage_object": {
            "completion_tokens": 321, "prompt_tokens": 2000, "completion_tokens_details": { "reasoning_tokens": 0 },
            "prompt_tokens_details": { "cached_tokens": 1200, "cache_creation_tokens": 300, "audio_tokens": null,
                "cache_creation_token_details": { "ephemeral_5m_input_tokens": 200, "ephemeral_1h_input_tokens": 100 } } } },
        "response": { "id": "chatcmpl-1", "model": "claude-sonnet-4-5", "service_tier": "standard" },
    });
    for (name, value) in change.as_object().unwrap() {
        payload[name] = value.clone();
    }
    payload
}

fn event(change: Value) -> UsageEvent {
    let body = payload(change).to_string();
    let mut items = decode(body.as_bytes(), BodyKind::Sniff).unwrap().items;
    assert_eq!(items.len(), 1);
    items.remove(0).event.unwrap()
}

#[test]
fn a_payload_says_what_was_called_for_whom_and_what_it_used() {
    let event = event(json!({}));
    assert_eq!((&*event.id, &*event.execution, &*event.source), ("call-1", "exec-1", "litellm"));
    assert_eq!(event.time.to_string(), "2026-11-22T18:43:36.576572Z");
    assert_eq!(event.team.as_deref(), Some("support"));
    assert_eq!(event.reported_cost.unwrap().to_string(), "0.008025000000000001");
    assert_eq!(event.attrs.get("service_tier"), Some("standard"));
    let Called::Model { provider, model, response_id, .. } = &event.called else { panic!("a model") };
    assert_eq!((&**provider, &**model, response_id.as_deref()), ("anthropic", "claude-sonnet-4-5", Some("chatcmpl-1")));
    let usage = event.usage.unwrap();
    let counts = [
        (UsageKey::InputTokens, 2000),
        (UsageKey::CacheReadTokens, 1200),
        (UsageKey::CacheWriteTokens, 300),
        (UsageKey::CacheWrite5mTokens, 200),
        (UsageKey::CacheWrite1hTokens, 100),
        (UsageKey::OutputTokens, 321),
    ];
    for (key, count) in counts {
        assert_eq!(usage.count(key), count, "{key}");
    }
}

#[test]
fn an_answer_from_litellms_own_cache_is_no_call() {
    let body = payload(json!({ "cache_hit": true })).to_string();
    assert!(decode(body.as_bytes(), BodyKind::Json).unwrap().items.is_empty());
}

#[test]
fn a_failure_without_usage_is_an_error_and_not_unpriced() {
    let event = event(json!({
        "status": "failure", "metadata": {}, "response": {}, "prompt_tokens": 0, "completion_tokens": 0, "response_cost": 0,
    }));
    assert_eq!((event.outcome, event.usage), (CallOutcome::Error, None));
}

#[test]
fn a_tool_of_an_mcp_server_is_a_tool_call() {
    let tool = json!({ "mcp_tool_call_metadata": { "name": "search", "mcp_server_name": "docs" } });
    let event = event(json!({ "call_type": "call_mcp_tool", "metadata": tool }));
    let Called::Tool { tool, mcp_server } = &event.called else { panic!("a tool") };
    assert_eq!((&**tool, mcp_server.as_deref()), ("search", Some("docs")));
}

#[test]
fn arrays_lines_and_what_is_wrong_in_one_of_them() {
    let (one, two) = (payload(json!({})), payload(json!({ "litellm_call_id": "call-2" })));
    let count = |body: String, kind| decode(body.as_bytes(), kind).unwrap().items.len();
    assert_eq!(count(json!([one, two]).to_string(), BodyKind::Json), 2);
    assert_eq!(count(format!("{one}\n{two}\n"), BodyKind::Ndjson), 2);
    assert_eq!(count(format!("{one}\n{two}\n"), BodyKind::Sniff), 2);
    assert_eq!(count(serde_json::to_string_pretty(&one).unwrap(), BodyKind::Sniff), 1);
    let items = decode(format!("{one}\n{{\n").as_bytes(), BodyKind::Ndjson).unwrap().items;
    assert_eq!(items[1].event.as_ref().unwrap_err().code, "malformed_json");
    assert_eq!(decode(b"", BodyKind::Json).unwrap_err().code, "empty_body");
    assert_eq!(decode(b"{", BodyKind::Json).unwrap_err().code, "malformed_json");
    let without = decode(br#"{"model": "x"}"#, BodyKind::Json).unwrap().items;
    assert_eq!(without[0].event.as_ref().unwrap_err().code, "missing_field");
}

#[test]
fn captured_payloads_hold_what_they_truly_contain() {
    let Some(folder) = crate::ingest::otlp::captures_folder() else { return };
    let sums = |name: &str| {
        let batch = decode(&std::fs::read(folder.join(name)).unwrap(), BodyKind::Sniff).unwrap();
        let events: Vec<UsageEvent> = batch.items.into_iter().map(|item| item.event.unwrap()).collect();
        let usage = events.iter().filter_map(|event| event.usage.as_ref());
        (events.len(), usage.map(|usage| usage.count(UsageKey::InputTokens)).sum::<u64>())
    };
    assert_eq!(sums("litellm-generic-api.029.json"), (1, 2048));
    assert_eq!(sums("litellm-generic-api.031.ndjson"), (2, 4048));
}
