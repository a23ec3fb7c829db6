//! The serde forms of what a compiled table holds and serde does not know: rates, optional decimals, time zones. For binary
//! caches only; what can be computed again is, so that a cache cannot hold it wrong.

use serde::{Deserialize, Serialize};

use super::entry;
use crate::decimal::Compact;

/// A rate without what follows from it.
#[derive(Serialize, Deserialize)]
pub(super) struct Rate(#[serde(with = "crate::decimal")] rust_decimal::Decimal, u32);

impl From<entry::Rate> for Rate {
    fn from(rate: entry::Rate) -> Self {
        Self(rate.amount, rate.per)
    }
}

impl From<Rate> for entry::Rate {
    fn from(Rate(amount, per): Rate) -> Self {
        Self::new(amount, per)
    }
}

/// `#[serde(with = "compiled::optional")]`: a decimal that may be missing.
pub(super) mod optional {
    use rust_decimal::Decimal;
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

    use super::Compact;

    pub(crate) fn serialize<S: Serializer>(decimal: &Option<Decimal>, serializer: S) -> Result<S::Ok, S::Error> {
        decimal.map(Compact::from).serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Decimal>, D::Error> {
        let compact = Option::<Compact>::deserialize(deserializer)?;
        compact.map(|compact| compact.decimal().ok_or_else(|| Error::custom("not a decimal"))).transpose()
    }
}

/// `#[serde(with = "compiled::zone")]`: a time zone by its IANA name, looked up again in this build's database.
pub(super) mod zone {
    use std::borrow::Cow;

    use jiff::tz::TimeZone;
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

    pub(crate) fn serialize<S: Serializer>(zone: &TimeZone, serializer: S) -> Result<S::Ok, S::Error> {
        let name = zone.iana_name().ok_or_else(|| ser::Error::custom("a time zone without a name"))?;
        name.serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<TimeZone, D::Error> {
        match &*Cow::<'de, str>::deserialize(deserializer)? {
            "UTC" => Ok(TimeZone::UTC),
            name => TimeZone::get(name).map_err(de::Error::custom),
        }
    }
}
