//! `GET /v1/export/focus`: rows for finance, as CSV.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;

use super::App;
use super::answer::typed;
use super::caller::Caller;
use super::cost::within_reach;
use super::extract::Query;
use crate::rollup::{Params, Question, whole_days};
use crate::server::problem::Problem;

/// The account of rows that name none.
const ACCOUNT: &str = "default";

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wish {
    since: Option<String>,
    until: Option<String>,
    namespace: Option<String>,
    team: Option<String>,
    account: Option<String>,
}

pub(super) async fn focus(
    State(app): State<App>,
    caller: Caller,
    Query(wish): Query<Wish>,
) -> Result<Response, Problem> {
    let Wish { since, until, namespace, team, account } = wish;
    let params = Params { since, until, namespace, team, ..Params::default() };
    let question = whole_days(Question::parse(&params, app.clock.now())?);
    within_reach(&caller, &question)?;
    let focus = app.rollups.focus(question).await?;
    let text = focus.to_csv(account.as_deref().unwrap_or(ACCOUNT)).map_err(|error| {
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "csv_failed", format!("the rows could not be written: {error}"))
    })?;
    Ok(typed(StatusCode::OK, "text/csv; charset=utf-8", text))
}
