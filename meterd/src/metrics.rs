//! Every metric family: what is written at `/metrics`, in two text formats.
//!
//! Two writers. Families with free label values (money, tokens, calls, budgets, kills) are folded from the ledger and
//! written here, with exact decimals and caps. The daemon's own families, whose label values are closed sets, are kept
//! by the `prometheus` crate and appended to the same answer. Nothing here decides, and nothing here feeds an invoice.

pub mod catalog;
pub mod text;

pub use self::text::Format;
