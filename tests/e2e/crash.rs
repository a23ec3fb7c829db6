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

const CYCLES: u32 = 3;
const CLIENTS: u32 = 4;
/// Acknowledged events a cycle before the kill.
const EVENTS_BEFORE_KILL: u32 = 300;
/// Requests a client may send in a cycle: a bound, far above what it gets to.
const REQUESTS_MAX: u32 = 20_000;

/// Posts batches until the daemon is gone; records what was acknowledged. A batch without an answer is sent again in the next
/// cycle, as a real client does: whether it was booked is not known.
fn client(
    daemon: &Daemon,
    name: u32,
    cycle: u32,
    stop: &AtomicBool,
    count: &AtomicU32,
    acknowledged: &Mutex<Vec<String>>,
) {
    let execution = format!("exec-{name}");
    for number in 0..REQUESTS_MAX {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let ids: Vec<String> = (0..3).map(|part| format!("{execution}-{cycle}-{number}-{part}")).collect();
        let events: Vec<Value> = ids.iter().map(|id| model_call(id, &execution)).collect();
        let body = json!(events).to_string();
        let answer = daemon.try_request("POST", "/v1/usage", &[("content-type", "application/json")], body.as_bytes());
        let Ok(answer) = answer else { return };
        if answer.status == 503 {
            continue; // full or going down: not acknowledged
        }
        let results = answer.expect(200).json();
        let taken = |result: &&Value| result["status"] == "accepted" || result["status"] == "duplicate";
        let ids: Vec<String> = results["results"]
            .as_array()
            .expect("results")
            .iter()
            .filter(taken)
            .map(|result| result["id"].as_str().expect("an id").to_owned())
            .collect();
        assert_eq!(ids.len(), 3, "{results}");
        count.fetch_add(3, Ordering::Relaxed);
        acknowledged.lock().unwrap().extend(ids);
    }
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

/// I3, I4: kill -9 under load, several times; every acknowledged id is in the ledger exactly once.
#[test]
fn nothing_acknowledged_is_lost_or_doubled_by_kill_9() {
    let mut daemon = Daemon::start();
    let acknowledged = Mutex::new(Vec::new());
    for cycle in 0..CYCLES {
        let (stop, count) = (AtomicBool::new(false), AtomicU32::new(0));
        thread::scope(|scope| {
            for name in 0..CLIENTS {
                let (daemon, stop, count, acknowledged) = (&daemon, &stop, &count, &acknowledged);
                scope.spawn(move || client(daemon, name, cycle, stop, count, acknowledged));
            }
            until("load", SOON, || (count.load(Ordering::Relaxed) >= EVENTS_BEFORE_KILL).then_some(()));
            kill_9(daemon.pid());
            until("the clients' end", SOON, || daemon.try_request("GET", "/healthz", &[], &[]).is_err().then_some(()));
            stop.store(true, Ordering::Relaxed);
        });
        daemon.kill();
        daemon.start_again();
        let times = booked(&daemon);
        let acknowledged = acknowledged.lock().unwrap();
        assert!(acknowledged.len() >= usize::try_from(EVENTS_BEFORE_KILL * (cycle + 1)).unwrap());
        let lost: Vec<&String> = acknowledged.iter().filter(|id| !times.contains_key(*id)).collect();
        assert!(lost.is_empty(), "cycle {cycle}: acknowledged and lost: {lost:?}");
        let double: Vec<_> = times.iter().filter(|(_, times)| **times != 1).collect();
        assert!(double.is_empty(), "cycle {cycle}: more than once: {double:?}");
    }
    let times = booked(&daemon);
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
    let data_dir = daemon.data_dir().display().to_string();
    cli::run(&["verify", "--data-dir", &data_dir], daemon.folder()).expect_code(0);
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
