//! What budgets hold for calls whose price is not known, from the event to the price that settles it.

use std::fs;

use serde_json::{Value, json};

use crate::events::{NS, call_of, now, quiet_zone};
use crate::harness::cli;
use crate::harness::daemon::Daemon;
use crate::harness::wait::{SOON, until};

/// USD a million tokens: 2 in, 10 out.
const TABLE: &str = "apiVersion: joch.dev/v1alpha1\nkind: PriceTable\nmetadata: { name: house }\nspec:\n  version: \"1\"\n  \
     currency: USD\n  per: { tokens: 1000000 }\n  models:\n    - provider: acme\n      id: thinker-1\n      \
     match: { exact: [thinker-1] }\n      rates:\n        - set: { input_tokens: \"2\", output_tokens: \"10\" }\n";

fn start(config: &str) -> Daemon {
    Daemon::start_with(|folder| {
        fs::create_dir(folder.join("prices")).expect("a new folder");
        format!("prices: {{ dirs: [{}] }}\n{config}", folder.join("prices").display())
    })
}

fn budget(name: &str, team: &str, more: &str) -> String {
    format!(
        "apiVersion: joch.dev/v1alpha1\nkind: Budget\nmetadata: {{ name: {name}, namespace: {NS} }}\nspec:\n  \
         scope: {{ namespaces: [{NS}], teams: [{team}] }}\n  timeZone: {}\n  limits: {{ dailyUsd: 5 }}\n{more}",
        quiet_zone()
    )
}

/// 1,000,000 tokens in, 100,000 out: 3 USD once the table is there.
fn thinker(id: &str, execution: &str, team: &str) -> Value {
    let mut call = call_of(id, "acme", "thinker-1", json!({"input_tokens": 1_000_000, "output_tokens": 100_000}));
    (call["execution"], call["team"]) = (json!(execution), json!(team));
    call
}

/// Spent and held of the day, as the daemon writes them.
fn counter(daemon: &Daemon, name: &str) -> (String, String) {
    let budget = daemon.get(&format!("/v1/namespaces/{NS}/budgets/{name}?format=json")).expect(200).json();
    let day = &budget["status"]["counters"][0];
    (day["spent"].to_string(), day["held"].to_string())
}

fn reserve(daemon: &Daemon, id: &str, execution: &str, team: &str, usd: &str) -> (u16, Value) {
    let body = json!({"id": id, "namespace": NS, "execution": execution, "team": team, "estimate_usd": usd});
    let answer = daemon.post("/v1/reservations", &body);
    (answer.status, answer.json())
}

fn price_comes(daemon: &Daemon) {
    let path = daemon.folder().join("prices/house.yaml");
    let fresh = path.with_extension("new");
    fs::write(&fresh, TABLE).unwrap();
    fs::rename(&fresh, &path).unwrap();
    until("the settlement", SOON, || (daemon.get("/v1/quarantine").expect(200).json()["total"] == 0).then_some(()));
}

/// An unpriced event holds the ceiling of the configuration; kill -9 forgets nothing; the price settles it once. 3 USD of 5.
#[test]
fn an_unpriced_call_holds_a_ceiling_until_its_price_is_there() {
    let mut daemon = start("budgets: { estimateCeilingUsd: \"4\" }\n");
    daemon.apply(&budget("cap", "support", ""));
    let result = daemon.usage(&thinker("a", "run-1", "support")).remove(0);
    assert_eq!(result["status"], "quarantined");
    assert_eq!(counter(&daemon, "cap"), ("0".to_owned(), "4".to_owned()));
    assert_eq!(daemon.get("/v1/quarantine").expect(200).json()["items"][0]["held_usd"], "4");
    let (status, denied) = reserve(&daemon, "r-1", "run-2", "support", "1.5");
    assert_eq!((status, &denied["code"], &denied["heldUsd"]), (402, &json!("budget_exceeded"), &json!("4")));
    daemon.kill();
    daemon.start_again();
    assert_eq!(counter(&daemon, "cap"), ("0".to_owned(), "4".to_owned()));
    price_comes(&daemon);
    assert_eq!(counter(&daemon, "cap"), ("3".to_owned(), "0".to_owned()), "settled, and held no longer");
    assert_eq!(reserve(&daemon, "r-2", "run-2", "support", "2").0, 201, "3 + 2 of 5");
    daemon.kill();
    daemon.start_again();
    assert_eq!(counter(&daemon, "cap"), ("3".to_owned(), "2".to_owned()), "nothing is settled twice");
    assert!(daemon.stop().success());
    let data_dir = daemon.data_dir().display().to_string();
    cli::run(&["verify", "--data-dir", &data_dir], daemon.folder()).expect_code(0);
}

/// The three policies, each for its own team, and a reservation whose call has no price: it goes on holding its money.
#[test]
fn each_policy_does_what_it_says() {
    let daemon = start("");
    daemon.apply(&budget("strict", "s", "  onUnpriced: deny\n"));
    daemon.apply(&budget("lax", "l", "  onUnpriced: allow\n"));
    daemon.apply(&budget("safe", "h", "  onUnpriced: hold\n  estimateCeilingUsd: 1\n"));
    for (id, team) in [("s", "s"), ("l", "l"), ("h", "h")] {
        daemon.usage(&thinker(id, &format!("run-{team}"), team));
    }
    let (status, denied) = reserve(&daemon, "r-s", "run-s", "s", "0.1");
    assert_eq!((status, &denied["code"]), (402, &json!("unpriced")));
    assert_eq!(reserve(&daemon, "r-l", "run-l", "l", "5").0, 201, "nothing is held");
    assert_eq!(reserve(&daemon, "r-h", "run-h", "h", "4").0, 201, "1 is held");
    let mut settles = thinker("h2", "run-h", "h");
    settles["reservation"] = json!("r-h");
    daemon.usage(&settles);
    assert_eq!(
        counter(&daemon, "safe"),
        ("0".to_owned(), "5".to_owned()),
        "1 for the first, the reservation's 4 for the other"
    );
    price_comes(&daemon);
    assert_eq!(counter(&daemon, "safe"), ("6".to_owned(), "0".to_owned()));
    assert_eq!(reserve(&daemon, "r-s2", "run-s", "s", "0.1").0, 201, "every call has its price now");
    // The first had reserved nothing: overshoot. The other's 4 covered its 3.
    let status = daemon.execution(NS, "run-h")["status"].clone();
    assert_eq!(status["overshootUsd"], 3, "{status}");
}

/// A call that was cut off is an estimate; what it really was, told by another source of the same reservation, takes its place
/// once. 1,000 tokens of gpt-4o-mini cost 0.00015 USD, 3,000 cost 0.00045.
#[test]
fn an_estimate_gives_way_to_the_call_itself() {
    let daemon = start("");
    assert_eq!(reserve(&daemon, "r-1", "run-1", "support", "0.01").0, 201);
    let time = now();
    let told = |id: &str, source: &str, tokens: u64, outcome: &str| {
        let mut call = call_of(id, "openai", "gpt-4o-mini", json!({"input_tokens": tokens}));
        (call["execution"], call["source"], call["outcome"]) = (json!("run-1"), json!(source), json!(outcome));
        (call["reservation"], call["final"], call["time"]) = (json!("r-1"), json!(true), json!(time));
        daemon.usage(&call).remove(0)
    };
    assert_eq!(told("e-1", "worker", 1_000, "aborted")["status"], "accepted");
    let entries = daemon.entries(NS, "run-1");
    assert_eq!(entries[0]["flags"], json!(["estimated"]));
    let truth = told("span-1", "gateway", 3_000, "ok");
    assert_eq!((&truth["status"], &truth["cost_usd"]), (&json!("accepted"), &json!("0.00045")));
    assert_eq!(told("span-1", "gateway", 3_000, "ok")["status"], "duplicate");
    assert_eq!(told("line-1", "exporter", 3_000, "ok")["status"], "duplicate");
    let status = daemon.execution(NS, "run-1")["status"].clone();
    assert_eq!(status["costUsd"].to_string(), "0.00045");
    assert_eq!((&status["modelCalls"], &status["tokens"]["input"]), (&json!(1), &json!(3_000)));
    let entries = daemon.entries(NS, "run-1");
    let superseded = (&entries[1]["status"], &entries[1]["cost_usd"], &entries[1]["by"]);
    assert_eq!(superseded, (&json!("superseded"), &json!("0.0003"), &json!("gateway")));
}

/// The call itself is of a model without a price. What it used counts at once; the estimate's money stands for its price, and a
/// ceiling is held beside it; then the price is the difference. 1,000,000 tokens in of gpt-4o-mini are 0.15 USD.
#[test]
fn a_call_without_a_price_takes_its_estimates_place() {
    let mut daemon = start("budgets: { estimateCeilingUsd: \"4\" }\n");
    daemon.apply(&budget("cap", "support", ""));
    let mut estimate = call_of("a", "openai", "gpt-4o-mini", json!({"input_tokens": 1_000_000}));
    (estimate["execution"], estimate["team"], estimate["estimated"]) = (json!("run-1"), json!("support"), json!(true));
    assert_eq!(daemon.usage(&estimate)[0]["status"], "accepted");
    let truth = thinker("a", "run-1", "support");
    assert_eq!(daemon.usage(&truth)[0]["status"], "quarantined");
    assert_eq!(counter(&daemon, "cap"), ("0.15".to_owned(), "3.85".to_owned()));
    let status = daemon.execution(NS, "run-1")["status"].clone();
    assert_eq!((&status["tokens"]["output"], &status["modelCalls"]), (&json!(100_000), &json!(1)), "{status}");
    let item = daemon.get("/v1/quarantine").expect(200).json()["items"][0].clone();
    assert_eq!((&item["name"], &item["held_usd"]), (&json!("thinker-1"), &json!("3.85")), "{item}");
    let seq = item["seq"].clone();
    daemon.post("/v1/usage", &estimate).expect(409);
    let case = daemon.get(&format!("/v1/quarantine/{seq}")).expect(200).json();
    assert_eq!((&case["status"], &case["entry"]["usage"]["output_tokens"]), (&json!("quarantined"), &json!(100_000)));
    daemon.kill();
    daemon.start_again();
    assert_eq!(counter(&daemon, "cap"), ("0.15".to_owned(), "3.85".to_owned()));
    price_comes(&daemon);
    assert_eq!(counter(&daemon, "cap"), ("3".to_owned(), "0".to_owned()));
    assert_eq!(daemon.usage(&truth)[0]["status"], "duplicate");
    let entries = daemon.entries(NS, "run-1");
    let statuses: Vec<&Value> = entries.iter().map(|entry| &entry["status"]).collect();
    assert_eq!(statuses, [&json!("priced"), &json!("superseded"), &json!("settled")]);
    assert_eq!(entries[1]["flags"], json!(["unpriced", "unknown_provider"]));
    assert!(daemon.stop().success());
    let data_dir = daemon.data_dir().display().to_string();
    cli::run(&["verify", "--data-dir", &data_dir], daemon.folder()).expect_code(0);
}
