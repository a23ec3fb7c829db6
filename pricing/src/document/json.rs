//! Canonical JSON from a tree: sorted keys, no spaces, numbers in their shortest exact decimal form. Never a float.

use std::fmt::Write as _;

use super::{Node, Value};

/// Digits a plain number may take without an exponent.
const PLAIN_DIGITS_MAX: i64 = 40;

/// Appends `node` as canonical JSON.
pub(super) fn print(node: &Node, out: &mut String) {
    match &node.value {
        Value::Null => out.push_str("null"),
        Value::Scalar { text, quoted } => print_scalar(text, *quoted, out),
        Value::List(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                print(item, out);
            }
            out.push(']');
        }
        Value::Map(pairs) => {
            let mut sorted: Vec<_> = pairs.iter().collect();
            sorted.sort_by(|(left, _), (right, _)| left.name.encode_utf16().cmp(right.name.encode_utf16()));
            out.push('{');
            for (index, (key, value)) in sorted.into_iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                print_text(&key.name, out);
                out.push(':');
                print(value, out);
            }
            out.push('}');
        }
    }
}

fn print_scalar(text: &str, quoted: bool, out: &mut String) {
    if quoted {
        print_text(text, out);
    } else if let Some(flag) = plain_bool(text) {
        out.push_str(if flag { "true" } else { "false" });
    } else if let Some(number) = plain_number(text) {
        out.push_str(&number);
    } else {
        print_text(text, out);
    }
}

/// Appends a JSON string with RFC 8785's escapes.
pub(super) fn print_text(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{8}' => out.push_str("\\b"),
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\u{c}' => out.push_str("\\f"),
            '\r' => out.push_str("\\r"),
            c if c < ' ' => {
                // Writing to a String cannot fail.
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

/// A plain scalar that is a truth value in YAML's core schema.
pub(super) fn plain_bool(text: &str) -> Option<bool> {
    match text {
        "true" | "True" | "TRUE" => Some(true),
        "false" | "False" | "FALSE" => Some(false),
        _ => None,
    }
}

/// A plain scalar that is a decimal number, in its shortest exact form.
pub(crate) fn plain_number(text: &str) -> Option<String> {
    let (negative, unsigned) = match text.as_bytes().first()? {
        b'-' => (true, text.get(1..)?),
        b'+' => (false, text.get(1..)?),
        _ => (false, text),
    };
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (unsigned, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if (whole.is_empty() && fraction.is_empty()) || !whole.bytes().chain(fraction.bytes()).all(|b| b.is_ascii_digit()) {
        return None;
    }
    let digits = format!("{whole}{fraction}");
    let significant = digits.trim_start_matches('0');
    let trimmed = significant.trim_end_matches('0');
    if trimmed.is_empty() {
        return Some("0".to_owned());
    }
    let dropped = i64::try_from(significant.len().checked_sub(trimmed.len())?).ok()?;
    let power = i64::from(exponent).checked_sub(i64::try_from(fraction.len()).ok()?)?.checked_add(dropped)?;
    let sign = if negative { "-" } else { "" };
    Some(format!("{sign}{}", place_point(trimmed, power)?))
}

/// `digits × 10^power`, without an exponent where that stays short.
fn place_point(digits: &str, power: i64) -> Option<String> {
    let len = i64::try_from(digits.len()).ok()?;
    let point = len.checked_add(power)?;
    if point > PLAIN_DIGITS_MAX || point < PLAIN_DIGITS_MAX.checked_neg()? {
        let (first, rest) = digits.split_at_checked(1)?;
        let exponent = point.checked_sub(1)?;
        let dot = if rest.is_empty() { "" } else { "." };
        return Some(format!("{first}{dot}{rest}e{exponent}"));
    }
    Some(if power >= 0 {
        format!("{digits}{}", "0".repeat(usize::try_from(power).ok()?))
    } else if point > 0 {
        let (whole, fraction) = digits.split_at_checked(usize::try_from(point).ok()?)?;
        format!("{whole}.{fraction}")
    } else {
        format!("0.{}{digits}", "0".repeat(usize::try_from(point.checked_neg()?).ok()?))
    })
}
