//! `POST /v1/traces`, `/v1/logs`, `/v1/metrics`: OTLP/HTTP, protobuf and JSON; the answer has the request's content type, with
//! partial success. What is not metered is taken and ignored, so that an exporter is never told that it speaks to nobody.

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTracePartialSuccess, ExportTraceServiceResponse};
use prost::Message;
use serde_json::json;

use super::App;
use super::answer::typed;
use super::caller::Caller;
use super::usage::{Outcome, decompressed, take};
use crate::ingest::Item;
use crate::ingest::otlp::{self, Encoding};
use crate::server::body::{header_text, read};
use crate::server::problem::Problem;

/// The three signals of OTLP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signal {
    Traces,
    Logs,
    Metrics,
}

impl Signal {
    /// What partial success calls the refused.
    const fn rejected(self) -> &'static str {
        match self {
            Self::Traces => "rejectedSpans",
            Self::Logs => "rejectedLogRecords",
            Self::Metrics => "rejectedDataPoints",
        }
    }
}

/// What became of an export.
#[derive(Debug)]
pub(super) struct Exported {
    signal: Signal,
    refused: usize,
    message: String,
}

impl Exported {
    /// The response message. Those of the three signals are alike on the wire.
    pub(super) fn to_protobuf(&self) -> Vec<u8> {
        let partial_success = (self.refused > 0 || !self.message.is_empty()).then(|| ExportTracePartialSuccess {
            rejected_spans: i64::try_from(self.refused).unwrap_or(i64::MAX),
            error_message: self.message.clone(),
        });
        ExportTraceServiceResponse { partial_success }.encode_to_vec()
    }

    fn to_json(&self) -> String {
        if self.refused == 0 && self.message.is_empty() {
            return json!({}).to_string();
        }
        // OTLP/JSON writes 64-bit integers as strings.
        json!({ "partialSuccess": { self.signal.rejected(): self.refused.to_string(), "errorMessage": self.message } })
            .to_string()
    }
}

pub(super) async fn post(
    State(app): State<App>,
    caller: Caller,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    http(&app, &caller, Signal::Traces, &headers, body).await
}

pub(super) async fn post_logs(
    State(app): State<App>,
    caller: Caller,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    http(&app, &caller, Signal::Logs, &headers, body).await
}

pub(super) async fn post_metrics(
    State(app): State<App>,
    caller: Caller,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    http(&app, &caller, Signal::Metrics, &headers, body).await
}

async fn http(
    app: &App,
    caller: &Caller,
    signal: Signal,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let encoding = Encoding::from_content_type(header_text(headers, &header::CONTENT_TYPE))?;
    let raw = read(body, app.body).await?;
    let plain = decompressed(app, headers, &raw)?;
    let exported = export(app, caller, signal, &plain, encoding).await?;
    Ok(match encoding {
        Encoding::Protobuf => typed(StatusCode::OK, encoding.content_type(), exported.to_protobuf()),
        Encoding::Json => typed(StatusCode::OK, encoding.content_type(), exported.to_json()),
    })
}

/// Reads and books an export.
pub(super) async fn export(
    app: &App,
    caller: &Caller,
    signal: Signal,
    plain: &[u8],
    encoding: Encoding,
) -> Result<Exported, Problem> {
    let defaults = otlp::Defaults {
        namespace: caller.0.only_namespace().cloned().unwrap_or_else(|| app.telemetry.sources.namespace.clone()),
        agent: caller.0.only_agent().cloned(),
        ..(*app.telemetry.sources).clone()
    };
    let (items, note): (Vec<Item>, &str) = match signal {
        Signal::Traces => {
            let (tenant, recent) = (caller.0.tenant(), &app.telemetry.recent);
            let batch = otlp::decode_traces_after(plain, encoding, &defaults, tenant, recent)?;
            app.telemetry.keep_spans().await;
            (batch.items, "")
        }
        Signal::Logs => (otlp::decode_logs(plain, encoding, &defaults)?.items, ""),
        Signal::Metrics => return super::points::export(app, caller, plain, encoding, &defaults).await,
    };
    booked(app, caller, signal, items, note).await
}

/// Books the items of an export and says what was refused.
async fn booked(app: &App, caller: &Caller, signal: Signal, items: Vec<Item>, note: &str) -> Result<Exported, Problem> {
    let outcome = take(app, caller, items, "otlp").await.map_err(Problem::for_otlp)?;
    exported(&outcome, signal, note)
}

/// What an export answers with.
pub(super) fn exported(outcome: &Outcome, signal: Signal, note: &str) -> Result<Exported, Problem> {
    outcome.all_forbidden()?;
    let refused = outcome.rejected + outcome.conflict;
    let why = outcome.results.iter().find(|result| matches!(result.status, "rejected" | "conflict"));
    let message = why.and_then(|result| result.message.clone()).unwrap_or_else(|| note.to_owned());
    Ok(Exported { signal, refused, message })
}
