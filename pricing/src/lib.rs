//! What did it cost? Exact decimals, usage as disjoint leaves, versioned price tables, and `price()`.
//!
//! Pure: text and values in, values out. No clock, file, socket, environment or randomness ever comes in here, and no
//! binary float (ARCHITECTURE.md, invariants I1, I2, I10).
#![deny(
    clippy::arithmetic_side_effects,
    clippy::float_arithmetic,
    clippy::disallowed_types,
    clippy::disallowed_methods
)]

pub mod book;
pub mod cost;
mod decimal;
pub mod document;
pub mod import;
pub mod model;
pub mod money;
pub mod table;
pub mod text;
pub mod time;
pub mod usage;

pub use book::PriceBook;
pub use cost::{Call, Cost, Line, Outcome, Target, Unpriced, estimate, price, recompute};
pub use money::Money;
pub use table::PriceTable;
pub use time::Timestamp;
pub use usage::{Attrs, Quantity, Usage, UsageKey};
