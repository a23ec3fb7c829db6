//! The console in a real browser (Chromium, driven through playwright-core), and the stream of events that it lives on.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::events::{NS, model_call};
use crate::harness::daemon::Daemon;
use crate::harness::http;
use crate::harness::process::Process;
use crate::harness::stream::Stream;
use crate::harness::wait::SOON;

const BROWSER_MAX: Duration = Duration::from_secs(150);
/// Pictures of the guides, written with `UPDATE=1`.
const IN_GUIDES: [(&str, &str); 4] = [
    ("fleet-light-wide", "console-fleet"),
    ("run-dark-wide", "console-run"),
    ("confirm-light", "console-kill"),
    ("fleet-dark-phone", "console-phone"),
];
const PICTURE_BYTES_MAX: usize = 200_000;
/// Rows that may be in the page for a thousand runs: those in sight and a few around them.
const ROWS_MAX: u64 = 60;

#[test]
fn a_browser_watches_money_kills_a_run_and_reads_its_record() {
    let daemon = Daemon::start();
    let folder = tempfile::tempdir().unwrap();
    let tree = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut command = Command::new("meterd-browser");
    command.arg(tree.join("tests/browser/console.cjs")).arg(daemon.api()).arg(folder.path());
    let ended = Process::start(&mut command, "browser", folder.path()).wait(BROWSER_MAX).expect_code(0);
    let saw: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(saw["elsewhere"], json!([]), "requests to other hosts");
    assert_eq!(saw["errors"], json!([]), "errors of scripts, styles or the policy, or pages that scroll sideways");
    // 8 calls: 174,000 uncached × 3 + 174,000 cached × 0.30 + 5,600 out × 15 US dollars a million; then 45,000, 45,000, 4,000.
    assert_eq!((&saw["before"], &saw["after"]), (&json!("0.6582 USD"), &json!("0.8667 USD")), "the cost ticks");
    assert_eq!(
        (&saw["chipBefore"], &saw["chipAfter"]),
        (&json!("alert"), &json!("spent")),
        "a budget reaches its limit"
    );
    assert!(saw["meter"].as_str().is_some_and(|text| text.ends_with(" of $4.00")), "{}", saw["meter"]);
    let record = saw["record"].as_str().unwrap();
    for part in
        ["loops over the same page", "Decided and fenced", "Signal taken", "Acknowledged", "Proven gone", "confirmed"]
    {
        assert!(record.contains(part), "{part} in the kill record:\n{record}");
    }
    let lines = saw["lines"].as_str().unwrap();
    assert!(lines.contains("input_tokens") && lines.contains("3 per 1M") && lines.contains("sha256 "), "{lines}");
    assert_eq!(
        (&saw["keyboard"], &saw["nameless"]),
        (&json!(true), &json!(0)),
        "keys work, and every control has a name"
    );
    assert_eq!(saw["pictures"].as_array().map(Vec::len), Some(18));
    // How long frames take is for people to judge; that only rows in sight are there is what keeps them short.
    let crowd = &saw["crowd"];
    assert!(crowd["rows"].as_u64().is_some_and(|rows| rows <= ROWS_MAX), "{crowd}");
    assert!(crowd["frames"].as_u64().is_some_and(|frames| frames > 20), "{crowd}");
    eprintln!("console: 1,000 live runs that all move: {crowd}");
    if std::env::var_os("UPDATE").is_some() {
        let pictures = tree.join("docs/guides/pictures");
        fs::create_dir_all(&pictures).unwrap();
        for (from, to) in IN_GUIDES {
            let picture = fs::read(folder.path().join(format!("{from}.png"))).unwrap();
            assert!(picture.len() < PICTURE_BYTES_MAX, "{from}: {} bytes", picture.len());
            fs::write(pictures.join(format!("{to}.png")), picture).unwrap();
        }
    }
}

#[test]
fn the_page_is_strict_small_and_cached() {
    let daemon = Daemon::start();
    let get = |path: &str, headers: &[(&str, &str)]| http::request(daemon.api(), "GET", path, headers, &[]).unwrap();
    let page = get("/", &[]).expect(200);
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
    let text = page.text();
    let mut bytes = get("/", &[("accept-encoding", "gzip")]).expect(200).body.len();
    let mut names: Vec<String> =
        text.split('"').filter(|part| part.starts_with("/console/")).map(str::to_owned).collect();
    let mut seen = 0;
    while seen < names.len() {
        let file = get(&names[seen], &[("accept-encoding", "gzip")]).expect(200);
        assert_eq!(file.header("content-encoding"), Some("gzip"), "{}", names[seen]);
        bytes += file.body.len();
        let plain = get(&names[seen], &[]).expect(200).text();
        for part in plain.split('"').filter_map(|part| part.strip_prefix("./")).filter(|part| part.ends_with(".js")) {
            let name = format!("/console/{part}");
            if !names.contains(&name) {
                names.push(name);
            }
        }
        seen += 1;
    }
    assert!(seen >= 10, "the page's own files: {names:?}");
    assert!(bytes < 100_000, "{bytes} bytes transferred");
    let etag = page.header("etag").unwrap().to_owned();
    assert_eq!(get("/", &[("if-none-match", &etag)]).status, 304);
    assert_eq!(get("/console/nothing.js", &[]).status, 404);
    let runbook = get("/runbooks/MeterdBudgetHardLimitReached", &[]).expect(200).text();
    assert!(runbook.contains("<h2>Mitigation</h2>"));
    get("/runbooks/nothing", &[]).problem(404, "not_found");
    eprintln!("console: {bytes} bytes transferred in {} files", seen + 1);
}

/// The next event in which a run moved; what comes in silence only says that time goes on.
fn next_moved(stream: &mut Stream) -> (Option<String>, Value) {
    loop {
        let delta = stream.next_named("delta", SOON);
        let data = delta.json();
        if data["runs"].as_array().is_some_and(|runs| !runs.is_empty()) {
            return (delta.id, data);
        }
    }
}

fn row<'a>(data: &'a Value, name: &str) -> Option<&'a Value> {
    data["runs"].as_array()?.iter().find(|run| run["name"] == name)
}

#[test]
fn events_begin_with_a_snapshot_tell_what_moved_and_resume() {
    let daemon = Daemon::start();
    daemon.apply(&format!(
        "apiVersion: joch.dev/v1alpha1\nkind: Budget\nmetadata: {{ name: cap, namespace: {NS} }}\nspec:\n  \
         scope: {{ namespaces: [{NS}] }}\n  limits: {{ dailyUsd: 0.001 }}\n  enforcement: {{ onHardLimit: alert }}\n"
    ));
    daemon.usage(&model_call("a-1", "exec-1")); // 0.000423
    let once = daemon.get("/v1/events").expect(200).json();
    assert_eq!(row(&once, "exec-1").unwrap()["cost"], "0.000423", "without a wish for a stream: how things are, once");
    let mut stream = Stream::open(daemon.api(), "/v1/events", None);
    let snapshot = stream.next_named("snapshot", SOON);
    let data = snapshot.json();
    assert_eq!(row(&data, "exec-1").unwrap()["cost"], "0.000423");
    assert_eq!(data["live"], 1);
    assert_eq!(data["health"]["ledger"], "up");
    assert_eq!(data["budgets"][0]["spentUsd"], "0.000423");
    daemon.usage(&json!([model_call("a-2", "exec-1"), model_call("a-3", "exec-1")]));
    // Everything of one commit is in one event, and a run that moved twice is one row.
    let (id, data) = next_moved(&mut stream);
    assert_eq!(data["runs"].as_array().map(Vec::len), Some(1), "{data}");
    assert_eq!(row(&data, "exec-1").unwrap()["cost"], "0.001269");
    let facts = data["facts"].as_array().unwrap();
    assert!(facts.iter().any(|fact| fact["what"] == "reached" && fact["execution"] == "exec-1"), "{data}");
    // Who comes back with an id gets what moved since, and not everything.
    daemon.usage(&model_call("b-1", "exec-2"));
    let mut resumed = Stream::open(daemon.api(), "/v1/events", id.as_deref());
    let (_, data) = next_moved(&mut resumed);
    assert_eq!(data["runs"].as_array().map(Vec::len), Some(1), "{data}");
    assert_eq!(row(&data, "exec-2").unwrap()["cost"], "0.000423");
    // An id that this ledger does not know starts over.
    let mut lost = Stream::open(daemon.api(), "/v1/events", Some("999999"));
    assert_eq!(lost.next_named("snapshot", SOON).json()["live"], 2);
}
