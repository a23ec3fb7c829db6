//! `GET /v1/dead-letters`: usage refused for its time. `POST /v1/dead-letters/import`: the booking of it.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use budget::charge::{Called, Priced};
use pricing::{PriceBook, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};

use super::App;
use super::answer::typed;
use super::caller::Caller;
use super::extract::Query;
use super::usage::to_json;
use crate::event::charge::charge_for;
use crate::event::{Rejection, UsageEvent};
use crate::late::{Cut, Imported, Kept, LETTERS_MAX, Letter};
use crate::server::body::read;
use crate::server::problem::Problem;

/// Letters in one answer, at most.
const PAGE_MAX: usize = 1_000;
const PAGE_DEFAULT: usize = 100;

/// A refused event as it would be booked. One from the future is charged for now: its sender's clock is wrong. Its body
/// stays that of the event, so that the event sent again is the same event.
pub(super) fn letter(
    book: &PriceBook,
    mut event: UsageEvent,
    team: Option<&str>,
    tenant: &str,
    via: &'static str,
    now: Timestamp,
    reason: &str,
) -> Letter {
    let stated = event.time;
    let body = charge_for(book, event.clone(), team, tenant, via).body;
    event.time = stated.min(now);
    let charge = budget::Charge { body, ..charge_for(book, event, team, tenant, via) };
    Letter { id: 0, reason: Arc::from(reason), received: now, stated, charge }
}

/// What the refusal says of it.
pub(super) fn said(kept: Kept) -> String {
    match kept {
        Kept::Letter(id) => format!("; it is kept as dead letter {id}, which `meterd late import {id}` books"),
        Kept::Imported(entry) => format!("; it was kept and has been imported as entry {entry}"),
        Kept::Full => format!(
            "; it is not kept, because {LETTERS_MAX} dead letters wait or their file is full: see `meterd late list`"
        ),
    }
}

/// Keeps an event that would have settled a reservation; the problem says so.
pub(super) async fn refused(
    app: &App,
    event: UsageEvent,
    tenant: &str,
    now: Timestamp,
    rejection: Rejection,
) -> Result<Problem, Problem> {
    let team = event.team.clone();
    let letter = letter(&app.prices.load(), event, team.as_deref(), tenant, "api", now, rejection.code);
    let kept = app.late.keep(vec![letter]).await?;
    let said = kept.first().copied().map(said).unwrap_or_default();
    let detail = format!("{}{said}", rejection.message);
    Ok(Problem::bad_request(rejection.code, detail).at(format!("/event{}", rejection.pointer)))
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Params {
    namespace: Option<String>,
    reason: Option<String>,
    limit: Option<usize>,
    #[serde(rename = "continue")]
    next: Option<u64>,
}

pub(super) async fn list(
    State(app): State<App>,
    caller: Caller,
    Query(params): Query<Params>,
) -> Result<Response, Problem> {
    let limit = params.limit.unwrap_or(PAGE_DEFAULT).clamp(1, PAGE_MAX);
    let wants = |letter: &&Letter| {
        let namespace = &letter.charge.execution.namespace;
        caller.0.sees(namespace)
            && params.namespace.as_deref().is_none_or(|only| *only == **namespace)
            && params.reason.as_deref().is_none_or(|only| *only == *letter.reason)
    };
    let of = |namespace: &str| {
        caller.0.sees(namespace) && params.namespace.as_deref().is_none_or(|only| *only == *namespace)
    };
    let answer = app.late.read(|letters| {
        let mut page = letters.waiting(params.next.unwrap_or(0)).filter(wants);
        let items: Vec<Value> = page.by_ref().take(limit).map(letter_json).collect();
        let next = page.next().map(|letter| letter.id.to_string());
        let total = letters.waiting(0).filter(wants).count();
        json!({ "items": items, "total": total, "imported": letters.imported(of), "continue": next })
    });
    Ok(typed(StatusCode::OK, "application/json", answer.to_string()))
}

fn letter_json(letter: &Letter) -> Value {
    let Letter { id, reason, received, stated, charge } = letter;
    let (provider, name) = match &charge.called {
        Called::Model { provider, model, .. } => (Some(provider), Some(model)),
        Called::Tool { tool, .. } => (None, Some(tool)),
        Called::Approval => (None, None),
    };
    let unpriced = if let Priced::Unpriced(reason) = &charge.priced { Some(reason.code()) } else { None };
    json!({
        "id": id, "event_id": charge.event_id, "source": charge.source, "via": charge.via,
        "namespace": charge.execution.namespace, "execution": charge.execution.name, "agent": charge.subject.agent,
        "time": stated, "received_at": received, "reason": reason, "provider": provider, "name": name,
        "usage": charge.usage, "cost_usd": charge.price(), "unpriced": unpriced,
    })
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wish {
    #[serde(default)]
    ids: Vec<u64>,
    #[serde(default)]
    all: bool,
}

pub(super) async fn import(State(app): State<App>, body: Body) -> Result<Response, Problem> {
    let raw = read(body, app.body).await?;
    let wish: Wish = serde_json::from_slice(&raw)
        .map_err(|error| Problem::bad_request("malformed_json", format!("{{ids}} or {{all}} is expected: {error}")))?;
    let Wish { mut ids, all } = wish;
    if ids.is_empty() != all || ids.len() > LETTERS_MAX {
        let detail = format!("name one to {LETTERS_MAX} letters in `ids`, or say `\"all\": true`");
        return Err(Problem::bad_request("invalid_body", detail).at("/ids"));
    }
    ids.sort_unstable();
    ids.dedup();
    let done = app.late.import((!all).then_some(ids)).await?;
    let results: Vec<Value> = done.iter().map(|(id, became)| result(*id, *became)).collect();
    let imported = done.iter().filter(|(_, became)| matches!(became, Imported::Booked(_))).count();
    Ok(typed(StatusCode::OK, "application/json", to_json(&json!({ "results": results, "imported": imported }))))
}

fn result(id: u64, became: Imported) -> Value {
    let (status, entry) = match became {
        Imported::Booked(seq) => ("imported", Some(seq)),
        Imported::Before(seq) => ("duplicate", Some(seq)),
        Imported::Conflict(seq) => ("conflict", Some(seq)),
        Imported::OutOfRange => ("out_of_range", None),
        Imported::Unknown => ("unknown", None),
    };
    json!({ "id": id, "status": status, "entry": entry })
}

impl From<Cut> for Problem {
    fn from(cut: Cut) -> Self {
        match cut {
            Cut::Ledger(error) if error.is_disk_full() => crate::meter::Refused::DiskFull.into(),
            Cut::Ledger(error) => error.into(),
            Cut::Refused(refused) => refused.into(),
            Cut::Stopping => Self::unavailable("stopping", "the daemon is going down; what is booked stays, ask again"),
        }
    }
}
