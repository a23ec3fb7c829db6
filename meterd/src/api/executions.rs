//! Executions: open, read with live status, list, complete, entries, allowance, operator kill.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use budget::decide::Denial;
use budget::entry::Phase;
use budget::state::Execution;
use budget::{Command, Entry, Ref, Verdict};
use pricing::{Money, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};

use super::App;
use super::answer::{Form, typed};
use super::caller::Caller;
use super::extract::{Path, Query};
use crate::reconcile::{cost_of, entry_json};
use crate::resource::print::Json;
use crate::resource::{execution_document_with_kill, execution_from_json};
use crate::server::body::read;
use crate::server::problem::Problem;
use crate::signal::counter_json;

/// Executions or entries in one answer, at most.
const PAGE_MAX: usize = 1_000;
const PAGE_DEFAULT: usize = 100;
/// Longest reason of a kill: it goes into the ledger and out to every listener.
const REASON_BYTES_MAX: usize = 1_024;

const PHASES: [Phase; 5] = [Phase::Pending, Phase::Running, Phase::Succeeded, Phase::Failed, Phase::Cancelled];

#[derive(Debug, Default, Deserialize)]
pub(super) struct Params {
    phase: Option<String>,
    agent: Option<String>,
    since: Option<String>,
    over_usd: Option<String>,
    limit: Option<usize>,
    #[serde(rename = "continue")]
    next: Option<u64>,
    format: Option<String>,
}

impl Params {
    fn limit(&self) -> usize {
        self.limit.unwrap_or(PAGE_DEFAULT).clamp(1, PAGE_MAX)
    }
}

pub(super) async fn put(
    State(app): State<App>,
    caller: Caller,
    Path((namespace, name)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let raw = read(body, app.body).await?;
    let opened = execution_from_json(&namespace, &name, &raw)
        .map_err(|problems| super::resources::refused(StatusCode::BAD_REQUEST, "invalid_execution", &problems))?;
    // A run that exists has its agent already, and the door has asked for it.
    if let Some(agent) = &opened.subject.agent {
        caller.0.agent(Some(agent))?;
    }
    match app.meter.command(Command::Open(Box::new(opened))).await? {
        Verdict::AlreadyEnded(phase) => return Err(ended(&namespace, &name, phase)),
        Verdict::NothingToSlice => return Err(nothing_to_slice(&namespace, &name)),
        _ => {}
    }
    answer_one(&app, &Ref::new(&namespace, &name), Form::of(None, &headers)).await
}

/// A slice of nothing would limit nothing, which nobody would notice.
pub(super) fn nothing_to_slice(namespace: &str, name: &str) -> Problem {
    let detail = format!(
        "{namespace}/{name} is to have a slice of its parent's budget, and its parent is not known or has none of its own: open \
         the parent with budgets first, or state limits"
    );
    Problem::new(StatusCode::CONFLICT, "nothing_to_slice", detail).at("/budgets/sliceOfParent")
}

fn ended(namespace: &str, name: &str, phase: Phase) -> Problem {
    let detail = format!("{namespace}/{name} is over ({}); a new run needs a new name", phase.as_str());
    Problem::new(StatusCode::CONFLICT, "execution_ended", detail)
}

pub(super) async fn get(
    State(app): State<App>,
    Path((namespace, name)): Path<(String, String)>,
    Query(params): Query<Params>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    answer_one(&app, &Ref::new(&namespace, &name), Form::of(params.format.as_deref(), &headers)).await
}

async fn answer_one(app: &App, id: &Ref, form: Form) -> Result<Response, Problem> {
    let now = app.clock.now();
    let document = app.view.read_fresh(|state| {
        let run = state.execution(id)?;
        let kill = run.kill.as_deref().or(run.winding.as_deref()).and_then(|kill| state.kill(kill));
        Some(execution_document_with_kill(run, kill, now, app.budgets.settle_grace))
    });
    document.await.map(|document| form.answer(&document)).ok_or_else(|| unknown(id))
}

fn unknown(id: &Ref) -> Problem {
    Problem::not_found(format!(
        "no execution {id}: nothing opened it and no event named it, or it ended longer ago than ledger.forgetRunsAfter; \
         what it cost then stays in the ledger: meterd describe execution {} -n {} --data-dir DIR",
        id.name, id.namespace
    ))
}

pub(super) async fn list(
    State(app): State<App>,
    caller: Caller,
    Path(namespace): Path<String>,
    Query(params): Query<Params>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    page(&app, &caller, Some(&namespace), &params, &headers).await
}

pub(super) async fn list_all(
    State(app): State<App>,
    caller: Caller,
    Query(params): Query<Params>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    page(&app, &caller, None, &params, &headers).await
}

async fn page(
    app: &App,
    caller: &Caller,
    namespace: Option<&str>,
    params: &Params,
    headers: &HeaderMap,
) -> Result<Response, Problem> {
    let parse = |name: &'static str, text: &Option<String>| match text {
        None => Ok(None),
        Some(text) => text
            .parse::<Timestamp>()
            .map(Some)
            .map_err(|error| Problem::bad_request("invalid_parameter", format!("{name}: {error}"))),
    };
    let since = parse("since", &params.since)?;
    let is_known = |phase: &&str| PHASES.iter().any(|known| known.as_str().eq_ignore_ascii_case(phase));
    if let Some(phase) = params.phase.as_deref().filter(|phase| !is_known(phase)) {
        let known = PHASES.map(Phase::as_str).join(", ");
        return Err(Problem::bad_request("invalid_parameter", format!("phase: {phase:?} is none of {known}")));
    }
    let over: Option<Money> = params
        .over_usd
        .as_deref()
        .map(str::parse)
        .transpose()
        .map_err(|error| Problem::bad_request("invalid_parameter", format!("over_usd: {error}")))?;
    let wanted = |run: &Execution| {
        caller.0.sees(&run.id.namespace)
            && namespace.is_none_or(|namespace| *run.id.namespace == *namespace)
            && params.phase.as_deref().is_none_or(|phase| run.phase.as_str().eq_ignore_ascii_case(phase))
            && params.agent.as_deref().is_none_or(|agent| run.subject.agent.as_deref() == Some(agent))
            && since.is_none_or(|since| run.started_at >= since)
            && over.is_none_or(|over| run.cost > over)
    };
    let now = app.clock.now();
    let skip = usize::try_from(params.next.unwrap_or(0)).unwrap_or(usize::MAX);
    let limit = params.limit();
    let page = app.view.read_fresh(|state| {
        let mut items = Vec::new();
        let mut next = None;
        for (index, run) in state.executions().enumerate().skip(skip).filter(|(_, run)| wanted(run)) {
            if items.len() == limit {
                next = Some(index);
                break;
            }
            let kill = run.kill.as_deref().or(run.winding.as_deref()).and_then(|kill| state.kill(kill));
            items.push(execution_document_with_kill(run, kill, now, app.budgets.settle_grace));
        }
        (items, next)
    });
    let (items, next) = page.await;
    let next = next.map_or(Json::Null, Json::text);
    let list = Json::map([
        ("apiVersion", Json::text(crate::resource::API_VERSION)),
        ("kind", Json::text("ExecutionList")),
        ("items", Json::List(items)),
        ("continue", next),
    ]);
    Ok(Form::of(params.format.as_deref(), headers).answer(&list))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Completion {
    phase: String,
}

pub(super) async fn complete(
    State(app): State<App>,
    Path((namespace, name)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    const ALLOWED: [Phase; 3] = [Phase::Succeeded, Phase::Failed, Phase::Cancelled];
    let raw = read(body, app.body).await?;
    let expected = r#"expected {"phase": "Succeeded" | "Failed" | "Cancelled"}"#;
    let completion: Completion = serde_json::from_slice(&raw)
        .map_err(|error| Problem::bad_request("invalid_completion", format!("{expected}: {error}")))?;
    let phase = ALLOWED.into_iter().find(|phase| phase.as_str() == completion.phase);
    let phase = phase.ok_or_else(|| Problem::bad_request("unknown_phase", expected).at("/phase"))?;
    let id = Ref::new(&namespace, &name);
    match app.meter.command(Command::End { execution: id.clone(), phase }).await? {
        Verdict::UnknownExecution => Err(unknown(&id)),
        Verdict::AlreadyEnded(before) if before != phase => Err(ended(&namespace, &name, before)),
        _ => answer_one(&app, &id, Form::of(None, &headers)).await,
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct KillBody {
    #[serde(default)]
    reason: Option<String>,
}

pub(super) async fn kill(
    State(app): State<App>,
    caller: Caller,
    Path((namespace, name)): Path<(String, String)>,
    body: Body,
) -> Result<Response, Problem> {
    let raw = read(body, app.body).await?;
    let body: KillBody = if raw.trim_ascii().is_empty() {
        KillBody::default()
    } else {
        serde_json::from_slice(&raw)
            .map_err(|error| Problem::bad_request("invalid_kill", format!(r#"expected {{"reason": "…"}}: {error}"#)))?
    };
    let id = Ref::new(&namespace, &name);
    let reason: Arc<str> = body.reason.as_deref().unwrap_or("no reason given").into();
    if reason.len() > REASON_BYTES_MAX {
        let detail = format!("the reason has {} bytes; at most {REASON_BYTES_MAX} are kept", reason.len());
        return Err(Problem::bad_request("too_long", detail).at("/reason"));
    }
    let command = Command::Kill { execution: id.clone(), reason, by: Arc::clone(caller.0.name()) };
    match app.meter.command(command).await? {
        Verdict::Killed { kill } => Ok(typed(
            StatusCode::ACCEPTED,
            "application/json",
            json!({ "id": kill, "execution": name, "namespace": namespace, "state": "fenced" }).to_string(),
        )),
        Verdict::AlreadyEnded(phase) => Err(ended(&namespace, &name, phase)),
        _ => Err(unknown(&id)),
    }
}

pub(super) async fn allowance(
    State(app): State<App>,
    Path((namespace, name)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let id = Ref::new(&namespace, &name);
    let now = app.clock.now();
    let allowance =
        app.view.read_fresh(|state| budget::allowance(state, now, &id)).await.ok_or_else(|| unknown(&id))?;
    app.metrics.decided(allowance.denial.as_ref(), &allowance.counters);
    let mut answer = json!({
        "execution": name, "namespace": namespace,
        "decision": if allowance.denial.is_none() { "allow" } else { "deny" },
        "remainingUsd": allowance.remaining,
        "budgets": allowance.counters.iter().map(counter_json).collect::<Vec<Value>>(),
    });
    if let (Some(answer), Some(turn)) = (answer.as_object_mut(), &allowance.turn) {
        let turn = json!({ "kill": turn.kill, "allowanceUsd": turn.left, "until": turn.until });
        answer.insert("windDown".to_owned(), turn);
    }
    if let (Some(answer), Some(denial)) = (answer.as_object_mut(), &allowance.denial) {
        answer.insert("code".to_owned(), Value::from(denial.code()));
        answer.insert("message".to_owned(), Value::from(super::reservations::message(denial)));
        let budget = if let Denial::Limit(counter) = denial { counter_json(counter) } else { Value::Null };
        answer.insert("budget".to_owned(), budget);
        answer.insert("retryable".to_owned(), Value::Bool(false));
    }
    Ok(typed(StatusCode::OK, "application/json", answer.to_string()))
}

pub(super) async fn entries(
    State(app): State<App>,
    Path((namespace, name)): Path<(String, String)>,
    Query(params): Query<Params>,
) -> Result<Response, Problem> {
    let id = Ref::new(&namespace, &name);
    let known = app.view.read_fresh(|state| state.execution(&id).map(|run| run.last_seq)).await;
    let last = known.ok_or_else(|| unknown(&id))?;
    let reader = app.view.ledger().clone();
    let (from, limit) = (params.next.unwrap_or(1), params.limit());
    let run = id.clone();
    let looked = tokio::task::spawn_blocking(move || {
        let mut found: Vec<Value> = Vec::new();
        let mut next = None;
        reader.scan(from, |entry: &Entry| {
            if cost_of(entry) == Some(&run) {
                if found.len() == limit {
                    next = Some(entry.seq);
                    return false;
                }
                found.extend(entry_json(entry));
            }
            entry.seq < last
        })?;
        Ok::<_, crate::ledger::LedgerError>((found, next))
    });
    let stopping = |_| Problem::unavailable("stopping", "the daemon is going down");
    let (found, next) = looked.await.map_err(stopping)??;
    let answer = json!({ "entries": found, "continue": next.map(|seq| seq.to_string()) });
    Ok(typed(StatusCode::OK, "application/json", answer.to_string()))
}
