//! `POST /v1/usage`: native events, one, an array or NDJSON; and the path that every other source joins.

mod cloudevents;
mod reach;

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use budget::charge::Priced;
use budget::{Charge, Fact, Ref};
use pricing::Timestamp;
use pricing::cost::Unpriced;
use serde::Serialize;

use super::App;
use super::caller::Caller;
use super::dead_letters;
use crate::event::{Rejection, UsageEvent, charge::charge_for};
use crate::ingest::Item;
use crate::ingest::body::{self as encoded, BodyError};
use crate::ingest::json::{self, Batch, BodyKind};
use crate::late::Letter;
use crate::ledger::LedgerError;
use crate::meter::Booked;
use crate::server::body::{header_text, read};
use crate::server::problem::Problem;

/// The code of what the caller's credential does not allow.
pub(super) const FORBIDDEN: &str = "forbidden";

/// What became of one event.
#[derive(Debug, Serialize)]
pub(super) struct EventResult {
    id: Option<String>,
    pub(super) status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    cost_usd: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    execution: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pointer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) message: Option<String>,
    /// The run is fenced: spend no more.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    fenced: bool,
}

/// What became of all of them.
#[derive(Debug, Default, Serialize)]
pub(super) struct Outcome {
    pub(super) results: Vec<EventResult>,
    pub(super) accepted: usize,
    pub(super) duplicate: usize,
    pub(super) conflict: usize,
    pub(super) rejected: usize,
    pub(super) quarantined: usize,
    /// Events of the beginning and end of runs that were carried out.
    #[serde(skip_serializing_if = "is_zero")]
    runs: usize,
    /// Events that say nothing that is metered.
    #[serde(skip_serializing_if = "is_zero")]
    ignored: usize,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
const fn is_zero(count: &usize) -> bool {
    *count == 0
}

pub(super) async fn post(
    State(app): State<App>,
    caller: Caller,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let raw = read(body, app.body).await?;
    let plain = decompressed(&app, &headers, &raw)?;
    if let Some(mode) = cloudevents::mode(&headers) {
        return cloudevents::post(&app, &caller, mode, &headers, &plain).await;
    }
    let kind = BodyKind::from_content_type(header_text(&headers, &header::CONTENT_TYPE));
    let Batch { items } = json::decode(&plain, kind)?;
    answer(&app, &caller, items, &plain, "api").await
}

/// Books decoded events and says what became of each; a lone event that was not taken is a problem of its own.
pub(super) async fn answer(
    app: &App,
    caller: &Caller,
    items: Vec<Item>,
    plain: &[u8],
    via: &'static str,
) -> Result<Response, Problem> {
    let single = items.len() == 1 && plain.trim_ascii_start().starts_with(b"{");
    let outcome = take(app, caller, items, via).await?;
    answer_of(&outcome, single)
}

/// The answer of what became of events; a lone one that was not taken is a problem of its own.
pub(super) fn answer_of(outcome: &Outcome, single: bool) -> Result<Response, Problem> {
    if single {
        single_problem(outcome)?;
    }
    outcome.all_forbidden()?;
    let status = if outcome.rejected > 0 && outcome.rejected == outcome.results.len() {
        StatusCode::BAD_REQUEST
    } else {
        StatusCode::OK
    };
    Ok((status, axum::response::AppendHeaders([(header::CONTENT_TYPE, "application/json")]), to_json(outcome))
        .into_response())
}

pub(super) fn to_json(value: &impl Serialize) -> String {
    // Plain structs of text and numbers: encoding them cannot fail.
    serde_json::to_string(value).unwrap_or_default()
}

/// The decoded body of a request, within its bounds.
pub(super) fn decompressed<'a>(app: &App, headers: &HeaderMap, raw: &'a [u8]) -> Result<Cow<'a, [u8]>, Problem> {
    let encoding = header_text(headers, &header::CONTENT_ENCODING);
    let limits = encoded::Limits { body_bytes_max: app.body.bytes_max, ..encoded::Limits::default() };
    Ok(encoded::decompress(raw, encoding, &limits)?)
}

/// A lone event that was not taken answers with a problem of its own.
fn single_problem(outcome: &Outcome) -> Result<(), Problem> {
    let Some(result) = outcome.results.first() else { return Ok(()) };
    let detail = result.message.clone().unwrap_or_default();
    match result.status {
        "conflict" => Err(Problem::new(StatusCode::CONFLICT, "id_conflict", detail).at("/id")),
        "rejected" => {
            let code = result.reason.unwrap_or("rejected");
            let pointer = result.pointer.clone().unwrap_or_default();
            let status = if code == FORBIDDEN { StatusCode::FORBIDDEN } else { StatusCode::BAD_REQUEST };
            Err(Problem::new(status, code, detail).at(pointer))
        }
        _ => Ok(()),
    }
}

/// Prices and books decoded events together; results come in the order of the items.
pub(super) async fn take(app: &App, caller: &Caller, items: Vec<Item>, via: &'static str) -> Result<Outcome, Problem> {
    let items = reach::within(app, &caller.0, items).await;
    let now = app.clock.now();
    let book = app.prices.load_full();
    let mut teams = if book.by_team() { teams_of(app, &items).await } else { Vec::new() }.into_iter();
    let mut outcome = Outcome::default();
    let (mut letters, mut refused) = (Vec::new(), Vec::new());
    let mut slots = Vec::new();
    let mut charges: Vec<Charge> = Vec::new();
    let mut shown: Vec<Shown> = Vec::new();
    for item in items {
        let id = item.id.map(|id| id.to_string());
        let team = teams.next().flatten();
        let event = match item.event {
            Ok(event) => event,
            Err(rejection) => {
                slots.push(Some(rejected(app, via, id, rejection)));
                continue;
            }
        };
        let team = event.team.clone().or(team);
        match in_time(app, now, &event) {
            Ok(()) => {
                let mut charge = charge_for(&book, event, team.as_deref(), caller.0.tenant(), via);
                charge.ceiling = app.budgets.estimate_ceiling;
                shown.push(Shown {
                    id,
                    execution: charge.execution.clone(),
                    time: charge.time,
                    priced: charge.priced.clone(),
                });
                slots.push(None);
                charges.push(charge);
            }
            Err(rejection) => {
                let (team, tenant) = (team.as_deref(), caller.0.tenant());
                letters.push(dead_letters::letter(&book, event, team, tenant, via, now, rejection.code));
                refused.push(slots.len());
                slots.push(Some(rejected(app, via, id, rejection)));
            }
        }
    }
    keep(app, letters, refused, &mut slots).await?;
    let booked = if charges.is_empty() { Vec::new() } else { app.meter.book(charges).await? };
    for (booked, shown) in booked.iter().zip(&shown) {
        if matches!(booked, Booked::Accepted { .. }) {
            app.metrics.lag(via, shown.time, now);
        }
    }
    let first_times = first_times(app, &booked).await?;
    let mut answers = booked.into_iter().zip(shown);
    for slot in slots {
        let result = match slot {
            Some(rejected) => rejected,
            None => {
                let Some((booked, shown)) = answers.next() else { continue };
                result_of(app, via, shown, &booked, &first_times)
            }
        };
        outcome.count(&result);
        if result.status != "rejected" {
            app.metrics.ingest(via, result.status);
        }
        outcome.results.push(result);
    }
    Ok(outcome)
}

/// Keeps what was refused for its time and says so in its answer. Runs before anything is booked: a request that cannot be
/// kept is sent again whole.
async fn keep(
    app: &App,
    letters: Vec<Letter>,
    refused: Vec<usize>,
    slots: &mut [Option<EventResult>],
) -> Result<(), Problem> {
    if letters.is_empty() {
        return Ok(());
    }
    for (slot, kept) in refused.into_iter().zip(app.late.keep(letters).await?) {
        if let Some(Some(EventResult { message: Some(message), .. })) = slots.get_mut(slot) {
            message.push_str(&dead_letters::said(kept));
        }
    }
    Ok(())
}

/// The teams of the runs of events that name none: a contract may be for some teams only.
async fn teams_of(app: &App, items: &[Item]) -> Vec<Option<Arc<str>>> {
    let run_of = |item: &Item| {
        let event = item.event.as_ref().ok().filter(|event| event.team.is_none())?;
        Some(Ref { namespace: event.namespace.clone(), name: event.execution.clone() })
    };
    let runs: Vec<Option<Ref>> = items.iter().map(run_of).collect();
    if runs.iter().all(Option::is_none) {
        return Vec::new();
    }
    let team = |state: &budget::State, run: &Ref| state.execution(run)?.subject.team.clone();
    app.view
        .read_fresh(move |state| runs.iter().map(|run| run.as_ref().and_then(|run| team(state, run))).collect())
        .await
}

/// What is needed to answer for an event once it is booked.
struct Shown {
    id: Option<String>,
    execution: Ref,
    time: Timestamp,
    priced: Priced,
}

/// What a duplicate answers with: the run and the price that were booked the first time, not today's.
type FirstTimes = HashMap<u64, (Ref, Priced, bool)>;

/// The entries behind duplicates, and whether their runs are fenced. They may be far back on disk, so they are read
/// away from the threads that serve.
async fn first_times(app: &App, booked: &[Booked]) -> Result<FirstTimes, Problem> {
    let mut seqs: Vec<u64> = Vec::new();
    seqs.extend(booked.iter().filter_map(|booked| match booked {
        Booked::Duplicate { seq } => Some(*seq),
        _ => None,
    }));
    if seqs.is_empty() {
        return Ok(FirstTimes::new());
    }
    seqs.sort_unstable();
    seqs.dedup();
    let reader = app.view.ledger().clone();
    let read = tokio::task::spawn_blocking(move || {
        let mut charges = Vec::with_capacity(seqs.len());
        reader.entries(&seqs, |entry| {
            if let Fact::Charged(charge) = &entry.fact {
                charges.push((entry.seq, charge.execution.clone(), charge.priced.clone(), charge.estimated));
            }
        })?;
        Ok::<_, LedgerError>(charges)
    });
    let charges = read.await.map_err(|_| Problem::unavailable("stopping", "the daemon is going down"))??;
    let answer = app.view.read_fresh(|state| {
        let known = charges.into_iter().map(|(seq, execution, priced, estimated)| {
            // Of a call that took its estimate's place, its own price.
            let own = state.standing(seq).filter(|_| estimated && !state.is_estimate(seq));
            let priced = own.map_or(priced, |own| Priced::Reported(own.total));
            let fenced = state.execution(&execution).is_some_and(|run| run.kill.is_some());
            (seq, (execution, priced, fenced))
        });
        known.collect()
    });
    Ok(answer.await)
}

impl Outcome {
    /// A request of which the caller may say nothing at all is refused whole.
    pub(super) fn all_forbidden(&self) -> Result<(), Problem> {
        let mut results = self.results.iter();
        let all = !self.results.is_empty() && results.all(|result| result.reason == Some(FORBIDDEN));
        match self.results.first().filter(|_| all) {
            None => Ok(()),
            Some(first) => {
                let detail = first.message.clone().unwrap_or_default();
                Err(Problem::new(StatusCode::FORBIDDEN, FORBIDDEN, detail)
                    .at(first.pointer.clone().unwrap_or_default()))
            }
        }
    }

    /// What became of more events of the same request.
    fn join(&mut self, other: Self) {
        self.accepted += other.accepted;
        self.duplicate += other.duplicate;
        self.conflict += other.conflict;
        self.rejected += other.rejected;
        self.quarantined += other.quarantined;
        self.results.extend(other.results);
    }

    fn count(&mut self, result: &EventResult) {
        match result.status {
            "accepted" => self.accepted += 1,
            "duplicate" => self.duplicate += 1,
            "conflict" => self.conflict += 1,
            "quarantined" => self.quarantined += 1,
            _ => self.rejected += 1,
        }
    }
}

/// Too old to tell from a duplicate, or further in the future than clocks differ: refused with the reason.
pub(super) fn in_time(app: &App, now: Timestamp, event: &UsageEvent) -> Result<(), Rejection> {
    let nanos = |duration: std::time::Duration| i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX);
    let rejection = |code, message| Rejection { code, pointer: "/time".to_owned(), message };
    if event.time > now.saturating_add(nanos(app.future_skew_max)) {
        let message = format!(
            "the event's time {} is more than {} s after now ({now}); check the sender's clock",
            event.time,
            app.future_skew_max.as_secs()
        );
        return Err(rejection("in_future", message));
    }
    if event.time < now.saturating_add(nanos(app.dedup_horizon).saturating_neg()) {
        return Err(too_old(app, event.time));
    }
    Ok(())
}

fn too_old(app: &App, time: Timestamp) -> Rejection {
    let days = app.dedup_horizon.as_secs() / 86_400;
    let message = format!(
        "the event's time {time} is older than the {days} days for which ids are remembered, so a duplicate could not be told"
    );
    Rejection::new("too_old", "/time", message)
}

fn rejected(app: &App, via: &'static str, id: Option<String>, rejection: Rejection) -> EventResult {
    app.metrics.rejected(via, rejection.code);
    EventResult {
        id,
        status: "rejected",
        cost_usd: None,
        execution: None,
        reason: Some(rejection.code),
        pointer: Some(rejection.pointer),
        message: Some(rejection.message),
        fenced: false,
    }
}

fn result_of(app: &App, via: &'static str, shown: Shown, booked: &Booked, first_times: &FirstTimes) -> EventResult {
    let Shown { id, execution, time, priced } = shown;
    let blank = EventResult {
        id,
        status: "accepted",
        cost_usd: None,
        execution: Some(execution.name.to_string()),
        reason: None,
        pointer: None,
        message: None,
        fenced: false,
    };
    match booked {
        Booked::Accepted { fenced, .. } => EventResult { fenced: *fenced, ..with_price(blank, &priced) },
        // Answers as the first time, and says what has become of the run since: that answer may never have arrived.
        Booked::Duplicate { seq } => match first_times.get(seq) {
            Some((execution, priced, fenced)) => EventResult {
                status: "duplicate",
                execution: Some(execution.name.to_string()),
                fenced: *fenced,
                ..with_price(blank, priced)
            },
            None => EventResult { status: "duplicate", ..blank },
        },
        Booked::Conflict { seq } => EventResult {
            status: "conflict",
            reason: Some("id_conflict"),
            message: Some(format!(
                "this id was booked before with other content (entry {seq}); a new call needs a new id, a correction is an adjustment"
            )),
            ..blank
        },
        Booked::TooOld => rejected(app, via, blank.id, too_old(app, time)),
        Booked::OutOfRange => {
            let message = "the run's cost would pass 10^20 USD; nothing was booked";
            rejected(app, via, blank.id, Rejection::new("out_of_range", "/usage", message))
        }
    }
}

fn with_price(result: EventResult, priced: &Priced) -> EventResult {
    match priced {
        Priced::Cost(cost) => EventResult { cost_usd: Some(cost.total.to_string()), ..result },
        Priced::Reported(cost) => EventResult { cost_usd: Some(cost.to_string()), ..result },
        Priced::Zero(zero) => EventResult { cost_usd: Some("0".to_owned()), reason: Some(zero.code()), ..result },
        Priced::Unpriced(reason) => EventResult {
            status: "quarantined",
            reason: Some(reason.code()),
            message: Some(format!("{reason}: {}", way_out(reason))),
            ..result
        },
    }
}

/// The same of a booked call; nothing for one that has a price.
pub(super) fn way_out_of(charge: &Charge) -> &'static str {
    match &charge.priced {
        Priced::Unpriced(reason) => way_out(reason),
        Priced::Cost(_) | Priced::Zero(_) | Priced::Reported(_) => "",
    }
}

/// What makes a call without a price settle.
fn way_out(reason: &Unpriced) -> &'static str {
    match reason {
        Unpriced::UnknownProvider | Unpriced::UnknownModel | Unpriced::UnknownTool | Unpriced::NoRateForUnit(_) => {
            "no price table in force has it; the call settles by itself when a table in prices.dirs does"
        }
        Unpriced::NoRateAtTime => "no rate was in force at the event's time; the call settles when a table has one",
        Unpriced::MissingUsage => "a call that succeeded must say what it used; send its usage under a new id",
        Unpriced::InvalidUsage(_) => "the numbers contradict each other; check how the source counts cached tokens",
        Unpriced::OutOfRange => "the amount is beyond 10^20 USD; check the units of the usage and of the rates",
    }
}

impl From<BodyError> for Problem {
    fn from(error: BodyError) -> Self {
        let status = StatusCode::from_u16(error.status).unwrap_or(StatusCode::BAD_REQUEST);
        Self::new(status, error.code, error.message)
    }
}
