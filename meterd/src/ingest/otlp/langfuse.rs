//! Langfuse's `usage_details` and `cost_details`: JSON texts in an attribute, in any of three shapes.
//!
//! OpenAI's (`prompt_tokens`, `input_tokens_details` …) is inclusive, Anthropic's (`cache_read_input_tokens` beside
//! `input_tokens`) is not, and in Langfuse's own (`input`, `input_*`, `output`, `output_*`) the parts stand beside each
//! other unless `total` says otherwise.

use pricing::Money;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::collections::BTreeMap;

use super::tokens::Tokens;
use crate::event::Rejection;
use crate::ingest::amount;

type Details<'a> = BTreeMap<String, &'a RawValue>;

/// Reads `usage_details`.
pub(super) fn tokens(text: &str, pointer: impl Fn() -> String) -> Result<Tokens, Rejection> {
    let invalid = |message: &str| Rejection::new("invalid_quantity", pointer(), message);
    let details: Details<'_> =
        serde_json::from_str(text).map_err(|_| invalid("usage details must be a JSON object"))?;
    let mut counts = BTreeMap::new();
    flatten(&details, "", &mut counts).ok_or_else(|| invalid("usage details must be whole numbers, not negative"))?;
    let get = |names: &[&str]| names.iter().find_map(|name| counts.get(*name).copied());
    if counts.contains_key("prompt_tokens") || counts.contains_key("completion_tokens") {
        return Ok(Tokens {
            input: get(&["prompt_tokens"]),
            cache_read: get(&["prompt_tokens_details.cached_tokens"]),
            cache_write: get(&["prompt_tokens_details.cache_write_tokens"]),
            input_audio: get(&["prompt_tokens_details.audio_tokens"]),
            output: get(&["completion_tokens"]),
            output_audio: get(&["completion_tokens_details.audio_tokens"]),
            reasoning: get(&["completion_tokens_details.reasoning_tokens"]),
            ..Tokens::default()
        });
    }
    if details.contains_key("input_tokens_details") || details.contains_key("output_tokens_details") {
        return Ok(Tokens {
            input: get(&["input_tokens"]),
            cache_read: get(&["input_tokens_details.cached_tokens"]),
            cache_write: get(&["input_tokens_details.cache_write_tokens"]),
            output: get(&["output_tokens"]),
            reasoning: get(&["output_tokens_details.reasoning_tokens"]),
            ..Tokens::default()
        });
    }
    Ok(parts(&counts))
}

/// Reads the total of `cost_details`, by its literal text.
pub(super) fn cost(text: &str) -> Option<Money> {
    let details: Details<'_> = serde_json::from_str(text).ok()?;
    let raw = details.get("total")?.get();
    amount::from_text(raw.trim_matches('"'))
}

/// Nested objects become dotted names; null is left out.
fn flatten(details: &Details<'_>, prefix: &str, counts: &mut BTreeMap<String, u64>) -> Option<()> {
    for (name, raw) in details {
        let raw = raw.get();
        match raw.bytes().next() {
            Some(b'{') if prefix.is_empty() => {
                let inner = Details::deserialize(&mut serde_json::Deserializer::from_str(raw)).ok()?;
                flatten(&inner, &format!("{name}."), counts)?;
            }
            Some(b'0'..=b'9') => {
                counts.insert(format!("{prefix}{name}"), whole(raw)?);
            }
            Some(b'n') => {}
            // Lists, strings and deeper objects are not counts; a negative number is none either, and is refused.
            Some(b'-') => return None,
            _ => {}
        }
    }
    Some(())
}

fn whole(literal: &str) -> Option<u64> {
    let digits = literal
        .split_once('.')
        .map_or(literal, |(digits, zeros)| if zeros.bytes().all(|byte| byte == b'0') { digits } else { literal });
    digits.parse().ok()
}

/// Parts beside each other: the totals are their sums, unless `total` shows that they are within.
fn parts(counts: &BTreeMap<String, u64>) -> Tokens {
    let (mut input_alone, mut output_alone) = (None, None);
    let (mut input_parts, mut output_parts) = (0u64, 0u64);
    let mut tokens = Tokens::default();
    let add = |slot: &mut Option<u64>, count: u64| *slot = Some(slot.unwrap_or(0).saturating_add(count));
    for (name, count) in counts {
        match name.as_str() {
            "total" | "total_tokens" => continue,
            "input" | "input_tokens" => add(&mut input_alone, *count),
            "output" | "output_tokens" => add(&mut output_alone, *count),
            name if name.starts_with("output") || name.contains("reasoning") => {
                output_parts = output_parts.saturating_add(*count);
                if name.contains("reasoning") {
                    add(&mut tokens.reasoning, *count);
                } else if name.contains("audio") {
                    add(&mut tokens.output_audio, *count);
                }
            }
            name if name.starts_with("input") || name.contains("cache") => {
                input_parts = input_parts.saturating_add(*count);
                if name.contains("creation") || name.contains("write") {
                    add(&mut tokens.cache_write, *count);
                } else if name.contains("cache") {
                    add(&mut tokens.cache_read, *count);
                } else if name.contains("audio") {
                    add(&mut tokens.input_audio, *count);
                }
            }
            _ => {}
        }
    }
    let alone = input_alone.unwrap_or(0).saturating_add(output_alone.unwrap_or(0));
    let total = counts.get("total").or_else(|| counts.get("total_tokens"));
    let inclusive = total == Some(&alone);
    let whole = |alone: Option<u64>, parts: u64| match alone {
        Some(alone) if inclusive => Some(alone),
        None if parts == 0 => None,
        alone => Some(alone.unwrap_or(0).saturating_add(parts)),
    };
    tokens.input = whole(input_alone, input_parts);
    tokens.output = whole(output_alone, output_parts);
    tokens
}
