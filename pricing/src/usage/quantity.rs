//! Quantity: a non-negative exact decimal of bounded size and fineness. Never a float, never an exponent in print.

use std::fmt;
use std::str::FromStr;

use rust_decimal::Decimal;
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The largest quantity.
pub const QUANTITY_MAX: u64 = 10_000_000_000_000_000;
/// The most digits after a quantity's point.
pub const DECIMALS_MAX: u32 = 12;

/// A non-negative exact quantity, at most 10¹⁶: a whole count, or a decimal for seconds and hours.
///
/// Held without trailing zeros, so that equal quantities are equal bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Quantity(Decimal);

/// Why a text is not a quantity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAQuantity {
    /// Not a plain decimal.
    #[error("not a quantity: {0:?}; write digits, such as 1200 or \"1.5\"")]
    NotADecimal(String),
    /// Below zero.
    #[error("a quantity cannot be negative: {0:?}")]
    Negative(String),
    /// Too many digits after the point.
    #[error("{0:?} has more than {DECIMALS_MAX} digits after the point")]
    TooFine(String),
    /// Above 10¹⁶.
    #[error("{0:?} is out of range: quantities go up to 10^16")]
    OutOfRange(String),
}

impl Quantity {
    /// Nothing.
    pub const ZERO: Self = Self(Decimal::ZERO);

    /// A whole quantity; `None` above 10¹⁶.
    #[must_use]
    pub fn from_u64(count: u64) -> Option<Self> {
        (count <= QUANTITY_MAX).then(|| Self(Decimal::from(count)))
    }

    /// From a decimal; `None` if negative, too large or too fine.
    #[must_use]
    pub fn from_decimal(decimal: Decimal) -> Option<Self> {
        let normal = decimal.normalize();
        let fits =
            !normal.is_sign_negative() && normal.scale() <= DECIMALS_MAX && normal <= Decimal::from(QUANTITY_MAX);
        fits.then_some(Self(normal))
    }

    /// The count, when whole.
    #[must_use]
    pub fn as_u64(&self) -> Option<u64> {
        if self.0.scale() == 0 { u64::try_from(self.0.mantissa()).ok() } else { None }
    }

    /// The exact decimal.
    #[must_use]
    pub const fn decimal(&self) -> Decimal {
        self.0
    }

    /// Both together; `None` above 10¹⁶.
    #[must_use]
    pub fn checked_add(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).and_then(Self::from_decimal)
    }

    /// What is left without `other`; `None` if that is more.
    #[must_use]
    pub fn checked_sub(self, other: Self) -> Option<Self> {
        self.0.checked_sub(other.0).and_then(Self::from_decimal)
    }

    /// Nothing at all?
    #[must_use]
    pub const fn is_zero(&self) -> bool {
        self.0.is_zero()
    }

    /// A whole number?
    #[must_use]
    pub const fn is_whole(&self) -> bool {
        self.0.scale() == 0
    }
}

impl fmt::Display for Quantity {
    /// The shortest exact decimal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Quantity {
    type Err = NotAQuantity;

    /// Reads `digits[.digits]`, exactly. Refuses a sign, an exponent and what the bounds cannot hold.
    fn from_str(text: &str) -> Result<Self, NotAQuantity> {
        let owned = || text.to_owned();
        if text.starts_with('-') && text.len() > 1 {
            return Err(NotAQuantity::Negative(owned()));
        }
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let digits_only = whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || !digits_only || text.ends_with('.') {
            return Err(NotAQuantity::NotADecimal(owned()));
        }
        let whole = whole.trim_start_matches('0');
        let fraction = fraction.trim_end_matches('0');
        if whole.len() > 17 {
            return Err(NotAQuantity::OutOfRange(owned()));
        }
        let decimals = u32::try_from(fraction.len()).ok().filter(|len| *len <= DECIMALS_MAX);
        let decimals = decimals.ok_or_else(|| NotAQuantity::TooFine(owned()))?;
        let mantissa = whole
            .bytes()
            .chain(fraction.bytes())
            .try_fold(0i128, |sum, byte| sum.checked_mul(10)?.checked_add(i128::from(byte.checked_sub(b'0')?)));
        let decimal = mantissa.and_then(|mantissa| Decimal::try_from_i128_with_scale(mantissa, decimals).ok());
        decimal.and_then(Self::from_decimal).ok_or_else(|| NotAQuantity::OutOfRange(owned()))
    }
}

impl Serialize for Quantity {
    /// Where people read: an integer when whole, else a decimal string. Elsewhere: digits and the place of the point.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if !serializer.is_human_readable() {
            return crate::decimal::Compact::from(self.0).serialize(serializer);
        }
        match self.as_u64() {
            Some(count) => serializer.serialize_u64(count),
            None => serializer.collect_str(self),
        }
    }
}

impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            return deserializer.deserialize_any(HumanForm);
        }
        let decimal = crate::decimal::Compact::deserialize(deserializer)?.decimal();
        decimal.and_then(Self::from_decimal).ok_or_else(|| de::Error::custom("a quantity out of range"))
    }
}

struct HumanForm;

impl Visitor<'_> for HumanForm {
    type Value = Quantity;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a whole number, or a decimal string such as \"1.5\"")
    }

    fn visit_u64<E: de::Error>(self, count: u64) -> Result<Quantity, E> {
        Quantity::from_u64(count).ok_or_else(|| E::custom(NotAQuantity::OutOfRange(count.to_string())))
    }

    fn visit_i64<E: de::Error>(self, count: i64) -> Result<Quantity, E> {
        let count = u64::try_from(count).map_err(|_| E::custom(NotAQuantity::Negative(count.to_string())))?;
        self.visit_u64(count)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Quantity, E> {
        text.parse().map_err(E::custom)
    }
}
