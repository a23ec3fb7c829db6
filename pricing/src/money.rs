//! Money: an `i128` count of 10⁻¹⁸ US dollars. Checked arithmetic only; text in, text out; never a binary float.

#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Decimal places of the scaled integer.
pub const SCALE: u32 = 18;
const ONE: i128 = 1_000_000_000_000_000_000;
/// What `Decimal(38,18)` can hold, and so what meterd books: 38 decimal digits.
const SCALED_MAX: i128 = 99_999_999_999_999_999_999_999_999_999_999_999_999;

/// An exact amount of US dollars, as a count of 10⁻¹⁸ USD.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Money(i128);

/// Why a text is not an amount.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    /// Not a plain decimal such as `0.42` or `1.5e-7`.
    #[error("not a decimal amount: {0:?}")]
    NotADecimal(String),
    /// More digits after the point than 10⁻¹⁸ can hold.
    #[error("{0:?} has digits below 10^-18 USD")]
    TooFine(String),
    /// Beyond 10²⁰ USD.
    #[error("{0:?} is out of range: amounts go up to 10^20 USD")]
    OutOfRange(String),
}

impl Money {
    /// No money.
    pub const ZERO: Self = Self(0);

    /// From a count of 10⁻¹⁸ USD; `None` beyond 38 digits.
    #[must_use]
    pub const fn from_scaled(scaled: i128) -> Option<Self> {
        if scaled > SCALED_MAX || scaled < -SCALED_MAX { None } else { Some(Self(scaled)) }
    }

    /// The count of 10⁻¹⁸ USD.
    #[must_use]
    pub const fn scaled(self) -> i128 {
        self.0
    }

    /// The sum, or `None` out of range.
    #[must_use]
    pub const fn checked_add(self, other: Self) -> Option<Self> {
        match self.0.checked_add(other.0) {
            Some(sum) => Self::from_scaled(sum),
            None => None,
        }
    }

    /// The difference, or `None` out of range.
    #[must_use]
    pub const fn checked_sub(self, other: Self) -> Option<Self> {
        match self.0.checked_sub(other.0) {
            Some(difference) => Self::from_scaled(difference),
            None => None,
        }
    }

    /// The sum of many, or `None` out of range.
    #[must_use]
    pub fn checked_sum(amounts: impl IntoIterator<Item = Self>) -> Option<Self> {
        amounts.into_iter().try_fold(Self::ZERO, Self::checked_add)
    }

    /// Below zero?
    #[must_use]
    pub const fn is_negative(self) -> bool {
        self.0 < 0
    }

    /// Exactly zero?
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }
}

impl fmt::Display for Money {
    /// The shortest exact decimal: `0.62`, `-3`, `0.000000000000000001`. Never an exponent, never an allocation.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let magnitude = self.0.unsigned_abs();
        let one = ONE.unsigned_abs();
        let sign = if self.0 < 0 { "-" } else { "" };
        let whole = magnitude.checked_div(one).unwrap_or(0);
        // Below 10^18: 64 bits hold it, and divide much faster.
        let mut fraction = magnitude.checked_rem(one).and_then(|rest| u64::try_from(rest).ok()).unwrap_or(0);
        if fraction == 0 {
            return write!(f, "{sign}{whole}");
        }
        let mut width: usize = 18;
        while fraction.checked_rem(10) == Some(0) {
            fraction = fraction.checked_div(10).unwrap_or(0);
            width = width.saturating_sub(1);
        }
        write!(f, "{sign}{whole}.{fraction:0width$}")
    }
}

impl FromStr for Money {
    type Err = MoneyError;

    /// Reads `-?digits[.digits][e±digits]`, exactly. Refuses what 10⁻¹⁸ USD cannot hold rather than round it.
    fn from_str(text: &str) -> Result<Self, MoneyError> {
        parse(text).map(Self)
    }
}

fn parse(text: &str) -> Result<i128, MoneyError> {
    let bad = || MoneyError::NotADecimal(text.to_owned());
    let (negative, unsigned) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().map_err(|_| bad())?),
        None => (unsigned, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if whole.is_empty() || (mantissa.contains('.') && fraction.is_empty()) {
        return Err(bad());
    }
    if !whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit()) {
        return Err(bad());
    }
    let digits: String = format!("{whole}{fraction}");
    let significant = digits.trim_start_matches('0');
    let trimmed = significant.trim_end_matches('0');
    if trimmed.is_empty() {
        return Ok(0);
    }
    let fraction_len = i64::try_from(fraction.len()).map_err(|_| bad())?;
    let dropped = i64::try_from(significant.len().saturating_sub(trimmed.len())).map_err(|_| bad())?;
    // value = trimmed × 10^(exponent − fraction_len + dropped); the scaled integer needs 18 more.
    let shift = i64::from(exponent)
        .checked_sub(fraction_len)
        .and_then(|e| e.checked_add(dropped))
        .and_then(|e| e.checked_add(i64::from(SCALE)))
        .ok_or_else(bad)?;
    if shift < 0 {
        return Err(MoneyError::TooFine(text.to_owned()));
    }
    let out_of_range = || MoneyError::OutOfRange(text.to_owned());
    let power = u32::try_from(shift).ok().and_then(|power| 10i128.checked_pow(power)).ok_or_else(out_of_range)?;
    let value: i128 = trimmed.parse().map_err(|_| out_of_range())?;
    let scaled = value.checked_mul(power).filter(|scaled| *scaled <= SCALED_MAX).ok_or_else(out_of_range)?;
    Ok(if negative { scaled.saturating_neg() } else { scaled })
}

impl Serialize for Money {
    /// A decimal string in JSON and YAML, the scaled integer in binary formats.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() { serializer.collect_str(self) } else { serializer.serialize_i128(self.0) }
    }
}

impl<'de> Deserialize<'de> for Money {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            let text = String::deserialize(deserializer)?;
            text.parse().map_err(serde::de::Error::custom)
        } else {
            let scaled = i128::deserialize(deserializer)?;
            Self::from_scaled(scaled).ok_or_else(|| serde::de::Error::custom("amount out of range"))
        }
    }
}
