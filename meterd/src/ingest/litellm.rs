//! LiteLLM's generic API callback: `StandardLoggingPayload`s, one, an array or NDJSON → usage events.
//!
//! Its numbers are OpenAI's way: totals contain cached tokens and reasoning. A response from LiteLLM's own cache is no call of a
//! provider and becomes no event. Messages and answers are skipped unread.

mod payload;

use std::sync::Arc;

use serde_json::value::RawValue;

use super::json::{self, Batch, BodyKind, EVENTS_MAX};
use super::{BodyError, Item};
use crate::event::Rejection;
use payload::Payload;

/// Reads a body of payloads. What came out of LiteLLM's own cache is left out.
pub fn decode(body: &[u8], kind: BodyKind) -> Result<Batch, BodyError> {
    let text = std::str::from_utf8(body).map_err(|error| {
        let message = format!("the body is not UTF-8 text (first bad byte at offset {})", error.valid_up_to());
        BodyError::bad_request("invalid_utf8", message)
    })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text).trim_ascii();
    if text.is_empty() {
        let message = "the body is empty; send one payload, an array of them, or one a line";
        return Err(BodyError::bad_request("empty_body", message));
    }
    let elements: Vec<&str> = if text.starts_with('[') {
        let all: Vec<&RawValue> = serde_json::from_str(text).map_err(|error| malformed(&error))?;
        all.into_iter().map(RawValue::get).collect()
    } else if kind == BodyKind::Ndjson || text.contains('\n') && is_lines(text) {
        text.lines().map(str::trim_ascii).filter(|line| !line.is_empty()).collect()
    } else {
        vec![text]
    };
    if elements.len() > EVENTS_MAX {
        let message = format!("more than {EVENTS_MAX} payloads in one request; send smaller batches");
        return Err(BodyError::too_large("too_many_events", message));
    }
    let lone = elements.len() == 1;
    let mut items = Vec::with_capacity(elements.len());
    for (index, element) in elements.into_iter().enumerate() {
        match serde_json::from_str::<Payload<'_>>(element) {
            Ok(payload) if payload.is_from_cache() => {}
            Ok(payload) => items.push(item(index, &payload)),
            Err(error) if lone => return Err(malformed(&error)),
            Err(error) => items.push(refused(index, None, Rejection::new("malformed_json", "", what(&error)))),
        }
    }
    Ok(Batch { items })
}

/// Does the first line stand for itself?
fn is_lines(text: &str) -> bool {
    text.lines().next().is_some_and(|line| serde_json::from_str::<&RawValue>(line).is_ok())
}

fn item(index: usize, payload: &Payload<'_>) -> Item {
    let draft = match payload.draft() {
        Ok(draft) => draft,
        Err(rejection) => return refused(index, payload.id(), rejection),
    };
    match json::decode(draft.as_bytes(), BodyKind::Json) {
        Ok(batch) => match batch.items.into_iter().next() {
            Some(item) => Item { index, ..item },
            None => refused(index, None, Rejection::new("invalid_value", "", "this payload makes no event")),
        },
        Err(error) => refused(index, payload.id(), Rejection::new(error.code, "", error.message)),
    }
}

fn refused(index: usize, id: Option<String>, rejection: Rejection) -> Item {
    let id = id.filter(|id| id.len() <= crate::event::ID_BYTES_MAX && !id.chars().any(char::is_control));
    Item { index, id: id.map(Arc::from), event: Err(rejection), ignored_fields: Vec::new(), notes: Vec::new() }
}

fn malformed(error: &serde_json::Error) -> BodyError {
    BodyError::bad_request("malformed_json", what(error))
}

/// What is wrong and where, without what somebody sent.
fn what(error: &serde_json::Error) -> String {
    format!("not a LiteLLM logging payload: malformed JSON at line {}, column {}", error.line(), error.column())
}

#[cfg(test)]
mod tests;
