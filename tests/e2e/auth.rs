//! Credentials on the real daemon: tokens from files, read again when they change; no stranger from outside.

use std::fs;

use serde_json::json;

use crate::events::{NS, model_call};
use crate::harness::cli;
use crate::harness::daemon::Daemon;
use crate::harness::http::Response;
use crate::harness::wait::{SOON, until};

const WORKER: &str = "0123456789-token-of-the-worker";
const ADMIN: &str = "0123456789-token-of-the-admin";

fn start() -> Daemon {
    Daemon::start_with(|folder| {
        fs::write(folder.join("worker"), WORKER).expect("a new file");
        fs::write(folder.join("admin"), ADMIN).expect("a new file");
        config("worker")
    })
}

fn config(file: &str) -> String {
    format!(
        "auth:\n  tokens:\n    - {{ name: worker, tokenFile: {file}, roles: [ingest], namespaces: [{NS}] }}\n    \
         - {{ name: admin, tokenFile: admin, roles: [admin] }}\n"
    )
}

fn ask(daemon: &Daemon, token: &str, method: &str, path: &str, body: &[u8]) -> Response {
    let authorization = format!("Bearer {token}");
    let headers = [("authorization", authorization.as_str()), ("content-type", "application/json")];
    daemon.request(method, path, &headers, body)
}

#[test]
fn a_token_is_changed_without_a_restart_and_a_bad_file_changes_nothing() {
    let daemon = start();
    let usage = |token: &str, id: &str| {
        ask(&daemon, token, "POST", "/v1/usage", model_call(id, "exec-1").to_string().as_bytes()).status
    };
    assert_eq!((usage(WORKER, "a"), usage("nobody-knows-this-token", "b")), (200, 401));
    daemon.get("/v1/executions").problem(401, "unauthenticated");
    ask(&daemon, WORKER, "GET", "/v1/executions", &[]).problem(403, "forbidden");

    // Both hold while the sender changes over; then only the new one does.
    let file = daemon.folder().join("worker");
    let next = "9876543210-the-next-of-the-worker";
    fs::write(&file, format!("{WORKER}\n{next}\n")).unwrap();
    until("the second token", SOON, || (usage(next, "c") == 200).then_some(()));
    assert_eq!(usage(WORKER, "d"), 200);
    fs::write(&file, next).unwrap();
    until("the end of the first token", SOON, || (usage(WORKER, "e") == 401).then_some(()));

    fs::write(&file, "short").unwrap();
    until("the warning", SOON, || daemon.get("/readyz").text().contains("fewer than 16 characters").then_some(()));
    assert_eq!(usage(next, "f"), 200, "the last good one goes on");

    // The configuration itself is read again too.
    fs::write(daemon.folder().join("second"), "a-token-from-another-file").unwrap();
    fs::write(daemon.folder().join("meterd.yaml"), config("second")).unwrap();
    until("the token of the other file", SOON, || (usage("a-token-from-another-file", "g") == 200).then_some(()));
    assert!(!daemon.log().contains(next) && !daemon.log().contains(WORKER), "no secret is logged");
}

#[test]
fn commands_sign_with_the_token_of_their_environment() {
    let daemon = start();
    let get = |token: Option<&str>| {
        let mut command = cli::meterd(&["get", "executions", "--url", daemon.api()]);
        match token {
            Some(token) => command.env("METERD_TOKEN", token),
            None => command.env_remove("METERD_TOKEN"),
        };
        command.output().expect("it runs")
    };
    assert!(get(Some(ADMIN)).status.success());
    let refused = get(None);
    assert!(!refused.status.success());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("401 unauthenticated"), "{refused:?}");
}

#[test]
fn strangers_from_outside_are_let_in_only_where_that_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("meterd.yaml");
    fs::write(&file, "listen: { api: '0.0.0.0:0', metrics: '127.0.0.1:0' }\n").unwrap();
    let output = cli::meterd(&["serve", "-c"]).arg(&file).output().expect("it runs");
    assert_eq!(output.status.code(), Some(78));
    assert!(String::from_utf8_lossy(&output.stderr).contains("nobody would have to say who they are"), "{output:?}");
    let body = json!({ "auth": { "allowUnauthenticated": true } }).to_string();
    fs::write(&file, body.replacen('{', "{ \"listen\": { \"api\": \"0.0.0.0:0\" }, ", 1)).unwrap();
    let output = cli::meterd(&["check", "-c"]).arg(&file).output().expect("it runs");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}
