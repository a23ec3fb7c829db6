//! Liveness, readiness with the reason, and `/metrics`.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;

use super::App;
use super::answer::typed;
use crate::meter::Refused;
use crate::metrics;
use crate::server::body::header_text;

/// What is not as it should be, by part. A failed reload is a warning: the last good snapshot goes on.
#[derive(Clone, Debug, Default)]
pub struct Readiness {
    warnings: Arc<Mutex<BTreeMap<&'static str, String>>>,
}

impl Readiness {
    /// Says that `part` goes on with its last good snapshot, and why.
    pub fn warn(&self, part: &'static str, why: String) {
        self.warnings.lock().unwrap_or_else(PoisonError::into_inner).insert(part, why);
    }

    /// Says that `part` is well again.
    pub fn clear(&self, part: &'static str) {
        self.warnings.lock().unwrap_or_else(PoisonError::into_inner).remove(part);
    }
}

pub(super) async fn healthz() -> Response {
    typed(StatusCode::OK, "text/plain; charset=utf-8", "ok\n")
}

pub(super) async fn readyz(State(app): State<App>) -> Response {
    let stopped = app.meter.stopped();
    let stopping = app.stop.is_cancelled();
    let ready = stopped.is_none() && !stopping;
    let warnings = app.readiness.warnings.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let answer = json!({
        "ready": ready,
        "ledger": match stopped {
            None if !app.meter.has_room() => "no_room",
            None => "up",
            Some(Refused::DiskFull) => "disk_full",
            Some(_) => "stopped",
        },
        "stopping": stopping,
        "entries": app.view.ledger().committed(),
        "warnings": warnings,
    });
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    typed(status, "application/json", answer.to_string())
}

pub(super) async fn metrics(State(app): State<App>, headers: HeaderMap) -> Response {
    let format = metrics::negotiate(header_text(&headers, &header::ACCEPT));
    let now = app.clock.now();
    let (depth, capacity) = app.meter.depth();
    app.metrics.queue_depth(depth);
    app.metrics.queue_capacity(capacity);
    // The scrape shows everything that was durable when it came.
    app.ledger_metrics.reach(app.view.ledger().committed()).await;
    let text = app
        .view
        .read_fresh(|state| app.ledger_metrics.read(|ledger| metrics::render(format, state, now, ledger, &app.metrics)))
        .await;
    let gzip = header_text(&headers, &header::ACCEPT_ENCODING).is_some_and(|accept| accept.contains("gzip"));
    if gzip && let Some(packed) = gzipped(&text) {
        let mut response = typed(StatusCode::OK, format.content_type(), packed);
        response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        return response;
    }
    typed(StatusCode::OK, format.content_type(), text)
}

fn gzipped(text: &[u8]) -> Option<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(text.len() / 8), Compression::fast());
    encoder.write_all(text).ok()?;
    encoder.finish().ok()
}
