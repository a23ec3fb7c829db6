//! Exact decimals at the edges: the compact binary form, and the text form of what a table's author wrote. Never a float.

use rust_decimal::Decimal;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A decimal as digits and the place of the point: two small integers in binary formats.
#[derive(Serialize, Deserialize)]
pub(crate) struct Compact(i128, u8);

impl From<Decimal> for Compact {
    fn from(decimal: Decimal) -> Self {
        let normal = decimal.normalize();
        Self(normal.mantissa(), u8::try_from(normal.scale()).unwrap_or(u8::MAX))
    }
}

impl Compact {
    /// The decimal; `None` if it is none.
    pub(crate) fn decimal(&self) -> Option<Decimal> {
        Decimal::try_from_i128_with_scale(self.0, u32::from(self.1)).ok()
    }
}

/// `#[serde(with = "crate::decimal")]`: the shortest decimal string where people read, compact elsewhere.
pub(crate) fn serialize<S: Serializer>(decimal: &Decimal, serializer: S) -> Result<S::Ok, S::Error> {
    if serializer.is_human_readable() {
        serializer.collect_str(&decimal.normalize())
    } else {
        Compact::from(*decimal).serialize(serializer)
    }
}

/// The other half of [`serialize`].
pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Decimal, D::Error> {
    let decimal = if deserializer.is_human_readable() {
        Decimal::from_str_exact(&std::borrow::Cow::<'de, str>::deserialize(deserializer)?).ok()
    } else {
        Compact::deserialize(deserializer)?.decimal()
    };
    decimal.ok_or_else(|| serde::de::Error::custom("not an exact decimal"))
}

/// The most digits after the point of what a table's author writes.
pub(crate) const AUTHORED_DECIMALS_MAX: u32 = 18;
/// The most an author may write: with 18 decimals it still fits 28 digits.
const AUTHORED_MAX: u64 = 1_000_000_000;

/// Why a text is not a number that a table may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    #[error("is not a decimal number")]
    NotADecimal,
    #[error("is negative")]
    Negative,
    #[error("has more than {AUTHORED_DECIMALS_MAX} digits after the point")]
    TooFine,
    #[error("is larger than {AUTHORED_MAX}")]
    TooLarge,
}

impl Refused {
    /// The way out.
    pub(crate) const fn hint(self) -> &'static str {
        match self {
            Self::NotADecimal => "write a decimal such as \"0.25\"",
            Self::Negative => "write 0 for free; credits are booked, not priced",
            Self::TooFine => "give the rate for a larger block, or round it",
            Self::TooLarge => "give the rate for a smaller block",
        }
    }
}

/// The exact value of a number in a table, quoted or not: plain digits or an exponent, never below zero.
pub(crate) fn authored(text: &str) -> Result<Decimal, Refused> {
    let shortest = crate::document::plain_number(text).ok_or(Refused::NotADecimal)?;
    if shortest.starts_with('-') {
        return Err(Refused::Negative);
    }
    let (whole, fraction) = shortest.split_once('.').unwrap_or((&shortest, ""));
    if shortest.contains('e') {
        return Err(if shortest.contains("e-") { Refused::TooFine } else { Refused::TooLarge });
    }
    if u32::try_from(fraction.len()).map_or(true, |len| len > AUTHORED_DECIMALS_MAX) {
        return Err(Refused::TooFine);
    }
    if whole.len() > 10 {
        return Err(Refused::TooLarge);
    }
    let decimal = Decimal::from_str_exact(&shortest).map_err(|_| Refused::NotADecimal)?;
    if decimal > Decimal::from(AUTHORED_MAX) { Err(Refused::TooLarge) } else { Ok(decimal) }
}
