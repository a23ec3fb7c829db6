//! Usage events with known prices, and how an amount reads in the answers. Never an expectation of a single test.

use jiff::{Timestamp, Unit};
use rust_decimal::Decimal;
use serde_json::{Value, json};

/// Namespace of these tests.
pub(crate) const NS: &str = "support-platform";

/// Cost of one `model_call`, worked out from gpt-4o-mini's prices (USD a million tokens: input 0.15, cached input 0.075,
/// output 0.60, reasoning as output): (2048 − 1024) × 0.15e-6 + 1024 × 0.075e-6 + 321 × 0.60e-6
/// = 0.0001536 + 0.0000768 + 0.0001926 = 0.000423.
pub(crate) const CALL_USD: &str = "0.000423";

/// Tokens of one `model_call`, input and output, cached ones included: 2048 + 321.
pub(crate) const CALL_TOKENS: u64 = 2369;

/// The time that an event carries: the wall clock, in milliseconds.
pub(crate) fn now() -> String {
    Timestamp::now().round(Unit::Millisecond).expect("a time in range").to_string()
}

/// A gpt-4o-mini call that costs `CALL_USD`.
pub(crate) fn model_call(id: &str, execution: &str) -> Value {
    json!({
        "id": id, "source": "e2e", "time": now(), "namespace": NS, "execution": execution,
        "agent": "support-triage", "team": "support", "environment": "test",
        "kind": "model", "provider": "openai", "model": "gpt-4o-mini",
        "usage": {"input_tokens": 2048, "cache_read_tokens": 1024, "output_tokens": 321, "output_reasoning_tokens": 128},
    })
}

/// A call of any model.
pub(crate) fn call_of(id: &str, provider: &str, model: &str, usage: Value) -> Value {
    let mut event = model_call(id, "prices");
    event["provider"] = json!(provider);
    event["model"] = json!(model);
    event["usage"] = usage;
    event
}

/// A call of a tool that has no price.
pub(crate) fn tool_call(id: &str, execution: &str) -> Value {
    json!({
        "id": id, "source": "e2e", "time": now(), "namespace": NS, "execution": execution,
        "agent": "support-triage", "team": "support", "kind": "tool", "tool": "zendesk.create_ticket", "quantities": {"calls": 1},
    })
}

/// `CALL_USD` times `calls`, as a canonical decimal.
pub(crate) fn cost_of(calls: u32) -> String {
    (CALL_USD.parse::<Decimal>().expect("a decimal") * Decimal::from(calls)).normalize().to_string()
}

/// The literal of a number in a JSON text, untouched by any float: `"costUsd":0.000423` gives `0.000423`.
#[track_caller]
pub(crate) fn literal<'a>(json: &'a str, key: &str) -> &'a str {
    let quoted = format!("\"{key}\":");
    let (_, rest) = json.split_once(&quoted).unwrap_or_else(|| panic!("no {key} in {json}"));
    rest.trim_start().split([',', '}', ']', '\n']).next().unwrap_or_default().trim()
}

/// A time zone in which it is not about to be midnight, so that civil windows do not turn over during a test.
pub(crate) fn quiet_zone() -> &'static str {
    let hour = Timestamp::now().as_second().rem_euclid(86_400) / 3_600;
    if (2..22).contains(&hour) { "UTC" } else { "Etc/GMT+8" }
}
