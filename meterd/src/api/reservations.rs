//! Reservations: an amount held for a call before it is made, settled with what it cost, or given back.
//!
//! Check and hold are one step of the meter. A denial is 402 with the decision as its body, and the same id has the same
//! answer for ever.

mod body;
mod read;

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use budget::reservation::{Amounts, Standing};
use budget::{Command, Denial, Verdict};
use pricing::{Money, Timestamp};
use serde::Serialize;
use serde_json::{Value, json};

use super::App;
use super::answer::{json, typed};
use super::caller::Caller;
use super::extract::Path;
use crate::event::charge::{charge, reported};
use crate::meter::{Booked, Held, Settled};
use crate::server::body::read as read_body;
use crate::server::problem::Problem;
use crate::signal::{Shown, amount, cause_message, counter_json};

pub(super) use self::read::{get, list};

const JSON: &str = "application/json";

/// Holds an amount: 201, 200 for an id that was granted before, 402 with the decision.
pub(super) async fn post(State(app): State<App>, caller: Caller, body: Body) -> Result<Response, Problem> {
    let raw = read_body(body, app.body).await?;
    let mut asked = body::Asked::read(&raw)?;
    asked.bind(&caller.0);
    let wish = asked.wish(&app, caller.0.tenant())?;
    caller.0.may_charge(&wish.execution.namespace, &wish.execution.name, wish.subject.agent.as_deref())?;
    let id = Arc::clone(&wish.id);
    let held = app.meter.reserve(wish).await?;
    let denial = if let Verdict::Refused { denial, .. } = &held.verdict { Some(&**denial) } else { None };
    app.metrics.decided(denial, &held.counters);
    answer(&app, &id, &held, &asked)
}

fn answer(app: &App, id: &str, held: &Held, asked: &body::Asked<'_>) -> Result<Response, Problem> {
    match &held.verdict {
        Verdict::Granted { asked, expires_at, standing, again } => {
            let status = if *again { StatusCode::OK } else { StatusCode::CREATED };
            let granted = Granted {
                id,
                decision: "allow",
                state: standing.as_str(),
                held_usd: asked.usd,
                held_tokens: asked.tokens,
                held_tool_calls: asked.tool_calls,
                held_model_calls: asked.model_calls,
                expires_at: *expires_at,
                budgets: held.counters.iter().map(Shown).collect(),
            };
            Ok(json(status, &granted))
        }
        Verdict::Refused { denial, asked: requested, .. } => {
            let mut decision = denied(id, denial, requested);
            if let (Some(decision), Some(cheaper)) = (decision.as_object_mut(), asked.alternative(app, denial)) {
                decision.insert("alternative".to_owned(), cheaper);
            }
            Ok(typed(StatusCode::PAYMENT_REQUIRED, JSON, decision.to_string()))
        }
        _ => Err(Problem::new(
            StatusCode::CONFLICT,
            "id_conflict",
            format!("reservation {id} was asked for before with another body; a new call needs a new id"),
        )
        .at("/id")),
    }
}

/// A grant as the API shows it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Granted<'a> {
    id: &'a str,
    decision: &'a str,
    state: &'a str,
    held_usd: Money,
    held_tokens: u64,
    held_tool_calls: u32,
    held_model_calls: u32,
    expires_at: Timestamp,
    budgets: Vec<Shown<'a>>,
}

/// A denial as the API shows it: everything that an agent needs to act on it. Never to be tried again as it is.
pub(super) fn denied(id: &str, denial: &Denial, requested: &Amounts) -> Value {
    let mut decision = json!({
        "id": id, "decision": "deny", "code": denial.code(), "message": message(denial), "budget": null,
        "window": null, "limitUsd": null, "spentUsd": null, "heldUsd": null, "requestedUsd": requested.usd,
        "resetsAt": null, "retryable": false,
    });
    let Some(fields) = decision.as_object_mut() else { return decision };
    let named = |name: &budget::Ref| json!({ "name": name.name, "namespace": name.namespace });
    match denial {
        Denial::Limit(counter) => {
            let budget = counter_json(counter);
            if counter.unit != budget::Unit::Usd {
                fields.insert("requested".to_owned(), json!(requested_of(counter.unit, requested)));
            }
            for key in ["window", "resetsAt", "limitUsd", "spentUsd", "heldUsd", "unit"] {
                if let Some(value) = budget.get(key) {
                    fields.insert(key.to_owned(), value.clone());
                }
            }
            fields.insert("budget".to_owned(), budget);
        }
        Denial::PerCall { budget, limit } => {
            fields.insert("budget".to_owned(), named(budget));
            fields.insert("window".to_owned(), Value::from("call"));
            fields.insert("limitUsd".to_owned(), json!(limit));
        }
        Denial::Unpriced(budget) => {
            fields.insert("budget".to_owned(), named(budget));
        }
        Denial::Fenced(kill) => {
            fields.insert("kill".to_owned(), json!(kill));
        }
        Denial::Ended(_) | Denial::NoEstimate => {}
    }
    decision
}

fn requested_of(unit: budget::Unit, requested: &Amounts) -> u64 {
    match unit {
        budget::Unit::Usd => 0,
        budget::Unit::Tokens => requested.tokens,
        budget::Unit::ToolCalls => u64::from(requested.tool_calls),
        budget::Unit::ModelCalls => u64::from(requested.model_calls),
    }
}

/// A denial in a sentence that names what stands in the way.
pub(super) fn message(denial: &Denial) -> String {
    match denial {
        Denial::Fenced(kill) => format!("the run is fenced by {kill}"),
        Denial::Ended(phase) => format!("the run is over ({})", phase.as_str()),
        Denial::Limit(counter) if counter.spent >= counter.limit => {
            cause_message(&budget::signal::Cause::Budget(counter.clone()))
        }
        Denial::Limit(counter) => format!(
            "budget {} has too little left of its {} limit: {} spent and {} held of {} {}",
            counter.budget,
            counter.window.as_str(),
            amount(counter.unit, counter.spent),
            amount(counter.unit, counter.held),
            amount(counter.unit, counter.limit),
            crate::signal::unit_word(counter.unit)
        ),
        Denial::NoEstimate => "budgets in US dollars bind this run and nothing says what the call may cost: state \
                               estimate_usd, an estimate of a priced model, or set budgets.estimateCeilingUsd"
            .to_owned(),
        Denial::Unpriced(budget) => {
            format!("the run has usage without a price, and budget {budget} refuses more until it has one")
        }
        Denial::PerCall { budget, limit } => format!("{budget} lets one call cost at most {limit} USD"),
    }
}

/// Books what the call cost and gives the rest back.
pub(super) async fn settle(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    body: Body,
) -> Result<Response, Problem> {
    let raw = read_body(body, app.body).await?;
    let id: Arc<str> = Arc::from(id);
    within_reach(&app, &caller, &id).await?;
    let now = app.clock.now();
    let charge = match body::Settle::read(&raw)? {
        body::Settle::Stated(stated) => reported(&id, &stated, now, caller.0.tenant()),
        body::Settle::Event(event, last) => {
            let mut event = *event;
            event.reservation = Some(Arc::clone(&id));
            event.settles = last;
            if let Err(rejection) = super::usage::in_time(&app, now, &event) {
                return Err(super::dead_letters::refused(&app, event, caller.0.tenant(), now, rejection).await?);
            }
            let mut charge = charge(&app.prices.load(), event, caller.0.tenant(), "api");
            charge.ceiling = app.budgets.estimate_ceiling;
            charge
        }
    };
    let cost = charge.price();
    let settled = app.meter.settle(charge).await?.ok_or_else(|| unknown(&id))?;
    settled_answer(&id, &settled, cost)
}

fn settled_answer(id: &str, settled: &Settled, cost: Option<Money>) -> Result<Response, Problem> {
    let Settled { booked, execution, held, standing, late } = settled;
    let (status, fenced) = match booked {
        Booked::Accepted { fenced, .. } if cost.is_none() => ("quarantined", *fenced),
        Booked::Accepted { fenced, .. } => ("accepted", *fenced),
        Booked::Duplicate { .. } => ("duplicate", false),
        Booked::Conflict { .. } => {
            let detail = "this id was booked before with other content; a new call needs a new id";
            return Err(Problem::new(StatusCode::CONFLICT, "id_conflict", detail).at("/id"));
        }
        Booked::OutOfRange => {
            return Err(Problem::bad_request("out_of_range", "the run's cost would pass 10^20 USD"));
        }
        Booked::TooOld => {
            return Err(Problem::bad_request("too_old", "ids of that time are forgotten").at("/event/time"));
        }
    };
    let flags: &[&str] = if *late && status != "duplicate" { &["late"] } else { &[] };
    let (state, held_usd, execution, namespace) = (standing.as_str(), held.usd, &execution.name, &execution.namespace);
    let answer = SettledAnswer { id, status, state, cost_usd: cost, held_usd, execution, namespace, flags, fenced };
    Ok(json(StatusCode::OK, &answer))
}

/// A settlement as the API shows it.
#[derive(Serialize)]
struct SettledAnswer<'a> {
    id: &'a str,
    status: &'a str,
    state: &'a str,
    cost_usd: Option<Money>,
    #[serde(rename = "heldUsd")]
    held_usd: Money,
    execution: &'a str,
    namespace: &'a str,
    flags: &'a [&'a str],
    fenced: bool,
}

/// Gives a reservation back: 200, also when it was given back before; 409 when something else became of it.
pub(super) async fn release(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    _body: Body,
) -> Result<Response, Problem> {
    let reservation: Arc<str> = Arc::from(id);
    within_reach(&app, &caller, &reservation).await?;
    match app.meter.command(Command::Release { reservation: Arc::clone(&reservation) }).await? {
        Verdict::UnknownReservation => Err(unknown(&reservation)),
        Verdict::AlreadyResolved(standing) => Err(resolved(&reservation, standing)),
        _ => Ok(typed(StatusCode::OK, JSON, json!({ "id": reservation, "state": "released" }).to_string())),
    }
}

/// Gives a live reservation more time, counted from now.
pub(super) async fn extend(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    body: Body,
) -> Result<Response, Problem> {
    let raw = read_body(body, app.body).await?;
    let ttl_ms = body::ttl_of(&raw)?.unwrap_or(app.budgets.default_ttl_ms);
    let reservation: Arc<str> = Arc::from(id);
    within_reach(&app, &caller, &reservation).await?;
    match app.meter.command(Command::Extend { reservation: Arc::clone(&reservation), ttl_ms }).await? {
        Verdict::UnknownReservation => Err(unknown(&reservation)),
        Verdict::AlreadyResolved(standing) => Err(resolved(&reservation, standing)),
        Verdict::Refused { denial, asked, .. } => {
            let decision = denied(&reservation, &denial, &asked).to_string();
            Ok(typed(StatusCode::PAYMENT_REQUIRED, JSON, decision))
        }
        Verdict::Granted { asked, expires_at, .. } => {
            let answer = json!({
                "id": reservation, "decision": "allow", "state": "held", "heldUsd": asked.usd, "expiresAt": expires_at,
            });
            Ok(typed(StatusCode::OK, JSON, answer.to_string()))
        }
        _ => Err(Problem::unavailable("ledger_stopped", "the ledger takes nothing more")),
    }
}

/// A principal that is bound touches only reservations of runs that it may charge.
async fn within_reach(app: &App, caller: &Caller, id: &str) -> Result<(), Problem> {
    let who = &caller.0;
    if !who.is_bound() && !who.is_bound_within() {
        return Ok(());
    }
    let run = app.view.read_fresh(|state| {
        let run = state.reserved_for(state.reservation(id)?)?;
        let agent = state.execution(run).and_then(|run| run.subject.agent.clone());
        Some((run.clone(), agent))
    });
    let (run, agent) = run.await.ok_or_else(|| unknown(id))?;
    Ok(who.may_charge(&run.namespace, &run.name, agent.as_deref())?)
}

fn unknown(id: &str) -> Problem {
    Problem::not_found(format!("no reservation {id}: nothing asked for it, or it was resolved long ago"))
}

fn resolved(id: &str, standing: Standing) -> Problem {
    let detail = format!("reservation {id} is {}; usage that comes now is booked as late", standing.as_str());
    Problem::new(StatusCode::CONFLICT, "reservation_resolved", detail).with("state", json!(standing.as_str()))
}
