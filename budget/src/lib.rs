//! May it be spent? Scopes, windows, counters, `decide(state, now, command) → verdict + facts`, and state as a fold.
//!
//! Pure: time is an argument; nothing here reads a clock, file, socket or environment, and money is never a binary
//! float (ARCHITECTURE.md, invariants I2, I5, I10, I13). Uses `pricing` for amounts and usage; knows no wire format.
#![deny(
    clippy::arithmetic_side_effects,
    clippy::float_arithmetic,
    clippy::disallowed_types,
    clippy::disallowed_methods
)]

pub mod adjust;
pub mod budget;
pub mod charge;
pub mod counter;
pub mod decide;
pub mod entry;
mod limits;
pub mod link;
#[cfg(feature = "mistakes")]
pub mod mistakes;
pub mod policy;
pub mod reservation;
pub mod scope;
pub mod signal;
pub mod state;
pub mod window;

pub use crate::adjust::{Adjust, AdjustReason, Adjustment, Turns};
pub use crate::budget::{Action, Budget, Fraction, Limit, Source, Unit};
pub use crate::charge::{Basis, Charge, Priced, Subject};
pub use crate::decide::{Command, Verdict, allowance, decide};
pub use crate::entry::{Entry, Fact};
pub use crate::link::{Link, Links, OfRun};
pub use crate::policy::Policy;
pub use crate::reservation::{Claim, Denial, Found, Reserve};
pub use crate::scope::{Ref, Scope};
pub use crate::state::State;
pub use crate::window::Window;
