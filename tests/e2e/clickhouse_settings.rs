//! Settings of the ClickHouse sink against the real engine: TLS, a user by a password file, life times, pausing, a cluster.

use std::fs;

use serde_json::{Value, json};

use crate::events::{cost_of, model_call};
use crate::harness::cli;
use crate::harness::clickhouse::ClickHouse;
use crate::harness::daemon::Daemon;
use crate::harness::tls::TlsFront;
use crate::harness::wait::{SOON, until};

const PASSWORD: &str = "s3cret-of-the-writer";

fn sink(daemon: &Daemon) -> Value {
    daemon.get("/v1/sinks").expect(200).json()["sinks"][0].clone()
}

#[track_caller]
fn caught_up(daemon: &Daemon) {
    until("ClickHouse to catch up", SOON, || {
        let sink = sink(daemon);
        (sink["state"] == "delivering" && sink["delivered"] == sink["committed"]).then_some(())
    });
}

/// The daemon's own user comes in by its password, over TLS that only the named authority vouches for; a wrong password
/// is told without being shown, and a corrected file is enough.
#[test]
fn the_writer_comes_in_over_tls_by_its_password_file() {
    let server = ClickHouse::with_user("writer", PASSWORD);
    let front = TlsFront::start(server.address());
    let settings = |folder: &std::path::Path, ca: &str| {
        fs::write(folder.join("password"), "not-the-password\n").expect("a new file");
        format!(
            "sinks: {{ clickhouse: {{ url: \"{}\", user: writer, passwordFile: {}, flushInterval: 20ms, {ca} }} }}\n",
            front.url(),
            folder.join("password").display()
        )
    };
    let trusted = format!("caFile: {}", front.ca_file().display());
    let daemon = Daemon::start_with(|folder| settings(folder, &trusted));
    let calls: Vec<Value> = (0..20).map(|id| model_call(&format!("c-{id}"), "run")).collect();
    daemon.usage(&json!(calls));
    let refused = until("the refusal", SOON, || sink(&daemon)["failing"].as_str().map(str::to_owned));
    assert!(refused.contains("Authentication failed"), "{refused}");
    fs::write(daemon.folder().join("password"), format!("{PASSWORD}\n")).expect("the file is there");
    caught_up(&daemon);
    let sums = server.ask("SELECT sum(cost_usd), count() FROM meterd.usage_entries");
    assert_eq!(sums, [[cost_of(20), "20".to_owned()]]);
    for shown in [daemon.log(), sink(&daemon).to_string(), daemon.scrape()] {
        assert!(!shown.contains(PASSWORD) && !shown.contains("not-the-password"), "{shown}");
    }

    // Without the authority's certificate nothing is sent, not even the password.
    let other = Daemon::start_with(|folder| settings(folder, "shard: other"));
    let refused = until("the refusal", SOON, || sink(&other)["failing"].as_str().map(str::to_owned));
    assert!(!refused.contains("Authentication"), "{refused}");
    assert_eq!(sink(&other)["delivered"], 0);
}

/// Rows older than their life time go, and what the roll-ups know of them stays; a paused sink sends nothing and holds up
/// nothing, and then sends all of it.
#[test]
fn rows_have_a_life_time_and_a_sink_can_wait() {
    let server = ClickHouse::start();
    let url = server.url();
    let daemon =
        Daemon::start_with(|_| format!("sinks: {{ clickhouse: {{ url: {url}, ttl: 2d, flushInterval: 20ms }} }}\n"));
    let mut old = model_call("old", "run");
    let days_ago = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(24 * 5);
    old["time"] = json!(days_ago.to_string());
    daemon.usage(&json!([old, model_call("new", "run")]));
    caught_up(&daemon);
    let count = || server.ask("SELECT count() FROM meterd.usage_entries")[0][0].clone();
    until("the old row to go", SOON, || {
        server.ask("OPTIMIZE TABLE meterd.entries_raw FINAL");
        (count() == "1").then_some(())
    });
    assert_eq!(server.ask("SELECT sum(cost_usd) FROM meterd.cost_hourly"), [[cost_of(2)]], "roll-ups are kept");

    let command = |what: &str| cli::run(&["sink", what, "--url", daemon.api()], daemon.folder()).expect_code(0).stdout;
    assert!(command("pause").contains("paused"));
    let calls: Vec<Value> = (0..50).map(|id| model_call(&format!("later-{id}"), "run")).collect();
    assert!(daemon.usage(&json!(calls)).iter().all(|result| result["status"] == "accepted"));
    let entries = sink(&daemon)["committed"].as_u64().unwrap() - sink(&daemon)["delivered"].as_u64().unwrap();
    assert_eq!(entries, 51, "they wait in the ledger, with the record of the pause");
    daemon.wait_for_metric("meterd_sink_pending_rows", &[("sink", "clickhouse")], "51");
    assert_eq!(count(), "1");
    command("resume");
    caught_up(&daemon);
    assert_eq!(count(), "51");
}

/// One node cannot show replication; it can show that it understands every statement of it.
#[test]
fn the_statements_for_a_cluster_are_understood() {
    let server = ClickHouse::start();
    let folder = tempfile::tempdir().unwrap();
    let text = cli::run(&["sink", "schema", "--cluster", "east", "--replicated"], folder.path()).expect_code(0).stdout;
    let statements: Vec<&str> = text.split(";\n").map(str::trim).filter(|statement| !statement.is_empty()).collect();
    assert!(statements.len() > 8, "{text}");
    for statement in statements {
        assert!(statement.contains("ON CLUSTER 'east'"), "{statement}");
        let tree = server.ask(&format!("EXPLAIN AST {statement}"));
        assert!(!tree.is_empty(), "{statement}");
    }
    assert_eq!(text.matches("ENGINE = ReplicatedReplacingMergeTree").count(), 5);
}
