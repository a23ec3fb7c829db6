//! A body → its chunks: one response, an array of a stream's chunks, or the text of server-sent events.

use std::borrow::Cow;

use super::object::{elements, text};
use crate::event::Rejection;

/// The JSON texts of the chunks, in their order.
pub(super) fn of(body: &str) -> Result<Vec<Cow<'_, str>>, Rejection> {
    let mut chunks = Vec::new();
    match body.bytes().next() {
        Some(b'{') => chunks.push(Cow::Borrowed(body)),
        Some(b'[') => {
            for element in elements(body).unwrap_or_default() {
                push(element, &mut chunks)?;
            }
        }
        Some(b'"') => push(body, &mut chunks)?,
        _ => return Err(not_a_body()),
    }
    Ok(chunks)
}

fn push<'a>(element: &'a str, chunks: &mut Vec<Cow<'a, str>>) -> Result<(), Rejection> {
    match element.bytes().next() {
        Some(b'{') => match event_data(element) {
            Some(data) => stream(&data, chunks),
            None => {
                chunks.push(Cow::Borrowed(element));
                Ok(())
            }
        },
        Some(b'"') => stream(&text(element).ok_or_else(not_a_body)?, chunks),
        Some(b'n') => Ok(()),
        _ => Err(not_a_body()),
    }
}

/// `{"event": …, "data": …}`: how clients keep a server-sent event.
fn event_data(element: &str) -> Option<String> {
    let object = super::object::Object::parse(element)?;
    object.get("event")?;
    let data = object.get("data")?;
    match text(data) {
        Some(text) => Some(text.into_owned()),
        None => data.starts_with('{').then(|| data.to_owned()),
    }
}

/// JSON text, or server-sent events, each with its data in lines that begin with `data:`.
fn stream(content: &str, chunks: &mut Vec<Cow<'_, str>>) -> Result<(), Rejection> {
    let content = content.trim_ascii();
    if content.starts_with(['{', '[']) {
        let whole: &serde_json::value::RawValue = serde_json::from_str(content).map_err(|_| not_a_body())?;
        let inner = of(whole.get())?;
        chunks.extend(inner.into_iter().map(|chunk| Cow::Owned(chunk.into_owned())));
        return Ok(());
    }
    let mut data = String::new();
    for line in content.lines().chain([""]) {
        if let Some(part) = line.strip_prefix("data:") {
            if !data.is_empty() {
                data.push('\n');
            }
            data.push_str(part.strip_prefix(' ').unwrap_or(part));
        } else if line.trim_ascii().is_empty() && !data.is_empty() {
            event(&std::mem::take(&mut data), chunks)?;
        }
    }
    Ok(())
}

fn event(data: &str, chunks: &mut Vec<Cow<'_, str>>) -> Result<(), Rejection> {
    // Events that lost their blank lines: each line is one.
    let parts: Vec<&str> = if is_json(data) { vec![data] } else { data.lines().collect() };
    for part in parts.into_iter().map(str::trim_ascii) {
        if part.is_empty() || part == "[DONE]" {
            continue;
        }
        if !part.starts_with('{') || !is_json(part) {
            return Err(not_a_body());
        }
        chunks.push(Cow::Owned(part.to_owned()));
    }
    Ok(())
}

fn is_json(text: &str) -> bool {
    serde_json::from_str::<&serde_json::value::RawValue>(text).is_ok()
}

fn not_a_body() -> Rejection {
    let message =
        "`body` is the provider's response: an object, an array of a stream's chunks, or the text of its events";
    Rejection::new("invalid_type", "/body", message)
}
