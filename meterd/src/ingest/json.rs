//! Native usage events: one JSON object, an array of them, or one a line (NDJSON).
//!
//! Numbers are read by their literal text and never pass through a binary float. A body that cannot be read at all is a
//! `BodyError`; anything wrong with one event refuses that event alone and names the field.

mod build;
mod fields;
mod mcp;
mod quantities;
mod scalar;

use std::sync::Arc;

use serde::de::{DeserializeSeed, Deserializer, SeqAccess, Visitor};

use super::{BodyError, Item};
use crate::event::Rejection;
use fields::{Element, Field, Fields};

/// Most events in one request.
pub const EVENTS_MAX: usize = 16_384;
/// Deepest nesting inside one event's field.
pub const DEPTH_MAX: usize = 32;
/// How much of a malformed body is shown.
const NEAR_BYTES_MAX: usize = 16;

/// How a body's events are laid out, by its content type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyKind {
    /// One JSON document: an object or an array of objects.
    Json,
    /// One object a line.
    Ndjson,
    /// Not said: whichever of the two it is.
    Sniff,
}

impl BodyKind {
    /// From a `content-type` header; parameters and case do not matter.
    #[must_use]
    pub fn from_content_type(content_type: Option<&str>) -> Self {
        let essence = content_type.and_then(|text| text.split(';').next()).unwrap_or("").trim().to_ascii_lowercase();
        match essence.as_str() {
            "application/json" | "text/json" => Self::Json,
            "application/x-ndjson" | "application/ndjson" | "application/jsonl" | "application/x-jsonlines" => {
                Self::Ndjson
            }
            _ => Self::Sniff,
        }
    }
}

/// What a body held, in its order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// One a event, accepted or refused.
    pub items: Vec<Item>,
}

/// Reads a body of native usage events.
pub fn decode(body: &[u8], kind: BodyKind) -> Result<Batch, BodyError> {
    let text = text(body)?;
    if text.trim_ascii().is_empty() {
        let message = "the body is empty; send one usage event, an array of them, or one a line";
        return Err(BodyError::bad_request("empty_body", message));
    }
    match kind {
        BodyKind::Ndjson => lines(text),
        BodyKind::Json | BodyKind::Sniff if text.trim_ascii_start().starts_with('[') => array(text),
        BodyKind::Json => match object(text) {
            Err(error) if error.is_trailing() => Err(malformed(text, 0, &error.0, TRAILING_HINT)),
            other => other.map_err(|error| malformed(text, 0, &error.0, "")),
        },
        BodyKind::Sniff => match object(text) {
            Err(error) if error.is_trailing() => lines(text),
            other => other.map_err(|error| malformed(text, 0, &error.0, "")),
        },
    }
}

const TRAILING_HINT: &str = "; for one event a line send content-type application/x-ndjson";

fn text(body: &[u8]) -> Result<&str, BodyError> {
    let text = std::str::from_utf8(body).map_err(|error| {
        let message = format!("the body is not UTF-8 text (first bad byte at offset {})", error.valid_up_to());
        BodyError::bad_request("invalid_utf8", message)
    })?;
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}

struct ObjectError(serde_json::Error);

impl ObjectError {
    /// A complete value was read and more text followed it.
    fn is_trailing(&self) -> bool {
        self.0.is_syntax() && self.0.to_string().starts_with("trailing characters")
    }
}

fn object(text: &str) -> Result<Batch, ObjectError> {
    let element: Element<'_> = serde_json::from_str(text).map_err(ObjectError)?;
    Ok(Batch { items: vec![item(0, &element)] })
}

fn array(text: &str) -> Result<Batch, BodyError> {
    let mut items = Vec::new();
    let mut over = false;
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let read = Elements { items: &mut items, over: &mut over }
        .deserialize(&mut deserializer)
        .and_then(|()| deserializer.end());
    match read {
        Ok(()) => Ok(Batch { items }),
        Err(_) if over => Err(too_many()),
        Err(error) => Err(malformed(text, 0, &error, "")),
    }
}

fn lines(text: &str) -> Result<Batch, BodyError> {
    let mut items = Vec::new();
    let mut first_bad = None;
    let mut any_good = false;
    for (number, line) in text.lines().enumerate() {
        if line.trim_ascii().is_empty() {
            continue;
        }
        let index = items.len();
        if index >= EVENTS_MAX {
            return Err(too_many());
        }
        match serde_json::from_str::<Element<'_>>(line) {
            Ok(element) => {
                any_good = true;
                items.push(item(index, &element));
            }
            Err(error) => {
                let error = malformed(line, number, &error, "");
                let rejection = Rejection::new(error.code, "", error.message.clone());
                items.push(Item {
                    index,
                    id: None,
                    event: Err(rejection),
                    ignored_fields: Vec::new(),
                    notes: Vec::new(),
                });
                first_bad.get_or_insert(error);
            }
        }
    }
    match first_bad {
        Some(error) if !any_good => Err(error),
        _ => Ok(Batch { items }),
    }
}

struct Elements<'x> {
    items: &'x mut Vec<Item>,
    over: &'x mut bool,
}

impl<'de> DeserializeSeed<'de> for Elements<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Elements<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("an array of usage events")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<(), A::Error> {
        while let Some(element) = sequence.next_element::<Element<'de>>()? {
            let index = self.items.len();
            if index >= EVENTS_MAX {
                *self.over = true;
                return Err(serde::de::Error::custom("too many events"));
            }
            self.items.push(item(index, &element));
        }
        Ok(())
    }
}

fn item(index: usize, element: &Element<'_>) -> Item {
    match element {
        Element::Event(fields) => {
            let (event, ignored_fields) = build::event(fields);
            let id = match &event {
                Ok(event) => Some(Arc::clone(&event.id)),
                Err(_) => readable_id(fields),
            };
            Item { index, id, event, ignored_fields, notes: Vec::new() }
        }
        Element::Other(found) => {
            let message = format!("a usage event is a JSON object, not {found}");
            let event = Err(Rejection::new("invalid_type", "", message));
            Item { index, id: None, event, ignored_fields: Vec::new(), notes: Vec::new() }
        }
    }
}

/// The id of a refused event, so that its sender can tell which one it was.
fn readable_id(fields: &Fields<'_>) -> Option<Arc<str>> {
    let id = scalar::string("/id", fields.get(Field::Id)?).ok()?;
    let shown = !id.is_empty() && id.len() <= crate::event::ID_BYTES_MAX && !id.chars().any(char::is_control);
    shown.then(|| Arc::from(&*id))
}

fn too_many() -> BodyError {
    BodyError::too_large(
        "too_many_events",
        format!("more than {EVENTS_MAX} events in one request; send smaller batches"),
    )
}

/// Line, column and a few harmless characters: what is wrong can be found without repeating what somebody sent.
fn malformed(text: &str, lines_before: usize, error: &serde_json::Error, hint: &str) -> BodyError {
    let what = error.to_string();
    let what = what.split(" at line ").next().unwrap_or("not valid JSON");
    let line_text = text.lines().nth(error.line().saturating_sub(1)).unwrap_or("");
    let at = error.column().saturating_sub(1).min(line_text.len());
    let from = at.saturating_sub(NEAR_BYTES_MAX / 2);
    let near: String = line_text
        .bytes()
        .skip(from)
        .take(NEAR_BYTES_MAX)
        .map(|byte| if byte.is_ascii_punctuation() || byte == b' ' { char::from(byte) } else { '·' })
        .collect();
    let line = error.line().max(1).saturating_add(lines_before);
    let message = format!("malformed JSON at line {line}, column {}: {what}, near `{near}`{hint}", error.column());
    BodyError::bad_request("malformed_json", message)
}

#[cfg(test)]
mod tests;
