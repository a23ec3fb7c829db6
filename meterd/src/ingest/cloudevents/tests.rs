//! CloudEvents in their three modes, and joch's own events in them.

use budget::Ref;
use budget::charge::{CallOutcome, Called};
use budget::entry::Phase;
use pricing::UsageKey;
use serde_json::{Value, json};

use super::{Envelope, Event, Mode, RunEvent, decode, decode_binary};
use crate::event::UsageEvent;

fn envelope(kind: &str, data: Value) -> Value {
    json!({ "specversion": "1.0", "id": "ce-1", "source": "/bus/a", "type": kind, "time": "2026-11-22T10:00:00Z", "data": data })
}

fn usage() -> Value {
    json!({ "execution": "run", "kind": "model", "provider": "openai", "model": "gpt-4o-mini", "usage": { "input_tokens": 7 } })
}

fn taken(event: Event) -> UsageEvent {
    match event {
        Event::Usage(item) => item.event.unwrap(),
        other => panic!("{other:?}"),
    }
}

fn code(event: &Event) -> &'static str {
    match event {
        Event::Usage(item) => item.event.as_ref().unwrap_err().code,
        other => panic!("{other:?}"),
    }
}

fn structured(body: &Value) -> Event {
    decode(body.to_string().as_bytes(), Mode::Structured).unwrap().remove(0)
}

#[test]
fn the_envelope_lends_what_the_data_leaves_out() {
    let event = taken(structured(&envelope("dev.meterd.usage.v1", usage())));
    assert_eq!((&*event.id, &*event.source), ("ce-1", "/bus/a"));
    assert_eq!(event.time.to_string(), "2026-11-22T10:00:00Z");
    let mut own = usage();
    own["id"] = json!("own");
    own["time"] = json!("2026-11-22T11:00:00Z");
    let event = taken(structured(&envelope("anything", own)));
    assert_eq!((&*event.id, event.time.to_string().as_str()), ("own", "2026-11-22T11:00:00Z"));
}

#[test]
fn modes_are_told_by_type_and_header() {
    let mode = |kind, header| Mode::of(kind, header);
    assert_eq!(mode(Some("application/cloudevents+json; charset=utf-8"), false), Some(Mode::Structured));
    assert_eq!(mode(Some("application/cloudevents-batch+json"), false), Some(Mode::Batch));
    assert_eq!(mode(Some("application/json"), true), Some(Mode::Binary));
    assert_eq!(mode(Some("application/json"), false), None);
}

#[test]
fn a_batch_and_a_binary_event_are_read() {
    let batch = json!([envelope("usage", usage()), envelope("com.example.other", json!({}))]);
    let events = decode(batch.to_string().as_bytes(), Mode::Batch).unwrap();
    assert!(matches!(events[0], Event::Usage(_)) && events[1] == Event::Other);
    let headers = Envelope {
        id: "b-1".into(),
        source: "s".into(),
        kind: "usage".into(),
        time: Some("2026-11-22T10:00:00Z".into()),
    };
    assert_eq!(&*taken(decode_binary(&headers, usage().to_string().as_bytes())).id, "b-1");
    let mut encoded = envelope("usage", Value::Null);
    encoded.as_object_mut().unwrap().remove("data");
    use base64::Engine as _;
    encoded["data_base64"] = json!(base64::engine::general_purpose::STANDARD.encode(usage().to_string()));
    assert_eq!(&*taken(structured(&encoded)).execution, "run");
}

#[test]
fn what_is_no_cloudevent_is_refused_with_the_field() {
    let mut old = envelope("usage", usage());
    old["specversion"] = json!("0.3");
    assert_eq!(code(&structured(&old)), "invalid_value");
    let mut nameless = envelope("usage", usage());
    nameless["source"] = json!("");
    assert_eq!(code(&structured(&nameless)), "missing_field");
    assert_eq!(code(&structured(&envelope("usage", json!([])))), "invalid_type");
    assert_eq!(decode(b"[", Mode::Batch).unwrap_err().code, "malformed_json");
}

#[test]
fn completed_calls_of_joch_are_usage() {
    let call = json!({
        "executionId": "exec-1", "agentRef": { "name": "triage", "namespace": "support" }, "modelRef": "anthropic:claude-haiku-4-5",
        "inputTokens": 100, "outputTokens": 20, "costUsd": 0.0123, "timestamp": "2026-11-22T10:00:01Z", "latencyMs": 9,
    });
    let event = taken(structured(&envelope("dev.joch.ModelCallCompleted", call)));
    let Called::Model { provider, model, .. } = &event.called else { panic!("a model") };
    assert_eq!((&**provider, &**model, event.agent.as_deref()), ("anthropic", "claude-haiku-4-5", Some("triage")));
    assert_eq!((&*event.namespace, event.usage.unwrap().count(UsageKey::OutputTokens)), ("support", 20));
    assert_eq!(event.reported_cost.unwrap().to_string(), "0.0123");
    let tool = json!({ "executionId": "exec-1", "toolRef": { "name": "zendesk.create" }, "status": "Failed" });
    let event = taken(structured(&envelope("joch.ToolCallCompleted.v1", tool)));
    assert_eq!(event.outcome, CallOutcome::Error);
    assert!(matches!(&event.called, Called::Tool { tool, .. } if &**tool == "zendesk.create"));
}

#[test]
fn executions_of_joch_begin_and_end() {
    let data =
        json!({ "executionId": "exec-1", "namespace": "ns", "agentRef": "triage", "parentExecutionId": "exec-0" });
    let started = RunEvent::Started {
        execution: Ref::new("ns", "exec-1"),
        agent: Some("triage".into()),
        parent: Some(Ref::new("ns", "exec-0")),
    };
    assert_eq!(structured(&envelope("dev.joch.ExecutionStarted", data.clone())), Event::Run(0, started));
    let ended = RunEvent::Ended { execution: Ref::new("ns", "exec-1"), phase: Phase::Failed };
    assert_eq!(structured(&envelope("dev.joch.ExecutionFailed", data)), Event::Run(0, ended));
    assert_eq!(structured(&envelope("dev.joch.BudgetExceeded", json!({}))), Event::Other);
    assert_eq!(code(&structured(&envelope("dev.joch.ExecutionStarted", json!({})))), "missing_field");
}
