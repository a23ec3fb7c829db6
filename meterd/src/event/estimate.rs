//! What a call may cost at most, before it is made: the dearest reading of its prompt and its longest answer. Pure.
//!
//! The prompt may be written to a cache (for five minutes or an hour) where that is dearer than plain input, the answer
//! may be reasoning, and `service_tier: auto` may be served as priority. Each line rounds up.

use pricing::{Attrs, Call, Money, Outcome, PriceBook, Quantity, Target, Timestamp, Usage, UsageKey, estimate};

/// A model call that is about to be made.
#[derive(Clone, Debug)]
pub struct Planned<'a> {
    /// Provider id.
    pub provider: &'a str,
    /// Model to be asked.
    pub model: &'a str,
    /// Tokens of the prompt.
    pub input_tokens: u64,
    /// Longest answer.
    pub max_output_tokens: u64,
    /// Attributes that will be asked for.
    pub attrs: &'a Attrs,
    /// Whose contract.
    pub namespace: &'a str,
    /// See `namespace`.
    pub team: Option<&'a str>,
}

/// The highest price among the ways in which the call may be billed; `None` while its plain form has no price.
#[must_use]
pub fn worst_case(book: &PriceBook, at: Timestamp, planned: &Planned<'_>) -> Option<Money> {
    let plain = cost(book, at, planned, planned.attrs, &[])?;
    let (input, output) = (planned.input_tokens, planned.max_output_tokens);
    let dearer: [&[(UsageKey, u64)]; 3] = [
        &[(UsageKey::CacheWriteTokens, input)],
        &[(UsageKey::CacheWriteTokens, input), (UsageKey::CacheWrite1hTokens, input)],
        &[(UsageKey::OutputReasoningTokens, output)],
    ];
    let mut tiers = vec![planned.attrs.clone()];
    if planned.attrs.get("service_tier") == Some("auto") {
        let mut priority = planned.attrs.clone();
        priority.set("service_tier", "priority");
        tiers.push(priority);
    }
    let mut worst = plain;
    for attrs in &tiers {
        worst = worst.max(cost(book, at, planned, attrs, &[]).unwrap_or(worst));
        for parts in dearer {
            worst = worst.max(cost(book, at, planned, attrs, parts).unwrap_or(worst));
        }
    }
    Some(worst)
}

/// Tokens of the call, at most.
#[must_use]
pub fn tokens(planned: &Planned<'_>) -> u64 {
    planned.input_tokens.saturating_add(planned.max_output_tokens)
}

fn cost(
    book: &PriceBook,
    at: Timestamp,
    planned: &Planned<'_>,
    attrs: &Attrs,
    parts: &[(UsageKey, u64)],
) -> Option<Money> {
    let mut usage = Usage::new();
    let totals = [(UsageKey::InputTokens, planned.input_tokens), (UsageKey::OutputTokens, planned.max_output_tokens)];
    for (key, count) in totals.iter().chain(parts) {
        usage.set(*key, Quantity::from_u64(*count)?).ok()?;
    }
    let target = Target::Model { provider: planned.provider, model: planned.model, request_model: None };
    let call = Call { target, at, usage: &usage, attrs, namespace: planned.namespace, team: planned.team };
    match estimate(book, &call) {
        Outcome::Priced(cost) => Some(cost.total),
        Outcome::Unpriced(_) => None,
    }
}

#[cfg(test)]
mod tests;
