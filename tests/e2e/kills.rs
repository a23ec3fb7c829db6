//! Kills end to end: real processes, a real receiver, a control plane; each channel, its proof, and what a restart keeps.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde_json::{Value, json};

use crate::events::model_call;
use crate::harness::daemon::Daemon;
use crate::harness::process::Process;
use crate::harness::tls::TlsFront;
use crate::harness::wait::{SOON, until};

const NS: &str = "default";
const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/agents").join(name)
}

/// A Python script of the tests; packages from PyPI are where `tests/run` has put them.
fn python(name: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new("python3");
    command.arg("-u").arg(script(name)).args(arguments).env("PYTHONPATH", python_packages());
    command
}

fn python_packages() -> PathBuf {
    let home = || Path::new(&std::env::var_os("HOME").expect("a home folder")).join(".cache");
    let cache = || std::env::var_os("XDG_CACHE_HOME").map_or_else(home, PathBuf::from);
    let tools = std::env::var_os("METERD_TOOLS").map_or_else(|| cache().join("meterd-tools"), PathBuf::from);
    tools.join("python")
}

/// A budget of 1 USD a run that terminates, with `more` in its spec.
fn budget(more: &str) -> String {
    format!(
        "apiVersion: joch.dev/v1alpha1\nkind: Budget\nmetadata: {{ name: cap, namespace: {NS} }}\nspec:\n  \
         scope: {{ namespaces: [{NS}] }}\n  limits: {{ perRunUsd: 0.0004 }}\n  \
         enforcement: {{ onHardLimit: terminate }}\n{more}"
    )
}

/// A call that costs more than the limit.
fn crossing(daemon: &Daemon, execution: &str) {
    let mut call = model_call(&format!("{execution}-1"), execution);
    call["namespace"] = json!(NS);
    assert_eq!(daemon.usage(&call)[0]["status"], "accepted");
}

fn kills(daemon: &Daemon) -> Vec<Value> {
    let kills = daemon.get("/v1/kills").expect(200).json();
    kills["kills"].as_array().cloned().unwrap_or_default()
}

/// The kill of a run once it is in a state.
#[track_caller]
fn kill_in(daemon: &Daemon, execution: &str, states: &[&str]) -> Value {
    until(&format!("kill of {execution} in {states:?}"), SOON, || {
        let kill = kills(daemon).into_iter().find(|kill| kill["execution"] == execution)?;
        let state = kill["state"].as_str().unwrap_or_default().to_owned();
        states.contains(&state.as_str()).then_some(kill)
    })
}

/// The attempts of a kill as `channel outcome`.
fn attempts(kill: &Value) -> Vec<String> {
    let attempts = kill["attempts"].as_array().cloned().unwrap_or_default();
    attempts
        .iter()
        .map(|attempt| format!("{} {}", attempt["channel"].as_str().unwrap(), attempt["outcome"].as_str().unwrap()))
        .collect()
}

fn socket(daemon: &Daemon) -> String {
    daemon.data_dir().join("meterd.sock").display().to_string()
}

/// A worker that has registered, and the pids it printed: its children, then itself.
fn worker(daemon: &Daemon, name: &str, executions: &str, words: &[&str]) -> (Process, Vec<i32>) {
    let socket = socket(daemon);
    let arguments: Vec<&str> = [socket.as_str(), executions].iter().chain(words).copied().collect();
    let mut process = Process::start(&mut python("worker.py", &arguments), name, daemon.folder());
    let pids = until("a registered worker", SOON, || {
        assert!(process.ended().is_none(), "the worker ended: {}", process.stderr());
        let text = process.stdout();
        text.contains("ready")
            .then(|| text.lines().map(|line| line.rsplit(' ').next().unwrap().parse().unwrap()).collect::<Vec<i32>>())
    });
    (process, pids)
}

fn is_alive(pid: i32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    test_kill_process(Pid::from_raw(pid).unwrap()).is_ok() && !status.contains("State:\tZ")
}

#[track_caller]
fn gone(pid: i32) {
    until(&format!("the end of process {pid}"), SOON, || (!is_alive(pid)).then_some(()));
}

/// A worker that ignores SIGTERM, and whose child does too, is SIGKILLed after the grace; its end proves the kill.
#[test]
fn a_registered_worker_that_ignores_sigterm_is_killed_with_its_children() {
    let daemon = Daemon::start();
    daemon.apply(&budget("  kill: { plan: [{ channel: process, grace: 300ms }] }\n"));
    let (mut worker, pids) = worker(&daemon, "worker", "exec-1", &["ignore", "fork", "leader"]);
    assert_eq!(pids.len(), 2);
    crossing(&daemon, "exec-1");
    let kill = kill_in(&daemon, "exec-1", &["confirmed"]);
    pids.iter().for_each(|pid| gone(*pid));
    assert_eq!(worker.wait_ref(SOON).to_string(), "signal: 9 (SIGKILL)");
    assert_eq!(attempts(&kill), ["process delivered", "process delivered"], "SIGTERM, then SIGKILL: {kill}");
    assert_eq!(kill["proof"], "process_gone");
    assert!(kill["secondsToConfirm"].as_str().unwrap() >= "0.300000", "{kill}");
    assert_eq!(daemon.execution(NS, "exec-1")["status"]["phase"], "Cancelled");
    assert_eq!(daemon.execution(NS, "exec-1")["status"]["kill"]["state"], "Confirmed");
    daemon.wait_for_metric("meterd_kill_signals_sent_total", &[("channel", "process")], "2");
    daemon.wait_for_metric("meterd_kill_signals_acked_total", &[("channel", "process"), ("outcome", "confirmed")], "1");
}

/// One that obeys SIGTERM is gone before the grace is over. Without a listener the stream fails first, and says so.
#[test]
fn the_default_plan_reaches_a_worker_that_listens_to_nothing() {
    let daemon = Daemon::start();
    daemon.apply(&budget(""));
    let (_worker, pids) = worker(&daemon, "worker", "exec-1", &[]);
    crossing(&daemon, "exec-1");
    let kill = kill_in(&daemon, "exec-1", &["confirmed"]);
    gone(pids[0]);
    assert_eq!(attempts(&kill), ["stream failed", "process delivered"], "{kill}");
    daemon.wait_for_metric(
        "meterd_kill_signals_failed_total",
        &[("channel", "stream"), ("reason", "not_connected")],
        "1",
    );
}

/// The registration outlives the daemon: a kill decided by the next one still finds the worker, and its end while no
/// daemon ran is proof as well.
#[test]
fn a_registration_and_a_kill_under_way_survive_a_restart() {
    let mut daemon = Daemon::start();
    daemon.apply(&budget("  kill: { plan: [{ channel: process, grace: 1h }] }\n"));
    let (_first, pids) = worker(&daemon, "first", "exec-1", &[]);
    let (_second, ignoring) = worker(&daemon, "second", "exec-2", &["ignore"]);
    // The second one ignores SIGTERM; an hour would pass before SIGKILL.
    crossing(&daemon, "exec-2");
    kill_in(&daemon, "exec-2", &["sent"]);
    daemon.kill();
    kill_process(Pid::from_raw(ignoring[0]).unwrap(), Signal::KILL).unwrap();
    gone(ignoring[0]);
    daemon.start_again();
    assert_eq!(kill_in(&daemon, "exec-2", &["confirmed"])["proof"], "process_gone");
    crossing(&daemon, "exec-1");
    kill_in(&daemon, "exec-1", &["confirmed"]);
    gone(pids[0]);
}

/// A worker with several runs is signalled only if each registration permits it, and who goes with it is recorded.
#[test]
fn a_shared_worker_is_spared_unless_it_says_otherwise() {
    let daemon = Daemon::start();
    daemon.apply(&budget("  kill: { plan: [{ channel: process, grace: 300ms }] }\n"));
    let (_spared, pids) = worker(&daemon, "spared", "exec-1,exec-2", &[]);
    crossing(&daemon, "exec-1");
    let kill = kill_in(&daemon, "exec-1", &["unreachable"]);
    assert_eq!(attempts(&kill), ["process failed"]);
    assert!(kill["attempts"][0]["reason"].as_str().unwrap().contains("serves 1 other"), "{kill}");
    assert!(is_alive(pids[0]), "the other run goes on");
    let (_shared, pids) = worker(&daemon, "shared", "exec-3,exec-4", &["shared"]);
    crossing(&daemon, "exec-3");
    let kill = kill_in(&daemon, "exec-3", &["confirmed"]);
    gone(pids[0]);
    assert_eq!(kill["collateral"], json!(["default/exec-4"]), "{kill}");
}

/// A receiver that is down gets the kill later, verifies it with the `standardwebhooks` package, and acts once.
#[test]
fn a_webhook_is_verified_and_a_receiver_that_was_down_gets_it_later_once() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let daemon = Daemon::start_with(|folder| {
        fs::write(folder.join("old"), "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n").unwrap();
        fs::write(folder.join("new"), format!("{SECRET}\n")).unwrap();
        format!(
            "signals:\n  webhooks:\n    - url: http://localhost:{port}/kill\n      secretFiles: [old, new]\n      \
             allowPrivate: true\n"
        )
    });
    daemon.apply(&budget("  kill: { plan: [webhook] }\n"));
    crossing(&daemon, "exec-1");
    let failing = until("a failed attempt", SOON, || {
        let kill = kills(&daemon).pop()?;
        attempts(&kill).contains(&"webhook failed".to_owned()).then_some(kill)
    });
    assert!(failing["attempts"][0]["reason"].as_str().unwrap().starts_with("refused: localhost:"), "{failing}");
    let arguments = [port.to_string(), SECRET.to_owned(), "confirmed".to_owned()];
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let receiver = Process::start(&mut python("receiver.py", &arguments), "receiver", daemon.folder());
    let kill = kill_in(&daemon, "exec-1", &["confirmed"]);
    assert_eq!(kill["proof"], "target");
    assert_eq!(attempts(&kill).last().unwrap(), "webhook delivered");
    let text = receiver.stdout();
    let effective: Vec<&str> =
        text.lines().filter(|line| line.starts_with("effective") && line.contains(" kill ")).collect();
    assert_eq!(effective.len(), 1, "{text}");
    assert!(effective[0].starts_with(&format!("effective {} kill", kill["id"].as_str().unwrap())), "{text}");
    assert!(!text.contains("refused"), "{text}");
    // joch's event of the limit itself comes to the same receiver.
    until("BudgetExceeded", SOON, || {
        let text = receiver.stdout();
        text.lines().find(|line| line.starts_with("effective budget-exceeded-") && line.contains("cap")).map(drop)
    });
    daemon.wait_for_metric("meterd_kill_signals_sent_total", &[("channel", "webhook")], "1");
    assert!(!daemon.log().contains(SECRET), "a secret is in the log");
}

/// A receiver behind TLS: the authority that `caFile` names is trusted, the kill comes signed and is verified; where nobody vouches
/// for the certificate nothing is sent, over TLS or without, and the record says why.
#[test]
fn a_webhook_over_tls_is_trusted_by_its_authority_or_gets_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let receiver = Process::start(&mut python("receiver.py", &["0", SECRET, "confirmed"]), "receiver", folder.path());
    let port = until("the receiver's port", SOON, || {
        receiver.stdout().lines().find_map(|line| line.strip_prefix("listening ")?.parse::<u16>().ok())
    });
    let front = TlsFront::start(format!("127.0.0.1:{port}"));
    let daemon = |more: &str| {
        let daemon = Daemon::start_with(|folder| {
            fs::write(folder.join("secret"), SECRET).unwrap();
            fs::copy(front.ca_file(), folder.join("ca.pem")).unwrap();
            let url = front.url();
            format!("signals:\n  webhooks: [{{ url: '{url}/kill', secretFile: secret, allowPrivate: true{more} }}]\n")
        });
        daemon.apply(&budget("  kill: { plan: [webhook] }\n"));
        crossing(&daemon, "exec-1");
        daemon
    };
    let untrusting = daemon("");
    let kill = until("a failed attempt", SOON, || {
        let kill = kills(&untrusting).pop()?;
        attempts(&kill).contains(&"webhook failed".to_owned()).then_some(kill)
    });
    let reason = kill["attempts"][0]["reason"].as_str().unwrap();
    assert!(reason.starts_with("refused: localhost:") && reason.contains("certificate is not trusted"), "{reason}");
    assert_ne!(kill["state"], "confirmed", "{kill}");
    drop(untrusting);
    assert_eq!(receiver.stdout().lines().count(), 1, "nothing came: {}", receiver.stdout());

    let trusting = daemon(", caFile: ca.pem");
    let kill = kill_in(&trusting, "exec-1", &["confirmed"]);
    assert_eq!((&kill["proof"], attempts(&kill)), (&json!("target"), vec!["webhook delivered".to_owned()]));
    let text = receiver.stdout();
    let verified = format!("verified {} kill", kill["id"].as_str().unwrap());
    assert!(text.lines().any(|line| line == verified) && !text.contains("refused"), "{text}");
}

/// What an operator did not permit is not reached, whatever answers there.
#[test]
fn a_webhook_to_a_loopback_address_needs_permission() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let daemon = Daemon::start_with(|folder| {
        fs::write(folder.join("secret"), SECRET).unwrap();
        format!("signals:\n  webhooks: [{{ url: 'https://localhost:{port}/', secretFile: secret }}]\n")
    });
    daemon.apply(&budget("  kill: { plan: [webhook] }\n"));
    crossing(&daemon, "exec-1");
    let kill = until("a failed attempt", SOON, || kills(&daemon).pop().filter(|kill| !attempts(kill).is_empty()));
    assert!(kill["attempts"][0]["reason"].as_str().unwrap().starts_with("not_permitted: localhost"), "{kill}");
    listener.set_nonblocking(true).unwrap();
    assert!(listener.accept().is_err(), "no connection was made");
}

/// joch is asked to cancel with its token, and its phase proves the kill.
#[test]
fn joch_cancels_and_its_phase_proves_it() {
    let folder = tempfile::tempdir().unwrap();
    let joch = Process::start(&mut python("joch.py", &["the-token"]), "joch", folder.path());
    let port = until("joch's port", SOON, || {
        joch.stdout().lines().find_map(|line| line.strip_prefix("listening ")?.parse::<u16>().ok())
    });
    let daemon = Daemon::start_with(|folder| {
        fs::write(folder.join("token"), "the-token\n").unwrap();
        format!("signals:\n  joch: {{ url: 'http://127.0.0.1:{port}', tokenFile: token, allowPrivate: true }}\n")
    });
    daemon.apply(&budget(""));
    crossing(&daemon, "exec-1");
    let kill = kill_in(&daemon, "exec-1", &["confirmed"]);
    assert_eq!(attempts(&kill), ["stream failed", "joch delivered"], "{kill}");
    assert_eq!(kill["proof"], "target");
    let text = joch.stdout();
    assert!(text.contains("cancel /v1/namespaces/default/executions/exec-1/cancel"), "{text}");
}

/// A wind-down: the agent is told, makes one call within its allowance, which it reserves, and is fenced by it. 0.000423 USD reach
/// the limit of 0.0004; all that comes after that is the allowance.
#[test]
fn a_wind_down_grants_one_bounded_turn() {
    let daemon = Daemon::start();
    daemon.apply(&budget("  windDown: { allowanceUsd: 0.0005, grace: 1h }\n"));
    daemon.put(&format!("/v1/namespaces/{NS}/executions/exec-1"), &json!({})).expect(200);
    let mut stream = daemon.signals(NS, "exec-1", None);
    crossing(&daemon, "exec-1");
    let turn = stream.next_named("wind_down", Duration::from_secs(5)).json();
    assert_eq!(turn["allowanceUsd"], "0.0005");
    let allowance = || daemon.get(&format!("/v1/namespaces/{NS}/executions/exec-1/allowance")).expect(200).json();
    let granted = allowance();
    assert_eq!((&granted["decision"], &granted["remainingUsd"]), (&json!("allow"), &json!("0.0005")), "{granted}");
    assert_eq!(granted["windDown"]["kill"], turn["id"]);
    let reserve = |id: &str, usd: &str| {
        let wish = json!({"id": id, "namespace": NS, "execution": "exec-1", "estimate_usd": usd});
        daemon.post("/v1/reservations", &wish)
    };
    assert_eq!(reserve("too-much", "0.00050001").expect(402).json()["code"], "fenced");
    reserve("hand-back", "0.0005").expect(201);
    assert_eq!(reserve("beside", "0.00001").expect(402).json()["code"], "fenced", "one call at a time");
    daemon.post("/v1/reservations/hand-back/settle", &json!({"id": "hand-back", "cost_usd": "0.0005"})).expect(200);
    let kill = stream.next_named("kill", Duration::from_secs(5)).json();
    assert_eq!(kill["id"], turn["id"], "one kill, one id");
    assert_eq!((&allowance()["code"], &allowance()["remainingUsd"]), (&json!("fenced"), &json!("0")));
    assert_eq!(reserve("after", "0.00001").expect(402).json()["code"], "fenced");
    let status = daemon.execution(NS, "exec-1")["status"].clone();
    assert_eq!(status["costUsd"].to_string(), "0.000923", "0.000423 and the allowance: {status}");
    daemon.post(&format!("/v1/namespaces/{NS}/executions/exec-1/complete"), &json!({"phase": "Succeeded"})).expect(200);
    assert_eq!(kill_in(&daemon, "exec-1", &["confirmed"])["turn"]["allowanceUsd"], "0.0005");
}

/// The grace ends a turn as well, also when the daemon was down meanwhile.
#[test]
fn the_grace_of_a_turn_ends_it_across_a_restart() {
    let mut daemon = Daemon::start();
    daemon.apply(&budget("  windDown: { allowanceUsd: 1, grace: 500ms }\n"));
    crossing(&daemon, "exec-1");
    daemon.kill();
    daemon.start_again();
    let kill = kill_in(&daemon, "exec-1", &["fenced", "escalated", "unreachable"]);
    assert!(kill["secondsToFence"].as_str().unwrap() >= "0.500000", "{kill}");
}

/// Nobody registers by what they write: the socket says who they are, and TCP says nothing.
#[test]
fn a_process_registers_over_the_unix_socket_only() {
    let daemon = Daemon::start();
    let path = format!("/v1/namespaces/{NS}/executions/exec-1");
    daemon.put(&path, &json!({})).expect(200);
    let refused = daemon.put(&format!("{path}/process"), &json!({})).expect(403).json();
    assert_eq!(refused["code"], "not_a_local_peer");
}
