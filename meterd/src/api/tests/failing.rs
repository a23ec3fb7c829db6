//! When nothing can be taken: a full queue, a full disk, a broken one.

use std::io::ErrorKind;
use std::sync::mpsc;
use std::time::Duration;

use axum::body::Body;
use serde_json::json;

use super::{Api, RUNS, event};
use crate::ledger::{Call, Fault};
use crate::meter::Commit;

#[tokio::test]
async fn a_full_queue_is_503_with_the_time_to_come_back() {
    let (gate, wait) = mpsc::channel::<()>();
    let stand_still = Box::new(move |_: Commit| {
        let _ = wait.recv();
    });
    let api = Api::start_with(1, stand_still, |_| {});
    // Sent and left: it fills the queue's one place while the meter stands still.
    let sent = tokio::time::timeout(Duration::ZERO, api.post("/v1/usage", &event("e-1", "run"))).await;
    assert!(sent.is_err());
    for (method, path, body) in [
        ("POST", "/v1/usage".to_owned(), event("e-2", "run")),
        ("PUT", format!("{RUNS}/other"), json!({})),
        ("POST", format!("{RUNS}/run/kill"), json!({})),
        ("POST", format!("{RUNS}/run/complete"), json!({"phase": "Failed"})),
    ] {
        let answer = api.send(method, &path, &[], body.to_string()).await;
        answer.problem(503, "queue_full");
        assert_eq!(answer.header("retry-after"), "1");
    }
    drop(gate);
    // Whoever went away has lost nothing: the event is booked, and a repetition says so.
    while api.app.meter.depth().0 > 0 {
        tokio::task::yield_now().await;
    }
    let answer = api.post("/v1/usage", &event("e-1", "run")).await.ok();
    assert_eq!(answer["results"][0]["status"], "duplicate");
    assert_eq!(api.post("/v1/usage", &event("e-2", "run")).await.ok()["accepted"], 1);
    api.stop().await;
}

/// The first write fails; what every route says then.
async fn check(kind: ErrorKind, status: u16, code: &str, ledger: &str) {
    let api = Api::start_with(8, Box::new(|_| {}), |restored| {
        restored.writer.fail(Fault { call: Call::Write(7), after: 0, kind });
    });
    assert_eq!(api.get("/readyz").await.ok()["ledger"], "up");
    let problem = api.post("/v1/usage", &event("e-1", "run")).await.problem(status, code);
    assert_eq!(problem["retryable"], true);
    api.post("/v1/usage", &event("e-1", "run")).await.problem(status, code);
    api.put(&format!("{RUNS}/run"), &json!({})).await.problem(status, code);
    let ready = api.get("/readyz").await;
    assert_eq!((ready.status.as_u16(), &ready.json()["ledger"]), (503, &json!(ledger)));
    assert_eq!(ready.json()["ready"], false);
    assert_eq!(api.get("/healthz").await.status, 200, "alive, to say why");
    // Reading goes on, and nothing of it is shown.
    api.get(&format!("{RUNS}/run")).await.problem(404, "not_found");
    // Exporters send again after 503, and after 503 only.
    let span = json!({"resourceSpans": [{"scopeSpans": [{"spans": [{
        "traceId": "0123456789abcdef0123456789abcdef", "spanId": "0123456789abcdef", "name": "chat swift",
        "startTimeUnixNano": "1795341600000000000", "endTimeUnixNano": "1795341601000000000",
        "attributes": [
            {"key": "gen_ai.operation.name", "value": {"stringValue": "chat"}},
            {"key": "gen_ai.provider.name", "value": {"stringValue": "acme"}},
            {"key": "gen_ai.request.model", "value": {"stringValue": "swift"}},
            {"key": "gen_ai.usage.input_tokens", "value": {"intValue": "10"}},
            {"key": "gen_ai.usage.output_tokens", "value": {"intValue": "1"}},
        ],
    }]}]}]});
    api.post("/v1/traces", &span).await.problem(503, code);
    assert!(api.ended.await.unwrap().is_err());
}

#[tokio::test]
async fn a_full_disk_is_507() {
    check(ErrorKind::StorageFull, 507, "disk_full", "disk_full").await;
}

#[tokio::test]
async fn a_ledger_that_stopped_is_503() {
    check(ErrorKind::Other, 503, "ledger_stopped", "stopped").await;
}

#[tokio::test]
async fn a_daemon_that_goes_down_is_not_ready() {
    let api = Api::start();
    api.app.stop.cancel();
    let ready = api.send("GET", "/readyz", &[], Body::empty()).await;
    assert_eq!((ready.status.as_u16(), &ready.json()["stopping"]), (503, &json!(true)));
    api.stop().await;
}
