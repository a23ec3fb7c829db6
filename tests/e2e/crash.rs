//! kill -9 while several clients post: nothing acknowledged is lost, nothing is double, and the replayed state is the live one.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;

use serde_json::{Value, json};

use crate::events::{NS, cost_of, literal, model_call};
use crate::harness::cli;
use crate::harness::daemon::Daemon;
use crate::harness::wait::{SOON, until};

/// Kills in CI; `METERD_CRASH_CYCLES` makes a long run.
const CYCLES: u32 = 25;
const CLIENTS: u32 = 4;
/// Acknowledged events before the kill, at most: where between 1 and this is drawn for each cycle.
const EVENTS_BEFORE_KILL: u32 = 300;
/// Requests a client may send in a cycle: a bound, far above what it gets to.
const REQUESTS_MAX: u32 = 20_000;
/// Every so many cycles all of the ledger is read back and verified; in between only what the cycle acknowledged.
const WHOLE_EVERY: u32 = 12;

/// What the clients know.
#[derive(Default)]
struct Known {
    acknowledged: Vec<String>,
    /// Sent without an answer: whether they were booked is not known, so they are sent again.
    unanswered: Vec<Vec<String>>,
}

/// Posts batches until the daemon is gone; records what was acknowledged. A batch without an answer is sent again first in
/// the next cycle, as a real client does.
fn client(daemon: &Daemon, name: u32, cycle: u32, stop: &AtomicBool, count: &AtomicU32, known: &Mutex<Known>) {
    let execution = format!("exec-{name}");
    for number in 0..REQUESTS_MAX {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let again = {
            let mut known = known.lock().unwrap();
            let own = known.unanswered.iter().position(|ids| ids[0].starts_with(&format!("{execution}-")));
            own.map(|own| known.unanswered.swap_remove(own))
        };
        let ids = again.unwrap_or_else(|| (0..3).map(|part| format!("{execution}-{cycle}-{number}-{part}")).collect());
        let events: Vec<Value> = ids.iter().map(|id| same_call(id, &execution)).collect();
        let body = json!(events).to_string();
        let answer = daemon.try_request("POST", "/v1/usage", &[("content-type", "application/json")], body.as_bytes());
        let Ok(answer) = answer else {
            known.lock().unwrap().unanswered.push(ids);
            return;
        };
        if answer.status == 503 {
            known.lock().unwrap().unanswered.push(ids); // full or going down: not acknowledged
            continue;
        }
        let results = answer.expect(200).json();
        let taken = |result: &&Value| result["status"] == "accepted" || result["status"] == "duplicate";
        let taken = results["results"].as_array().expect("results").iter().filter(taken).count();
        assert_eq!(taken, 3, "{results}");
        count.fetch_add(3, Ordering::Relaxed);
        known.lock().unwrap().acknowledged.extend(ids);
    }
}

/// The same id has the same body, whenever it is sent.
fn same_call(id: &str, execution: &str) -> Value {
    static TIME: std::sync::LazyLock<String> = std::sync::LazyLock::new(crate::events::now);
    let mut call = model_call(id, execution);
    call["time"] = json!(*TIME);
    call
}

/// How often each event is in the ledger, by execution.
fn booked(daemon: &Daemon) -> BTreeMap<String, u32> {
    let mut times = BTreeMap::new();
    for name in 0..CLIENTS {
        for entry in daemon.entries(NS, &format!("exec-{name}")) {
            if let Some(id) = entry["event_id"].as_str() {
                *times.entry(id.to_owned()).or_default() += 1;
            }
        }
    }
    times
}

/// Every acknowledged id is in the ledger exactly once, and nothing is there twice.
fn audit(daemon: &Daemon, cycle: u32, acknowledged: &[String]) -> BTreeMap<String, u32> {
    let times = booked(daemon);
    let lost: Vec<&String> = acknowledged.iter().filter(|id| !times.contains_key(*id)).collect();
    assert!(lost.is_empty(), "cycle {cycle}: acknowledged and lost: {lost:?}");
    let double: Vec<_> = times.iter().filter(|(_, times)| **times != 1).collect();
    assert!(double.is_empty(), "cycle {cycle}: more than once: {double:?}");
    times
}

/// What was acknowledged is answered as a duplicate: the daemon knows it, without reading everything back.
fn known_again(daemon: &Daemon, cycle: u32, ids: &[String]) {
    for ids in ids.chunks(200) {
        let of = |id: &String| id.rsplitn(4, '-').last().expect("an execution").to_owned();
        let events: Vec<Value> = ids.iter().map(|id| same_call(id, &of(id))).collect();
        let results = daemon.usage(&json!(events));
        let other: Vec<&Value> = results.iter().filter(|result| result["status"] != "duplicate").collect();
        assert!(other.is_empty(), "cycle {cycle}: acknowledged and not known any more: {other:?}");
    }
}

fn verify(daemon: &Daemon) {
    let data_dir = daemon.data_dir().display().to_string();
    cli::run(&["verify", "--data-dir", &data_dir], daemon.folder()).expect_code(0);
}

/// I3, I4: kill -9 under load at random moments, many times; every acknowledged id is in the ledger exactly once.
#[test]
fn nothing_acknowledged_is_lost_or_doubled_by_kill_9() {
    let cycles = std::env::var("METERD_CRASH_CYCLES").map_or(CYCLES, |text| text.parse().expect("a number of cycles"));
    let mut daemon = Daemon::start();
    let known = Mutex::new(Known::default());
    let (mut audited, mut resent) = (0, 0);
    for cycle in 0..cycles {
        let (stop, count) = (AtomicBool::new(false), AtomicU32::new(0));
        let enough = 1 + getrandom::u32().expect("chance") % EVENTS_BEFORE_KILL;
        thread::scope(|scope| {
            for name in 0..CLIENTS {
                let (daemon, stop, count, known) = (&daemon, &stop, &count, &known);
                scope.spawn(move || client(daemon, name, cycle, stop, count, known));
            }
            until("load", SOON, || (count.load(Ordering::Relaxed) >= enough).then_some(()));
            kill_9(daemon.pid());
            until("the clients' end", SOON, || daemon.try_request("GET", "/healthz", &[], &[]).is_err().then_some(()));
            stop.store(true, Ordering::Relaxed);
        });
        daemon.kill();
        daemon.start_again();
        let known = known.lock().unwrap();
        resent += known.unanswered.len();
        known_again(&daemon, cycle, &known.acknowledged[audited..]);
        audited = known.acknowledged.len();
        if cycle % WHOLE_EVERY == WHOLE_EVERY - 1 {
            audit(&daemon, cycle, &known.acknowledged);
            verify(&daemon);
        }
    }
    let known = known.into_inner().unwrap();
    let times = audit(&daemon, cycles, &known.acknowledged);
    eprintln!("{cycles} kills: {} events acknowledged, {resent} requests sent again, 0 lost, 0 doubled", times.len());
    for name in 0..CLIENTS {
        let execution = format!("exec-{name}");
        let calls = u32::try_from(times.keys().filter(|id| id.starts_with(&format!("{execution}-"))).count()).unwrap();
        let text = daemon.get(&format!("/v1/namespaces/{NS}/executions/{execution}")).expect(200).text();
        assert_eq!(literal(&text, "costUsd"), cost_of(calls), "{execution}");
        assert_eq!(literal(&text, "modelCalls"), calls.to_string(), "{execution}");
    }
    let total = cost_of(u32::try_from(times.len()).unwrap());
    daemon.wait_for_metric("meterd_cost_usd_total", &[], &total);
    assert!(daemon.stop().success());
    verify(&daemon);
}

fn kill_9(pid: u32) {
    let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw).expect("a process id");
    rustix::process::kill_process(pid, rustix::process::Signal::KILL)
        .expect("the daemon runs: its owner has not reaped it");
}

/// Documents that must be the same before and after a restart.
fn documents(daemon: &Daemon) -> Vec<Value> {
    let mut paths = vec!["/v1/budgets".to_owned()];
    paths.extend(["done", "live", "killed"].map(|name| format!("/v1/namespaces/{NS}/executions/{name}")));
    let mut found: Vec<Value> = paths.iter().map(|path| daemon.get(path).expect(200).json()).collect();
    for document in &mut found {
        if document["status"]["phase"] == "Running" {
            document["status"].as_object_mut().unwrap().remove("durationMs"); // it grows while the run is live
        }
    }
    found
}

/// I5: replay of the ledger gives the state that was live, after a kill and after a clean stop.
#[test]
fn replayed_state_equals_live_state() {
    let mut daemon = Daemon::start();
    daemon.apply(&format!(
        "apiVersion: joch.dev/v1alpha1\nkind: Budget\nmetadata: {{ name: cap, namespace: {NS} }}\nspec:\n  \
         scope: {{ namespaces: [{NS}] }}\n  limits: {{ perRunUsd: 0.001, monthlyUsd: 10 }}\n  \
         enforcement: {{ onHardLimit: terminate, softLimitPct: 0.8 }}\n"
    ));
    let events: Vec<Value> = (0..3).map(|n| model_call(&format!("k-{n}"), "killed")).collect();
    daemon.usage(&json!(events));
    daemon.usage(&json!([model_call("d-1", "done"), model_call("l-1", "live"), model_call("l-2", "live")]));
    daemon.post(&format!("/v1/namespaces/{NS}/executions/done/complete"), &json!({"phase": "Succeeded"})).expect(200);
    let live = documents(&daemon);
    daemon.kill();
    daemon.start_again();
    assert_eq!(documents(&daemon), live, "after kill -9");
    assert!(daemon.stop().success());
    daemon.start_again();
    assert_eq!(documents(&daemon), live, "after a clean stop");
    daemon.wait_for_metric("meterd_cost_usd_total", &[], &cost_of(6));
    daemon.wait_for_metric("meterd_budget_charged_usd_total", &[("budget", "cap")], &cost_of(6));
}

/// A clean stop ends with code 0, within its bound, and takes its address file away.
#[test]
fn sigterm_drains_and_leaves_nothing_behind() {
    let mut daemon = Daemon::start();
    daemon.usage(&model_call("a-1", "exec-1"));
    assert!(daemon.data_dir().join("endpoints.json").exists());
    let stream = daemon.signals(NS, "exec-1", None);
    let status = daemon.stop();
    assert_eq!(status.code(), Some(0), "an open stream does not hold it up");
    assert!(!daemon.data_dir().join("endpoints.json").exists());
    drop(stream);
}
