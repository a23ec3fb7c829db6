//! `GET /v1/cost`: roll-ups by team, agent, model, tool, namespace, environment or execution.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use budget::Ref;

use super::App;
use super::answer::typed;
use super::caller::Caller;
use super::extract::Query;
use crate::rollup::{NotAQuestion, Params, Question};
use crate::server::problem::Problem;

pub(super) async fn get(
    State(app): State<App>,
    caller: Caller,
    Query(params): Query<Params>,
) -> Result<Response, Problem> {
    match &params.namespace {
        Some(namespace) => caller.0.namespace(namespace)?,
        None => caller.0.everywhere()?,
    }
    let question = Question::parse(&params, app.clock.now())?;
    let view = app.view.clone();
    let parent = move |run: &Ref| view.read(|state| state.execution(run).and_then(|run| run.parent.clone()));
    let answer = app.rollups.ask(question, parent).await?;
    Ok(typed(StatusCode::OK, "application/json", answer.to_json().to_string()))
}

impl From<NotAQuestion> for Problem {
    fn from(refused: NotAQuestion) -> Self {
        Self::bad_request("invalid_parameter", refused.to_string())
    }
}
