//! `GET /v1/events`: what happens, as server-sent events, for the console and whoever else watches. A `snapshot` first, then
//! `delta`s: the runs that moved as they are now, every budget's figures, and what is worth a line. The id of an event is
//! the newest entry in it; a reader that comes back with it goes on from there. Without `Accept:
//! text/event-stream`, one snapshot.
//!
//! Rows are states and not history, so a slow reader gets fewer of them and never wrong ones; a run that moves a thousand
//! times between two events is one row. Never writes, and nobody waits for a watcher.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State as Shared;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use budget::signal::Kill;
use budget::state::Execution;
use budget::{Budget, Fact, Ref, State, Window};
use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;

use super::App;
use super::answer::typed;
use super::caller::Caller;
use super::health::standing;
use crate::pulse::{Moved, Pulse};
use crate::reconcile::kill_json;
use crate::server::body::header_text;
use crate::server::problem::Problem;
use crate::signal::{counter_json, fraction, signal_of};

/// Changes of so long go out together.
const TICK: Duration = Duration::from_millis(400);
/// Something goes out so often, also when nothing moves: times run on, and a dead peer is noticed.
const QUIET_MAX: Duration = Duration::from_secs(5);
/// Open runs in a snapshot, those that moved last first; beyond that only their number is told.
const LIVE_MAX: usize = 2_000;
/// Runs that ended, in a snapshot.
const ENDED_MAX: usize = 100;
const BUDGET_ROWS_MAX: usize = 500;
const KILLS_MAX: usize = 50;
const FACTS_MAX: usize = 200;
/// Events that may wait for a slow reader: more would only be older.
const WAITING_MAX: usize = 2;

pub(super) async fn get(Shared(app): Shared<App>, caller: Caller, headers: HeaderMap) -> Result<Response, Problem> {
    let last = header_text(&headers, &HeaderName::from_static("last-event-id"));
    let after = last.map(str::parse::<u64>).transpose().map_err(|_| {
        Problem::bad_request("invalid_last_event_id", "Last-Event-ID is the id of an event, a whole number")
    })?;
    let streams = header_text(&headers, &header::ACCEPT).is_some_and(|accept| accept.contains("text/event-stream"));
    if !streams {
        // Who does not ask for a stream gets how things are, once.
        app.view.read_fresh(|_| ()).await;
        let seq = app.pulse.reached();
        return Ok(typed(StatusCode::OK, "application/json", snapshot(&app, &caller, seq).to_string()));
    }
    let place = app.pulse.place().ok_or_else(|| {
        Problem::unavailable("too_many_listeners", "enough people watch already; close one").retry_after(30)
    })?;
    let (sender, receiver) = mpsc::channel::<Bytes>(WAITING_MAX);
    tokio::spawn(async move {
        watch(&app, &caller, after, &sender).await;
        drop(place);
    });
    let body = Body::from_stream(ReceiverStream::new(receiver).map(Ok::<_, Infallible>));
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// Sends until the reader is gone or the daemon goes down.
async fn watch(app: &App, caller: &Caller, after: Option<u64>, sender: &mpsc::Sender<Bytes>) {
    let mut cursor = after;
    loop {
        let moved = cursor.and_then(|cursor| app.pulse.since(cursor));
        // The pulse and the view follow the ledger each by itself: the view must hold what the pulse tells of.
        app.view.read_fresh(|_| ()).await;
        let (seq, event, data) = match moved {
            Some(moved) => (moved.seq, "delta", delta(app, caller, &moved)),
            None => {
                let seq = app.pulse.reached();
                (seq, "snapshot", snapshot(app, caller, seq))
            }
        };
        let text = format!("id: {seq}\nevent: {event}\ndata: {data}\n\n");
        if sender.send(Bytes::from(text)).await.is_err() {
            return;
        }
        cursor = Some(seq);
        tokio::select! {
            () = pause(&app.pulse, seq) => {}
            () = sender.closed() => return,
            () = app.stop.cancelled() => return,
        }
    }
}

/// Until something moved and its tick is over, or the silence has been long enough.
async fn pause(pulse: &Pulse, seq: u64) {
    let moved = async {
        tokio::time::sleep(TICK).await;
        pulse.moved_past(seq).await;
    };
    // Late is no error: the next event says how things are.
    let _ = tokio::time::timeout(QUIET_MAX, moved).await;
}

fn snapshot(app: &App, caller: &Caller, seq: u64) -> Value {
    let newest = app.pulse.newest_facts(FACTS_MAX);
    let (now, health) = (app.clock.now(), standing(app));
    app.view.read(|state| {
        let seen = |run: &&Execution| caller.0.sees(&run.id.namespace);
        let (mut live, mut ended) = (Vec::new(), Vec::new());
        for run in state.executions().filter(seen) {
            if run.phase.is_terminal() { &mut ended } else { &mut live }.push(run);
        }
        let runs_live = live.len();
        for (runs, most) in [(&mut live, LIVE_MAX), (&mut ended, ENDED_MAX)] {
            runs.sort_unstable_by_key(|run| std::cmp::Reverse(run.last_seq));
            runs.truncate(most);
        }
        let facts = newest.iter().filter_map(|entry| fact_json(state, entry));
        let facts = facts.filter(|fact| fact["namespace"].as_str().is_none_or(|namespace| caller.0.sees(namespace)));
        let kills = state.kills().rev().filter(|kill| caller.0.sees(&kill.execution.namespace));
        json!({
            "seq": seq, "now": now, "live": runs_live,
            "runs": live.into_iter().chain(ended).map(|run| run_json(state, run)).collect::<Vec<Value>>(),
            "budgets": budgets_json(app, caller, state),
            "kills": kills.take(KILLS_MAX).map(kill_json).collect::<Vec<Value>>(),
            "facts": facts.collect::<Vec<Value>>(), "health": health,
        })
    })
}

fn delta(app: &App, caller: &Caller, moved: &Moved) -> Value {
    let (now, health) = (app.clock.now(), standing(app));
    app.view.read(|state| {
        let kills: Vec<&Kill> = moved.facts.iter().filter_map(|entry| state.kill(kill_of(&entry.fact)?)).collect();
        let mut runs: BTreeSet<&Ref> = moved.runs.iter().collect();
        runs.extend(kills.iter().map(|kill| &kill.execution));
        let seen = |namespace: &str| caller.0.sees(namespace);
        let rows = runs.iter().filter(|run| seen(&run.namespace)).filter_map(|run| state.execution(run));
        let facts = moved.facts.iter().rev().filter_map(|entry| fact_json(state, entry));
        let facts = facts.filter(|fact| fact["namespace"].as_str().is_none_or(seen));
        json!({
            "seq": moved.seq, "now": now, "live": state.live(),
            "runs": rows.map(|run| run_json(state, run)).collect::<Vec<Value>>(),
            "budgets": budgets_json(app, caller, state),
            "kills": kills.into_iter().filter(|kill| seen(&kill.execution.namespace)).map(kill_json).collect::<Vec<Value>>(),
            "facts": facts.take(FACTS_MAX).collect::<Vec<Value>>(), "health": health,
        })
    })
}

/// A run as a row. Short names: there may be thousands of them.
fn run_json(state: &State, run: &Execution) -> Value {
    let kill = run.kill.as_deref().and_then(|kill| state.kill(kill)).map(|kill| kill.state.as_str());
    let tokens = &run.tokens;
    json!({
        "namespace": run.id.namespace, "name": run.id.name, "agent": run.subject.agent, "team": run.subject.team,
        "phase": run.phase.as_str(), "cost": run.cost, "subtree": run.subtree_cost, "calls": run.model_calls,
        "tools": run.tool_calls, "unpriced": run.unpriced_calls, "started": run.started_at, "ended": run.completed_at,
        "tokens": tokens.input + tokens.cache_read + tokens.cache_write + tokens.output + tokens.reasoning,
        "kill": kill, "soft": run.soft_limit.is_some(), "hard": run.hard_limit.is_some(),
    })
}

/// Every window of every budget with what it allows, and what happens at its end. Limits of single runs are the runs'.
fn budgets_json(app: &App, caller: &Caller, state: &State) -> Vec<Value> {
    let of = |counter: &budget::signal::CounterAt| {
        state.budgets().find(|budget| budget.source == counter.source && budget.id == counter.budget)
    };
    let counters = state.counters(app.clock.now());
    let windows = counters.iter().filter(|counter| counter.window != Window::Run);
    let seen = windows.filter(|counter| caller.0.sees(&counter.budget.namespace));
    let row = |counter| {
        let mut row = counter_json(counter);
        if let (Some(row), Some(budget)) = (row.as_object_mut(), of(counter)) {
            row.insert("action".to_owned(), json!(action(budget)));
            let soft = budget.soft_levels.iter().map(|level| fraction(level.0)).collect::<Vec<String>>();
            row.insert("soft".to_owned(), json!(soft));
        }
        row
    };
    seen.take(BUDGET_ROWS_MAX).map(row).collect()
}

fn action(budget: &Budget) -> &'static str {
    match budget.on_hard_limit {
        budget::Action::Alert => "alert",
        budget::Action::Deny => "deny",
        budget::Action::Terminate => "terminate",
    }
}

fn kill_of(fact: &Fact) -> Option<&str> {
    match fact {
        Fact::Killed { kill, .. }
        | Fact::KillSent { kill, .. }
        | Fact::KillAcked { kill, .. }
        | Fact::KillConfirmed { kill, .. }
        | Fact::WindDown { kill, .. }
        | Fact::Fenced { kill, .. }
        | Fact::KillEscalated { kill, .. }
        | Fact::KillManual { kill } => Some(kill),
        _ => None,
    }
}

/// What is worth a line: `{seq, at, what, namespace, execution, …}`.
fn fact_json(state: &State, entry: &budget::Entry) -> Option<Value> {
    let line = |what: &str, run: &Ref| json!({ "seq": entry.seq, "at": entry.at, "what": what, "namespace": run.namespace, "execution": run.name });
    let of_kill = |what: &str, kill: &str| state.kill(kill).map(|kill| line(what, &kill.execution));
    let value = match &entry.fact {
        Fact::Opened(opened) => line("opened", &opened.execution),
        Fact::Ended { execution, phase } => with(line("ended", execution), "phase", json!(phase.as_str())),
        Fact::Warned { execution, .. } => line("warned", execution),
        Fact::Reached { execution, .. } => line("reached", execution),
        Fact::Killed { execution, .. } => line("killed", execution),
        Fact::WindDown { execution, .. } => line("wind_down", execution),
        Fact::Fenced { execution, .. } => line("fenced", execution),
        Fact::KillEscalated { kill, .. } => of_kill("kill_escalated", kill)?,
        Fact::KillManual { kill } => of_kill("kill_manual", kill)?,
        Fact::KillSent { kill, channel, .. } => with(of_kill("kill_sent", kill)?, "channel", json!(channel.as_str())),
        Fact::KillAcked { kill, .. } => of_kill("kill_acked", kill)?,
        Fact::KillConfirmed { kill, .. } => of_kill("kill_confirmed", kill)?,
        Fact::Applied(applied) => {
            let id = &applied.id;
            json!({ "seq": entry.seq, "at": entry.at, "what": "applied", "kind": applied.kind, "namespace": id.namespace, "name": id.name })
        }
        Fact::Removed { kind, id } => {
            json!({ "seq": entry.seq, "at": entry.at, "what": "removed", "kind": kind, "namespace": id.namespace, "name": id.name })
        }
        _ => return None,
    };
    Some(match signal_of(entry) {
        Some((_, signal)) => with(value, "data", signal.data),
        None => value,
    })
}

/// The line with one more member.
fn with(mut line: Value, name: &str, value: Value) -> Value {
    if let Some(members) = line.as_object_mut() {
        members.insert(name.to_owned(), value);
    }
    line
}
