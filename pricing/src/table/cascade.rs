//! The rules of one or more entries, lowest layer first, run for one call: which rule set each unit's rate.

use std::sync::Arc;

use rust_decimal::Decimal;

use super::PriceTable;
use super::entry::{Allowance, CODES_MAX, Entry, Rate, Rule, Shape, multiply_exactly};
use super::when::Served;
use crate::time::Timestamp;
use crate::usage::{Family, Usage, UsageKey};

/// An entry and the table that it stands in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Part<'a> {
    pub(crate) table: &'a PriceTable,
    pub(crate) entry: &'a Entry,
}

/// A factor and its text, where one applies.
pub(crate) type Multiplier = Option<(Decimal, Arc<str>)>;

/// What decides about one call's price beside its usage.
#[derive(Clone, Copy)]
pub(crate) struct Circumstances<'a> {
    pub(crate) at: Timestamp,
    pub(crate) usage: &'a Usage,
    pub(crate) attrs: Served<'a>,
}

/// Which rule set each unit's rate for one call.
pub(crate) struct Cascade<'a> {
    parts: &'a [Part<'a>],
    /// By the key's code: 0 for none, else the rule's number, counted from 1 through all parts.
    winners: [u16; CODES_MAX],
    any: bool,
    /// Has any part adjustments? Few have.
    has_adjusts: bool,
    /// Has any part allowances? Fewer have.
    has_allowances: bool,
}

/// A rate and where it came from.
pub(crate) struct Found<'a> {
    pub(crate) unit: UsageKey,
    pub(crate) rate: Rate,
    pub(crate) part: Part<'a>,
    pub(crate) layer: u8,
    pub(crate) rule: u16,
}

impl<'a> Cascade<'a> {
    /// Runs the rules of every part, in order.
    pub(crate) fn run(parts: &'a [Part<'a>], circumstances: Circumstances<'_>) -> Self {
        let mut cascade = Self {
            parts,
            winners: [0; CODES_MAX],
            any: false,
            has_adjusts: parts.iter().any(|part| !part.entry.adjusts.is_empty()),
            has_allowances: parts.iter().any(|part| !part.entry.allowances.is_empty()),
        };
        let rules = parts.iter().flat_map(|part| &part.entry.rules);
        for (number, rule) in (1u16..).zip(rules) {
            if rule.when.holds(circumstances.at, circumstances.usage, circumstances.attrs) {
                cascade.apply(number, rule);
            }
        }
        cascade
    }

    fn apply(&mut self, number: u16, rule: &Rule) {
        if rule.reset {
            self.winners = [0; CODES_MAX];
            self.any = false;
        }
        for (key, _) in &rule.set {
            if rule.base_only && self.is_conditional(*key) {
                continue;
            }
            if let Some(winner) = self.winners.get_mut(usize::from(key.code())) {
                *winner = number;
                self.any = true;
            }
        }
    }

    /// Did a rule that asks for more than a date set this unit's rate?
    fn is_conditional(&self, key: UsageKey) -> bool {
        let winner = self.winners.get(usize::from(key.code())).copied().unwrap_or(0);
        self.rule(winner).is_some_and(|(_, _, _, rule)| !rule.when.is_base())
    }

    /// Is any rate in force?
    pub(crate) const fn has_rates(&self) -> bool {
        self.any
    }

    /// A rule by its number: its part, that part's layer, its index there, itself.
    fn rule(&self, number: u16) -> Option<(Part<'a>, u8, u16, &'a Rule)> {
        let mut index = number.checked_sub(1)?;
        for (layer, part) in (0u8..).zip(self.parts) {
            let len = u16::try_from(part.entry.rules.len()).ok()?;
            match index.checked_sub(len) {
                None => return Some((*part, layer, index, part.entry.rules.get(usize::from(index))?)),
                Some(beyond) => index = beyond,
            }
        }
        None
    }

    /// The rate of exactly this unit.
    pub(crate) fn own(&self, unit: UsageKey) -> Option<Found<'a>> {
        let number = self.winners.get(usize::from(unit.code())).copied().filter(|number| *number > 0)?;
        let (part, layer, rule, found) = self.rule(number)?;
        let (_, rate) = found.set.iter().find(|(key, _)| *key == unit)?;
        Some(Found { unit, rate: *rate, part, layer, rule })
    }

    /// The rate of a leaf: its own, or that of the nearest wider unit that has one.
    pub(crate) fn of_leaf(&self, leaf: UsageKey) -> Option<Found<'a>> {
        self.own(leaf).or_else(|| leaf.wider().iter().find_map(|wider| self.own(*wider)))
    }

    /// The product of the adjustments that apply to a family, and its text; inside, `None` if none applies.
    pub(crate) fn multiplier(&self, family: Family, circumstances: Circumstances<'_>) -> Option<Multiplier> {
        if !self.has_adjusts {
            return Some(None);
        }
        let Circumstances { at, usage, attrs } = circumstances;
        let mut product: Multiplier = None;
        for adjust in self.parts.iter().flat_map(|part| &part.entry.adjusts) {
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

    /// The shapes that hold: of two for one unit, the higher layer's.
    pub(crate) fn shapes(&self) -> impl Iterator<Item = &'a Shape> + '_ {
        self.parts.iter().enumerate().flat_map(move |(layer, part)| {
            let above = self.parts.get(layer.saturating_add(1)..).unwrap_or(&[]);
            let replaced =
                |shape: &Shape| above.iter().any(|part| part.entry.shapes.iter().any(|other| other.key == shape.key));
            part.entry.shapes.iter().filter(move |shape| !replaced(shape))
        })
    }

    /// The allowance that a leaf draws on: the highest layer's, and there the first that holds.
    pub(crate) fn allowance(&self, leaf: UsageKey, circumstances: Circumstances<'_>) -> Option<&'a Allowance> {
        if !self.has_allowances {
            return None;
        }
        let Circumstances { at, usage, attrs } = circumstances;
        let mut all = self.parts.iter().rev().flat_map(|part| &part.entry.allowances);
        all.find(|allowance| leaf.is_within(allowance.unit) && allowance.when.holds(at, usage, attrs))
    }
}
