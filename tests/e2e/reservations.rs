//! Reservations from outside: what is held is listed, live and at rest alike.

use serde_json::{Value, json};

use crate::events::NS;
use crate::harness::cli;
use crate::harness::daemon::Daemon;

fn reserve(daemon: &Daemon, id: &str, usd: &str) -> u16 {
    let body = json!({ "id": id, "namespace": NS, "execution": "held", "estimate_usd": usd });
    daemon.post("/v1/reservations", &body).status
}

/// Id, state, held, spent and why it was refused.
fn rows(text: &str) -> Vec<[String; 5]> {
    let list: Value = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error} in {text}"));
    let word = |item: &Value, key: &str| match &item[key] {
        Value::String(word) => word.clone(),
        other => other.to_string(),
    };
    let row = |item: &Value| ["id", "state", "heldUsd", "spentUsd", "code"].map(|key| word(item, key));
    list["items"].as_array().expect("a list").iter().map(row).collect()
}

/// Of a run's 1 USD: 0.4 held, 0.3 settled with 0.25, and 0.4 more is too much for the 0.35 that are left.
#[test]
fn get_reservations_reads_a_daemon_and_a_directory_alike() {
    let mut daemon = Daemon::start();
    daemon.apply(&format!(
        "apiVersion: joch.dev/v1alpha1\nkind: Budget\nmetadata: {{ name: cap, namespace: {NS} }}\nspec:\n  limits: {{ perRunUsd: 1 }}\n"
    ));
    assert_eq!(reserve(&daemon, "r-1", "0.4"), 201);
    assert_eq!(reserve(&daemon, "r-2", "0.3"), 201);
    daemon.post("/v1/reservations/r-2/settle", &json!({ "cost_usd": "0.25" })).expect(200);
    assert_eq!(reserve(&daemon, "r-3", "0.4"), 402);

    let url = daemon.api().to_owned();
    let live = |words: &[&str]| cli::run(&[&["get", "reservations", "--url", &url], words].concat(), daemon.folder());
    let listed = live(&["-n", NS, "-o", "json"]).expect_code(0).stdout;
    let expected = [
        ["r-1", "held", "0.4", "0", "null"],
        ["r-2", "settled", "0", "0.25", "null"],
        ["r-3", "denied", "0", "0", "budget_exceeded"],
    ];
    assert_eq!(rows(&listed), expected.map(|row| row.map(str::to_owned)), "{listed}");
    let table = live(&[]).expect_code(0).stdout;
    assert!(table.contains("r-1") && table.contains("budget_exceeded"), "{table}");
    assert_eq!(live(&["-n", "elsewhere", "-o", "csv"]).expect_code(0).stdout.lines().count(), 1, "a head and no row");
    let one: Value = serde_json::from_str(&live(&["r-1", "-o", "json"]).expect_code(0).stdout).expect("an object");
    assert_eq!((&one["id"], &one["execution"]), (&json!("r-1"), &json!("held")));
    live(&["nobody"]).expect_code(1);

    assert!(daemon.stop().success());
    let data_dir = daemon.data_dir().display().to_string();
    let rest = ["get", "reservations", "-n", NS, "-o", "json", "--data-dir", &data_dir];
    assert_eq!(rows(&cli::run(&rest, daemon.folder()).expect_code(0).stdout), rows(&listed));
    let one = ["get", "reservations", "r-2", "-o", "csv", "--data-dir", &data_dir];
    assert!(cli::run(&one, daemon.folder()).expect_code(0).stdout.contains("0.25"));
}
