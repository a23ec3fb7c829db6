//! `meterd bench`: what its answer holds. How large the figures are is for people to judge, not for a test.

use std::fs;

use serde_json::{Value, json};

use crate::harness::cli;

/// The answer to `bench price` with these flags.
fn price(flags: &[&str], rows: &str) -> Value {
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::write(folder.path().join("rows.ndjson"), rows).unwrap();
    let args = [&["bench", "price", "-o", "json"], flags].concat();
    let ended = cli::run(&args, folder.path()).expect_code(0);
    serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{error}: {}", ended.stdout))
}

#[test]
fn the_seeded_mix_is_priced_whole() {
    let answer = price(&["--events", "640"], "");
    assert_eq!(answer["bench"], "price");
    assert_eq!(answer["figures"]["events"], 640);
    for figure in ["events_per_second_core", "ns_per_event", "p50_ns", "p99_ns", "load_ms", "load_yaml_ms"] {
        assert!(answer["figures"][figure].as_f64().is_some_and(|figure| figure > 0.0), "{figure} in {answer}");
    }
    assert!(answer["settings"]["rows"].as_u64().is_some_and(|rows| rows > 1_000), "{answer}");
    assert_eq!(answer["settings"]["rows"], answer["settings"]["rows_priced"]);
}

#[test]
fn a_file_is_priced_row_by_row() {
    let row = |model: &str| {
        let usage = json!({ "input_tokens": 1000, "output_tokens": 10 });
        json!({ "provider": "openai", "model": model, "timestamp": "2026-11-18T12:00:00Z", "usage": usage, "context": {} })
    };
    let rows = format!("{}\n\n{}\n", row("gpt-4o"), row("no-such-model"));
    let answer = price(&["--file", "rows.ndjson", "--events", "100"], &rows);
    assert_eq!(answer["settings"]["rows"], 2);
    assert_eq!(answer["settings"]["rows_priced"], 1);
    assert_eq!(answer["figures"]["events"], 100);
    assert_eq!(answer["figures"]["lines_per_priced_event"], 2.0);
}

#[test]
fn a_row_that_cannot_be_read_is_named() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::write(folder.path().join("rows.ndjson"), "\n{\"provider\":\"openai\"}\n").unwrap();
    let ended = cli::run(&["bench", "price", "--file", "rows.ndjson"], folder.path()).expect_code(1);
    assert!(ended.stderr.contains("rows.ndjson") && ended.stderr.contains("line 2"), "{}", ended.stderr);
}

#[test]
fn the_ledger_is_loaded_and_leaves_nothing_behind() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let flags = [
        "bench",
        "ledger",
        "--events",
        "3000",
        "--clients",
        "3",
        "--batch",
        "100",
        "--data-dir",
        "ledger",
        "-o",
        "json",
    ];
    let ended = cli::run(&flags, folder.path()).expect_code(0);
    let answer: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!((&answer["bench"], &answer["settings"]["events"]), (&json!("ledger"), &json!(3_000)));
    for figure in [
        "events_per_second",
        "half_load_commit_p99_ms",
        "fsync_p99_ms",
        "ledger_bytes_per_event",
        "rss_bytes",
        "start_ms",
        "replay_entries_per_second",
    ] {
        assert!(answer["figures"][figure].as_f64().is_some_and(|figure| figure > 0.0), "{figure} in {answer}");
    }
    let proven =
        cli::run(&["get", "executions", "--data-dir", "ledger", "-n", "support-platform", "-o", "csv"], folder.path());
    assert_eq!(proven.expect_code(0).stdout.lines().count(), 1_001, "a head and a thousand runs");
    cli::run(&flags, folder.path()).expect_code(1);
}

#[test]
fn intake_is_measured_in_both_forms_and_everything_is_booked() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (form, batch) in [("otlp", 512), ("ndjson", 1_000)] {
        let args = ["bench", "ingest", "-o", "json", "--form", form, "--events", "4000", "--senders", "2"];
        let ended = cli::run(&args, folder.path()).expect_code(0);
        let answer: Value =
            serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{error}: {}", ended.stdout));
        assert_eq!((&answer["settings"]["form"], &answer["settings"]["batch"]), (&json!(form), &json!(batch)));
        assert!(answer["figures"]["events"].as_u64().is_some_and(|events| events >= 4_000), "{answer}");
        for figure in ["events_per_second", "request_p50_ms", "request_p99_ms", "body_bytes_per_event"] {
            assert!(answer["figures"][figure].as_f64().is_some_and(|figure| figure > 0.0), "{figure} in {answer}");
        }
    }
}

/// Small here: what is looked at is that a daemon, its senders and its scrapes end well and all figures come.
#[test]
fn the_exporter_is_measured_with_its_senders() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let args = ["bench", "metrics", "-o", "json", "--series", "3000", "--seconds", "1", "--senders", "2"];
    let ended = cli::run(&args, folder.path()).expect_code(0);
    let answer: Value = serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{error}: {}", ended.stdout));
    assert_eq!(answer["bench"], "metrics");
    assert!(answer["settings"]["samples"].as_u64().is_some_and(|samples| samples >= 3000), "{answer}");
    for figure in [
        "encode_ms_p50",
        "exposition_bytes",
        "commit_p99_ms_without_scrapes",
        "commit_p99_ms_with_scrapes",
        "peak_rss_bytes_without_scrapes",
        "post_p99_ms_with_scrapes",
        "scrapes",
    ] {
        assert!(answer["figures"][figure].as_f64().is_some_and(|figure| figure > 0.0), "{figure} in {answer}");
    }
}

#[test]
fn cooperative_children_are_killed_and_timed() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let ended =
        cli::run(&["bench", "kill", "--kills", "3", "--children", "2", "-o", "json", "--dir", "."], folder.path());
    let answer: Value = serde_json::from_str(&ended.expect_code(0).stdout).unwrap();
    assert_eq!((&answer["bench"], &answer["figures"]["kills"]), (&json!("kill"), &json!(3)));
    for figure in ["accepted_to_gone_p50_ms", "accepted_to_gone_p99_ms", "sent_to_gone_p99_ms", "charge_p50_ms"] {
        assert!(answer["figures"][figure].as_f64().is_some_and(|figure| figure >= 0.0), "{figure} in {answer}");
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().filter(|entry| entry.as_ref().unwrap().path().is_dir()).count(), 0);
}

/// Small here: what is looked at is that every reservation is settled and all figures come.
#[test]
fn reservations_are_timed_from_many_connections_and_from_one() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let args = [
        "bench",
        "reserve",
        "--pairs",
        "200",
        "--connections",
        "8",
        "--single-pairs",
        "20",
        "-o",
        "json",
        "--dir",
        ".",
    ];
    let ended = cli::run(&args, folder.path()).expect_code(0);
    let answer: Value = serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{error}: {}", ended.stdout));
    assert_eq!((&answer["bench"], &answer["settings"]["pairs"]), (&json!("reserve"), &json!(200)));
    for figure in ["pairs_per_second", "pair_p99_ms", "request_p99_ms", "single_request_p50_ms", "single_pair_p50_ms"] {
        assert!(answer["figures"][figure].as_f64().is_some_and(|figure| figure > 0.0), "{figure} in {answer}");
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().filter(|entry| entry.as_ref().unwrap().path().is_dir()).count(), 0);
}

#[test]
fn decisions_are_timed_with_their_memory() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let args = ["bench", "decide", "--executions", "20000", "--decisions", "10000", "-o", "json"];
    let ended = cli::run(&args, folder.path()).expect_code(0);
    let answer: Value = serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{error}: {}", ended.stdout));
    assert_eq!((&answer["bench"], &answer["settings"]["counters"]), (&json!("decide"), &json!(8)));
    for figure in
        ["decisions_per_second", "ns_per_decision", "reserved_and_folded_per_second", "bytes_per_live_reservation"]
    {
        assert!(answer["figures"][figure].as_f64().is_some_and(|figure| figure > 0.0), "{figure} in {answer}");
    }
}
