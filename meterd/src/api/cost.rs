//! `GET /v1/cost`: roll-ups by team, agent, model, tool, namespace, environment or execution, from the ledger or ClickHouse.

use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use budget::Ref;

use super::App;
use super::answer::typed;
use super::caller::Caller;
use super::extract::Query;
use crate::rollup::{Answer, NotAQuestion, Params, Question};
use crate::server::problem::Problem;
use crate::sink::clickhouse::{ClickHouseSink, SinkError};

/// A question to ClickHouse waits at most so long for it to catch up.
const CAUGHT_UP_MAX: Duration = Duration::from_secs(20);

pub(super) async fn get(
    State(app): State<App>,
    caller: Caller,
    Query(params): Query<Params>,
) -> Result<Response, Problem> {
    let question = Question::parse(&params, app.clock.now())?;
    within_reach(&caller, &question)?;
    let answer = match params.source.as_deref().unwrap_or("auto") {
        "ledger" => from_ledger(&app, question).await?,
        "clickhouse" => from_clickhouse(&app, &question, CAUGHT_UP_MAX).await?,
        "auto" => from_either(&app, question).await?,
        other => {
            let detail = format!("source: {other:?} is none of ledger, clickhouse, auto");
            return Err(Problem::bad_request("invalid_parameter", detail));
        }
    };
    Ok(typed(StatusCode::OK, "application/json", answer.to_json().to_string()))
}

/// A principal that is bound to namespaces asks about one of them. The question is what counts: an execution names a namespace, too.
pub(super) fn within_reach(caller: &Caller, question: &Question) -> Result<(), Problem> {
    match &question.filter.namespace {
        Some(namespace) => caller.0.namespace(namespace)?,
        None => caller.0.everywhere()?,
    }
    Ok(())
}

fn parent_of(app: &App) -> impl Fn(&Ref) -> Option<Ref> + Send + 'static {
    let view = app.view.clone();
    move |run| view.read(|state| state.execution(run).and_then(|run| run.parent.clone()))
}

async fn from_ledger(app: &App, question: Question) -> Result<Answer, Problem> {
    Ok(app.rollups.ask(question, parent_of(app)).await?)
}

async fn from_clickhouse(app: &App, question: &Question, wait_max: Duration) -> Result<Answer, Problem> {
    let Some(sink) = &app.clickhouse else {
        let detail = "no ClickHouse is configured: give sinks.clickhouse.url, or ask with source=ledger";
        return Err(Problem::bad_request("no_clickhouse", detail));
    };
    let asked = ask(app, sink, question, wait_max).await.map_err(|error| {
        tracing::warn!(%error, "ClickHouse did not answer a question");
        Problem::unavailable("clickhouse_failed", format!("{error}; source=ledger answers the same"))
    })?;
    asked.ok_or_else(|| {
        let detail = "ClickHouse does not hold everything that is asked for; source=ledger does";
        Problem::unavailable("clickhouse_behind", detail)
    })
}

/// The ledger, unless it would have to be read through and ClickHouse has everything.
async fn from_either(app: &App, question: Question) -> Result<Answer, Problem> {
    if !app.rollups.reaches(&question)
        && let Some(sink) = &app.clickhouse
        && let Ok(Some(answer)) = ask(app, sink, &question, Duration::ZERO).await
    {
        return Ok(answer);
    }
    from_ledger(app, question).await
}

async fn ask(
    app: &App,
    sink: &ClickHouseSink,
    question: &Question,
    wait_max: Duration,
) -> Result<Option<Answer>, SinkError> {
    sink.ask(question, app.clock.now(), wait_max, parent_of(app)).await
}

impl From<NotAQuestion> for Problem {
    fn from(refused: NotAQuestion) -> Self {
        Self::bad_request("invalid_parameter", refused.to_string())
    }
}
