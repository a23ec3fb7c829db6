//! `POST /v1/simulate`: what proposed budgets would have done. Reads the ledger beside the writer, one question at a time.

use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use budget::Command;
use budget::entry::Origin;
use pricing::Timestamp;
use serde::Deserialize;
use tokio::sync::Semaphore;

use super::App;
use super::answer::typed;
use super::usage::to_json;
use crate::resource;
use crate::server::body::read;
use crate::server::problem::Problem;
use crate::simulate::{Asked, NotSimulated, simulate};

/// A question reads the whole ledger and keeps a state of its own, so there is one at a time.
static TURN: Semaphore = Semaphore::const_new(1);

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wish {
    /// Budgets and what else binds them, as YAML.
    documents: String,
    since: Timestamp,
    #[serde(default)]
    until: Option<Timestamp>,
}

pub(super) async fn post(State(app): State<App>, body: Body) -> Result<Response, Problem> {
    let raw = read(body, app.body).await?;
    let Wish { documents, since, until } = serde_json::from_slice(&raw).map_err(|error| {
        let expected = r#"expected {"documents": "kind: Budget …", "since": "…", "until"?}"#;
        Problem::bad_request("invalid_simulation", format!("{expected}: {error}"))
    })?;
    let (resources, _) = resource::read(&documents)
        .map_err(|problems| super::resources::refused(StatusCode::BAD_REQUEST, "invalid_resource", &problems))?;
    let proposed = resources.iter().filter_map(|resource| match resource.command(Origin::Api) {
        Command::Apply(applied) => Some(applied),
        _ => None,
    });
    let asked = Asked { proposed: proposed.collect(), since, until };
    if asked.proposed.iter().all(|applied| applied.budgets.is_empty()) {
        let detail = "none of the documents limits anything: propose a Budget, an Agent with budgets or a ModelRoute";
        return Err(Problem::bad_request("no_budget", detail).at("/documents"));
    }
    let _turn = TURN
        .try_acquire()
        .map_err(|_| Problem::unavailable("busy", "another simulation reads the ledger; ask again when it is done"))?;
    let reader = app.view.ledger().clone();
    let report = tokio::task::spawn_blocking(move || simulate(&reader, &asked)).await;
    let report = report.map_err(|_| Problem::unavailable("stopping", "the daemon is going down"))??;
    Ok(typed(StatusCode::OK, "application/json", to_json(&report)))
}

impl From<NotSimulated> for Problem {
    fn from(refusal: NotSimulated) -> Self {
        match refusal {
            NotSimulated::Ledger(error) => error.into(),
            NotSimulated::OutOfRange => Self::bad_request("out_of_range", refusal.to_string()),
        }
    }
}
