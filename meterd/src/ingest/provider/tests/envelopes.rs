//! Envelopes: what stands in for what is left out, what is refused, and how a body of several is laid out.

use super::*;

fn body() -> Value {
    json!({"id": "chatcmpl-1", "model": "gpt-4o-mini", "created": 1_763_800_000,
        "usage": {"prompt_tokens": 1, "completion_tokens": 1}})
}

fn read(text: &str, kind: BodyKind) -> Vec<Item> {
    decode(text.as_bytes(), kind, &Defaults::default()).unwrap_or_else(|error| panic!("{error}: {text}")).items
}

#[test]
fn the_response_says_who_it_is() {
    let event = event(&json!({"provider": " OpenAI ", "api": "openai.chat", "execution": "x", "body": body()}));
    assert_eq!((&*event.id, &*event.source, &*event.namespace), ("chatcmpl-1", "provider/openai", "default"));
    assert_eq!(event.time.to_string(), "2025-11-22T08:26:40Z");
    let budget::charge::Called::Model { provider, model, request_model, response_id } = event.called else { panic!() };
    assert_eq!(
        (&*provider, &*model, request_model, response_id.as_deref()),
        ("openai", "gpt-4o-mini", None, Some("chatcmpl-1"))
    );
}

#[test]
fn the_envelope_says_where_it_belongs() {
    let envelope = json!({"provider": "openai", "api": "openai.chat", "body": body(), "id": "my", "source": "s",
        "namespace": "n", "execution": "x", "parent_execution": "p", "agent": "a", "team": "t", "environment": "e",
        "conversation": "c", "labels": {"k": "v"}, "estimated": true, "reservation": "r", "final": true,
        "timestamp": "2026-11-22T10:00:00Z", "model": "gpt-4o", "outcome": "aborted", "reported_cost_usd": "0.5",
        "context": {"processing": "batch"}, "colour": "red"});
    let item = items(&envelope).remove(0);
    assert_eq!(item.ignored_fields, ["colour"]);
    let event = item.event.unwrap();
    let names = [&event.id, &event.source, &event.namespace, &event.execution];
    assert_eq!(names.map(|name| &**name), ["my", "s", "n", "x"]);
    let names = [&event.parent_execution, &event.agent, &event.team, &event.environment, &event.conversation];
    assert_eq!(names.map(|name| name.as_deref().unwrap()), ["p", "a", "t", "e", "c"]);
    assert_eq!((event.labels.len(), event.estimated, event.settles), (1, true, true));
    assert_eq!((event.reservation.as_deref(), event.attrs.get("processing")), (Some("r"), Some("batch")));
    assert_eq!(
        (event.time.to_string(), event.outcome),
        ("2026-11-22T10:00:00Z".to_owned(), budget::charge::CallOutcome::Aborted)
    );
    assert_eq!(event.reported_cost.unwrap().to_string(), "0.5");
}

#[test]
fn what_nobody_said_is_asked_for() {
    let whole = envelope("openai", "openai.chat", json!({"usage": {"prompt_tokens": 1, "completion_tokens": 1}}));
    let without = |name: &str| {
        let mut envelope = whole.clone();
        envelope.as_object_mut().unwrap().remove(name);
        let refused = rejection(&envelope);
        (refused.code, refused.pointer)
    };
    for name in ["id", "time", "execution", "provider", "api", "body", "model"] {
        assert_eq!(without(name), ("missing_field", format!("/{name}")));
    }
    let with = |name: &str, value: Value| {
        let mut envelope = whole.clone();
        envelope[name] = value;
        let refused = rejection(&envelope);
        (refused.code, refused.pointer)
    };
    for (name, value, code) in [
        ("api", json!("openai.telepathy"), "invalid_value"),
        ("api", json!(3), "invalid_type"),
        ("body", json!(3), "invalid_type"),
        ("body", json!([3]), "invalid_type"),
        ("body", json!("data: {"), "invalid_type"),
        ("id", json!(3), "invalid_type"),
        ("id", json!(""), "empty_value"),
        ("attrs", json!([]), "invalid_type"),
        ("time", json!("today"), "invalid_time"),
    ] {
        assert_eq!(with(name, value.clone()), (code, format!("/{name}")), "{value}");
    }
    assert_eq!(with("timestamp", json!("2026-11-22T10:00:00Z")).0, "duplicate_field");
    let twice = whole.to_string().replacen('{', r#"{"id":"f","#, 1);
    assert_eq!(read(&twice, BodyKind::Json).remove(0).event.unwrap_err().code, "duplicate_field");
}

#[test]
fn defaults_stand_in_offline() {
    let at = Timestamp::from_millis(1_000);
    let defaults = Defaults { id: Some("line-7"), execution: Some("offline"), time: Some(at) };
    let read = |body: Value| {
        let envelope = json!({"provider": "openai", "api": "openai.chat", "model": "m", "body": body});
        let mut batch = decode(envelope.to_string().as_bytes(), BodyKind::Json, &defaults).unwrap();
        let event = batch.items.remove(0).event.unwrap();
        (event.id.to_string(), event.execution.to_string(), event.time.to_string())
    };
    let (id, execution, time) = ("line-7".to_owned(), "offline".to_owned(), at.to_string());
    assert_eq!(read(json!({"usage": {}})), (id, execution, time));
    let begun = "2025-11-22T08:26:40Z".to_owned();
    assert_eq!(read(body()), ("chatcmpl-1".to_owned(), "chatcmpl-1".to_owned(), begun));
}

#[test]
fn failures_say_so() {
    for (api, body, outcome) in [
        ("openai.chat", json!({"error": {"message": "no"}}), budget::charge::CallOutcome::Error),
        ("anthropic.messages", json!({"type": "error", "error": {}}), budget::charge::CallOutcome::Error),
        ("openai.responses", json!({"status": "failed", "usage": null}), budget::charge::CallOutcome::Error),
        ("openai.responses", json!({"status": "cancelled"}), budget::charge::CallOutcome::Aborted),
        ("openai.chat", json!({"choices": []}), budget::charge::CallOutcome::Ok),
    ] {
        let read = event(&envelope("p", api, body));
        assert_eq!((read.outcome, read.usage), (outcome, None), "{api}");
    }
}

#[test]
fn bodies_hold_one_several_or_lines() {
    let one = envelope("openai", "openai.chat", body());
    let indexes = |items: Vec<Item>| items.iter().map(|item| item.index).collect::<Vec<_>>();
    assert_eq!(indexes(read(&one.to_string(), BodyKind::Json)), [0]);
    assert_eq!(indexes(read(&serde_json::to_string_pretty(&one).unwrap(), BodyKind::Sniff)), [0]);
    assert_eq!(indexes(read(&format!("[{one},3,{one}]"), BodyKind::Json)), [0, 1, 2]);
    let lines = read(&format!("{one}\n\nnot json\n{one}\n"), BodyKind::Sniff);
    assert_eq!(lines.iter().map(|item| item.event.is_ok()).collect::<Vec<_>>(), [true, false, true]);
    for (text, kind, code) in [
        ("", BodyKind::Json, "empty_body"),
        ("{", BodyKind::Json, "malformed_json"),
        ("{}{}", BodyKind::Json, "malformed_json"),
        ("no\nno", BodyKind::Ndjson, "malformed_json"),
        ("[1,", BodyKind::Sniff, "malformed_json"),
    ] {
        assert_eq!(decode(text.as_bytes(), kind, &Defaults::default()).unwrap_err().code, code, "{text}");
    }
    assert_eq!(decode(b"\xff", BodyKind::Json, &Defaults::default()).unwrap_err().code, "invalid_utf8");
}

#[test]
fn lines_to_price_are_envelopes_or_events() {
    let defaults = Defaults { id: Some("l"), execution: Some("o"), time: Some(Timestamp::from_millis(0)) };
    let one = |line: &str| decode_line(line.as_bytes(), &defaults).unwrap().items.remove(0).event;
    let case = r#"{"id":"g-1","provider":"openai","model":"m","timestamp":"2026-11-22T10:00:00Z","usage":{"input_tokens":1},
        "context":{"processing":"batch"},"expected_usd":"1","tag":"body"}"#;
    let event = one(case).unwrap();
    assert_eq!((&*event.id, event.attrs.get("processing")), ("g-1", Some("batch")));
    assert_eq!(event.time.to_string(), "2026-11-22T10:00:00Z");
    let tool = one(r#"{"tool":"search","quantities":{"calls":2}}"#).unwrap();
    assert!(matches!(tool.called, budget::charge::Called::Tool { .. }));
    assert_eq!((&*tool.id, &*tool.execution), ("l", "o"));
    assert!(one(&envelope("openai", "openai.chat", body()).to_string()).is_ok());
    let twice =
        r#"{"id":"a","provider":"p","model":"m","time":"2026-11-22T10:00:00Z","timestamp":"2026-11-22T10:00:00Z"}"#;
    assert_eq!(one(twice).unwrap_err().code, "duplicate_field");
    assert_eq!(one("3").unwrap_err().code, "invalid_type");
    assert_eq!(decode_line(b"no", &defaults).unwrap_err().code, "malformed_json");
}

#[test]
fn envelopes_and_what_they_hold_are_bounded() {
    let mut many = envelope("openai", "openai.chat", body());
    for field in 0..200 {
        many[format!("f{field}")] = json!(field);
    }
    let refused = items(&many).remove(0);
    assert_eq!(refused.event.unwrap_err().code, "too_many");
    assert_eq!(refused.ignored_fields.len(), crate::ingest::IGNORED_FIELDS_MAX);
    let iterations = vec![json!({"type": "compaction", "input_tokens": 1, "output_tokens": 1}); 300];
    let usage = json!({"input_tokens": 1, "output_tokens": 1, "iterations": iterations});
    let refused = rejection(&envelope("anthropic", "anthropic.messages", json!({ "usage": usage })));
    assert_eq!((refused.code, &*refused.pointer), ("too_many", "/body"));
}
