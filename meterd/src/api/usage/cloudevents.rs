//! CloudEvents on `POST /v1/usage`: usage is booked, the beginning and end of runs become commands.

use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use budget::entry::Opened;
use budget::{Command, Subject, Verdict};

use super::{Outcome, answer_of, take, to_json};
use crate::api::App;
use crate::api::answer::typed;
use crate::api::caller::Caller;
use crate::ingest::Item;
use crate::ingest::cloudevents::{Envelope, Event, Mode, RunEvent, decode, decode_binary};
use crate::server::body::header_text;
use crate::server::problem::Problem;

/// How this request carries CloudEvents, if it does.
pub(super) fn mode(headers: &HeaderMap) -> Option<Mode> {
    let version = headers.contains_key("ce-specversion");
    Mode::of(header_text(headers, &header::CONTENT_TYPE), version)
}

pub(super) async fn post(
    app: &App,
    caller: &Caller,
    mode: Mode,
    headers: &HeaderMap,
    plain: &[u8],
) -> Result<Response, Problem> {
    let events = match mode {
        Mode::Binary => vec![decode_binary(&envelope(headers)?, plain)],
        Mode::Structured | Mode::Batch => decode(plain, mode)?,
    };
    let lone = mode != Mode::Batch;
    let mut usage: Vec<Item> = Vec::new();
    let mut outcome = Outcome::default();
    // In their order: usage before the end of its run, and after its beginning.
    for event in events {
        match event {
            Event::Usage(item) => usage.push(*item),
            Event::Run(_, run) => {
                outcome.join(take(app, caller, std::mem::take(&mut usage), "cloudevents").await?);
                carry_out(app, caller, run).await?;
                outcome.runs += 1;
            }
            Event::Other => outcome.ignored += 1,
        }
    }
    outcome.join(take(app, caller, usage, "cloudevents").await?);
    if outcome.results.is_empty() {
        return Ok(typed(StatusCode::OK, "application/json", to_json(&outcome)));
    }
    answer_of(&outcome, lone)
}

async fn carry_out(app: &App, caller: &Caller, run: RunEvent) -> Result<(), Problem> {
    let command = match run {
        RunEvent::Started { execution, agent, parent } => {
            caller.0.may_charge(&execution.namespace, &execution.name, agent.as_deref())?;
            Command::Open(Box::new(Opened {
                execution,
                subject: Subject { agent, ..Subject::default() },
                parent,
                conversation: None,
                inherit_from_agent: true,
                budget: None,
                route: None,
                document: None,
            }))
        }
        RunEvent::Ended { execution, phase } => {
            let agent = app.view.read_fresh(|state| state.execution(&execution)?.subject.agent.clone()).await;
            caller.0.may_charge(&execution.namespace, &execution.name, agent.as_deref())?;
            Command::End { execution, phase }
        }
    };
    // A run that is over, or that nobody knows, is no failure of the bus: it would only send the same again.
    let verdict = app.meter.command(command).await?;
    if matches!(verdict, Verdict::AlreadyEnded(_) | Verdict::UnknownExecution) {
        tracing::debug!(?verdict, "an event of a run that is not live");
    }
    Ok(())
}

/// The attributes of a binary event. Percent-encoded as the binding says.
fn envelope(headers: &HeaderMap) -> Result<Envelope, Problem> {
    let text = |name: &'static str| header_text(headers, &header::HeaderName::from_static(name)).map(decoded);
    if text("ce-specversion").as_deref() != Some("1.0") {
        return Err(Problem::bad_request("invalid_value", "CloudEvents 1.0 is read; ce-specversion says otherwise"));
    }
    Ok(Envelope {
        id: text("ce-id").unwrap_or_default(),
        source: text("ce-source").unwrap_or_default(),
        kind: text("ce-type").unwrap_or_default(),
        time: text("ce-time"),
    })
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let escaped = (*first == b'%').then(|| after.get(..2)).flatten();
        let byte = escaped.and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        match byte {
            Some(byte) => {
                bytes.push(byte);
                rest = after.get(2..).unwrap_or_default();
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
