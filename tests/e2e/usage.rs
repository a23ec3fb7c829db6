//! `POST /v1/usage`: what is taken, at which price, and what a repetition does.

use rust_decimal::Decimal;
use serde_json::{Value, json};

use crate::events::{CALL_USD, NS, call_of, cost_of, model_call, tool_call};
use crate::harness::daemon::Daemon;

/// Results as `(status, cost)`.
fn outcomes(results: &[Value]) -> Vec<(&str, Option<&str>)> {
    results.iter().map(|result| (result["status"].as_str().unwrap_or_default(), result["cost_usd"].as_str())).collect()
}

#[test]
fn one_object_is_priced_to_the_last_digit() {
    let daemon = Daemon::start();
    let answer = daemon.post("/v1/usage", &model_call("a-1", "exec-1")).expect(200).json();
    assert_eq!(answer["accepted"], 1);
    let result = &answer["results"][0];
    assert_eq!(result["id"], "a-1");
    assert_eq!(result["status"], "accepted");
    assert_eq!(result["cost_usd"], CALL_USD);
    assert_eq!(result["execution"], "exec-1");
}

#[test]
fn an_array_and_ndjson_are_answered_event_by_event_in_order() {
    let daemon = Daemon::start();
    let events: Vec<Value> = (0..3).map(|n| model_call(&format!("a-{n}"), "exec-1")).collect();
    let answer = daemon.post("/v1/usage", &json!(events)).expect(200).json();
    assert_eq!(answer["accepted"], 3);
    let lines: String = (3..8).map(|n| format!("{}\n", model_call(&format!("a-{n}"), "exec-1"))).collect();
    let answer = daemon.request("POST", "/v1/usage", &[("content-type", "application/x-ndjson")], lines.as_bytes());
    let answer = answer.expect(200).json();
    assert_eq!(answer["accepted"], 5);
    let ids: Vec<&str> =
        answer["results"].as_array().unwrap().iter().map(|result| result["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["a-3", "a-4", "a-5", "a-6", "a-7"]);
    assert_eq!(daemon.entries(NS, "exec-1").iter().filter(|entry| entry["event_id"].is_string()).count(), 8);
}

/// USD a million tokens, from the published tables; each sum is worked out by hand.
#[test]
fn known_models_cost_what_their_tables_say() {
    let daemon = Daemon::start();
    let cases = [
        // gpt-4.1: input 2, cached 0.5, output 8. 1000 × 2e-6 + 500 × 8e-6 = 0.002 + 0.004
        ("openai", "gpt-4.1", json!({"input_tokens": 1000, "output_tokens": 500}), "0.006"),
        // gpt-5-mini: input 0.25, cached 0.025, output 2; reasoning counts as output. 3 × 0.25e-6 + 7 × 2e-6
        (
            "openai",
            "gpt-5-mini",
            json!({"input_tokens": 3, "output_tokens": 7, "output_reasoning_tokens": 7}),
            "0.00001475",
        ),
        // text-embedding-3-small: input 0.02. 17 × 0.02e-6
        ("openai", "text-embedding-3-small", json!({"input_tokens": 17}), "0.00000034"),
        // claude-sonnet-4-5 up to 200,000 tokens of input: input 3, cache read 0.30, cache write 3.75 (1 h: 6), output 15.
        // 500 × 3e-6 + 1200 × 0.3e-6 + 200 × 3.75e-6 + 100 × 6e-6 + 321 × 15e-6
        // = 0.0015 + 0.00036 + 0.00075 + 0.0006 + 0.004815
        (
            "anthropic",
            "claude-sonnet-4-5",
            json!({"input_tokens": 2000, "cache_read_tokens": 1200, "cache_write_tokens": 300, "cache_write_5m_tokens": 200,
                   "cache_write_1h_tokens": 100, "output_tokens": 321}),
            "0.008025",
        ),
        // The same model above 200,000 tokens: the whole request at input 6, output 22.50.
        // 200001 × 6e-6 + 10 × 22.5e-6 = 1.200006 + 0.000225
        ("anthropic", "claude-sonnet-4-5", json!({"input_tokens": 200_001, "output_tokens": 10}), "1.200231"),
        // claude-haiku-4-5: input 1, output 5, web searches 10 a thousand. 100 × 1e-6 + 20 × 5e-6 + 3 × 0.01
        (
            "anthropic",
            "claude-haiku-4-5",
            json!({"input_tokens": 100, "output_tokens": 20, "web_searches": 3}),
            "0.0302",
        ),
        // gemini-2.5-flash: input 0.30, cached 0.03, output 2.50. 900 × 0.3e-6 + 100 × 0.03e-6 + 40 × 2.5e-6
        (
            "google",
            "gemini-2.5-flash",
            json!({"input_tokens": 1000, "cache_read_tokens": 100, "output_tokens": 40}),
            "0.000373",
        ),
    ];
    let events: Vec<Value> = cases
        .iter()
        .enumerate()
        .map(|(n, (provider, model, usage, _))| call_of(&format!("p-{n}"), provider, model, usage.clone()))
        .collect();
    let results = daemon.usage(&json!(events));
    let found: Vec<(&str, Option<&str>)> = outcomes(&results);
    let expected: Vec<(&str, Option<&str>)> = cases.iter().map(|(_, _, _, cost)| ("accepted", Some(*cost))).collect();
    assert_eq!(found, expected);
    let total: Decimal = cases.iter().map(|(_, _, _, cost)| cost.parse::<Decimal>().unwrap()).sum();
    daemon.wait_for_metric("meterd_cost_usd_total", &[("category", "model")], &total.to_string());
}

/// I7: the line behind a cost names its table by digest, and its lines sum to the cost.
#[test]
fn each_priced_entry_names_its_table_and_its_lines() {
    let daemon = Daemon::start();
    daemon.usage(&model_call("a-1", "exec-1"));
    let entries = daemon.entries(NS, "exec-1");
    let entry =
        entries.iter().find(|entry| entry["event_id"] == "a-1").unwrap_or_else(|| panic!("no a-1 in {entries:?}"));
    assert_eq!(entry["cost_usd"], CALL_USD);
    assert_eq!(entry["provider"], "openai");
    assert_eq!(entry["model"], "gpt-4o-mini");
    let digest = entry["price_table"]["digest"].as_str().unwrap_or_default();
    assert!(digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit()), "{entry}");
    let amounts: Vec<Decimal> = entry["lines"]
        .as_array()
        .unwrap_or_else(|| panic!("no lines in {entry}"))
        .iter()
        .map(|line| {
            line["amount_usd"].as_str().or(line["amount"].as_str()).unwrap_or_else(|| panic!("{line}")).parse().unwrap()
        })
        .collect();
    assert!(amounts.len() >= 3, "input, cached input and output: {entry}");
    assert_eq!(amounts.iter().sum::<Decimal>(), CALL_USD.parse().unwrap());
}

/// I4: a retry is safe; it answers as the first time and charges nothing.
#[test]
fn the_same_event_again_is_a_duplicate_and_costs_nothing() {
    let daemon = Daemon::start();
    let event = model_call("a-1", "exec-1");
    assert_eq!(outcomes(&daemon.usage(&event)), [("accepted", Some(CALL_USD))]);
    assert_eq!(outcomes(&daemon.usage(&event)), [("duplicate", Some(CALL_USD))]);
    let twice = json!([model_call("a-2", "exec-1"), event]);
    assert_eq!(outcomes(&daemon.usage(&twice)), [("accepted", Some(CALL_USD)), ("duplicate", Some(CALL_USD))]);
    let mut reordered = event.clone();
    let object = reordered.as_object_mut().unwrap();
    let id = object.remove("id").unwrap();
    object.insert("id".to_owned(), id);
    assert_eq!(outcomes(&daemon.usage(&reordered)), [("duplicate", Some(CALL_USD))], "the order of keys means nothing");
    assert_eq!(daemon.execution(NS, "exec-1")["status"]["modelCalls"], 2);
    daemon.wait_for_metric("meterd_cost_usd_total", &[], &cost_of(2));
    daemon.wait_for_metric("meterd_ingest_events_total", &[("result", "duplicate")], "3");
}

/// I4: the same id inside one request is seen too.
#[test]
fn an_event_twice_in_one_request_is_charged_once() {
    let daemon = Daemon::start();
    let event = model_call("a-1", "exec-1");
    let results = daemon.usage(&json!([event, event]));
    assert_eq!(outcomes(&results), [("accepted", Some(CALL_USD)), ("duplicate", Some(CALL_USD))]);
    assert_eq!(daemon.execution(NS, "exec-1")["status"]["modelCalls"], 1);
}

/// I4: the same id with another body is a conflict; nothing is charged.
#[test]
fn the_same_id_with_another_body_is_a_conflict() {
    let daemon = Daemon::start();
    let event = model_call("a-1", "exec-1");
    daemon.usage(&event);
    let mut other = event.clone();
    other["usage"]["output_tokens"] = json!(322);
    let problem = daemon.post("/v1/usage", &other).problem(409, "id_conflict");
    assert_eq!(problem["retryable"], false);
    let results = daemon.usage(&json!([model_call("a-2", "exec-1"), other]));
    assert_eq!(outcomes(&results)[0], ("accepted", Some(CALL_USD)));
    assert_eq!(results[1]["status"], "conflict");
    let mut elsewhere = other.clone();
    elsewhere["source"] = json!("another");
    assert_eq!(daemon.usage(&elsewhere)[0]["status"], "accepted", "an id is unique within its source only");
    assert_eq!(daemon.execution(NS, "exec-1")["status"]["modelCalls"], 3);
}

/// I4 across a restart: the seen ids are in the ledger.
#[test]
fn duplicates_and_conflicts_are_known_after_a_restart() {
    let mut daemon = Daemon::start();
    let event = model_call("a-1", "exec-1");
    daemon.usage(&event);
    assert!(daemon.stop().success());
    daemon.start_again();
    assert_eq!(outcomes(&daemon.usage(&event)), [("duplicate", Some(CALL_USD))]);
    let mut other = event;
    other["model"] = json!("gpt-4.1");
    daemon.post("/v1/usage", &other).problem(409, "id_conflict");
    daemon.wait_for_metric("meterd_cost_usd_total", &[], CALL_USD);
}

/// I8: an unknown price is a state, never zero.
#[test]
fn an_unknown_model_is_quarantined_not_free() {
    let daemon = Daemon::start();
    let mut event = model_call("a-1", "exec-1");
    event["model"] = json!("gpt-of-another-world");
    let results = daemon.usage(&json!([event, model_call("a-2", "exec-1")]));
    assert_eq!(results[0]["status"], "quarantined");
    assert_eq!(results[0]["cost_usd"], Value::Null);
    assert_eq!(results[0]["reason"], "unknown_model");
    assert_eq!(results[1]["cost_usd"], CALL_USD);
    let execution = daemon.execution(NS, "exec-1");
    assert_eq!(execution["status"]["modelCalls"], 2);
    let conditions = execution["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let unpriced = conditions.iter().find(|condition| condition["type"] == "Unpriced");
    assert_eq!(unpriced.map(|condition| &condition["status"]), Some(&json!("True")), "{execution}");
    daemon.wait_for_metric("meterd_unpriced_events_total", &[("reason", "unknown_model")], "1");
}

/// The kinds beside models: a tool without a price is counted, a stated cost is never billed instead of the computed one.
#[test]
fn tools_are_counted_and_a_reported_cost_is_not_billed() {
    let daemon = Daemon::start();
    let mut reported = model_call("a-1", "exec-1");
    reported["reported_cost_usd"] = json!("9.99");
    let results = daemon.usage(&json!([reported, tool_call("t-1", "exec-1"), tool_call("t-2", "exec-1")]));
    assert_eq!(results[0]["cost_usd"], CALL_USD);
    let status = &daemon.execution(NS, "exec-1")["status"];
    assert_eq!((&status["modelCalls"], &status["toolCalls"]), (&json!(1), &json!(2)));
    daemon.wait_for_metric("meterd_cost_usd_total", &[], CALL_USD);
    daemon.wait_for_metric("meterd_tool_calls_total", &[("tool", "zendesk.create_ticket")], "2");
    daemon.wait_for_metric("meterd_tokens_total", &[("token_type", "reasoning")], "128");
    daemon.wait_for_metric("meterd_tokens_total", &[("token_type", "output")], "193");
}
