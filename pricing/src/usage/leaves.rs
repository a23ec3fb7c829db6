//! From inclusive totals to disjoint leaves: a leaf is its total less every leaf declared below it.

use arrayvec::ArrayVec;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::{InvalidUsage, Quantity, Usage, UsageKey};

/// Room for every key.
const LEAVES_MAX: usize = UsageKey::ALL.len();

/// The disjoint leaves of one call, in the order of the keys' codes. `input_tokens` here means what no declared subset
/// covers, and so for every total.
#[derive(Clone, Debug)]
pub struct Leaves {
    leaves: ArrayVec<(UsageKey, Quantity), LEAVES_MAX>,
    /// What was read from a cache and a kind of input have tokens in common, and how many was not said.
    overlap: bool,
}

impl Leaves {
    /// Each leaf and its quantity; zeros are among them.
    pub fn iter(&self) -> impl Iterator<Item = (UsageKey, Quantity)> + '_ {
        self.leaves.iter().copied()
    }

    /// The sum of the leaves within `key`, itself among them; `None` where none is declared.
    pub(crate) fn sum_within(&self, key: UsageKey) -> Option<Decimal> {
        let mut within = self.iter().filter(|leaf| leaf.0.is_within(key)).peekable();
        within.peek()?;
        within.try_fold(Decimal::ZERO, |sum, leaf| sum.checked_add(leaf.1.decimal()))
    }

    /// Adds to the leaf `key`, which is made if it is not there. `false` out of range.
    pub(crate) fn raise(&mut self, key: UsageKey, by: Decimal) -> bool {
        let found = self.leaves.iter_mut().find(|leaf| leaf.0 == key);
        let before = found.as_ref().map_or(Quantity::ZERO, |leaf| leaf.1);
        let Some(after) = before.decimal().checked_add(by).and_then(Quantity::from_decimal) else { return false };
        match found {
            Some(leaf) => leaf.1 = after,
            None => return self.leaves.try_push((key, after)).is_ok(),
        }
        true
    }

    /// Takes from the leaves within `key`, the widest first, until `by` is gone.
    pub(crate) fn lower(&mut self, key: UsageKey, by: Decimal) {
        let mut left = by;
        for depth in 0..=DEPTH_MAX {
            for leaf in self.leaves.iter_mut() {
                if leaf.0.is_within(key) && leaf.0.wider().len() == depth {
                    let taken = left.min(leaf.1.decimal());
                    let rest = leaf.1.decimal().checked_sub(taken).and_then(Quantity::from_decimal);
                    leaf.1 = rest.unwrap_or(Quantity::ZERO);
                    left = left.checked_sub(taken).unwrap_or(Decimal::ZERO);
                }
            }
        }
    }

    /// No leaves, room for all.
    pub(crate) const fn none() -> Self {
        Self { leaves: ArrayVec::new_const(), overlap: false }
    }

    /// From pairs sorted by key, each key once. Filled in place: the room for all keys is never
    /// written or moved, which would cost as much as the rest.
    pub(super) fn fill(&mut self, declared: &[(UsageKey, Quantity)]) -> Result<(), InvalidUsage> {
        self.overlap = false;
        self.declare(declared);
        if self.reduce_whole(declared).is_some() {
            return Ok(());
        }
        self.declare(declared);
        // The narrowest first: what a key contains is a leaf by the time the key is reduced.
        for depth in (0..=DEPTH_MAX).rev() {
            for &(key, given) in declared {
                if key.wider().len() != depth {
                    continue;
                }
                match self.reduce(key, given) {
                    Err(_) if key == UsageKey::InputTokens && self.share(declared, given) => {}
                    reduced => reduced?,
                }
            }
        }
        refuse_without_total(declared)
    }

    fn declare(&mut self, declared: &[(UsageKey, Quantity)]) {
        self.leaves.clear();
        // Each key comes once, so there is room for all.
        self.leaves.extend(declared.iter().copied().take(LEAVES_MAX));
    }

    /// The same reduction for valid usage whose nested quantities are whole, which nearly all is: takes each leaf, the
    /// narrowest first, from what contains it. `None` for any other usage, half done: the exact way says what is wrong.
    fn reduce_whole(&mut self, declared: &[(UsageKey, Quantity)]) -> Option<()> {
        let deepest = declared.iter().map(|(key, _)| key.wider().len()).max().unwrap_or(0);
        for depth in (1..=deepest).rev() {
            for (index, (key, given)) in declared.iter().enumerate() {
                let wider = key.wider();
                if wider.len() != depth {
                    continue;
                }
                let count = self.leaves.get(index)?.1.as_u64()?;
                for total in wider {
                    match declared.iter().position(|(key, _)| key == total) {
                        Some(found) => {
                            let leaf = self.leaves.get_mut(found)?;
                            leaf.1 = Quantity::from_u64(leaf.1.as_u64()?.checked_sub(count)?)?;
                        }
                        None if is_root(*total) && !given.is_zero() => return None,
                        None => {}
                    }
                }
            }
        }
        Some(())
    }

    /// Tokens that lie both in the cache's part and in a kind of input, where nobody said how many: parts that do not fit
    /// beside each other share as few as they must. Only where that is possible at all; else `false`, nothing changed.
    fn share(&mut self, declared: &[(UsageKey, Quantity)], given: Quantity) -> bool {
        let is_said = |key: UsageKey| declared.iter().any(|(known, _)| *known == key);
        let leaf = |leaves: &Self, key: UsageKey| leaves.iter().find(|leaf| leaf.0 == key).map(|leaf| leaf.1.decimal());
        let parts =
            self.iter().filter(|leaf| leaf.0 != UsageKey::InputTokens && leaf.0.is_within(UsageKey::InputTokens));
        let below = parts.into_iter().try_fold(Decimal::ZERO, |sum, (_, part)| sum.checked_add(part.decimal()));
        let Some(mut excess) = below.and_then(|below| below.checked_sub(given.decimal())) else { return false };
        let mut shared = self.clone();
        for (kind, joint) in UsageKey::KINDS_READ {
            let sizes = (leaf(&shared, *kind), leaf(&shared, UsageKey::CacheReadTokens));
            let (Some(of_kind), Some(read)) = sizes else { continue };
            let both = excess.min(of_kind).min(read);
            if is_said(*joint) || both.is_zero() {
                continue;
            }
            if !shared.raise(*joint, both) || !shared.take(*kind, both) || !shared.take(UsageKey::CacheReadTokens, both)
            {
                return false;
            }
            let Some(rest) = excess.checked_sub(both) else { return false };
            excess = rest;
        }
        if !excess.is_zero() {
            return false;
        }
        shared.overlap = true;
        *self = shared;
        if let Some(leaf) = self.leaves.iter_mut().find(|leaf| leaf.0 == UsageKey::InputTokens) {
            leaf.1 = Quantity::ZERO;
        }
        true
    }

    /// Takes from exactly this leaf.
    fn take(&mut self, key: UsageKey, by: Decimal) -> bool {
        let Some(leaf) = self.leaves.iter_mut().find(|leaf| leaf.0 == key) else { return false };
        let rest = leaf.1.decimal().checked_sub(by).and_then(Quantity::from_decimal);
        rest.map(|rest| leaf.1 = rest).is_some()
    }

    /// Do parts overlap by an amount that nobody said? Then only what costs the same either way has a price.
    pub(crate) const fn has_overlap(&self) -> bool {
        self.overlap
    }

    fn reduce(&mut self, key: UsageKey, given: Quantity) -> Result<(), InvalidUsage> {
        let within = |leaf: &(UsageKey, Quantity)| leaf.0 != key && leaf.0.is_within(key);
        let below =
            self.iter().filter(within).try_fold(Decimal::ZERO, |sum, (_, part)| sum.checked_add(part.decimal()));
        // Exact: whole keys have no decimals, and a total of seconds has two parts of at most 10¹⁶ with 12 decimals.
        let rest = below.and_then(|below| given.decimal().checked_sub(below)).and_then(Quantity::from_decimal);
        let Some(rest) = rest else {
            let parts: Vec<&str> =
                self.iter().filter(within).filter(|leaf| !leaf.1.is_zero()).map(|leaf| leaf.0.as_str()).collect();
            let sum = below.unwrap_or_default().normalize();
            return Err(InvalidUsage::ExceedsTotal {
                total: key,
                given,
                parts: format!("{} = {sum}", parts.join(" + ")),
            });
        };
        if let Some(leaf) = self.leaves.iter_mut().find(|leaf| leaf.0 == key) {
            leaf.1 = rest;
        }
        Ok(())
    }
}

/// The longest list of wider totals.
const DEPTH_MAX: usize = 3;

/// The total of a direction's tokens?
const fn is_root(total: UsageKey) -> bool {
    matches!(total, UsageKey::InputTokens | UsageKey::OutputTokens)
}

/// Token subsets say nothing without their direction's total: whether the sender includes or excludes them is unknown.
fn refuse_without_total(declared: &[(UsageKey, Quantity)]) -> Result<(), InvalidUsage> {
    for &(part, quantity) in declared {
        for &total in part.wider() {
            if is_root(total) && !quantity.is_zero() && !declared.iter().any(|(key, _)| *key == total) {
                return Err(InvalidUsage::TotalMissing { part, quantity, total });
            }
        }
    }
    Ok(())
}

/// Disjoint token counts of one call: they add up to its tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenTotals {
    /// Prompt tokens neither read from nor written to a cache.
    pub input: u64,
    /// Prompt tokens read from a cache.
    pub cache_read: u64,
    /// Prompt tokens written to a cache.
    pub cache_write: u64,
    /// Completion tokens without reasoning.
    pub output: u64,
    /// Completion tokens spent on reasoning.
    pub reasoning: u64,
}

impl TokenTotals {
    /// All tokens.
    #[must_use]
    pub const fn total(&self) -> u64 {
        // Each is at most 10¹⁶ × the number of keys, far from the edge.
        self.input
            .saturating_add(self.cache_read)
            .saturating_add(self.cache_write)
            .saturating_add(self.output)
            .saturating_add(self.reasoning)
    }

    pub(super) fn of(usage: &Usage) -> Result<Self, InvalidUsage> {
        let mut totals = Self::default();
        for (key, quantity) in usage.leaves()?.iter() {
            let count = quantity.as_u64().unwrap_or(0);
            let bucket = if key.is_within(UsageKey::CacheReadTokens) {
                &mut totals.cache_read
            } else if key.is_within(UsageKey::CacheWriteTokens) {
                &mut totals.cache_write
            } else if key.is_within(UsageKey::InputTokens) {
                &mut totals.input
            } else if key == UsageKey::OutputReasoningTokens {
                &mut totals.reasoning
            } else if key.is_within(UsageKey::OutputTokens) {
                &mut totals.output
            } else {
                continue;
            };
            *bucket = bucket.saturating_add(count);
        }
        Ok(totals)
    }
}
