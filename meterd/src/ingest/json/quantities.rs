//! `usage` and `quantities` objects → declared usage. Whole counts, or decimal text for durations; never a binary float.
//!
//! An unknown name refuses the event: to drop it would be to lose money. Whether the parts fit their totals is not asked
//! here; pricing does, and quarantines what cannot be.

use pricing::usage::InvalidUsage;
use pricing::{Quantity, Usage, UsageKey};

use super::fields::shown;
use super::scalar;
use crate::event::Rejection;

/// Most names in one object; there are fewer than that.
const NAMES_MAX: usize = 64;

/// The usage of a model call; `None` when nothing is declared.
pub(super) fn usage(pointer: &'static str, raw: &str) -> Result<Option<Usage>, Rejection> {
    let usage = read(pointer, raw, |key| !is_call_quantity(key))?;
    Ok((!usage.is_empty()).then_some(usage))
}

/// The quantities of a tool call, which is one call unless it says otherwise.
pub(super) fn tool(pointer: &'static str, raw: Option<&str>) -> Result<Option<Usage>, Rejection> {
    let mut usage = match raw {
        Some(raw) => read(pointer, raw, |key| key != UsageKey::Minutes)?,
        None => Usage::new(),
    };
    if usage.get(UsageKey::Calls).is_none() {
        let one = Quantity::from_u64(1).unwrap_or_default();
        usage.set(UsageKey::Calls, one).map_err(|invalid| refuse(pointer, &invalid))?;
    }
    Ok(Some(usage))
}

/// The quantities of an approval.
pub(super) fn approval(pointer: &'static str, raw: &str) -> Result<Option<Usage>, Rejection> {
    let usage = read(pointer, raw, |key| key == UsageKey::Minutes)?;
    Ok((!usage.is_empty()).then_some(usage))
}

/// Units of tool calls and approvals, which no model call has.
const fn is_call_quantity(key: UsageKey) -> bool {
    matches!(key, UsageKey::Calls | UsageKey::DurationSeconds | UsageKey::Minutes)
}

fn read(pointer: &'static str, raw: &str, allowed: impl Fn(UsageKey) -> bool) -> Result<Usage, Rejection> {
    let mut usage = Usage::new();
    for (name, raw) in scalar::object(pointer, raw, NAMES_MAX)? {
        let Some(key) = UsageKey::parse(&name).filter(|key| allowed(*key)) else {
            let message = format!("unknown usage name `{}`; {}", shown(&name), suggestion(&name, &allowed));
            return Err(Rejection::new("unknown_usage_key", scalar::inside(pointer, &name), message));
        };
        if raw == "null" {
            continue;
        }
        let quantity = quantity(pointer, key, raw)?;
        usage.set(key, quantity).map_err(|invalid| refuse(pointer, &invalid))?;
    }
    Ok(usage)
}

fn quantity(pointer: &str, key: UsageKey, raw: &str) -> Result<Quantity, Rejection> {
    let at = || scalar::inside(pointer, key.as_str());
    let invalid = |message: String| Rejection::new("invalid_quantity", at(), message);
    let parse = |text: &str| {
        if text.starts_with('-') {
            return Err(invalid(format!(
                "{key} is never negative; corrections are made with `meterd adjust`, and what is unknown is left out"
            )));
        }
        text.parse::<Quantity>().map_err(|error| invalid(format!("{key}: {error}")))
    };
    if scalar::is_number(raw) {
        // The usual case, a short run of digits, needs no decimal parser.
        let short = raw.len() <= 15 && raw.bytes().all(|byte| byte.is_ascii_digit());
        if short && let Some(quantity) = raw.parse().ok().and_then(Quantity::from_u64) {
            return Ok(quantity);
        }
        return parse(raw);
    }
    if key.is_whole() {
        return Err(scalar::wrong_type(&at(), "a whole number, written without quotes", raw));
    }
    if !raw.starts_with('"') {
        return Err(scalar::wrong_type(&at(), "a decimal string such as \"1.5\"", raw));
    }
    parse(&scalar::string(&at(), raw)?)
}

fn refuse(pointer: &str, invalid: &InvalidUsage) -> Rejection {
    let at = match invalid {
        InvalidUsage::Fractional { key, .. } => scalar::inside(pointer, key.as_str()),
        _ => pointer.to_owned(),
    };
    Rejection::new("invalid_quantity", at, invalid.to_string())
}

/// The nearest known name, when one is near; else where the names are found.
fn suggestion(name: &str, allowed: impl Fn(UsageKey) -> bool) -> String {
    let nearest = UsageKey::ALL
        .iter()
        .filter(|key| allowed(**key))
        .map(|key| (distance(name, key.as_str()), key.as_str()))
        .min_by_key(|(distance, _)| *distance);
    match nearest {
        Some((distance, known)) if distance <= 8 && distance.saturating_mul(2) <= name.len() => {
            format!("did you mean `{known}`?")
        }
        _ => "docs/reference/usage.md lists every name".to_owned(),
    }
}

/// Levenshtein distance of two short names; anything long is far away.
fn distance(a: &str, b: &str) -> usize {
    if a.len() > 64 {
        return usize::MAX;
    }
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, left) in a.bytes().enumerate() {
        let mut diagonal = i;
        let mut before = i.saturating_add(1);
        if let Some(first) = row.first_mut() {
            *first = before;
        }
        for (slot, right) in row.iter_mut().skip(1).zip(b.bytes()) {
            let substituted = diagonal.saturating_add(usize::from(left != right));
            diagonal = *slot;
            before = substituted.min(diagonal.saturating_add(1)).min(before.saturating_add(1));
            *slot = before;
        }
    }
    row.last().copied().unwrap_or(usize::MAX)
}
