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
