//! `POST /v1/litellm`: LiteLLM's generic API callback.

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::Response;

use super::App;
use super::caller::Caller;
use super::usage::{answer, decompressed};
use crate::ingest::json::{Batch, BodyKind};
use crate::ingest::litellm::decode;
use crate::server::body::{header_text, read};
use crate::server::problem::Problem;

pub(super) async fn post(
    State(app): State<App>,
    caller: Caller,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let raw = read(body, app.body).await?;
    let plain = decompressed(&app, &headers, &raw)?;
    let kind = BodyKind::from_content_type(header_text(&headers, &header::CONTENT_TYPE));
    let Batch { items } = decode(&plain, kind)?;
    answer(&app, &caller, items, &plain, "litellm").await
}
