//! One priced thing, compiled: its rules, adjustments, shapes and allowances.

use std::sync::Arc;

use jiff::civil;
use jiff::tz::TimeZone;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::compiled;
use super::when::When;
use crate::cost::{Free, exact};
use crate::time::Timestamp;
use crate::usage::{Family, Quantity, UsageKey};

/// Rules of one entry; their index is kept in 16 bits.
pub(crate) const RULES_MAX: usize = 1_000;
/// Adjustments of one entry.
pub(crate) const ADJUSTS_MAX: usize = 8;
/// The highest code of a usage key, with room to spare.
pub(super) const CODES_MAX: usize = 128;

/// A model, a tool or an approval with its rates.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// Who sells it; empty for tools and approvals.
    pub(crate) provider: Arc<str>,
    /// Its id in the table.
    pub(crate) id: Arc<str>,
    pub(super) rules: Vec<Rule>,
    pub(super) adjusts: Vec<Adjust>,
    pub(crate) shapes: Vec<Shape>,
    pub(super) allowances: Vec<Allowance>,
    /// Outcomes that are billed; `None` bills all.
    pub(crate) bill_on: Option<Vec<Box<str>>>,
}

/// Later rules overwrite earlier ones, unit by unit.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Rule {
    pub(super) when: When,
    /// Forgets what earlier rules set.
    pub(super) reset: bool,
    /// Leaves alone what a rule with conditions set (`appliesTo: base`).
    pub(super) base_only: bool,
    pub(super) set: Vec<(UsageKey, Rate)>,
}

/// The price of one block of a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "compiled::Rate", into = "compiled::Rate")]
pub(crate) struct Rate {
    /// USD per block; without trailing zeros.
    pub(crate) amount: Decimal,
    /// The block.
    pub(crate) per: u32,
    /// What one unit costs, in 10⁻¹⁸ USD, where that is a whole number of 64 bits: then a whole quantity is one
    /// multiplication.
    pub(crate) unit_scaled: Option<u64>,
}

impl Rate {
    /// `amount` USD per `per` units.
    pub(crate) fn new(amount: Decimal, per: u32) -> Self {
        Self { amount: amount.normalize(), per, unit_scaled: exact::unit_scaled(amount, per) }
    }
}

/// A rule, seen from a point in time.
pub(crate) struct RuleAt<'a> {
    pub(crate) in_time: bool,
    pub(crate) depends: bool,
    pub(crate) reset: bool,
    pub(crate) base_only: bool,
    pub(crate) set: &'a [(UsageKey, Rate)],
}

/// A factor on the rates of some families.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Adjust {
    pub(super) when: When,
    #[serde(with = "crate::decimal")]
    pub(super) multiply: Decimal,
    /// The factor's shortest text, shared with the lines it made.
    pub(super) text: Arc<str>,
    pub(super) families: Vec<Family>,
}

/// What is billed of a quantity: at least `minimum`, in whole steps of `increment`, at most `cap`.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Shape {
    pub(crate) key: UsageKey,
    #[serde(with = "compiled::optional")]
    pub(crate) minimum: Option<Decimal>,
    #[serde(with = "compiled::optional")]
    pub(crate) increment: Option<Decimal>,
    #[serde(with = "compiled::optional")]
    pub(crate) cap: Option<Decimal>,
}

/// A quantity that is free in each period.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Allowance {
    pub(super) name: Arc<str>,
    pub(super) group: Arc<str>,
    pub(super) unit: UsageKey,
    pub(super) quota: Quantity,
    pub(super) period: Period,
    #[serde(with = "compiled::zone")]
    pub(super) tz: TimeZone,
    pub(super) when: When,
}

/// How often an allowance begins anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Period {
    /// Each civil day.
    Day,
    /// Each civil month.
    Month,
}

impl Allowance {
    /// The allowance in the period that holds `at`.
    pub(crate) fn at(&self, at: Timestamp) -> Option<Free> {
        let date = self.tz.to_datetime(at.jiff()).date();
        let (first, next) = match self.period {
            Period::Day => (date, date.tomorrow().ok()?),
            Period::Month => (date.first_of_month(), date.last_of_month().tomorrow().ok()?),
        };
        let instant = |date: civil::Date| Some(Timestamp::from_jiff(date.to_zoned(self.tz.clone()).ok()?.timestamp()));
        Some(Free {
            name: Arc::clone(&self.name),
            group: Arc::clone(&self.group),
            quota: self.quota,
            start: instant(first)?,
            end: instant(next)?,
        })
    }
}

impl Entry {
    /// Does a call that ended so cost anything?
    pub(crate) fn bills(&self, outcome: &str) -> bool {
        self.bill_on.as_ref().is_none_or(|outcomes| outcomes.iter().any(|billed| **billed == *outcome))
    }

    /// For each rule: does its time come at `at`, does anything else decide, does it forget the earlier ones, and its rates.
    pub(crate) fn rules_at(&self, at: Timestamp) -> impl Iterator<Item = RuleAt<'_>> + '_ {
        self.rules.iter().map(move |rule| RuleAt {
            in_time: rule.when.holds_at(at),
            depends: rule.when.depends_on_the_call(),
            reset: rule.reset,
            base_only: rule.base_only,
            set: &rule.set,
        })
    }
}

/// The exact product, or nothing: `Decimal`'s own drops digits past the 28th.
pub(super) fn multiply_exactly(left: Decimal, right: Decimal) -> Option<Decimal> {
    let mantissa = left.mantissa().checked_mul(right.mantissa())?;
    let scale = left.scale().checked_add(right.scale())?;
    Decimal::try_from_i128_with_scale(mantissa, scale).ok().map(|product| product.normalize())
}
