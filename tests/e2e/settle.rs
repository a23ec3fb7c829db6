//! Prices that come later: the quarantine settles itself, re-pricing books differences, each exactly once.

use std::fs;

use serde_json::{Value, json};

use crate::events::{NS, call_of, literal};
use crate::harness::cli;
use crate::harness::daemon::Daemon;
use crate::harness::wait::{SOON, until};

/// A price table of one model; USD a million tokens.
fn table(version: &str, input: &str, output: &str) -> String {
    format!(
        "apiVersion: joch.dev/v1alpha1\nkind: PriceTable\nmetadata: {{ name: house }}\nspec:\n  version: \"{version}\"\n  \
         currency: USD\n  per: {{ tokens: 1000000 }}\n  models:\n    - provider: acme\n      id: thinker-1\n      \
         match: {{ exact: [thinker-1] }}\n      rates:\n        \
         - set: {{ input_tokens: \"{input}\", output_tokens: \"{output}\" }}\n"
    )
}

fn start() -> Daemon {
    Daemon::start_with(|folder| {
        fs::create_dir(folder.join("prices")).expect("a new folder");
        format!("prices: {{ dirs: [{}] }}\n", folder.join("prices").display())
    })
}

fn drop_table(daemon: &Daemon, text: &str) {
    let path = daemon.folder().join("prices/house.yaml");
    let fresh = path.with_extension("new");
    fs::write(&fresh, text).unwrap();
    fs::rename(&fresh, &path).unwrap();
}

/// 1,000,000 tokens in, 100,000 out.
fn thinker(id: &str) -> Value {
    call_of(id, "acme", "thinker-1", json!({"input_tokens": 1_000_000, "output_tokens": 100_000}))
}

fn quarantine(daemon: &Daemon) -> Value {
    daemon.get("/v1/quarantine").expect(200).json()
}

fn cost(daemon: &Daemon) -> String {
    literal(&daemon.get(&format!("/v1/namespaces/{NS}/executions/prices")).expect(200).text(), "costUsd").to_owned()
}

/// Ledger lines of the execution: kind, event, amount.
fn lines(daemon: &Daemon) -> Vec<(String, String, String)> {
    let text = |entry: &Value, key: &str| entry[key].as_str().unwrap_or_default().to_owned();
    let entries = daemon.entries(NS, "prices");
    entries.iter().map(|entry| (text(entry, "kind"), text(entry, "event_id"), text(entry, "cost_usd"))).collect()
}

fn adjustments(daemon: &Daemon) -> usize {
    lines(daemon).iter().filter(|(kind, ..)| kind == "adjustment").count()
}

fn verify(daemon: &Daemon) {
    let data_dir = daemon.data_dir().display().to_string();
    cli::run(&["verify", "--data-dir", &data_dir], daemon.folder()).expect_code(0);
}

/// I8: an unknown price is a state. A table that arrives settles it, exactly and once, also over kill -9. Worked out:
/// 1 M × 2 USD/M + 0.1 M × 10 USD/M = 3 USD a call; two calls, 6 USD.
#[test]
fn the_quarantine_settles_when_a_price_arrives() {
    let mut daemon = start();
    let first_call = thinker("a");
    let results =
        daemon.usage(&json!([first_call, thinker("b"), call_of("c", "acme", "other", json!({"input_tokens": 5}))]));
    for result in &results {
        assert_eq!((&result["status"], &result["reason"]), (&json!("quarantined"), &json!("unknown_provider")));
    }
    let waiting = quarantine(&daemon);
    assert_eq!((&waiting["total"], waiting["items"].as_array().unwrap().len()), (&json!(3), 3));
    assert_eq!(waiting["items"][0]["event_id"], "a");
    assert_eq!(
        waiting["counts"][0],
        json!({"reason": "unknown_provider", "provider": "acme", "name": "thinker-1", "events": 2})
    );
    let first = daemon.get("/v1/quarantine?limit=2").expect(200).json();
    let rest = format!("/v1/quarantine?limit=2&continue={}", first["continue"].as_str().expect("there is more"));
    let rest = daemon.get(&rest).expect(200).json();
    assert_eq!((&rest["items"][0]["event_id"], &rest["continue"]), (&json!("c"), &Value::Null));
    assert_eq!(cost(&daemon), "0");

    drop_table(&daemon, &table("1", "2", "10"));
    until("the settlement", SOON, || (cost(&daemon) == "6").then_some(()));
    assert_eq!(quarantine(&daemon)["total"], 1, "the other model has no price yet");
    let settled = |id: &str| ("adjustment".to_owned(), id.to_owned(), "3".to_owned());
    assert_eq!(lines(&daemon)[3..], [settled("a"), settled("b")]);
    let execution = daemon.execution(NS, "prices");
    assert_eq!(execution["status"]["modelCalls"], 3, "an adjustment is no call: {execution}");
    daemon.wait_for_metric("meterd_cost_usd_total", &[], "6");
    daemon.wait_for_metric("meterd_unpriced_events_total", &[], "3");

    daemon.kill();
    daemon.start_again();
    assert_eq!((cost(&daemon).as_str(), adjustments(&daemon)), ("6", 2), "nothing is settled twice");
    assert_eq!(quarantine(&daemon)["total"], 1);
    daemon.wait_for_metric("meterd_cost_usd_total", &[], "6");
    let again = daemon.usage(&first_call);
    assert_eq!(again[0]["status"], "duplicate");

    // A price that is there before the start settles at the start.
    daemon.kill();
    let both = table("2", "2", "10").replace("exact: [thinker-1]", "exact: [thinker-1, other]");
    drop_table(&daemon, &both);
    daemon.start_again();
    until("the last one", SOON, || (quarantine(&daemon)["total"] == 0).then_some(()));
    assert_eq!(cost(&daemon), "6.00001", "5 tokens of 2 USD a million");
    let listed = cli::run(&["get", "quarantine", "--url", daemon.api(), "-o", "csv"], daemon.folder()).expect_code(0);
    assert_eq!(listed.stdout.lines().count(), 1, "nothing but the header: {}", listed.stdout);
    assert!(daemon.stop().success());
    verify(&daemon);
}

/// Worked out: priced at 3 USD a call, 4 USD by the new table (1 M × 3 + 0.1 M × 10): 2 USD more for two calls; then
/// 1.5 USD by a third (1 M × 1 + 0.1 M × 5): 5 USD less. The credit is a counter of its own.
#[test]
fn repricing_shows_the_difference_and_books_it_once() {
    let mut daemon = start();
    drop_table(&daemon, &table("1", "2", "10"));
    daemon.wait_for_metric("meterd_price_table_entries", &[("source", "house")], "1");
    daemon.usage(&json!([thinker("a"), thinker("b")]));
    daemon.post(&format!("/v1/namespaces/{NS}/executions/prices/complete"), &json!({"phase": "Succeeded"})).expect(200);
    assert_eq!(cost(&daemon), "6");
    let others = daemon.folder().join("others");
    fs::create_dir(&others).unwrap();
    fs::write(others.join("house.yaml"), table("2", "3", "10")).unwrap();
    let tables = others.display().to_string();
    let reprice = |daemon: &Daemon, more: &[&str]| {
        let url = daemon.api().to_owned();
        let mut arguments = vec!["reprice", "--tables", &tables, "--since", "1h", "-o", "json", "--url", &url];
        arguments.extend(more);
        let ended = cli::run(&arguments, daemon.folder()).expect_code(0);
        serde_json::from_str::<Value>(&ended.stdout).expect("JSON")
    };
    let row = json!({
        "team": "support", "agent": "support-triage", "model": "acme:thinker-1", "events": 2, "unpriced_before": 0,
        "before_usd": "6", "after_usd": "8", "difference_usd": "2",
    });
    let dry = reprice(&daemon, &["--dry-run"]);
    assert_eq!((&dry["rows"], &dry["booked"], &dry["difference_usd"]), (&json!([row]), &json!(0), &json!("2")));
    assert_eq!((cost(&daemon).as_str(), adjustments(&daemon)), ("6", 0), "a dry run books nothing");

    let booked = reprice(&daemon, &[]);
    assert_eq!((&booked["rows"], &booked["booked"]), (&json!([row]), &json!(2)));
    assert_eq!((cost(&daemon).as_str(), adjustments(&daemon)), ("8", 2));
    let again = reprice(&daemon, &[]);
    assert_eq!((&again["changed"], &again["booked"], &again["run"]), (&json!(0), &json!(0), &booked["run"]));
    assert_eq!((cost(&daemon).as_str(), adjustments(&daemon)), ("8", 2), "each exactly once");
    daemon.wait_for_metric("meterd_cost_usd_total", &[], "8");

    // The same on the data directory at rest, downward.
    assert!(daemon.stop().success());
    fs::write(others.join("house.yaml"), table("3", "1", "5")).unwrap();
    let data_dir = daemon.data_dir().display().to_string();
    let arguments = ["reprice", "--tables", &tables, "--since", "1h", "-o", "csv", "--data-dir", &data_dir];
    for expected in ["support,support-triage,acme:thinker-1,2,8,3,-5\n", ""] {
        let ended = cli::run(&arguments, daemon.folder()).expect_code(0);
        let (_, rows) = ended.stdout.split_once('\n').expect("a header");
        assert_eq!(rows, expected, "{}", ended.stderr);
    }
    verify(&daemon);
    let described = cli::run(&["describe", "execution", "prices", "-n", NS, "--data-dir", &data_dir], daemon.folder());
    let described = described.expect_code(0).stdout;
    assert!(described.contains("repriced (of "), "{described}");
    daemon.start_again();
    assert_eq!((cost(&daemon).as_str(), adjustments(&daemon)), ("3", 4));
    daemon.wait_for_metric("meterd_cost_usd_total", &[], "8");
    daemon.wait_for_metric("meterd_cost_credit_usd_total", &[], "5");
}

/// What is wrong with a wish is told, and nothing is booked.
#[test]
fn a_wish_that_cannot_be_is_refused() {
    let daemon = start();
    let ask = |body: Value| daemon.post("/v1/reprice", &body);
    ask(json!({"tables": [], "since": "2026-01-01T00:00:00Z"})).problem(400, "no_price_table");
    ask(json!({"since": "2026-01-01T00:00:00Z"})).problem(400, "invalid_reprice");
    let bad = json!([{"name": "bad.yaml", "text": "kind: PriceTable\n"}]);
    let problem = ask(json!({"tables": bad, "since": "2026-01-01T00:00:00Z"})).problem(400, "invalid_price_table");
    assert_eq!(problem["file"], "bad.yaml");
}
