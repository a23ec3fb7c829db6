//! `POST /v1/traces`: OTLP/HTTP, protobuf and JSON; the answer has the request's content type, with partial success.

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
use super::usage::{decompressed, take};
use crate::ingest::otlp::{self, Encoding};
use crate::server::body::{header_text, read};
use crate::server::problem::Problem;

pub(super) async fn post(
    State(app): State<App>,
    caller: Caller,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let encoding = Encoding::from_content_type(header_text(&headers, &header::CONTENT_TYPE))?;
    let raw = read(body, app.body).await?;
    let plain = decompressed(&app, &headers, &raw)?;
    let batch = otlp::decode_traces(&plain, encoding, &otlp::Defaults::default())?;
    let outcome = take(&app, &caller, batch.items, "otlp").await.map_err(Problem::for_otlp)?;
    outcome.all_forbidden()?;
    let refused = outcome.rejected + outcome.conflict;
    let why = outcome.results.iter().find(|result| matches!(result.status, "rejected" | "conflict"));
    let message = why.and_then(|result| result.message.clone()).unwrap_or_default();
    Ok(match encoding {
        Encoding::Protobuf => {
            let partial_success = (refused > 0).then(|| ExportTracePartialSuccess {
                rejected_spans: i64::try_from(refused).unwrap_or(i64::MAX),
                error_message: message,
            });
            typed(
                StatusCode::OK,
                encoding.content_type(),
                ExportTraceServiceResponse { partial_success }.encode_to_vec(),
            )
        }
        Encoding::Json => {
            let answer = if refused > 0 {
                // OTLP/JSON writes 64-bit integers as strings.
                json!({ "partialSuccess": { "rejectedSpans": refused.to_string(), "errorMessage": message } })
            } else {
                json!({})
            };
            typed(StatusCode::OK, encoding.content_type(), answer.to_string())
        }
    })
}
