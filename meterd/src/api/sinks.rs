//! `GET /v1/sinks`: how far the places outside have come. `POST /v1/sinks/clickhouse/backfill`: everything once more;
//! `…/pause` and `…/resume`: nothing for a while.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};

use super::App;
use super::answer::typed;
use super::extract::Path;
use crate::server::problem::Problem;
use crate::sink::clickhouse::ClickHouseSink;

pub(super) async fn list(State(app): State<App>) -> Response {
    typed(StatusCode::OK, "application/json", json!({ "sinks": sinks(&app) }).to_string())
}

fn sinks(app: &App) -> Vec<Value> {
    let committed = app.view.ledger().committed();
    let sink = app.clickhouse.iter().map(|sink| {
        let status = sink.status().borrow().clone();
        json!({
            "name": "clickhouse", "url": sink.settings().url, "database": sink.settings().database,
            "shard": sink.settings().shard, "state": status.state, "failing": status.failing,
            "delivered": status.delivered, "committed": committed, "backfills": status.backfills,
        })
    });
    sink.collect()
}

pub(super) async fn backfill(State(app): State<App>, Path(name): Path<String>) -> Result<Response, Problem> {
    let number = sink(&app, &name)?.backfill();
    tracing::info!(number, "ClickHouse is filled anew from the ledger");
    let body = json!({ "backfill": number, "entries": app.view.ledger().committed() });
    Ok(typed(StatusCode::ACCEPTED, "application/json", body.to_string()))
}

pub(super) async fn pause(app: State<App>, name: Path<String>) -> Result<Response, Problem> {
    hold(&app, &name.0, true)
}

pub(super) async fn resume(app: State<App>, name: Path<String>) -> Result<Response, Problem> {
    hold(&app, &name.0, false)
}

fn hold(app: &App, name: &str, paused: bool) -> Result<Response, Problem> {
    sink(app, name)?.hold(paused);
    tracing::info!(paused, "ClickHouse's sink was told to wait or to go on");
    Ok(typed(StatusCode::OK, "application/json", json!({ "sinks": sinks(app) }).to_string()))
}

fn sink<'a>(app: &'a App, name: &str) -> Result<&'a ClickHouseSink, Problem> {
    match (&app.clickhouse, name) {
        (Some(sink), "clickhouse") => Ok(sink),
        (None, "clickhouse") => {
            Err(Problem::not_found("no ClickHouse is configured: give sinks.clickhouse.url and restart the daemon"))
        }
        _ => Err(Problem::not_found(format!("no sink {name:?}: there is clickhouse"))),
    }
}
