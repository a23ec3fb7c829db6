//! `POST /v1/provider-usage`: responses as providers send them, booked as usage.

use serde_json::{Value, json};

use crate::events::{CALL_USD, NS, model_call, now};
use crate::harness::daemon::Daemon;

const PATH: &str = "/v1/provider-usage";

/// The response whose numbers are those of `model_call`.
fn chat(response: &str, execution: &str) -> Value {
    json!({
        "provider": "openai", "api": "openai.chat", "time": now(), "namespace": NS, "execution": execution,
        "body": {"id": response, "model": "gpt-4o-mini", "choices": [{"message": {"content": "hello"}}],
            "usage": {"prompt_tokens": 2048, "completion_tokens": 321, "total_tokens": 2369,
                "prompt_tokens_details": {"cached_tokens": 1024}, "completion_tokens_details": {"reasoning_tokens": 128}}},
    })
}

#[test]
fn a_response_is_priced_and_booked_once() {
    let daemon = Daemon::start();
    let envelope = chat("chatcmpl-1", "exec-1");
    let first = daemon.post(PATH, &envelope).expect(200).json();
    let result = &first["results"][0];
    assert_eq!((&result["id"], &result["status"]), (&json!("chatcmpl-1"), &json!("accepted")), "{first}");
    assert_eq!(result["cost_usd"], CALL_USD);
    assert_eq!(daemon.post(PATH, &envelope).expect(200).json()["duplicate"], 1);
    // The same response through another source.
    let mut native = model_call("a-1", "exec-1");
    native["response_id"] = json!("chatcmpl-1");
    assert_eq!(daemon.usage(&native)[0]["status"], "duplicate");
    let charged: Vec<Value> =
        daemon.entries(NS, "exec-1").into_iter().filter(|entry| entry["event_id"].is_string()).collect();
    assert_eq!(charged.len(), 1, "{charged:?}");
    assert!(!charged[0].to_string().contains("hello"), "no text of an answer is kept");
}

/// A compaction beside its message, claude-sonnet-4-5 at 3 and 15: 180 × 3 + 8 × 15 and 100 × 3 + 82 × 15, per million.
#[test]
fn calls_within_a_response_are_booked_too() {
    let daemon = Daemon::start();
    let iterations = json!([{"type": "compaction", "input_tokens": 100, "output_tokens": 82},
        {"type": "message", "input_tokens": 180, "output_tokens": 8}]);
    let body = json!({"id": "msg_1", "model": "claude-sonnet-4-5",
        "usage": {"input_tokens": 180, "output_tokens": 8, "iterations": iterations}});
    let envelope = json!({"provider": "anthropic", "api": "anthropic.messages", "time": now(), "namespace": NS,
        "execution": "exec-1", "body": body});
    let answer = daemon.post(PATH, &json!([envelope, chat("c-1", "exec-1")])).expect(200).json();
    let results: Vec<(&str, &str)> = answer["results"]
        .as_array()
        .unwrap()
        .iter()
        .map(|result| (result["id"].as_str().unwrap(), result["cost_usd"].as_str().unwrap()))
        .collect();
    assert_eq!(results, [("msg_1", "0.00066"), ("msg_1/compaction/0", "0.00153"), ("c-1", CALL_USD)]);
}

#[test]
fn what_cannot_be_booked_says_why() {
    let daemon = Daemon::start();
    let mut nowhere = chat("c-1", "e");
    nowhere.as_object_mut().unwrap().remove("execution");
    assert_eq!(daemon.post(PATH, &nowhere).problem(400, "missing_field")["pointer"], "/execution");
    let mut impossible = chat("c-2", "e");
    impossible["body"]["usage"]["prompt_tokens"] = json!(-1);
    let problem = daemon.post(PATH, &impossible).problem(400, "invalid_usage");
    assert_eq!(problem["pointer"], "/body/usage/prompt_tokens");
    let mut silent = chat("c-3", "e");
    silent["body"]["usage"] = Value::Null;
    let answer = daemon.post(PATH, &silent).expect(200).json();
    assert_eq!(answer["results"][0]["reason"], "missing_usage", "{answer}");
    assert_eq!(answer["quarantined"], 1);
}
