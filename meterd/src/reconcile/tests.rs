//! The live view: as fresh as the ledger, and the entries and kills as they are shown.

use budget::{Entry, Ref, State};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{View, entry_json, kill_json};
use crate::event::charge::tests::sample::{call, entries, one_of_each_fact, opened};
use crate::follow::Handler;
use crate::ledger::{DataDir, open};

#[tokio::test]
async fn a_fresh_answer_waits_for_what_is_committed() {
    let folder = TempDir::new().unwrap();
    let mut writer = open(&DataDir::new(folder.path()), 0, |_| {}).unwrap().writer;
    let (view, mut reconciler) = View::new(State::default(), writer.reader());
    let id = Ref::new("ns", "run");
    assert!(view.read_fresh(|state| state.execution(&id).is_none()).await);
    let facts =
        [budget::Fact::Opened(Box::new(opened("run", None))), budget::Fact::Charged(Box::new(call("e", "run")))];
    let batch = entries(1, facts);
    writer.append(batch.clone()).unwrap();
    assert!(view.read(|state| state.execution(&id).is_none()), "not folded yet");
    let asked = tokio::spawn({
        let (view, id) = (view.clone(), id.clone());
        async move { view.read_fresh(|state| state.execution(&id).map(|run| run.cost.to_string())).await }
    });
    tokio::task::yield_now().await;
    assert!(!asked.is_finished());
    reconciler.take(&batch).unwrap();
    assert_eq!(asked.await.unwrap().as_deref(), Some("0.006"));
}

#[test]
fn an_entry_is_shown_with_all_that_its_cost_is_made_of() {
    let entries = entries(1, one_of_each_fact());
    let shown: Vec<Value> = entries.iter().filter_map(entry_json).collect();
    assert_eq!(shown.len(), 2, "only calls are lines of a bill");
    let call = &shown[0];
    for (field, expected) in [
        ("seq", json!(5)),
        ("event_id", json!("e-1")),
        ("source", json!("worker")),
        ("via", json!("api")),
        ("kind", json!("model")),
        ("provider", json!("acme")),
        ("model", json!("swift")),
        ("response_id", json!("response-e-1")),
        ("agent", json!("helper")),
        ("outcome", json!("ok")),
        ("status", json!("priced")),
        ("cost_usd", json!("0.006")),
        ("reported_cost_usd", json!("0.0123")),
        ("time", json!("2026-11-22T10:00:00Z")),
        ("flags", json!([])),
    ] {
        assert_eq!(call[field], expected, "{field}");
    }
    assert_eq!(call["lines"].as_array().unwrap().len(), 2);
    assert_eq!(call["price_table"]["name"], "acme");
    let tool = &shown[1];
    assert_eq!((&tool["kind"], &tool["tool"], &tool["mcp_server"]), (&json!("tool"), &json!("search"), &json!("web")));
    assert_eq!((&tool["cost_usd"], &tool["flags"]), (&json!("0"), &json!(["unlisted_tool"])));
}

#[test]
fn a_kill_is_shown_with_its_attempts() {
    let mut state = State::default();
    let all: Vec<Entry> = entries(1, one_of_each_fact());
    for entry in &all {
        state.apply(entry);
    }
    let kill = kill_json(state.kill("kill-9").unwrap());
    assert_eq!((&kill["id"], &kill["execution"], &kill["namespace"]), (&json!("kill-9"), &json!("run"), &json!("ns")));
    assert_eq!(kill["state"], "confirmed");
    assert_eq!(kill["costUsdAtDecision"], "0.006");
    let attempts = kill["attempts"].as_array().unwrap();
    let told: Vec<(&Value, &Value, &Value)> =
        attempts.iter().map(|attempt| (&attempt["channel"], &attempt["outcome"], &attempt["reason"])).collect();
    assert_eq!(
        told,
        [
            (&json!("webhook"), &json!("failed"), &json!("timeout: 3 s")),
            (&json!("stream"), &json!("delivered"), &Value::Null)
        ]
    );
    assert_eq!(kill["ackedBy"], "stream");
}
