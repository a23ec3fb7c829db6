//! What a source says something cost: decimal text or a double → `Money`, rounded half-even at 10⁻¹⁸ USD by its text.
//!
//! Only for amounts that are recorded beside the computed one. Never arithmetic on a binary float.

use pricing::Money;

const SCALE: i64 = 18;
/// Longest literal that is read; more digits than this say nothing about an amount.
const TEXT_BYTES_MAX: usize = 128;

/// Reads `-?digits[.digits][e±digits]` and rounds half-even at 10⁻¹⁸; `None` if it is no amount or out of range.
#[must_use]
pub fn from_text(text: &str) -> Option<Money> {
    let text = text.trim();
    if text.len() > TEXT_BYTES_MAX {
        return None;
    }
    if let Ok(amount) = text.parse::<Money>() {
        return Some(amount);
    }
    let (negative, unsigned) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i64>().ok()?),
        None => (unsigned, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if whole.is_empty() || !whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let digits = format!("{whole}{fraction}");
    // How many of the digits stand left of the place at which the amount is rounded.
    let kept = i64::try_from(whole.len()).ok()?.checked_add(exponent)?.checked_add(SCALE)?;
    let scaled = round_half_even(&digits, kept)?;
    Money::from_scaled(if negative { scaled.checked_neg()? } else { scaled })
}

/// The shortest decimal that names this double, read as text.
#[must_use]
pub fn from_double(value: f64) -> Option<Money> {
    // Beyond these a price is nonsense, and the text would be long.
    if !value.is_finite() || value.abs() >= 1e20 || (value != 0.0 && value.abs() < 1e-30) {
        return None;
    }
    from_text(&value.to_string())
}

fn round_half_even(digits: &str, kept: i64) -> Option<i128> {
    let Ok(kept) = usize::try_from(kept) else { return Some(0) };
    if kept >= digits.len() {
        let zeros = "0".repeat(kept.checked_sub(digits.len()).filter(|zeros| *zeros <= TEXT_BYTES_MAX)?);
        return format!("{digits}{zeros}").parse().ok();
    }
    let (head, tail) = digits.split_at(kept);
    let value: i128 = if head.is_empty() { 0 } else { head.parse().ok()? };
    let up = match tail.bytes().next() {
        Some(b'5') if tail.bytes().skip(1).all(|byte| byte == b'0') => value % 2 == 1,
        first => first.is_some_and(|byte| byte >= b'5'),
    };
    if up { value.checked_add(1) } else { Some(value) }
}

#[cfg(test)]
mod tests;
