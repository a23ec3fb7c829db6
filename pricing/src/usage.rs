//! What was used: inclusive totals with named subsets, and the disjoint leaves they stand for.
//!
//! Never a price here. A leaf is its total less everything declared below it, so no token can be counted twice; a
//! remainder below zero is refused, never guessed.

mod attrs;
mod declared;
mod key;
mod leaves;
mod quantity;
#[cfg(test)]
mod tests;

pub use attrs::Attrs;
pub use declared::Usage;
pub use key::{Family, UsageKey};
pub use leaves::{Leaves, TokenTotals};
pub use quantity::{DECIMALS_MAX, NotAQuantity, QUANTITY_MAX, Quantity};

/// Usage that cannot be what happened: a part larger than its whole, a fraction of a token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidUsage {
    /// A token or a count must be whole.
    #[error("{} must be a whole number, not {quantity}", key.as_str())]
    Fractional {
        /// What was counted.
        key: UsageKey,
        /// The fraction given.
        quantity: Quantity,
    },
    /// Disjoint parts add up to more than the total that contains them.
    #[error("{parts} is more than {} ({given})", total.as_str())]
    ExceedsTotal {
        /// The total.
        total: UsageKey,
        /// Its declared quantity.
        given: Quantity,
        /// The parts and their sum, such as `cache_read_tokens + cache_write_tokens = 700`.
        parts: String,
    },
    /// A part is given without the total that contains it.
    #[error("{} is {quantity} but {}, which contains it, is not given", part.as_str(), total.as_str())]
    TotalMissing {
        /// The part.
        part: UsageKey,
        /// Its quantity.
        quantity: Quantity,
        /// The missing total.
        total: UsageKey,
    },
}
