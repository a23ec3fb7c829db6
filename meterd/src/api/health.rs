//! Liveness, and readiness with the reason.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};

use super::App;
use super::answer::typed;
use crate::meter::Refused;
use crate::metrics;

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

/// How the daemon is, for those who watch it.
pub(super) fn standing(app: &App) -> Value {
    let (depth, capacity) = app.meter.depth();
    let committed = app.view.ledger().committed();
    let (view, unpriced) = app.view.read(|state| (state.seq(), state.quarantined()));
    let metrics = app.ledger_metrics.read(metrics::LedgerMetrics::seq);
    let book = app.prices.load();
    let prices: usize = book.tables().iter().map(|table| table.entries()).sum();
    json!({
        "ledger": ledger_word(app), "entries": committed, "queue": { "depth": depth, "capacity": capacity },
        "behind": { "view": committed.saturating_sub(view), "metrics": committed.saturating_sub(metrics) },
        "tables": book.tables().len(), "prices": prices, "unpriced": unpriced, "open": app.auth.registry().is_open(),
        "warnings": app.readiness.warnings.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        "version": env!("CARGO_PKG_VERSION"), "started": app.pulse.started(),
    })
}

fn ledger_word(app: &App) -> &'static str {
    match app.meter.stopped() {
        None if !app.meter.has_room() => "no_room",
        None => "up",
        Some(Refused::DiskFull) => "disk_full",
        Some(_) => "stopped",
    }
}

pub(super) async fn readyz(State(app): State<App>) -> Response {
    let stopped = app.meter.stopped();
    let stopping = app.stop.is_cancelled();
    let ready = stopped.is_none() && !stopping;
    let warnings = app.readiness.warnings.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let answer = json!({
        "ready": ready,
        "ledger": ledger_word(&app),
        "stopping": stopping,
        "entries": app.view.ledger().committed(),
        "warnings": warnings,
    });
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    typed(status, "application/json", answer.to_string())
}
