//! Budgets with live status, and kills with what became of them.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use budget::Ref;
use serde::Deserialize;
use serde_json::{Value, json};

use super::App;
use super::answer::{Form, typed};
use super::caller::Caller;
use super::extract::{Path, Query};
use crate::reconcile::kill_json;
use crate::resource::budget_document;
use crate::resource::print::Json;
use crate::server::problem::Problem;

/// Kills in one answer, newest first.
const KILLS_MAX: usize = 1_000;

#[derive(Debug, Default, Deserialize)]
pub(super) struct Params {
    namespace: Option<String>,
    format: Option<String>,
}

pub(super) async fn list(
    State(app): State<App>,
    caller: Caller,
    Query(params): Query<Params>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let now = app.clock.now();
    let wanted =
        |namespace: &str| caller.0.sees(namespace) && params.namespace.as_deref().is_none_or(|only| only == namespace);
    let items = app.view.read_fresh(|state| {
        let budgets =
            state.resources().filter(|resource| &*resource.kind == "Budget" && wanted(&resource.id.namespace));
        budgets.map(|resource| budget_document(resource, state, now)).collect::<Vec<Json>>()
    });
    let list = Json::map([
        ("apiVersion", Json::text(crate::resource::API_VERSION)),
        ("kind", Json::text("BudgetList")),
        ("items", Json::List(items.await)),
    ]);
    Ok(Form::of(params.format.as_deref(), &headers).answer(&list))
}

pub(super) async fn get(
    State(app): State<App>,
    Path((namespace, name)): Path<(String, String)>,
    Query(params): Query<Params>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let now = app.clock.now();
    let id = Ref::new(&namespace, &name);
    let document = app
        .view
        .read_fresh(|state| state.resource("Budget", &id).map(|resource| budget_document(resource, state, now)));
    let document = document.await.ok_or_else(|| Problem::not_found(format!("no budget {id}")))?;
    Ok(Form::of(params.format.as_deref(), &headers).answer(&document))
}

pub(super) async fn kills(State(app): State<App>, caller: Caller, Query(params): Query<Params>) -> Response {
    let kills = app.view.read_fresh(|state| {
        let newest = state.kills().rev();
        let seen = newest.filter(|kill| caller.0.sees(&kill.execution.namespace));
        let wanted =
            seen.filter(|kill| params.namespace.as_deref().is_none_or(|only| only == &*kill.execution.namespace));
        wanted.take(KILLS_MAX).map(kill_json).collect::<Vec<Value>>()
    });
    typed(StatusCode::OK, "application/json", json!({ "kills": kills.await }).to_string())
}
