//! `GET /v1/quarantine/{id}`: one call without a price. `POST /v1/quarantine/{id}/release`: the price that a person states for it.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use budget::adjust::Quarantined;
use budget::{Charge, Fact};
use pricing::Money;
use serde::Deserialize;
use serde_json::json;

use super::super::App;
use super::super::answer::typed;
use super::super::caller::Caller;
use super::super::extract::Path;
use super::super::usage::way_out_of;
use crate::reconcile::{entry_json, quarantined_json};
use crate::server::body::read;
use crate::server::problem::Problem;
use crate::settle::{Case, Released, Wish};

/// Longest reason.
const REASON_BYTES_MAX: usize = 1_024;

pub(in crate::api) async fn inspect(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let (seq, case) = find(&app, &caller, &id).await?;
    let charge = charge(&case).ok_or_else(|| unknown(&id))?;
    let held = app.view.read_fresh(|state| state.held_unpriced(seq)).await;
    let mut answer = Quarantined::of(charge).map(|item| quarantined_json(seq, &item, held)).unwrap_or_default();
    if let Some(answer) = answer.as_object_mut() {
        let waits = case.adjusted.is_none();
        answer.insert("status".to_owned(), json!(if waits { "quarantined" } else { "priced" }));
        answer.insert("way_out".to_owned(), json!(way_out_of(charge)));
        answer.insert("entry".to_owned(), json!(entry_json(&case.entry)));
        answer.insert("adjustment".to_owned(), json!(case.adjusted.as_ref().and_then(entry_json)));
    }
    Ok(typed(StatusCode::OK, "application/json", answer.to_string()))
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stated {
    #[serde(default)]
    cost_usd: Option<String>,
    #[serde(default)]
    reason: Option<String>,
}

pub(in crate::api) async fn release(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    body: Body,
) -> Result<Response, Problem> {
    let wish = wish(&read(body, app.body).await?, &caller)?;
    let (seq, case) = find(&app, &caller, &id).await?;
    let (price, booked) = match app.settler.release(seq, &wish).await? {
        Released::Booked(price) => (price, true),
        Released::Before(price) if wish.cost.is_none_or(|cost| cost == price) => (price, false),
        Released::Before(price) => {
            let detail =
                format!("the call of entry {seq} has its price already, {price} USD; to change it is an adjustment");
            return Err(Problem::new(StatusCode::CONFLICT, "already_priced", detail).at("/cost_usd"));
        }
        Released::NoPrice => {
            let out = charge(&case).map(way_out_of).unwrap_or_default();
            let detail =
                format!("no table in force prices the call of entry {seq}: {out}; or state `cost_usd` and `reason`");
            return Err(Problem::new(StatusCode::CONFLICT, "still_unpriced", detail));
        }
        Released::OutOfRange => {
            let detail = "the run's cost would pass 10^20 USD; nothing was booked";
            return Err(Problem::bad_request("out_of_range", detail).at("/cost_usd"));
        }
        Released::Unknown => return Err(unknown(&id)),
    };
    let of = charge(&case);
    let answer = json!({
        "seq": seq, "event_id": of.map(|charge| &charge.event_id), "status": "released", "cost_usd": price, "booked": booked,
        "namespace": of.map(|charge| &charge.execution.namespace), "execution": of.map(|charge| &charge.execution.name),
    });
    Ok(typed(StatusCode::OK, "application/json", answer.to_string()))
}

/// The call, if the caller may know of it.
async fn find(app: &App, caller: &Caller, id: &str) -> Result<(u64, Case), Problem> {
    let seq: u64 = id.parse().map_err(|_| unknown(id))?;
    let case = app.settler.case(seq).await?.ok_or_else(|| unknown(id))?;
    let seen = charge(&case).is_some_and(|charge| caller.0.sees(&charge.execution.namespace));
    if seen { Ok((seq, case)) } else { Err(unknown(id)) }
}

const fn charge(case: &Case) -> Option<&Charge> {
    match &case.entry.fact {
        Fact::Charged(charge) => Some(charge),
        _ => None,
    }
}

fn wish(raw: &[u8], caller: &Caller) -> Result<Wish, Problem> {
    let raw = if raw.trim_ascii().is_empty() { b"{}" } else { raw };
    let stated: Stated = serde_json::from_slice(raw).map_err(|error| {
        let expected = r#"expected {"cost_usd": "0.40", "reason": "…"}, or {} to ask the tables in force"#;
        Problem::bad_request("malformed_json", format!("{expected}: {error}"))
    })?;
    let invalid = |pointer, detail: &str| Problem::bad_request("invalid_value", detail).at(pointer);
    let cost = match &stated.cost_usd {
        None => None,
        Some(text) => {
            let cost: Option<Money> = text.parse().ok().filter(|cost: &Money| !cost.is_negative());
            Some(cost.ok_or_else(|| {
                invalid("/cost_usd", "a decimal of US dollars that is not negative, such as \"0.40\"")
            })?)
        }
    };
    let reason = stated.reason.as_deref().map(str::trim).filter(|reason| !reason.is_empty());
    if cost.is_some() && reason.is_none() {
        return Err(Problem::bad_request("missing_field", "who states a price says why").at("/reason"));
    }
    if reason.is_some_and(|reason| reason.len() > REASON_BYTES_MAX || reason.chars().any(char::is_control)) {
        return Err(invalid("/reason", "a reason is one line of at most 1024 bytes"));
    }
    Ok(Wish { cost, reason: Arc::from(reason.unwrap_or_default()), by: Arc::clone(caller.0.name()) })
}

fn unknown(id: &str) -> Problem {
    let id: String = id.chars().take(40).collect();
    Problem::not_found(format!("no call without a price in entry {id}; `meterd get quarantine` lists them"))
}
