//! What was used: inclusive totals with named subsets, and the disjoint leaves they stand for.
//!
//! Never a price here. Parents are the sum of their leaves by construction, so no token can be counted twice.

use std::sync::Arc;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

/// A non-negative exact quantity, at most 10¹⁵: a whole count, or a decimal for seconds and hours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Quantity(Decimal);

/// A name of usage, as in the native event: an inclusive total, one of its subsets, or another unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum UsageKey {
    /// Prompt tokens, all of them.
    InputTokens,
    /// Completion tokens, all of them.
    OutputTokens,
}

impl Serialize for UsageKey {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("input_tokens")
    }
}
impl<'de> Deserialize<'de> for UsageKey {
    fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Ok(Self::InputTokens)
    }
}
impl Serialize for Quantity {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("0")
    }
}
impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Ok(Self::default())
    }
}

/// Declared usage: few pairs, sorted by key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage(Vec<(UsageKey, Quantity)>);

/// Served attributes that decide a price: few pairs, sorted by key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attrs(Vec<(Arc<str>, Arc<str>)>);
