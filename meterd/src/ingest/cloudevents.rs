//! CloudEvents 1.0: structured, batch and binary → usage events, and joch's trace events → usage and what became of runs.
//!
//! The envelope lends its id, source and time to a native event that has none of its own. A type that is not metered is taken and
//! ignored: a bus carries many.

mod joch;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use budget::Ref;
use budget::entry::Phase;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::json::{self, BodyKind, EVENTS_MAX};
use super::{BodyError, Item};
use crate::event::Rejection;

/// How a request carries its events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// One event with its envelope, in JSON.
    Structured,
    /// A list of them.
    Batch,
    /// The envelope in headers, the data as the body.
    Binary,
}

impl Mode {
    /// From the content type and whether there is a `ce-specversion` header; `None` for what is no CloudEvent.
    #[must_use]
    pub fn of(content_type: Option<&str>, has_version_header: bool) -> Option<Self> {
        let essence = content_type.and_then(|text| text.split(';').next()).unwrap_or("").trim().to_ascii_lowercase();
        match essence.as_str() {
            "application/cloudevents+json" => Some(Self::Structured),
            "application/cloudevents-batch+json" => Some(Self::Batch),
            _ => has_version_header.then_some(Self::Binary),
        }
    }
}

/// What an envelope says of its event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Envelope {
    /// `id`
    pub id: String,
    /// `source`
    pub source: String,
    /// `type`
    pub kind: String,
    /// `time`
    pub time: Option<String>,
}

/// What became of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunEvent {
    /// It began.
    Started {
        /// The run.
        execution: Ref,
        /// Its agent.
        agent: Option<Arc<str>>,
        /// The run that started it.
        parent: Option<Ref>,
    },
    /// It is over.
    Ended {
        /// The run.
        execution: Ref,
        /// How.
        phase: Phase,
    },
}

/// One event of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Usage.
    Usage(Box<Item>),
    /// What became of a run.
    Run(usize, RunEvent),
    /// Nothing that is metered.
    Other,
}

/// Reads events with their envelopes in the body.
pub fn decode(body: &[u8], mode: Mode) -> Result<Vec<Event>, BodyError> {
    let malformed = |error: serde_json::Error| {
        let message = format!("not a CloudEvent in JSON: line {}, column {}", error.line(), error.column());
        BodyError::bad_request("malformed_json", message)
    };
    let elements: Vec<&RawValue> = match mode {
        Mode::Batch => serde_json::from_slice(body).map_err(malformed)?,
        Mode::Structured | Mode::Binary => vec![serde_json::from_slice(body).map_err(malformed)?],
    };
    if elements.len() > EVENTS_MAX {
        let message = format!("more than {EVENTS_MAX} events in one request; send smaller batches");
        return Err(BodyError::too_large("too_many_events", message));
    }
    Ok(elements.into_iter().enumerate().map(|(index, raw)| structured(index, raw.get())).collect())
}

/// Reads an event whose envelope came in headers.
#[must_use]
pub fn decode_binary(envelope: &Envelope, data: &[u8]) -> Event {
    match std::str::from_utf8(data) {
        Ok(data) => event(0, envelope, data),
        Err(_) => refused(0, &envelope.id, Rejection::new("malformed_json", "/data", "the data is not JSON text")),
    }
}

#[derive(Deserialize)]
struct Wire<'a> {
    #[serde(borrow)]
    specversion: Option<Cow<'a, str>>,
    #[serde(borrow)]
    id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    source: Option<Cow<'a, str>>,
    #[serde(borrow, rename = "type")]
    kind: Option<Cow<'a, str>>,
    #[serde(borrow)]
    time: Option<Cow<'a, str>>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    #[serde(borrow)]
    data_base64: Option<Cow<'a, str>>,
}

fn structured(index: usize, raw: &str) -> Event {
    let Ok(wire) = serde_json::from_str::<Wire<'_>>(raw) else {
        return refused(
            index,
            "",
            Rejection::new("invalid_type", "", "a CloudEvent is a JSON object with text attributes"),
        );
    };
    let id = wire.id.unwrap_or_default().into_owned();
    if wire.specversion.as_deref() != Some("1.0") {
        let message = "CloudEvents 1.0 is read; specversion says otherwise";
        return refused(index, &id, Rejection::new("invalid_value", "/specversion", message));
    }
    let envelope = Envelope {
        id,
        source: wire.source.unwrap_or_default().into_owned(),
        kind: wire.kind.unwrap_or_default().into_owned(),
        time: wire.time.map(Cow::into_owned),
    };
    match (wire.data, wire.data_base64) {
        (Some(data), _) => event(index, &envelope, data.get()),
        (None, Some(encoded)) => {
            use base64::Engine as _;
            match base64::engine::general_purpose::STANDARD.decode(encoded.as_bytes()).map(String::from_utf8) {
                Ok(Ok(data)) => event(index, &envelope, &data),
                _ => {
                    refused(index, &envelope.id, Rejection::new("invalid_value", "/data_base64", "not JSON in base64"))
                }
            }
        }
        (None, None) => refused(index, &envelope.id, Rejection::new("missing_field", "/data", "the event has no data")),
    }
}

fn event(index: usize, envelope: &Envelope, data: &str) -> Event {
    for (name, value) in [("id", &envelope.id), ("source", &envelope.source), ("type", &envelope.kind)] {
        if value.is_empty() {
            let message = format!("a CloudEvent needs `{name}`");
            return refused(index, &envelope.id, Rejection::new("missing_field", format!("/{name}"), message));
        }
    }
    if let Some(known) = joch::Kind::of(&envelope.kind) {
        return joch::event(index, known, envelope, data);
    }
    if !is_usage(&envelope.kind, data) {
        return Event::Other;
    }
    let draft = match complete(envelope, data) {
        Some(draft) => draft,
        None => {
            let message = "the data is a usage event, a JSON object";
            return refused(index, &envelope.id, Rejection::new("invalid_type", "/data", message));
        }
    };
    native(index, &envelope.id, &draft)
}

/// A usage event by its type's name, or by its own shape.
fn is_usage(kind: &str, data: &str) -> bool {
    kind.to_ascii_lowercase().contains("usage")
        || serde_json::from_str::<BTreeMap<Cow<'_, str>, &RawValue>>(data)
            .is_ok_and(|members| members.contains_key("kind") && members.contains_key("execution"))
}

/// The data with what the envelope lends it.
fn complete(envelope: &Envelope, data: &str) -> Option<String> {
    let members: BTreeMap<Cow<'_, str>, &RawValue> = serde_json::from_str(data).ok()?;
    let inner = data.trim_ascii().strip_prefix('{')?;
    let mut draft = String::from("{");
    let lent = [("id", Some(&envelope.id)), ("source", Some(&envelope.source)), ("time", envelope.time.as_ref())];
    for (name, value) in lent {
        if let (None, Some(value)) = (members.get(name), value) {
            draft.push_str(&format!("\"{name}\":{},", serde_json::Value::from(value.as_str())));
        }
    }
    if members.is_empty() {
        draft.pop();
    }
    draft.push_str(inner);
    Some(draft)
}

fn native(index: usize, id: &str, draft: &str) -> Event {
    match json::decode(draft.as_bytes(), BodyKind::Json) {
        Ok(batch) => match batch.items.into_iter().next() {
            Some(item) => Event::Usage(Box::new(Item { index, ..item })),
            None => Event::Other,
        },
        Err(error) => refused(index, id, Rejection::new(error.code, "/data", error.message)),
    }
}

fn refused(index: usize, id: &str, rejection: Rejection) -> Event {
    let shown = !id.is_empty() && id.len() <= crate::event::ID_BYTES_MAX && !id.chars().any(char::is_control);
    let id = shown.then(|| Arc::from(id));
    Event::Usage(Box::new(Item { index, id, event: Err(rejection), ignored_fields: Vec::new(), notes: Vec::new() }))
}

#[cfg(test)]
mod tests;
