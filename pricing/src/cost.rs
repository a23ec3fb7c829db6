//! `price()`: one call and a price book in; lines that sum to the cost, or the reason why there is no price, out.
//!
//! An unknown price is a state, never zero. Rounds half-even once a line, at 10⁻¹⁸ USD, never at a total.

pub(crate) mod exact;
mod run;
#[cfg(test)]
mod tests;

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::book::PriceBook;
use crate::money::Money;
use crate::time::Timestamp;
use crate::usage::{Attrs, Quantity, Usage, UsageKey};

/// What is to be priced: whose price applies, when it happened, how much was used.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// The model, tool or approval.
    pub target: Target<'a>,
    /// The event's own time (start of the call); it picks the rule.
    pub at: Timestamp,
    /// Inclusive totals with named subsets.
    pub usage: &'a Usage,
    /// Served attributes: `service_tier`, `processing`, `inference_geo` …
    pub attrs: &'a Attrs,
    /// Whose contract: layers of the book may be scoped by namespace or team.
    pub namespace: &'a str,
    /// See `namespace`.
    pub team: Option<&'a str>,
}

/// The thing whose rate applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target<'a> {
    /// A model call. `model` is the response's model, `request_model` the one asked for, tried second.
    Model {
        /// Provider id as the tables spell it (`openai`, `anthropic`, `x-ai` …); aliases are normalised in the book.
        provider: &'a str,
        /// Model id of the response.
        model: &'a str,
        /// Model id of the request, when it differs.
        request_model: Option<&'a str>,
    },
    /// A tool call.
    Tool {
        /// Tool name.
        tool: &'a str,
        /// MCP server that owns it.
        mcp_server: Option<&'a str>,
        /// `ok`, `error` or `aborted`: some tools bill only what succeeded.
        outcome: &'a str,
    },
    /// Human approval time.
    Approval,
}

/// What pricing says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It has a price, perhaps an explicit 0.
    Priced(Cost),
    /// No price is known, and why.
    Unpriced(Unpriced),
}

/// Why there is no price. The code is stable: it is a metric label and part of the API.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Unpriced {
    /// `unknown_provider`
    UnknownProvider,
    /// `unknown_model`
    UnknownModel,
    /// `unknown_tool`
    UnknownTool,
    /// `no_rate_for_unit`: the named usage has no rate.
    NoRateForUnit(UsageKey),
    /// `no_rate_at_time`: the model is known, but nothing is in force at the event's time.
    NoRateAtTime,
    /// `missing_usage`: a successful call without usage.
    MissingUsage,
    /// `invalid_usage`: subsets exceed their total; says which.
    InvalidUsage(String),
    /// `out_of_range`: an amount that 38 digits cannot hold.
    OutOfRange,
}

/// Priced usage with the lines that make it up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cost {
    /// Exactly the sum of the lines.
    pub total: Money,
    /// One line a priced leaf.
    pub lines: Vec<Line>,
    /// The table that priced it.
    pub table: TableRef,
}

/// Which table, by content. Cheap to copy: every cost carries one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TableRef(Arc<TableName>);

/// What a [`TableRef`] says.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TableName {
    /// `metadata.name`.
    #[serde(deserialize_with = "crate::text::name")]
    pub name: Arc<str>,
    /// `spec.version`.
    #[serde(deserialize_with = "crate::text::name")]
    pub version: Arc<str>,
    /// sha256 over the canonical JSON of `spec`, 64 hex digits.
    #[serde(deserialize_with = "crate::text::name")]
    pub digest: Arc<str>,
}

impl TableRef {
    /// A reference to the table of that name and version, with that content.
    #[must_use]
    pub fn new(name: impl Into<Arc<str>>, version: impl Into<Arc<str>>, digest: impl Into<Arc<str>>) -> Self {
        Self(Arc::new(TableName { name: name.into(), version: version.into(), digest: digest.into() }))
    }
}

impl Deref for TableRef {
    type Target = TableName;

    fn deref(&self) -> &TableName {
        &self.0
    }
}

/// One leaf, priced: `amount = round(quantity × rate ÷ per × multiplier × fx)`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// The leaf that was counted, such as `cache_write_1h_tokens`; `input_tokens` here means the uncached rest.
    pub unit: UsageKey,
    /// How much of it.
    pub quantity: Quantity,
    /// The unit whose rate applied (a leaf without its own rate falls back to a wider one).
    pub rate_unit: UsageKey,
    /// What `per` units cost, in the table's currency: US dollars where `fx` is none.
    #[serde(with = "crate::decimal")]
    pub rate: Decimal,
    /// The rate's block: 1,000,000 for tokens …
    pub per: u32,
    /// Which of the tables that priced the call has that rule: 0 for the lowest, and 0 where there is one table.
    pub layer: u8,
    /// Index of the rule in that table's entry that set the rate.
    pub rule: u16,
    /// Product of the adjustments, when any applied.
    pub multiplier: Option<Arc<str>>,
    /// The exchange rate, when the table has another currency.
    pub fx: Option<Arc<Fx>>,
    /// The free allowance that this quantity may draw on. What it takes is a ledger entry of its own.
    pub free: Option<Arc<Free>>,
    /// The line's amount.
    pub amount: Money,
}

/// What one unit of a table's currency was worth.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fx {
    /// The table's currency or unit of account, such as `EUR` or `DBU`.
    pub currency: Arc<str>,
    /// US dollars for one of it.
    #[serde(with = "crate::decimal")]
    pub usd: Decimal,
}

/// A free quota and the stretch of time in which a call may draw on it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Free {
    /// The allowance's name.
    pub name: Arc<str>,
    /// All allowances of one group share what is used.
    pub group: Arc<str>,
    /// Free in each period.
    pub quota: Quantity,
    /// Start of the period.
    pub start: Timestamp,
    /// Its end, exclusive.
    pub end: Timestamp,
}

impl Unpriced {
    /// The stable code: a metric label and part of the API.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::UnknownProvider => "unknown_provider",
            Self::UnknownModel => "unknown_model",
            Self::UnknownTool => "unknown_tool",
            Self::NoRateForUnit(_) => "no_rate_for_unit",
            Self::NoRateAtTime => "no_rate_at_time",
            Self::MissingUsage => "missing_usage",
            Self::InvalidUsage(_) => "invalid_usage",
            Self::OutOfRange => "out_of_range",
        }
    }
}

impl fmt::Display for Unpriced {
    /// The code, and what it is about: `no_rate_for_unit: web_searches`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())?;
        match self {
            Self::NoRateForUnit(unit) => write!(f, ": {unit}"),
            Self::InvalidUsage(reason) => write!(f, ": {reason}"),
            _ => Ok(()),
        }
    }
}

/// Prices one call against the book. Pure; the same inputs give the same bytes for ever.
#[must_use]
pub fn price(book: &PriceBook, call: &Call<'_>) -> Outcome {
    run::run(book, call, exact::Rounding::HalfEven)
}

/// As [`price`], but each line rounds up: what to reserve before a call whose usage is only estimated.
#[must_use]
pub fn estimate(book: &PriceBook, call: &Call<'_>) -> Outcome {
    run::run(book, call, exact::Rounding::Up)
}

/// A line's amount from its own figures, as `price` booked it; `None` if they have no amount.
#[must_use]
pub fn recompute(line: &Line) -> Option<Money> {
    let multiplier = match &line.multiplier {
        Some(text) => Some(Decimal::from_str_exact(text).ok()?),
        None => None,
    };
    priced_amount(line, line.quantity, multiplier)
}

/// What a line's quantity would cost if `free` of it were free: less than its amount, rounded as that is. `None` if the
/// line has less, or no amount.
#[must_use]
pub fn without_free(line: &Line, free: Quantity) -> Option<Money> {
    let rest = line.quantity.decimal().checked_sub(free.decimal()).and_then(Quantity::from_decimal)?;
    recompute(&Line { quantity: rest, ..line.clone() })
}

fn priced_amount(line: &Line, quantity: Quantity, multiplier: Option<Decimal>) -> Option<Money> {
    let factors = exact::Factors {
        quantity: quantity.decimal(),
        rate: line.rate,
        multiplier,
        fx: line.fx.as_ref().map(|fx| fx.usd),
    };
    exact::amount(&factors, line.per, exact::Rounding::HalfEven)
}
