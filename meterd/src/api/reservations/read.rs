//! Reservations as they stand: one, or a page of them.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::App;
use super::super::answer::typed;
use super::super::caller::Caller;
use super::super::extract::{Path, Query};
use super::{unknown, within_reach};
use crate::reconcile::reservation_json;
use crate::server::problem::Problem;

/// Reservations in one answer, at most.
const PAGE_MAX: usize = 1_000;
const PAGE_DEFAULT: usize = 100;

#[derive(Debug, Default, Deserialize)]
pub(in crate::api) struct Params {
    namespace: Option<String>,
    execution: Option<String>,
    state: Option<String>,
    limit: Option<usize>,
    #[serde(rename = "continue")]
    next: Option<usize>,
}

pub(in crate::api) async fn get(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    within_reach(&app, &caller, &id).await?;
    let found = app.view.read_fresh(|state| {
        let found = state.reservation(&id)?;
        Some(reservation_json(found, state.reserved_for(found)?))
    });
    let found = found.await.ok_or_else(|| unknown(&id))?;
    Ok(typed(StatusCode::OK, "application/json", found.to_string()))
}

/// Live and remembered ones, in no particular order: `state=held` are the live ones.
pub(in crate::api) async fn list(State(app): State<App>, caller: Caller, Query(params): Query<Params>) -> Response {
    let (skip, limit) = (params.next.unwrap_or(0), params.limit.unwrap_or(PAGE_DEFAULT).clamp(1, PAGE_MAX));
    let is = |wanted: &Option<String>, given: &str| wanted.as_deref().is_none_or(|wanted| wanted == given);
    let page = app.view.read_fresh(|state| {
        let mut items: Vec<Value> = Vec::new();
        for (place, found) in state.reservations().enumerate().skip(skip) {
            if !is(&params.state, found.standing.as_str()) {
                continue;
            }
            let Some(execution) = state.reserved_for(found) else { continue };
            let seen = caller.0.sees(&execution.namespace);
            if seen && is(&params.namespace, &execution.namespace) && is(&params.execution, &execution.name) {
                if items.len() == limit {
                    return (items, Some(place.to_string()));
                }
                items.push(reservation_json(found, execution));
            }
        }
        (items, None)
    });
    let (items, next) = page.await;
    let answer = json!({ "items": items, "continue": next });
    typed(StatusCode::OK, "application/json", answer.to_string())
}
