//! `GET /v1/prices`: the price tables in force, and one table's content.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};

use super::App;
use super::answer::typed;
use super::extract::Path;
use crate::server::problem::Problem;

/// Every table in force, the one that goes first first.
pub(super) async fn list(State(app): State<App>) -> Response {
    let book = app.prices.load();
    let row = |table: &std::sync::Arc<pricing::PriceTable>| {
        let reference = table.reference();
        let models = table.models().map(|(provider, model)| json!([provider, model])).collect::<Vec<Value>>();
        json!({
            "name": reference.name, "version": reference.version, "digest": reference.digest,
            "entries": table.entries(), "models": models,
        })
    };
    let tables: Vec<Value> = book.tables().iter().map(row).collect();
    typed(StatusCode::OK, "application/json", json!({ "tables": tables }).to_string())
}

/// The content of the table in force with this digest, as its digest was made from it.
pub(super) async fn get(State(app): State<App>, Path(digest): Path<String>) -> Result<Response, Problem> {
    let book = app.prices.load();
    let table = book.find(&digest).ok_or_else(|| {
        Problem::not_found(format!("no price table with digest {digest} is in force; GET /v1/prices lists them"))
    })?;
    Ok(typed(StatusCode::OK, "application/json", table.canonical_json().to_string()))
}
