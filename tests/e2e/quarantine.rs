//! Calls without a price, one by one: looked at, released by an administrator, once, and proved.

use std::fs;

use serde_json::{Value, json};

use crate::events::{NS, call_of, literal};
use crate::harness::cli;
use crate::harness::daemon::Daemon;
use crate::harness::http::Response;

const ADMIN: &str = "0123456789-token-of-the-admin";
const WORKER: &str = "0123456789-token-of-the-worker";
const STRANGER: &str = "0123456789-token-of-a-stranger";

fn start() -> Daemon {
    Daemon::start_with(|folder| {
        for (name, token) in [("admin", ADMIN), ("worker", WORKER), ("stranger", STRANGER)] {
            fs::write(folder.join(name), token).expect("a new file");
        }
        format!(
            "auth:\n  tokens:\n    - {{ name: admin, tokenFile: admin, roles: [admin] }}\n    \
             - {{ name: worker, tokenFile: worker, roles: [ingest, read], namespaces: [{NS}] }}\n    \
             - {{ name: stranger, tokenFile: stranger, roles: [read, admin], tenant: other, namespaces: [theirs] }}\n"
        )
    })
}

fn ask(daemon: &Daemon, token: &str, method: &str, path: &str, body: &Value) -> Response {
    let authorization = format!("Bearer {token}");
    let headers = [("authorization", authorization.as_str()), ("content-type", "application/json")];
    let body = if body.is_null() { String::new() } else { body.to_string() };
    daemon.request(method, path, &headers, body.as_bytes())
}

fn cost(daemon: &Daemon) -> String {
    let path = format!("/v1/namespaces/{NS}/executions/prices");
    literal(&ask(daemon, ADMIN, "GET", &path, &Value::Null).expect(200).text(), "costUsd").to_owned()
}

#[test]
fn a_call_without_a_price_is_released_once_by_an_administrator() {
    let mut daemon = start();
    let events = json!([
        call_of("a", "acme", "thinker-1", json!({ "input_tokens": 1000, "output_tokens": 100 })),
        call_of("b", "openai", "gpt-4o-mini", Value::Null),
        call_of("c", "openai", "gpt-4o-mini", json!({ "input_tokens": 2048 })),
    ]);
    ask(&daemon, WORKER, "POST", "/v1/usage", &events).expect(200);
    let listed = ask(&daemon, WORKER, "GET", "/v1/quarantine", &Value::Null).expect(200).json();
    let seqs: Vec<u64> = listed["items"].as_array().unwrap().iter().map(|item| item["seq"].as_u64().unwrap()).collect();
    let [thinker, silent] = seqs[..] else { panic!("two wait: {listed}") };
    let path = |seq: u64, rest: &str| format!("/v1/quarantine/{seq}{rest}");

    let shown = ask(&daemon, WORKER, "GET", &path(thinker, ""), &Value::Null).expect(200).json();
    assert_eq!((&shown["status"], &shown["reason"]), (&json!("quarantined"), &json!("unknown_provider")));
    assert_eq!((&shown["entry"]["usage"]["input_tokens"], &shown["adjustment"]), (&json!(1000), &Value::Null));
    assert!(shown["way_out"].as_str().is_some_and(|text| text.contains("prices.dirs")), "{shown}");

    // Who may not.
    let stated = json!({ "cost_usd": "0.40", "reason": "contract 7" });
    ask(&daemon, WORKER, "POST", &path(thinker, "/release"), &stated).problem(403, "forbidden");
    ask(&daemon, STRANGER, "POST", &path(thinker, "/release"), &stated).problem(404, "not_found");
    ask(&daemon, STRANGER, "GET", &path(thinker, ""), &Value::Null).problem(404, "not_found");
    // What may not be.
    let refused = |body: Value, status: u16, code: &str| {
        ask(&daemon, ADMIN, "POST", &path(thinker, "/release"), &body).problem(status, code)
    };
    assert_eq!(refused(json!({ "cost_usd": "-1", "reason": "x" }), 400, "invalid_value")["pointer"], "/cost_usd");
    assert_eq!(refused(json!({ "cost_usd": "1" }), 400, "missing_field")["pointer"], "/reason");
    refused(json!({ "price": "1" }), 400, "malformed_json");
    refused(Value::Null, 409, "still_unpriced");
    ask(&daemon, ADMIN, "POST", &path(thinker + 900, "/release"), &stated).problem(404, "not_found");
    ask(&daemon, ADMIN, "POST", "/v1/quarantine/first/release", &stated).problem(404, "not_found");
    assert_eq!(cost(&daemon), "0.0003072", "2048 × 0.15e-6, and nothing yet of the others");

    // Once, however often it is asked for and whatever lies between.
    let released = ask(&daemon, ADMIN, "POST", &path(thinker, "/release"), &stated).expect(200).json();
    assert_eq!((&released["booked"], &released["cost_usd"]), (&json!(true), &json!("0.4")));
    daemon.kill();
    daemon.start_again();
    let again = ask(&daemon, ADMIN, "POST", &path(thinker, "/release"), &stated).expect(200).json();
    assert_eq!((&again["booked"], &again["cost_usd"]), (&json!(false), &json!("0.4")));
    let other = json!({ "cost_usd": "0.50", "reason": "contract 8" });
    ask(&daemon, ADMIN, "POST", &path(thinker, "/release"), &other).problem(409, "already_priced");
    assert_eq!(cost(&daemon), "0.4003072");
    let shown = ask(&daemon, ADMIN, "GET", &path(thinker, ""), &Value::Null).expect(200).json();
    assert_eq!((&shown["status"], &shown["adjustment"]["by"]), (&json!("priced"), &json!("admin")));
    assert_eq!(shown["adjustment"]["reason"], "contract 7");

    // The command does the same, for a call whose usage nobody will ever know.
    let run = |args: &[&str]| {
        let mut command = cli::meterd(args);
        command.args(["--url", daemon.api()]).env("METERD_TOKEN", ADMIN);
        let output = command.output().expect("it runs");
        (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let silent = silent.to_string();
    assert!(run(&["quarantine", "list"]).1.contains("gpt-4o-mini"));
    assert!(run(&["quarantine", "show", &silent]).1.contains("missing_usage"));
    let (done, said) = run(&["quarantine", "release", &silent, "--cost-usd", "0.1", "--reason", "as billed"]);
    assert!(done && said.contains("released"), "{said}");
    assert_eq!(cost(&daemon), "0.5003072");
    let left = ask(&daemon, ADMIN, "GET", "/v1/quarantine", &Value::Null).expect(200).json();
    assert_eq!(left["total"], 0);

    daemon.stop();
    let data = daemon.data_dir().display().to_string();
    cli::run(&["verify", "--data-dir", &data], daemon.folder()).expect_code(0);
    let exported = cli::run(&["export", "ndjson", "--data-dir", &data], daemon.folder()).expect_code(0).stdout;
    assert!(exported.contains("contract 7"), "{exported}");
}
