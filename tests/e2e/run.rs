//! `meterd run`: a budget around any program. The clock that counts is the one from the crossing call to the child's end.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rust_decimal::Decimal;
use serde_json::Value;

use crate::events::literal;
use crate::harness::cli::{self, meterd};
use crate::harness::daemon::Daemon;
use crate::harness::process::{Ended, Process};
use crate::harness::wait::{SOON, until};

/// A budget's end comes within this after the call that crossed it.
const KILL_MAX: Duration = Duration::from_secs(1);
const RUN_MAX: Duration = Duration::from_secs(60);

fn agent() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/agents/agent.py")
}

/// Runs the agent under `meterd run` in `folder`; gives its end and the time of it.
fn run(folder: &Path, url: Option<&str>, options: &[&str], agent_arguments: &[&str]) -> (Ended, Duration) {
    let mut command = meterd(&["run", "--execution", "e1"]);
    match url {
        Some(url) => command.env("METERD_URL", url),
        // Whoever has a daemon at the usual place keeps it out of this.
        None => command.arg("--embedded"),
    };
    command.current_dir(folder).args(options).args(["--", "python3"]).arg(agent()).args(agent_arguments);
    let ended = Process::start(&mut command, "run", folder).wait(RUN_MAX);
    (ended, SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970"))
}

/// Times of the agent's lines that begin with `word`: `post` before a call, `done` when it was acknowledged.
fn times(ended: &Ended, word: &str) -> Vec<f64> {
    let time = |line: &str| line.strip_prefix(word)?.rsplit(' ').next()?.parse().ok();
    ended.stdout.lines().filter_map(time).collect()
}

/// A limit of 0.05 USD at 0.006 USD a call is crossed by the ninth: 9 × 0.006 = 0.054. The kill can be faster than the
/// answer to that call.
#[test]
fn a_run_ends_within_a_second_of_crossing_its_budget() {
    let folder = tempfile::tempdir().unwrap();
    let (ended, end) = run(folder.path(), None, &["--max-usd", "0.05"], &["9", "wait"]);
    let ended = ended.expect_code(124);
    let (posted, done) = (times(&ended, "post"), times(&ended, "done"));
    assert_eq!(posted.len(), 9, "{ended:?}");
    assert!((8..=9).contains(&done.len()), "{ended:?}");
    let took = end.as_secs_f64() - posted[8];
    assert!(took <= KILL_MAX.as_secs_f64(), "{took} s from the ninth call to the end");
    assert!(ended.stderr.contains("0.054"), "the exact cost on the receipt: {}", ended.stderr);
    assert!(ended.stderr.contains("90000") || ended.stderr.contains("90,000"), "its tokens: {}", ended.stderr);
    let ledger = cli::run(&["verify", "--data-dir", "meterd-data"], folder.path()).expect_code(0);
    assert!(ledger.stdout.contains("0.054"), "the embedded ledger holds it: {}", ledger.stdout);
}

/// A child that never stops by itself: what it spent until its end is on the receipt, to the digit.
#[test]
fn a_run_that_goes_on_posting_is_stopped_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = Daemon::start();
    let (ended, end) = run(folder.path(), Some(daemon.api()), &["--max-usd", "0.05"], &["100000", "wait"]);
    let ended = ended.expect_code(124);
    let (posted, done) = (times(&ended, "post"), times(&ended, "done"));
    assert!(posted.len() >= 9, "{ended:?}");
    let took = end.as_secs_f64() - posted[8];
    assert!(took <= KILL_MAX.as_secs_f64(), "{took} s from the ninth call to the end");
    let execution = daemon.execution("default", "e1");
    let calls = usize::try_from(execution["status"]["modelCalls"].as_u64().unwrap()).unwrap();
    assert!((done.len()..=posted.len()).contains(&calls), "{calls} booked, {} acknowledged", done.len());
    let text = daemon.get("/v1/namespaces/default/executions/e1").text();
    let cost = (Decimal::new(6, 3) * Decimal::from(calls)).normalize().to_string();
    assert_eq!(literal(&text, "costUsd"), cost);
    assert!(ended.stderr.contains(&cost), "{cost} on the receipt: {}", ended.stderr);
    assert_eq!(execution["status"]["phase"], "Cancelled");
    assert_eq!(execution["status"]["kill"]["state"], "Confirmed", "the process is proven gone");
    daemon.wait_for_metric("meterd_kill_signals_acked_total", &[("channel", "process"), ("outcome", "confirmed")], "1");
}

#[test]
fn a_child_that_ends_by_itself_passes_its_exit_code_on() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = Daemon::start();
    let (ended, _) = run(folder.path(), Some(daemon.api()), &["--max-usd", "0.05"], &["2", "exit", "7"]);
    let ended = ended.expect_code(7);
    assert!(ended.stderr.contains("0.012"), "2 × 0.006 on the receipt: {}", ended.stderr);
    assert_eq!(daemon.execution("default", "e1")["status"]["phase"], "Failed");
    let mut command = meterd(&["run", "--execution", "e2", "--url", daemon.api(), "--", "true"]);
    Process::start(&mut command, "true", folder.path()).wait(RUN_MAX).expect_code(0);
    assert_eq!(daemon.execution("default", "e2")["status"]["phase"], "Succeeded");
}

#[test]
fn a_child_that_ignores_sigterm_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let (ended, _) = run(folder.path(), None, &["--max-usd", "0.05", "--grace", "1"], &["9", "ignore"]);
    let ended = ended.expect_code(124);
    assert_eq!(times(&ended, "post").len(), 9);
}

#[test]
fn a_token_limit_ends_a_run_and_a_missing_program_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let (ended, _) = run(folder.path(), None, &["--max-tokens", "20000"], &["2", "wait"]);
    ended.expect_code(124);
    let missing = cli::run(&["run", "--embedded", "--execution", "e2", "--", "no-such-program-here"], folder.path());
    assert_eq!(missing.code(), 127, "as a shell says it: {}", missing.stderr);
    assert!(missing.stderr.contains("no-such-program-here"), "{}", missing.stderr);
    let arguments = ["get", "executions", "e2", "-o", "yaml", "--data-dir", "meterd-data"];
    let run = cli::run(&arguments, folder.path()).expect_code(0).stdout;
    assert!(run.contains("phase: Failed"), "it is not left open: {run}");
}

/// What the child is told: where meterd is, and who it is.
#[test]
fn the_child_gets_the_addresses_and_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = Daemon::start();
    let script = "import json, os; print(json.dumps(dict(os.environ)))";
    let mut command = meterd(&["run", "--execution", "e1", "--url", daemon.api(), "--", "python3", "-c", script]);
    let ended = Process::start(&mut command, "environment", folder.path()).wait(RUN_MAX).expect_code(0);
    let environment: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(environment["JOCH_EXECUTION_ID"], "e1");
    assert_eq!(environment["METERD_URL"], daemon.api());
    assert_eq!(environment["OTEL_EXPORTER_OTLP_ENDPOINT"], daemon.api());
    assert_eq!(environment["OTEL_EXPORTER_OTLP_PROTOCOL"], "http/protobuf");
    let attributes = environment["OTEL_RESOURCE_ATTRIBUTES"].as_str().unwrap_or_default();
    assert!(attributes.contains("joch.execution.id=e1"), "{attributes}");
}

/// A child that forks a process which leaves the group and its parent: nothing of it is left when the run is over.
#[test]
fn a_child_that_forks_is_gone_with_its_children() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = Daemon::start();
    let script = "import os, signal, subprocess, sys, time\n\
        signal.signal(signal.SIGTERM, signal.SIG_IGN)\n\
        kin = [subprocess.Popen(['sleep', '1000']).pid]\n\
        far = subprocess.run(['sh', '-c', 'setsid sleep 1000 >/dev/null 2>&1 & echo $!'], capture_output=True, text=True)\n\
        print(*kin, far.stdout.strip(), flush=True)\n\
        time.sleep(1000)";
    let arguments = ["run", "--execution", "e1", "--grace", "1", "--url", daemon.api(), "--", "python3", "-c", script];
    let process = Process::start(&mut meterd(&arguments), "forks", folder.path());
    let pids = until("the pids of what was forked", SOON, || {
        process
            .stdout()
            .lines()
            .next()
            .map(|line| line.split(' ').map(|pid| pid.parse::<u32>().unwrap()).collect::<Vec<_>>())
    });
    assert_eq!(pids.len(), 2);
    daemon.post("/v1/namespaces/default/executions/e1/kill", &serde_json::json!({ "reason": "enough" })).expect(202);
    let ended = process.wait(RUN_MAX).expect_code(124);
    assert!(ended.stderr.contains("enough"), "{}", ended.stderr);
    for pid in pids {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        assert!(status.is_empty() || status.contains("State:\tZ"), "{pid} is left: {status}");
    }
    let kill = &daemon.get("/v1/kills").expect(200).json()["kills"][0];
    assert_eq!(
        (&kill["state"], &kill["ackedBy"], &kill["proof"]),
        (&"confirmed".into(), &"process".into(), &"process_gone".into())
    );
}

/// A wind-down lets a cooperative agent finish one bounded turn; the call that uses it up stops the one that stays.
#[test]
fn a_wind_down_lets_an_agent_hand_back_and_then_stops_it() {
    let folder = tempfile::tempdir().unwrap();
    let agent = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/agents/handback.py");
    let run = |name: &str, more: &[&str]| {
        let options = ["--max-usd", "0.005", "--wind-down-usd", "0.003"];
        let mut command = meterd(&["run", "--embedded", "--execution", name]);
        command.current_dir(folder.path()).args(options).args(["--", "python3"]).arg(&agent).arg("2").args(more);
        Process::start(&mut command, name, folder.path()).wait(RUN_MAX)
    };
    // Two calls of 0.0035 USD cross 0.005; the hand-back costs 0.0035 of the 0.003 that were left, and fences.
    let stays = run("stays", &["stay"]).expect_code(124);
    let lines: Vec<&str> = stays.stdout.lines().collect();
    assert!(lines[0].starts_with("wind_down kill-") && lines[0].ends_with(" 0.003"), "{lines:?}");
    assert_eq!(lines[1], "allowance allow 0.003");
    assert!(stays.stderr.contains("0.0105"), "three calls, no more: {}", stays.stderr);
}

/// A daemon that is gone at the end changes nothing of how the program ended.
#[test]
fn the_childs_code_is_passed_on_when_the_daemon_is_gone_by_then() {
    let daemon = Daemon::start();
    let folder = tempfile::tempdir().unwrap();
    let mut command = meterd(&["run", "--execution", "e1", "--", "sh", "-c"]);
    command.arg(format!("kill -9 {} && exit 7", daemon.pid()));
    command.env("METERD_URL", daemon.api()).current_dir(folder.path());
    let ended = Process::start(&mut command, "run", folder.path()).wait(RUN_MAX).expect_code(7);
    assert!(
        ended.stderr.contains("warning: default/e1 is over (Failed) and the daemon was not told"),
        "{}",
        ended.stderr
    );
}
