//! Routes: HTTP in, the meter's answers and the view's figures out. Never writes the ledger, never prices by itself.
//!
//! Every handler decodes with `ingest` or `resource`, sends to the `meter` handle or asks the view, and answers; errors
//! become `server::problem`.

mod access;
mod adjustments;
mod answer;
mod aos;
mod budgets;
mod caller;
mod console;
mod cost;
mod dead_letters;
mod desk;
mod events;
mod executions;
mod export;
mod extract;
mod grpc;
mod health;
mod litellm;
mod openapi;
mod points;
mod prices;
mod process;
mod provider;
mod quarantine;
mod reconcile;
mod reservations;
mod resources;
mod scrape;
mod signals;
mod simulate;
mod sinks;
mod traces;
mod usage;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::routing::{delete, get, post, put};
use pricing::PriceBook;
use tokio_util::sync::CancellationToken;

use crate::auth::Auth;
use crate::clock::Clock;
use crate::late::Late;
use crate::meter;
use crate::metrics::{DaemonMetrics, MetricsView};
use crate::pulse::Pulse;
use crate::reconcile::View;
use crate::rollup::RollupView;
use crate::server::body::BodyLimits;
use crate::server::problem::Problem;
use crate::settle::Settler;
use crate::signal::Hub;
use crate::sink::clickhouse::ClickHouseSink;

pub use desk::{Change, Order, PriceDesk, Unchanged};
pub use grpc::grpc_router;
pub use health::Readiness;
pub use openapi::document as openapi_document;
pub use points::Telemetry;
pub use reconcile::{metered, question as metered_question};

/// What every route may use; cheap to clone: a request does it several times.
#[derive(Clone)]
pub struct App(Arc<Rooms>);

/// The rooms behind an [`App`].
pub struct Rooms {
    /// The writer.
    pub meter: meter::Handle,
    /// Executions and budgets as of the newest durable entry.
    pub view: View,
    /// What it cost, by whom and what.
    pub rollups: RollupView,
    /// Carries entries to ClickHouse, if there is one.
    pub clickhouse: Option<ClickHouseSink>,
    /// Signals on their way to runs.
    pub hub: Hub,
    /// What moved, for those who watch.
    pub pulse: Pulse,
    /// Prices in force; a request keeps the snapshot it began with.
    pub prices: Arc<ArcSwap<PriceBook>>,
    /// Where other prices are handed in.
    pub desk: PriceDesk,
    /// Changes prices of what is booked.
    pub settler: Settler,
    /// Usage refused for its time.
    pub late: Late,
    /// Time.
    pub clock: Clock,
    /// What reservations have where they say nothing, and when a cost is final.
    pub budgets: ReservationDefaults,
    /// Bounds of bodies.
    pub body: BodyLimits,
    /// Events older than this are refused: their ids are forgotten.
    pub dedup_horizon: Duration,
    /// Events further in the future than this are refused.
    pub future_skew_max: Duration,
    /// The daemon's own families.
    pub metrics: DaemonMetrics,
    /// The ledger's families.
    pub ledger_metrics: MetricsView,
    /// What is known of telemetry between its requests.
    pub telemetry: Telemetry,
    /// Who may do what.
    pub auth: Auth,
    /// Strangers are let in from everywhere, because the configuration says so.
    pub open_to_all: bool,
    /// Is everything up, and if not, why.
    pub readiness: Readiness,
    /// Set when the daemon goes down: long answers end.
    pub stop: CancellationToken,
}

impl App {
    /// An app of these rooms.
    #[must_use]
    pub fn new(rooms: Rooms) -> Self {
        Self(Arc::new(rooms))
    }
}

impl std::ops::Deref for App {
    type Target = Rooms;

    fn deref(&self) -> &Rooms {
        &self.0
    }
}

/// What reservations have where they say nothing.
#[derive(Clone, Copy, Debug)]
pub struct ReservationDefaults {
    /// Life, in milliseconds.
    pub default_ttl_ms: u64,
    /// Held for a call without an estimate or without a price, where no budget names a ceiling of its own.
    pub estimate_ceiling: Option<pricing::Money>,
    /// How long after its end a run's cost may still move before it is called final.
    pub settle_grace: Duration,
}

/// Every route of the API listener.
pub fn router(app: App) -> Router {
    let executions = "/v1/namespaces/{namespace}/executions";
    let execution = "/v1/namespaces/{namespace}/executions/{name}";
    let routes = Router::new()
        .route("/v1/usage", post(usage::post))
        .route("/v1/provider-usage", post(provider::post))
        .route("/v1/litellm", post(litellm::post))
        .route("/v1/traces", post(traces::post))
        .route("/v1/logs", post(traces::post_logs))
        .route("/v1/metrics", post(traces::post_metrics))
        .route("/api/public/otel/v1/traces", post(traces::post))
        .route("/v1/executions", get(executions::list_all))
        .route(executions, get(executions::list))
        .route(execution, put(executions::put).get(executions::get))
        .route(&format!("{execution}/complete"), post(executions::complete))
        .route(&format!("{execution}/entries"), get(executions::entries))
        .route(&format!("{execution}/allowance"), get(executions::allowance))
        .route(&format!("{execution}/kill"), post(executions::kill))
        .route(&format!("{execution}/process"), put(process::put))
        .route(&format!("{execution}/signals"), get(signals::get))
        .route(&format!("{execution}/signals/{{id}}/ack"), post(signals::ack))
        .route("/v1/budgets", get(budgets::list))
        .route("/v1/namespaces/{namespace}/budgets/{name}", get(budgets::get))
        .route("/v1/cost", get(cost::get))
        .route("/v1/export/focus", get(export::focus))
        .route("/v1/reconcile", post(reconcile::post))
        .route("/v1/sinks", get(sinks::list))
        .route("/v1/sinks/{sink}/backfill", post(sinks::backfill))
        .route("/v1/sinks/{sink}/pause", post(sinks::pause))
        .route("/v1/sinks/{sink}/resume", post(sinks::resume))
        .route("/v1/kills", get(budgets::kills))
        .route("/v1/hooks/aos", post(aos::post))
        .route("/v1/reservations", post(reservations::post).get(reservations::list))
        .route("/v1/reservations/{id}", get(reservations::get))
        .route("/v1/reservations/{id}/settle", post(reservations::settle))
        .route("/v1/reservations/{id}/release", post(reservations::release))
        .route("/v1/reservations/{id}/extend", post(reservations::extend))
        .route("/v1/quarantine", get(quarantine::list))
        .route("/v1/quarantine/{id}", get(quarantine::inspect))
        .route("/v1/quarantine/{id}/release", post(quarantine::release))
        .route("/v1/dead-letters", get(dead_letters::list))
        .route("/v1/dead-letters/import", post(dead_letters::import))
        .route("/v1/reprice", post(quarantine::reprice))
        .route("/v1/simulate", post(simulate::post))
        .route("/v1/adjustments", post(adjustments::post))
        .route("/v1/resources/apply", post(resources::apply))
        .route("/v1/resources/validate", post(resources::validate))
        .route("/v1/resources/{kind}/{namespace}/{name}", delete(resources::delete))
        .route("/v1/prices", get(prices::list))
        .route("/v1/prices/{digest}", get(prices::get))
        .route("/v1/events", get(events::get))
        .route("/", get(console::page))
        .route("/console/{file}", get(console::asset))
        .route("/runbooks/{name}", get(console::runbooks))
        .route("/openapi.json", get(openapi::get))
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz));
    routes
        .route_layer(from_fn_with_state(app.clone(), enter))
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .with_state(app)
}

/// Every route of the metrics listener.
pub fn metrics_router(app: App) -> Router {
    Router::new()
        .route("/metrics", get(scrape::metrics))
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .route_layer(from_fn_with_state(app.clone(), observe))
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .with_state(app)
}

async fn not_found(State(app): State<App>, request: Request) -> Problem {
    let detail = format!("no such path: {}; /openapi.json lists every path", request.uri().path());
    app.metrics.http("other", method_label(&request), StatusCode::NOT_FOUND.as_u16(), 0.0);
    Problem::new(StatusCode::NOT_FOUND, "unknown_path", detail)
}

async fn method_not_allowed(State(app): State<App>, path: Option<MatchedPath>, request: Request) -> Problem {
    let (method, status) = (request.method(), StatusCode::METHOD_NOT_ALLOWED);
    app.metrics.http(label(path.as_ref()), method_label(&request), status.as_u16(), 0.0);
    let detail = format!("{method} is not for {}; /openapi.json lists every path and method", request.uri().path());
    Problem::new(status, "method_not_allowed", detail)
}

/// Counts and times every request by route pattern: a closed set of labels.
async fn observe(State(app): State<App>, path: Option<MatchedPath>, request: Request, next: Next) -> Response {
    let (begin, method, handler) = (Instant::now(), method_label(&request), label(path.as_ref()));
    let response = next.run(request).await;
    app.metrics.http(handler, method, response.status().as_u16(), begin.elapsed().as_secs_f64());
    response
}

/// The same, through the door: one layer for both, since each costs every request.
async fn enter(State(app): State<App>, path: MatchedPath, request: Request, next: Next) -> Response {
    let (begin, method, handler) = (Instant::now(), method_label(&request), label(Some(&path)));
    let response = caller::admit(&app, handler, request, next).await;
    app.metrics.http(handler, method, response.status().as_u16(), begin.elapsed().as_secs_f64());
    response
}

fn label(path: Option<&MatchedPath>) -> &'static str {
    path.map_or("other", |path| openapi::handler(path.as_str()))
}

fn method_label(request: &Request) -> &'static str {
    match *request.method() {
        axum::http::Method::GET => "GET",
        axum::http::Method::POST => "POST",
        axum::http::Method::PUT => "PUT",
        axum::http::Method::DELETE => "DELETE",
        _ => "other",
    }
}

impl From<meter::Refused> for Problem {
    fn from(refused: meter::Refused) -> Self {
        match refused {
            meter::Refused::Full => Self::unavailable(
                "queue_full",
                "the intake queue is full; nothing of this request was taken, send it again",
            ),
            meter::Refused::TooMany => Self::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "too_many_events",
                "one request holds more events than the queue; send fewer at once, or raise ingest.queueEventsMax",
            ),
            meter::Refused::Stopped => Self::unavailable(
                "ledger_stopped",
                "the ledger takes nothing more until the daemon is restarted; what was not acknowledged is safe to send again then",
            ),
            meter::Refused::DiskFull => Self::new(
                StatusCode::INSUFFICIENT_STORAGE,
                "disk_full",
                "the disk of the data directory is full; make room and restart the daemon; what was not acknowledged is safe to send again then",
            )
            .retry_after(30),
        }
    }
}

impl From<crate::ledger::LedgerError> for Problem {
    fn from(error: crate::ledger::LedgerError) -> Self {
        tracing::error!(%error, "ledger read failed");
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "ledger_unreadable",
            "the ledger could not be read; the log says where",
        )
    }
}
