//! One event: every field, every refusal.

use budget::charge::{CallOutcome, Called};
use pricing::UsageKey;
use serde_json::{Value, json};

use super::{event, example, minimal, model, read};

fn refused(body: &str, code: &str, pointer: &str, mentions: &str) {
    let rejection = event(body).expect_err(body);
    assert_eq!((rejection.code, &*rejection.pointer), (code, pointer), "{body}: {}", rejection.message);
    assert!(rejection.message.contains(mentions), "{body}: {}", rejection.message);
}

fn with(pointer: &str, value: Value) -> String {
    let mut event = example();
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    event.pointer_mut(parent).unwrap()[key] = value;
    event.to_string()
}

fn without(key: &str) -> String {
    let mut event = example();
    event.as_object_mut().unwrap().remove(key).unwrap();
    event.to_string()
}

#[test]
fn the_example_of_the_contract() {
    let batch = read(&example().to_string());
    assert!(batch.items[0].ignored_fields.is_empty());
    let event = batch.items[0].event.as_ref().unwrap();
    assert_eq!((&*event.id, &*event.source), ("01JC", "support-triage/worker-7"));
    assert_eq!(event.time.to_string(), "2026-11-22T10:00:00.123Z");
    assert_eq!((&*event.namespace, &*event.execution), ("support-platform", "exec-20260510-001"));
    assert_eq!(event.parent_execution, None);
    assert_eq!(event.conversation.as_deref(), Some("conv-77123"));
    let Called::Model { provider, model, request_model, response_id } = &event.called else { panic!("a model") };
    assert_eq!((&**provider, &**model, request_model), ("anthropic", "claude-haiku-5-5", &None));
    assert_eq!(response_id.as_deref(), Some("msg_1"));
    let usage = event.usage.as_ref().unwrap();
    assert_eq!(usage.iter().count(), 7);
    assert_eq!(usage.count(UsageKey::CacheWrite1hTokens), 400);
    assert_eq!(usage.count(UsageKey::WebSearches), 2);
    assert_eq!(event.attrs.get("processing"), Some("batch"));
    assert_eq!((event.outcome, event.estimated, event.settles), (CallOutcome::Ok, false, true));
    assert_eq!(event.reported_cost.unwrap().to_string(), "0.0123");
}

#[test]
fn what_may_be_left_out() {
    let event = event(&model("")).unwrap();
    assert_eq!((&*event.namespace, &*event.source), ("default", "api"));
    assert_eq!((event.usage, event.outcome, event.settles, event.estimated), (None, CallOutcome::Ok, false, false));
    let error = super::event(&model(r#","outcome":"error""#)).unwrap();
    assert_eq!((error.usage, error.outcome), (None, CallOutcome::Error));
    let empty = super::event(&model(r#","usage":{},"outcome":"aborted""#)).unwrap();
    assert_eq!((empty.usage, empty.outcome), (None, CallOutcome::Aborted));
    assert_eq!(super::event(&model(r#","usage":null"#)).unwrap().usage, None);
    assert_eq!(super::event(&model(r#","request_model":"gpt-4o-mini""#)).unwrap(), super::event(&model("")).unwrap());
}

#[test]
fn tools_and_approvals() {
    let usage = |body: &str| {
        let event = event(body).unwrap();
        event.usage.map(|usage| usage.iter().map(|(key, quantity)| format!("{key}={quantity}")).collect::<Vec<_>>())
    };
    let tool = |rest: &str| minimal(&format!(r#","kind":"tool","tool":"search"{rest}"#));
    assert_eq!(usage(&tool("")), Some(vec!["calls=1".to_owned()]));
    assert_eq!(usage(&tool(r#","quantities":{"calls":3}"#)), Some(vec!["calls=3".to_owned()]));
    let both = usage(&tool(r#","quantities":{"calls":1,"duration_seconds":"1.5"}"#)).unwrap();
    assert!(both.contains(&"duration_seconds=1.5".to_owned()) && both.contains(&"calls=1".to_owned()), "{both:?}");
    let literal = usage(&tool(r#","quantities":{"duration_seconds":0.1}"#)).unwrap();
    assert!(literal.contains(&"duration_seconds=0.1".to_owned()), "{literal:?}");
    let approval = |rest: &str| minimal(&format!(r#","kind":"approval"{rest}"#));
    assert_eq!(usage(&approval(r#","quantities":{"minutes":"4"}"#)), Some(vec!["minutes=4".to_owned()]));
    assert_eq!(usage(&approval("")), None);
    refused(&tool(r#","quantities":{"minutes":"4"}"#), "unknown_usage_key", "/quantities/minutes", "minutes");
    refused(&tool(r#","usage":{"input_tokens":1}"#), "unexpected_field", "/usage", "`quantities`");
    refused(&model(r#","quantities":{"calls":1}"#), "unexpected_field", "/quantities", "`usage`");
    refused(&minimal(r#","kind":"tool""#), "missing_field", "/tool", "names its tool");
}

#[test]
fn exact_numbers_by_their_text() {
    let seconds = |literal: &str| {
        let event = event(&model(&format!(r#","usage":{{"audio_seconds":{literal}}}"#))).unwrap();
        event.usage.unwrap().get(UsageKey::AudioSeconds).unwrap().to_string()
    };
    assert_eq!(seconds("0.1"), "0.1");
    assert_eq!(seconds("\"12.345678901234\""), "12.345678901234");
    assert_eq!(seconds("999999999999.1"), "999999999999.1");
    let cost = |literal: &str| {
        event(&model(&format!(r#","reported_cost_usd":{literal}"#))).unwrap().reported_cost.unwrap().to_string()
    };
    assert_eq!(cost("0.1"), "0.1");
    assert_eq!(cost("7.68e-05"), "0.0000768");
    assert_eq!(cost("123456789012345.123456789012345678"), "123456789012345.123456789012345678");
    assert_eq!(cost("\"0.0000000000000000015\""), "0.000000000000000002");
    let tokens = |literal: &str| event(&model(&format!(r#","usage":{{"input_tokens":{literal}}}"#)));
    assert_eq!(tokens("1000000000000000").unwrap().usage.unwrap().count(UsageKey::InputTokens), 1_000_000_000_000_000);
    assert_eq!(tokens("2600.0").unwrap().usage.unwrap().count(UsageKey::InputTokens), 2600);
}

#[test]
fn refusals_name_the_field_and_the_way_out() {
    refused(&without("id"), "missing_field", "/id", "not charged twice");
    refused(&without("time"), "missing_field", "/time", "RFC 3339");
    refused(&without("execution"), "missing_field", "/execution", "run");
    refused(&without("kind"), "missing_field", "/kind", "`model`, `tool` or `approval`");
    refused(&without("provider"), "missing_field", "/provider", "openai");
    refused(&without("model"), "missing_field", "/model", "model");
    refused(&with("/kind", json!("llm")), "unknown_kind", "/kind", "`model`, `tool` or `approval`");
    refused(&with("/kind", json!(5)), "invalid_type", "/kind", "a string, not a number");
    refused(&with("/time", json!("yesterday")), "invalid_time", "/time", "2026-11-22T10:00:00.123Z");
    refused(&with("/time", json!("2026-11-22T10:00:00")), "invalid_time", "/time", "offset");
    refused(&with("/time", json!(1_795_374_801)), "invalid_type", "/time", "a string");
    refused(&with("/outcome", json!("failed")), "invalid_value", "/outcome", "`ok`, `error` or `aborted`");
    refused(&with("/final", json!("yes")), "invalid_type", "/final", "true or false, not a string");
    refused(&with("/id", json!("")), "empty_value", "/id", "empty");
    refused(&with("/agent", json!("a\u{0}b")), "control_character", "/agent", "control");
    refused(&with("/execution", json!("x".repeat(254))), "too_long", "/execution", "253");
    refused(&with("/usage", json!([1])), "invalid_type", "/usage", "an object, not an array");
    refused(&with("/attrs", json!("fast")), "invalid_type", "/attrs", "an object, not a string");
    refused(&with("/attrs/tier", json!({})), "invalid_type", "/attrs/tier", "a string, not an object");
    refused(&with("/reported_cost_usd", json!("-1")), "negative_amount", "/reported_cost_usd", "adjust");
    refused(&with("/reported_cost_usd", json!("1,5")), "invalid_amount", "/reported_cost_usd", "decimal");
    refused(&with("/reported_cost_usd", json!(true)), "invalid_type", "/reported_cost_usd", "decimal");
    refused(&model(r#","labels":{"a":1}"#), "invalid_type", "/labels/a", "a string");
}

#[test]
fn quantities_are_whole_and_not_negative() {
    let tokens = |literal: &str| model(&format!(r#","usage":{{"input_tokens":{literal}}}"#));
    let at = "/usage/input_tokens";
    refused(&tokens("-1"), "invalid_quantity", at, "never negative");
    refused(&tokens("-0"), "invalid_quantity", at, "never negative");
    refused(&tokens("1.5"), "invalid_quantity", at, "whole number");
    refused(&tokens("1e3"), "invalid_quantity", at, "digits");
    refused(&tokens("10000000000000001"), "invalid_quantity", at, "10^16");
    refused(&tokens("99999999999999999999999999"), "invalid_quantity", at, "10^16");
    refused(&tokens("\"12\""), "invalid_type", at, "without quotes");
    refused(&tokens("true"), "invalid_type", at, "whole number");
    refused(&tokens("[]"), "invalid_type", at, "whole number");
    let seconds = |literal: &str| model(&format!(r#","usage":{{"audio_seconds":{literal}}}"#));
    refused(&seconds("\"-1.5\""), "invalid_quantity", "/usage/audio_seconds", "never negative");
    refused(&seconds("\"1m\""), "invalid_quantity", "/usage/audio_seconds", "digits");
    refused(&seconds("1.0000000000001"), "invalid_quantity", "/usage/audio_seconds", "12 digits");
}

#[test]
fn unknown_names_lose_no_money() {
    refused(&model(r#","usage":{"input_token":5}"#), "unknown_usage_key", "/usage/input_token", "`input_tokens`?");
    refused(
        &model(r#","usage":{"cached_tokens":5}"#),
        "unknown_usage_key",
        "/usage/cached_tokens",
        "unknown usage name",
    );
    refused(&model(r#","usage":{"zzz":5}"#), "unknown_usage_key", "/usage/zzz", "docs/reference/usage.md");
    refused(&model(r#","usage":{"calls":1}"#), "unknown_usage_key", "/usage/calls", "calls");
    refused(&model(r#","usage":{"a/b":1}"#), "unknown_usage_key", "/usage/a~1b", "a/b");
    let batch = read(&model(r#","price":3,"user":{"name":"x"},"tool":"t""#));
    assert!(batch.items[0].event.is_ok());
    assert_eq!(batch.items[0].ignored_fields, ["price", "user", "tool"]);
    let many: String = (0..100).map(|n| format!(",\"x{n}\":0")).collect();
    assert_eq!(read(&model(&many)).items[0].ignored_fields.len(), 16);
}

#[test]
fn no_key_twice() {
    refused(&model(r#","id":"2""#), "duplicate_field", "/id", "twice");
    refused(
        &model(r#","usage":{"input_tokens":1,"input_tokens":2}"#),
        "duplicate_field",
        "/usage/input_tokens",
        "twice",
    );
    refused(&model(r#","attrs":{"a":"1","\u0061":"2"}"#), "duplicate_field", "/attrs/a", "twice");
    refused(&model(r#","labels":{"a":"1","a":"1"}"#), "duplicate_field", "/labels/a", "twice");
}

#[test]
fn text_is_unescaped_and_labels_sorted() {
    let event =
        event(&model(r#","agent":"caf\u00e9 \"x\"","labels":{"b":"2","a":"1"},"attrs":{"n":25,"s":true}"#)).unwrap();
    assert_eq!(event.agent.as_deref(), Some("café \"x\""));
    let labels: Vec<_> = event.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    assert_eq!(labels, ["a=1", "b=2"]);
    assert_eq!((event.attrs.get("n"), event.attrs.get("s")), (Some("25"), Some("true")));
    refused(&model(r#","agent":"\ud800""#), "invalid_value", "/agent", "Unicode");
}

#[test]
fn a_refused_event_keeps_its_id() {
    let batch = read(&with("/usage/input_tokens", json!(-1)));
    assert_eq!(batch.items[0].id.as_deref(), Some("01JC"));
    assert_eq!(read(&with("/id", json!("a\u{0}"))).items[0].id, None);
}

#[test]
fn nesting_has_a_bound() {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    refused(&model(&format!(",\"extra\":{deep}")), "too_deep", "/extra", "32");
    refused(&model(&format!(",\"usage\":{deep}")), "too_deep", "/usage", "32");
    assert!(event(&model(r#","extra":{"a":[{"b":"]]]]{{{{"}]}"#)).is_ok());
}
