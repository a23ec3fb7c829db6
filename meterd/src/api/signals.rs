//! `GET …/signals`: kills and warnings for one run, as server-sent events or one long poll, resumable by id; and the
//! agent's acknowledgement.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use budget::signal::{Attempt, Channel, Kill, Proof};
use budget::{Command, Ref, Verdict};
use bytes::Bytes;
use hyper::body::Frame;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::App;
use super::extract::{Path, Query};
use crate::server::body::{header_text, read};
use crate::server::problem::Problem;
use crate::signal::{Listener, Signal, signal_of};

/// A comment line is sent so often on a quiet stream, so that dead peers are noticed.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// A long poll waits at most so long.
const WAIT_MAX: Duration = Duration::from_secs(60);
/// Entries read back at most for one resumed stream.
const RESUME_SIGNALS_MAX: usize = 1_000;
/// Events that may wait for a slow reader of one stream.
const STREAM_EVENTS_MAX: usize = 16;

#[derive(Debug, Deserialize)]
pub(super) struct Params {
    after: Option<u64>,
    wait_seconds: Option<u64>,
}

pub(super) async fn get(
    State(app): State<App>,
    Path((namespace, name)): Path<(String, String)>,
    Query(params): Query<Params>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let execution = Ref::new(&namespace, &name);
    let last_id = header_text(&headers, &header::HeaderName::from_static("last-event-id"));
    let after = match last_id.map(str::parse::<u64>) {
        Some(Ok(seq)) => Some(seq),
        Some(Err(_)) => {
            return Err(Problem::bad_request(
                "invalid_last_event_id",
                "Last-Event-ID is the id of a signal, a whole number",
            ));
        }
        None => params.after,
    };
    // Listen first, then look back: nothing falls between.
    let live = app
        .hub
        .listen(&execution)
        .map_err(|error| Problem::unavailable("too_many_listeners", error.to_string()).retry_after(30))?;
    let past = past_signals(&app, &execution, after).await?;
    let reached = past.iter().map(|signal| signal.seq).max().or(after).unwrap_or(0);
    let is_stream = header_text(&headers, &header::ACCEPT).is_some_and(|accept| accept.contains("text/event-stream"));
    if is_stream {
        Ok(stream(app, past, live, reached))
    } else {
        let wait = Duration::from_secs(params.wait_seconds.unwrap_or(0)).min(WAIT_MAX);
        Ok(long_poll(app, past, live, reached, wait).await)
    }
}

/// Without an id: the kill that still stands. With one: everything after it.
async fn past_signals(app: &App, execution: &Ref, after: Option<u64>) -> Result<Vec<Signal>, Problem> {
    let known = app.view.read_fresh(|state| {
        let run = state.execution(execution)?;
        let kill = run.kill.as_deref().or(run.winding.as_deref()).and_then(|kill| state.kill(kill));
        Some((run.last_seq, kill.and_then(standing)))
    });
    let Some((last, kill)) = known.await else { return Ok(Vec::new()) };
    let from = match after {
        Some(seq) => seq.saturating_add(1),
        None => match kill {
            Some(seq) => seq,
            None => return Ok(Vec::new()),
        },
    };
    // Without an id nothing but the kill is looked for.
    let to = if after.is_some() { last } else { from };
    if from > to {
        return Ok(Vec::new());
    }
    let reader = app.view.ledger().clone();
    let execution = execution.clone();
    let looked = tokio::task::spawn_blocking(move || {
        let mut found = Vec::new();
        reader.scan(from, |entry| {
            found.extend(signal_of(entry).filter(|(run, _)| **run == execution).map(|(_, signal)| signal));
            found.len() < RESUME_SIGNALS_MAX && entry.seq < to
        })?;
        Ok::<_, crate::ledger::LedgerError>(found)
    });
    looked.await.map_err(|_| Problem::unavailable("stopping", "the daemon is going down"))?.map_err(Problem::from)
}

/// The entry of what stands: the fence, or the turn before it, which the kill's id holds the number of.
fn standing(kill: &Kill) -> Option<u64> {
    kill.fence_seq.or_else(|| kill.id.strip_prefix("kill-")?.parse().ok())
}

async fn long_poll(app: App, mut signals: Vec<Signal>, mut live: Listener, reached: u64, wait: Duration) -> Response {
    if signals.is_empty() && !wait.is_zero() {
        let next = async {
            loop {
                match live.next().await {
                    Ok(signal) if signal.seq > reached => return Some(signal),
                    Ok(_) => {}
                    // Answers with nothing new: the next poll finds what was missed in the ledger.
                    Err(_) => return None,
                }
            }
        };
        tokio::select! {
            signal = next => signals.extend(signal),
            () = tokio::time::sleep(wait) => {}
            () = app.stop.cancelled() => {}
        }
    }
    for signal in &signals {
        report_delivered(&app, signal);
    }
    let signals: Vec<Value> = signals
        .iter()
        .map(|signal| json!({"seq": signal.seq, "event": signal.event, "id": signal.kill, "data": signal.data}))
        .collect();
    Json(json!({ "signals": signals })).into_response()
}

fn stream(app: App, past: Vec<Signal>, mut live: Listener, mut reached: u64) -> Response {
    let (sender, receiver) = mpsc::channel::<Bytes>(STREAM_EVENTS_MAX);
    let past_len = past.len();
    tokio::spawn(async move {
        if sender.send(Bytes::from_static(b": connected\n\n")).await.is_err() {
            return;
        }
        for signal in past {
            if !send(&app, &sender, &signal).await {
                return;
            }
        }
        // There may be more behind so many: the reader comes back for it with its last id.
        if past_len >= RESUME_SIGNALS_MAX {
            return;
        }
        loop {
            let next = tokio::select! {
                next = live.next() => next,
                () = tokio::time::sleep(KEEP_ALIVE) => {
                    if sender.send(Bytes::from_static(b": keep-alive\n\n")).await.is_err() { return }
                    continue;
                }
                () = sender.closed() => return,
                () = app.stop.cancelled() => return,
            };
            match next {
                Ok(signal) if signal.seq > reached => {
                    reached = signal.seq;
                    if !send(&app, &sender, &signal).await {
                        return;
                    }
                }
                Ok(_) => {}
                // Ends the stream: the reader comes back with its last id and misses nothing.
                Err(_) => return,
            }
        }
    });
    let mut response = Response::new(Body::new(Events { receiver }));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The body of a stream: what comes through the channel, as it comes.
struct Events {
    receiver: mpsc::Receiver<Bytes>,
}

impl hyper::body::Body for Events {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.receiver.poll_recv(context).map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))))
    }
}

async fn send(app: &App, sender: &mpsc::Sender<Bytes>, signal: &Signal) -> bool {
    let text = format!("id: {}\nevent: {}\ndata: {}\n\n", signal.seq, signal.event, signal.data);
    let sent = sender.send(Bytes::from(text)).await.is_ok();
    if sent {
        report_delivered(app, signal);
    }
    sent
}

/// The transport took a kill: that becomes an entry, without making the stream wait for it.
fn report_delivered(app: &App, signal: &Signal) {
    let Some(kill) = signal.kill.clone() else { return };
    let meter = app.meter.clone();
    tokio::spawn(async move {
        let command = Command::Sent { kill, channel: Channel::Stream, attempt: Attempt::Delivered, took_us: 0 };
        if let Err(error) = meter.command(command).await {
            tracing::warn!(%error, "a kill's delivery was not recorded");
        }
    });
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct AckBody {
    /// How the kill reached the run; `stream` unless said.
    channel: Option<String>,
    /// `process_gone`: the run's process is proven gone.
    proof: Option<String>,
}

pub(super) async fn ack(
    State(app): State<App>,
    Path((namespace, name, id)): Path<(String, String, String)>,
    body: Body,
) -> Result<Response, Problem> {
    let raw = read(body, app.body).await?;
    let body: AckBody = if raw.trim_ascii().is_empty() {
        AckBody::default()
    } else {
        serde_json::from_slice(&raw).map_err(|error| {
            Problem::bad_request(
                "invalid_ack",
                format!(r#"expected {{"channel"?, "proof"?: "process_gone"}}: {error}"#),
            )
        })?
    };
    let channel = match body.channel.as_deref() {
        None => Channel::Stream,
        Some(word) => Channel::ALL.into_iter().find(|channel| channel.as_str() == word).ok_or_else(|| {
            Problem::bad_request("unknown_channel", "channel is one of stream, process, webhook, joch").at("/channel")
        })?,
    };
    let proof = match body.proof.as_deref() {
        None => None,
        Some("process_gone") => Some(Proof::ProcessGone),
        Some(_) => return Err(Problem::bad_request("unknown_proof", "proof is process_gone, or left out").at("/proof")),
    };
    let execution = Ref::new(&namespace, &name);
    let kill: Arc<str> = id.into();
    let verdict = app.meter.command(Command::Ack { execution, kill: Arc::clone(&kill), channel }).await?;
    if matches!(verdict, Verdict::UnknownKill | Verdict::UnknownExecution) {
        return Err(Problem::not_found(format!("{namespace}/{name} has no kill {kill}")));
    }
    if let Some(proof) = proof {
        // The acknowledgement is booked; its proof waits for room rather than being lost.
        app.meter.command_when_room(Command::Confirm { kill: Arc::clone(&kill), proof }).await?;
    }
    Ok(Json(json!({ "id": kill, "state": if proof.is_some() { "confirmed" } else { "acked" } })).into_response())
}
