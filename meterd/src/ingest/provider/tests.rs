//! Envelopes and bodies: what each API's numbers become, what streams do to them, and what is refused where.

mod bodies;
mod envelopes;
mod noise;
mod streams;

use serde_json::{Value, json};

use super::*;
use crate::event::UsageEvent;

/// An envelope round a body.
fn envelope(provider: &str, api: &str, body: Value) -> Value {
    json!({ "id": "e", "provider": provider, "api": api, "body": body, "execution": "x", "model": "asked",
            "time": "2026-11-22T10:00:00Z" })
}

fn items(envelope: &Value) -> Vec<Item> {
    decode(envelope.to_string().as_bytes(), BodyKind::Json, &Defaults::default()).unwrap().items
}

fn event(envelope: &Value) -> UsageEvent {
    items(envelope).remove(0).event.unwrap_or_else(|rejection| panic!("{rejection:?}: {envelope}"))
}

fn rejection(envelope: &Value) -> Rejection {
    match items(envelope).remove(0).event {
        Err(rejection) => rejection,
        Ok(event) => panic!("taken: {event:?}"),
    }
}

/// Usage in its own order, such as `input_tokens=3 output_tokens=1`; `none` where none was stated.
fn shown(event: &UsageEvent) -> String {
    let Some(usage) = &event.usage else { return "none".to_owned() };
    usage.iter().map(|(key, count)| format!("{key}={count}")).collect::<Vec<_>>().join(" ")
}

/// A body and the usage it means.
fn check(provider: &str, api: &str, body: Value, expected: &str) {
    let envelope = envelope(provider, api, body);
    assert_eq!(shown(&event(&envelope)), expected, "{envelope}");
}
