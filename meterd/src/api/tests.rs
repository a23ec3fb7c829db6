//! Routes without a network: the router over a real meter and ledger; answers, refusals, and the description.

mod budgets;
mod correlation;
mod description;
mod door;
mod executions;
mod failing;
mod reservations;
mod sources;
mod streams;
mod usage;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::{App, Readiness, Rooms, router};
use crate::auth::{Auth, Registry};
use crate::clock::Clock;
use crate::daemon::Figures;
use crate::event::charge::tests::sample::{START, book};
use crate::follow::follow;
use crate::ledger::{DataDir, LedgerError};
use crate::meter::{self, OnCommit, Restored, Rules};
use crate::metrics::{Caps, DaemonMetrics, MetricsView};
use crate::pulse::Pulse;
use crate::reconcile::View;
use crate::rollup::RollupView;
use crate::server::body::BodyLimits;
use crate::settle::Settler;
use crate::signal::Hub;

const RUNS: &str = "/v1/namespaces/ns/executions";
const EVENTS_MAX: usize = 64;
const BODY_BYTES_MAX: usize = 64 << 10;

/// The API over a data directory that goes away with the test.
struct Api {
    _folder: TempDir,
    app: App,
    router: Router,
    following: CancellationToken,
    ended: tokio::sync::oneshot::Receiver<Result<(), LedgerError>>,
}

/// An answer, read to its end.
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Api {
    fn start() -> Self {
        Self::start_with(EVENTS_MAX, Box::new(|_| {}), |_| {})
    }

    fn start_with(queue_events_max: usize, on_commit: OnCommit, prepare: impl FnOnce(&mut Restored)) -> Self {
        let folder = TempDir::new().unwrap();
        let dir = DataDir::new(folder.path().join("data"));
        let clock = Clock::manual(START);
        let mut restored = meter::restore(&dir).unwrap();
        prepare(&mut restored);
        let reader = restored.writer.reader();
        let (view, reconciler) = View::new(restored.state.clone(), reader.clone());
        let ledger_metrics = MetricsView::open(&dir, &reader, Caps::default()).unwrap();
        let rules = Rules { queue_events_max, dedup_horizon: Duration::from_secs(86_400) };
        let meter = meter::start(dir.clone(), restored, clock.clone(), &rules, on_commit).unwrap();
        let late = crate::late::Late::open(&dir, meter.handle.clone(), reader.clone()).unwrap();
        let (hub, feed) = Hub::new();
        let following = CancellationToken::new();
        let figures = Figures { state: reconciler, metrics: ledger_metrics.follower() };
        tokio::spawn(follow("status", reader.clone(), 0, figures, following.clone()));
        tokio::spawn(follow("signals", reader.clone(), 0, feed, following.clone()));
        let (pulse, beat) = Pulse::new(0, clock.now());
        tokio::spawn(follow("events", reader.clone(), 0, beat, following.clone()));
        let rollups = RollupView::open(&dir, &reader);
        tokio::spawn(follow("rollups", reader, 0, rollups.follower(), following.clone()));
        let prices = Arc::new(ArcSwap::from_pointee(book()));
        let settler = Settler::new(meter.handle.clone(), view.clone(), dir.clone(), Arc::clone(&prices));
        let app = App::new(Rooms {
            meter: meter.handle,
            view,
            rollups,
            clickhouse: None,
            hub,
            pulse,
            prices,
            desk: super::PriceDesk::new().0,
            settler,
            late,
            clock,
            budgets: super::ReservationDefaults {
                default_ttl_ms: 600_000,
                estimate_ceiling: None,
                settle_grace: crate::resource::SETTLE_GRACE,
            },
            body: BodyLimits { bytes_max: BODY_BYTES_MAX, timeout: Duration::from_secs(5) },
            dedup_horizon: Duration::from_secs(86_400),
            future_skew_max: Duration::from_secs(300),
            metrics: DaemonMetrics::new().unwrap(),
            ledger_metrics,
            telemetry: super::Telemetry::default(),
            auth: Auth::new(Registry::open()),
            open_to_all: false,
            readiness: Readiness::default(),
            stop: CancellationToken::new(),
        });
        let router = router(app.clone());
        Self { _folder: folder, app, router, following, ended: meter.ended }
    }

    async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = self.router.clone().oneshot(request.body(body.into()).unwrap()).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes().to_vec();
        Answer { status: parts.status, headers: parts.headers, body }
    }

    async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], Body::empty()).await
    }

    async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send("POST", path, &[("content-type", "application/json")], body.to_string()).await
    }

    async fn put(&self, path: &str, body: &Value) -> Answer {
        self.send("PUT", path, &[("content-type", "application/json")], body.to_string()).await
    }

    /// What the daemon's own metrics say: the value of a series.
    async fn series(&self, series: &str) -> Option<String> {
        let metrics = super::metrics_router(self.app.clone());
        let request = Request::builder().uri("/metrics").body(Body::empty()).unwrap();
        let body = metrics.oneshot(request).await.unwrap().into_body().collect().await.unwrap().to_bytes();
        let text = String::from_utf8(body.to_vec()).unwrap();
        text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ').map(str::to_owned))
    }

    async fn stop(self) {
        self.app.meter.stop();
        self.ended.await.unwrap().unwrap();
        self.following.cancel();
    }
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    fn ok(&self) -> Value {
        assert!(self.status.is_success(), "{}: {}", self.status, self.text());
        self.json()
    }

    /// A problem of RFC 9457 with everything that every problem has.
    fn problem(&self, status: u16, code: &str) -> Value {
        let problem = self.json();
        assert_eq!((self.status.as_u16(), problem["code"].as_str()), (status, Some(code)), "{problem}");
        assert_eq!(self.header("content-type"), "application/problem+json");
        assert_eq!(problem["status"], status);
        for member in ["type", "title", "detail"] {
            assert!(problem[member].as_str().is_some_and(|text| !text.is_empty()), "{member}: {problem}");
        }
        let retryable = problem["retryable"].as_bool().unwrap();
        assert_eq!(retryable, !self.header("retry-after").is_empty(), "{problem}");
        problem
    }
}

/// A call that costs [`CALL_USD`](crate::event::charge::tests::sample::CALL_USD).
fn event(id: &str, run: &str) -> Value {
    json!({
        "id": id, "source": "worker", "time": "2026-11-22T10:00:00Z", "namespace": "ns", "execution": run,
        "agent": "helper", "kind": "model", "provider": "acme", "model": "swift",
        "usage": { "input_tokens": 1000, "output_tokens": 500 },
    })
}
