//! Native events: what is read, what is refused with which code at which field, and what no input may do.

mod bodies;
mod events;
mod noise;

use super::{Batch, BodyKind, decode};
use crate::event::{Rejection, UsageEvent};

/// The event of the contract's example, as an object that a test may change.
fn example() -> serde_json::Value {
    serde_json::json!({
        "id": "01JC", "source": "support-triage/worker-7", "time": "2026-11-22T10:00:00.123Z",
        "namespace": "support-platform", "execution": "exec-20260510-001", "parent_execution": null,
        "agent": "support-triage", "team": "support-platform", "environment": "prod", "conversation": "conv-77123",
        "kind": "model", "provider": "anthropic", "model": "claude-haiku-5-5", "response_id": "msg_1",
        "usage": {"input_tokens": 2600, "cache_read_tokens": 2000, "cache_write_tokens": 400,
                  "cache_write_1h_tokens": 400, "output_tokens": 1200, "output_reasoning_tokens": 900, "web_searches": 2},
        "attrs": {"service_tier": "standard", "processing": "batch", "inference_geo": "us"},
        "outcome": "ok", "estimated": false, "reservation": null, "final": true, "reported_cost_usd": "0.0123"
    })
}

fn minimal(rest: &str) -> String {
    format!(r#"{{"id":"1","time":"2026-11-22T10:00:00Z","execution":"e"{rest}}}"#)
}

fn model(rest: &str) -> String {
    minimal(&format!(r#","kind":"model","provider":"openai","model":"gpt-4o-mini"{rest}"#))
}

fn read(body: &str) -> Batch {
    decode(body.as_bytes(), BodyKind::Json).unwrap_or_else(|error| panic!("{error}: {body}"))
}

fn event(body: &str) -> Result<UsageEvent, Rejection> {
    let mut batch = read(body);
    assert_eq!(batch.items.len(), 1);
    batch.items.remove(0).event
}
