//! One priced thing, compiled: its rules, adjustments and shapes, and what they come to for one call.

use std::sync::Arc;

use rust_decimal::Decimal;

use super::when::When;
use crate::cost::exact;
use crate::time::Timestamp;
use crate::usage::{Attrs, Family, Usage, UsageKey};

/// Rules of one entry; their index is kept in 16 bits.
pub(crate) const RULES_MAX: usize = 1_000;
/// Adjustments of one entry.
pub(crate) const ADJUSTS_MAX: usize = 8;
/// The highest code of a usage key, with room to spare.
const CODES_MAX: usize = 128;

/// A model, a tool or an approval with its rates.
#[derive(Debug)]
pub(crate) struct Entry {
    /// Who sells it; empty for tools and approvals.
    pub(crate) provider: Arc<str>,
    /// Its id in the table.
    pub(crate) id: Arc<str>,
    pub(super) rules: Vec<Rule>,
    pub(super) adjusts: Vec<Adjust>,
    pub(crate) shapes: Vec<Shape>,
    /// Outcomes that are billed; `None` bills all.
    pub(crate) bill_on: Option<Vec<Box<str>>>,
}

/// Later rules overwrite earlier ones, unit by unit.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) when: When,
    /// Forgets what earlier rules set.
    pub(super) reset: bool,
    pub(super) set: Vec<(UsageKey, Rate)>,
}

/// The price of one block of a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    pub(crate) set: &'a [(UsageKey, Rate)],
}

/// A factor on the rates of some families.
#[derive(Debug)]
pub(super) struct Adjust {
    pub(super) when: When,
    pub(super) multiply: Decimal,
    /// The factor's shortest text, shared with the lines it made.
    pub(super) text: Arc<str>,
    pub(super) families: Vec<Family>,
}

/// What is billed of a quantity: at least `minimum`, in whole steps of `increment`, at most `cap`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) key: UsageKey,
    pub(crate) minimum: Option<Decimal>,
    pub(crate) increment: Option<Decimal>,
    pub(crate) cap: Option<Decimal>,
}

/// A factor and its text, where one applies.
pub(crate) type Multiplier = Option<(Decimal, Arc<str>)>;

/// Which rule set each unit's rate for one call.
pub(crate) struct Cascade<'a> {
    entry: &'a Entry,
    /// By the key's code: 0 for none, else the rule's index plus one.
    winners: [u16; CODES_MAX],
    any: bool,
}

/// A rate and where it came from.
pub(crate) struct Found {
    pub(crate) unit: UsageKey,
    pub(crate) rate: Rate,
    pub(crate) rule: u16,
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
            set: &rule.set,
        })
    }

    /// Runs the rules for one call.
    pub(crate) fn cascade(&self, at: Timestamp, usage: &Usage, attrs: &Attrs) -> Cascade<'_> {
        let mut cascade = Cascade { entry: self, winners: [0; CODES_MAX], any: false };
        for (number, rule) in (1u16..).zip(&self.rules) {
            if !rule.when.holds(at, usage, attrs) {
                continue;
            }
            if rule.reset {
                cascade.winners = [0; CODES_MAX];
                cascade.any = false;
            }
            for (key, _) in &rule.set {
                if let Some(winner) = cascade.winners.get_mut(usize::from(key.code())) {
                    *winner = number;
                    cascade.any = true;
                }
            }
        }
        cascade
    }

    /// The product of the adjustments that apply to a family, and its text; inside, `None` if none applies.
    pub(crate) fn multiplier(&self, family: Family, at: Timestamp, usage: &Usage, attrs: &Attrs) -> Option<Multiplier> {
        let mut product: Multiplier = None;
        for adjust in &self.adjusts {
            if !adjust.families.contains(&family) || !adjust.when.holds(at, usage, attrs) {
                continue;
            }
            product = Some(match product {
                None => (adjust.multiply, Arc::clone(&adjust.text)),
                Some((earlier, _)) => {
                    let both = multiply_exactly(earlier, adjust.multiply)?;
                    (both, Arc::from(both.to_string()))
                }
            });
        }
        Some(product)
    }
}

/// The exact product, or nothing: `Decimal`'s own drops digits past the 28th.
pub(super) fn multiply_exactly(left: Decimal, right: Decimal) -> Option<Decimal> {
    let mantissa = left.mantissa().checked_mul(right.mantissa())?;
    let scale = left.scale().checked_add(right.scale())?;
    Decimal::try_from_i128_with_scale(mantissa, scale).ok().map(|product| product.normalize())
}

impl Cascade<'_> {
    /// Is any rate in force?
    pub(crate) const fn has_rates(&self) -> bool {
        self.any
    }

    /// The rate of exactly this unit.
    pub(crate) fn own(&self, unit: UsageKey) -> Option<Found> {
        let number = self.winners.get(usize::from(unit.code())).copied().filter(|number| *number > 0)?;
        let index = number.checked_sub(1)?;
        let rule = self.entry.rules.get(usize::from(index))?;
        let (_, rate) = rule.set.iter().find(|(key, _)| *key == unit)?;
        Some(Found { unit, rate: *rate, rule: index })
    }

    /// The rate of a leaf: its own, or that of the nearest wider unit that has one.
    pub(crate) fn of_leaf(&self, leaf: UsageKey) -> Option<Found> {
        self.own(leaf).or_else(|| leaf.wider().iter().find_map(|wider| self.own(*wider)))
    }
}
