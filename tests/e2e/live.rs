//! Live: an unmodified OpenAI client with OpenTelemetry's instrumentation, exporting over HTTP and over gRPC, ends in the right
//! cost. `tests/run` installs both from PyPI, pinned by content.

use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use crate::events::literal;
use crate::harness::daemon::Daemon;
use crate::harness::wait::{SOON, until};

/// Two chats of 1,024 fresh, 1,024 cached and 321 completion tokens at 0.15, 0.075 and 0.60 USD a million, and an embedding
/// of 17 tokens at 0.02: 2 × 0.000423 + 0.00000034.
const COST: &str = "0.00084634";

fn python() -> PathBuf {
    let tools = std::env::var_os("METERD_TOOLS").map(PathBuf::from).or_else(|| {
        let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
        let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
        Some(cache.or_else(home)?.join("meterd-tools"))
    });
    let python = tools.expect("a home").join("live/bin/python");
    assert!(python.exists(), "{} is missing: tests/run installs it", python.display());
    python
}

fn check(protocol: &str, run: &str) {
    let daemon = Daemon::start_with(|_| "listen: { otlpGrpc: '127.0.0.1:0' }\n".to_owned());
    let endpoints = std::fs::read(daemon.data_dir().join("endpoints.json")).unwrap();
    let endpoints: Value = serde_json::from_slice(&endpoints).unwrap();
    let endpoint = match protocol {
        "grpc" => format!("http://{}", endpoints["otlp_grpc"].as_str().expect("gRPC listens")),
        _ => daemon.api().to_owned(),
    };
    let client = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/live/client.py");
    let output = Command::new(python())
        .arg(client)
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
        .env("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
        .env("OTEL_EXPORTER_OTLP_INSECURE", "true")
        .env("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
        .env("OTEL_RESOURCE_ATTRIBUTES", format!("service.name=live,service.namespace=live,joch.execution.id={run}"))
        .output()
        .expect("the client runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    until("the cost of the run", SOON, || {
        let answer = daemon.get(&format!("/v1/namespaces/live/executions/{run}"));
        let text = answer.text();
        (answer.status == 200 && literal(&text, "costUsd") == COST).then_some(())
    });
    let execution = daemon.execution("live", run);
    assert_eq!(execution["status"]["modelCalls"], 3);
}

#[test]
fn an_openai_client_reports_over_http() {
    check("http/protobuf", "exec-live-http");
}

#[test]
fn an_openai_client_reports_over_grpc() {
    check("grpc", "exec-live-grpc");
}
