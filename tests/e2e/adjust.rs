//! An administrator states what a booked call costs: booked once, with who and why, and it stays over other prices.

use serde_json::{Value, json};

use crate::events::{CALL_USD, NS, literal, model_call};
use crate::harness::cli;
use crate::harness::daemon::Daemon;

/// The model of `model_call` at other prices.
const OTHER_PRICES: &str = "apiVersion: joch.dev/v1alpha1\nkind: PriceTable\nmetadata: { name: other }\nspec:\n  version: \"1\"\n  \
    currency: USD\n  per: { tokens: 1000000 }\n  models:\n    - provider: openai\n      id: gpt-4o-mini\n      \
    match: { exact: [gpt-4o-mini] }\n      rates:\n        \
    - set: { input_tokens: \"1\", output_tokens: \"1\", cache_read_tokens: \"1\" }\n";

fn cost(daemon: &Daemon, execution: &str) -> String {
    let path = format!("/v1/namespaces/{NS}/executions/{execution}");
    literal(&daemon.get(&path).expect(200).text(), "costUsd").to_owned()
}

/// A call of 0.000423 USD is corrected to 0.0001: what is booked is the difference, -0.000323.
#[test]
fn a_correction_is_booked_once_and_stays() {
    let mut daemon = Daemon::start();
    daemon.apply(&format!(
        "apiVersion: joch.dev/v1alpha1\nkind: Budget\nmetadata: {{ name: day, namespace: {NS} }}\nspec:\n  limits: {{ dailyUsd: 1 }}\n"
    ));
    daemon.usage(&json!([model_call("a-1", "corrected"), model_call("b-1", "as-booked")]));
    let of = daemon.entries(NS, "corrected")[0]["seq"].to_string();
    let url = daemon.api().to_owned();
    let correct = || {
        let words = ["adjust", &of, "--cost-usd", "0.0001", "--reason", "credit note 7", "-o", "json", "--url", &url];
        let ended = cli::run(&words, daemon.folder()).expect_code(0);
        serde_json::from_str::<Value>(&ended.stdout).expect("an object")
    };
    let booked = correct();
    assert_eq!((&booked["status"], &booked["before_usd"]), (&json!("booked"), &json!(CALL_USD)), "{booked}");
    assert_eq!((&booked["event_id"], &booked["difference_usd"]), (&json!("a-1"), &json!("-0.000323")), "{booked}");
    let again = correct();
    assert_eq!((&again["status"], &again["difference_usd"]), (&json!("unchanged"), &json!("0")), "{again}");

    let entries = daemon.entries(NS, "corrected");
    assert_eq!(entries.len(), 2, "{entries:?}");
    let line = &entries[1];
    assert_eq!((&line["kind"], &line["status"]), (&json!("adjustment"), &json!("operator")), "{line}");
    assert_eq!((&line["reason"], &line["cost_usd"]), (&json!("credit note 7"), &json!("-0.000323")), "{line}");
    assert!(line["by"].as_str().is_some_and(|by| !by.is_empty()), "{line}");
    assert_eq!(cost(&daemon, "corrected"), "0.0001");
    let budget = daemon.get(&format!("/v1/namespaces/{NS}/budgets/day")).expect(200).text();
    assert_eq!(literal(&budget, "daySpentUsd"), "0.000523", "0.0001 + 0.000423: {budget}");

    let other = json!({
        "tables": [{ "name": "other.yaml", "text": OTHER_PRICES }], "since": "2000-01-01T00:00:00Z", "reopen": true,
    });
    daemon.post("/v1/reprice", &other).expect(200);
    assert_eq!(cost(&daemon, "corrected"), "0.0001", "other tables do not take back what a person stated");
    assert_ne!(cost(&daemon, "as-booked"), CALL_USD, "the other call has its other price");

    daemon.kill();
    daemon.start_again();
    assert_eq!(cost(&daemon, "corrected"), "0.0001");
    assert!(daemon.stop().success());
    let data_dir = daemon.data_dir().display().to_string();
    cli::run(&["verify", "--data-dir", &data_dir], daemon.folder()).expect_code(0);
}

#[test]
fn what_is_no_correction_is_refused() {
    let daemon = Daemon::start();
    daemon.usage(&json!([model_call("a-1", "corrected")]));
    let of = daemon.entries(NS, "corrected")[0]["seq"].clone();
    let post = |of: &Value, usd: &str, reason: &str| {
        daemon.post("/v1/adjustments", &json!({ "of": of, "cost_usd": usd, "reason": reason }))
    };
    let negative = post(&of, "-1", "refund").problem(400, "invalid_adjustment");
    assert_eq!(negative["pointer"], "/cost_usd");
    assert_eq!(post(&of, "1", " ").problem(400, "invalid_adjustment")["pointer"], "/reason");
    post(&of, "much", "refund").problem(400, "invalid_adjustment");
    post(&json!(0), "1", "refund").problem(404, "not_found");
    post(&json!(1_000_000), "1", "refund").problem(404, "not_found");
    assert_eq!((cost(&daemon, "corrected").as_str(), daemon.entries(NS, "corrected").len()), (CALL_USD, 1));
}
