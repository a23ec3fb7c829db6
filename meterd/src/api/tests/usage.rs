//! `POST /v1/usage`: what is taken, refused, repeated.

use serde_json::{Value, json};

use super::{Api, BODY_BYTES_MAX, EVENTS_MAX, RUNS, event};
use crate::event::charge::tests::sample::CALL_USD;

fn statuses(answer: &Value) -> Vec<&str> {
    answer["results"].as_array().unwrap().iter().map(|result| result["status"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn one_event_an_array_and_ndjson() {
    let api = Api::start();
    let answer = api.post("/v1/usage", &event("e-1", "run")).await.ok();
    let expected = json!({"id": "e-1", "status": "accepted", "cost_usd": CALL_USD, "execution": "run"});
    assert_eq!(answer["results"], json!([expected]));
    assert_eq!(answer["accepted"], 1);
    let answer = api.post("/v1/usage", &json!([event("e-2", "run"), event("e-3", "run")])).await.ok();
    assert_eq!(statuses(&answer), ["accepted", "accepted"]);
    let lines = format!("{}\n{}\n", event("e-4", "run"), event("e-5", "run"));
    let answer = api.send("POST", "/v1/usage", &[("content-type", "application/x-ndjson")], lines).await;
    assert_eq!(statuses(&answer.ok()), ["accepted", "accepted"]);
    let run = api.get(&format!("{RUNS}/run")).await.ok();
    assert_eq!(run["status"]["costUsd"].to_string(), "0.03", "{run}");
    api.stop().await;
}

#[tokio::test]
async fn part_of_a_request_may_be_refused_and_the_rest_is_taken() {
    let api = Api::start();
    let mut negative = event("e-2", "run");
    negative["usage"]["input_tokens"] = json!(-1);
    let mut unknown = event("e-3", "run");
    unknown["model"] = json!("new");
    let events = json!([event("e-1", "run"), negative, unknown, event("e-1", "run")]);
    let answer = api.post("/v1/usage", &events).await.ok();
    assert_eq!(statuses(&answer), ["accepted", "rejected", "quarantined", "duplicate"]);
    let counts = ["accepted", "rejected", "quarantined", "duplicate", "conflict"].map(|name| answer[name].as_u64());
    assert_eq!(counts, [Some(1), Some(1), Some(1), Some(1), Some(0)]);
    let results = &answer["results"];
    assert_eq!(results[1]["pointer"], "/usage/input_tokens");
    assert!(results[1]["reason"].is_string() && results[1]["message"].is_string(), "{results}");
    assert_eq!((&results[2]["reason"], &results[2]["cost_usd"]), (&json!("unknown_model"), &Value::Null));
    // All of it refused is a bad request, still with a result for each.
    let answer = api.post("/v1/usage", &json!([negative, negative])).await;
    assert_eq!(answer.status, 400);
    assert_eq!(statuses(&answer.json()), ["rejected", "rejected"]);
    api.stop().await;
}

#[tokio::test]
async fn a_repetition_answers_as_the_first_time() {
    let api = Api::start();
    api.post("/v1/usage", &event("e-1", "run")).await.ok();
    let mut unpriced = event("e-2", "run");
    unpriced["model"] = json!("new");
    api.post("/v1/usage", &unpriced).await.ok();
    // Prices change; what was booked does not.
    api.app.prices.store(std::sync::Arc::default());
    let again = api.post("/v1/usage", &json!([event("e-1", "run"), unpriced])).await.ok();
    let expected = json!({"id": "e-1", "status": "duplicate", "cost_usd": CALL_USD, "execution": "run"});
    assert_eq!(again["results"][0], expected);
    assert_eq!(again["results"][1]["status"], "duplicate");
    assert_eq!(again["results"][1]["reason"], "unknown_model");
    assert!(again["results"][1].get("cost_usd").is_none());
    // Another body under the same id.
    let mut other = event("e-1", "run");
    other["agent"] = json!("somebody");
    let problem = api.post("/v1/usage", &other).await.problem(409, "id_conflict");
    assert_eq!((&problem["pointer"], &problem["retryable"]), (&json!("/id"), &json!(false)));
    let answer = api.post("/v1/usage", &json!([other, event("e-3", "run")])).await.ok();
    assert_eq!(statuses(&answer), ["conflict", "quarantined"]);
    assert_eq!(api.series(r#"meterd_ingest_events_total{result="conflict",source="api"}"#).await.as_deref(), Some("2"));
    api.stop().await;
}

/// The answer that said so may never have arrived.
#[tokio::test]
async fn a_repetition_says_that_the_run_is_fenced_by_now() {
    let api = Api::start();
    api.post("/v1/usage", &event("e-1", "run")).await.ok();
    api.post(&format!("{RUNS}/run/kill"), &json!({})).await.ok();
    let answer = api.post("/v1/usage", &event("e-1", "run")).await.ok();
    assert_eq!((&answer["results"][0]["status"], &answer["results"][0]["fenced"]), (&json!("duplicate"), &json!(true)));
    let answer = api.post("/v1/usage", &event("e-2", "run")).await.ok();
    assert_eq!((&answer["results"][0]["status"], &answer["results"][0]["fenced"]), (&json!("accepted"), &json!(true)));
    api.stop().await;
}

#[tokio::test]
async fn bodies_that_cannot_be_taken_are_problems() {
    let api = Api::start();
    let json = [("content-type", "application/json")];
    let big = " ".repeat(BODY_BYTES_MAX + 1);
    let zipped = [("content-encoding", "br")];
    for (headers, body, status, code) in [
        (&json, "{", 400, "malformed_json"),
        (&json, "", 400, "empty_body"),
        (&json, big.as_str(), 413, "body_too_large"),
        (&zipped, "x", 415, "unsupported_encoding"),
    ] {
        api.send("POST", "/v1/usage", headers, body.to_owned()).await.problem(status, code);
    }
    let too_many: Vec<Value> = (0..=EVENTS_MAX).map(|n| event(&format!("e-{n}"), "run")).collect();
    api.post("/v1/usage", &json!(too_many)).await.problem(413, "too_many_events");
    assert_eq!(api.app.view.ledger().committed(), 0);
    api.stop().await;
}

#[tokio::test]
async fn events_of_another_time_are_refused_with_the_reason() {
    let api = Api::start();
    for (time, code) in [("2026-11-22T10:05:01Z", "in_future"), ("2026-11-21T09:59:59Z", "too_old")] {
        let mut event = event("e-1", "run");
        event["time"] = json!(time);
        let problem = api.post("/v1/usage", &event).await.problem(400, code);
        assert_eq!(problem["pointer"], "/time");
    }
    // The edges are inside.
    for (id, time) in [("e-2", "2026-11-22T10:05:00Z"), ("e-3", "2026-11-21T10:00:00Z")] {
        let mut event = event(id, "run");
        event["time"] = json!(time);
        api.post("/v1/usage", &event).await.ok();
    }
    api.stop().await;
}

/// The delay of an event counts when it is booked, not each time it is sent.
#[tokio::test]
async fn only_accepted_events_move_the_lag() {
    let api = Api::start();
    let series = r#"meterd_ingest_lag_seconds_count{source="api"}"#;
    assert_eq!(api.series(series).await.as_deref(), Some("0"));
    let mut other = event("e-1", "run");
    other["agent"] = json!("somebody");
    for event in [event("e-1", "run"), event("e-1", "run"), other] {
        api.post("/v1/usage", &event).await;
    }
    assert_eq!(api.series(series).await.as_deref(), Some("1"));
    api.stop().await;
}
