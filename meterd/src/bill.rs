//! Bills: what a provider says it charged, beside what was metered. Reads other people's reports; never writes the ledger.
//!
//! A report becomes amounts by day and, where it says so, by model; the comparison is exact. Pure: no I/O.

mod compare;
mod read;

#[cfg(test)]
mod tests;

pub use compare::{Cause, Compared, Metered, Report, compare};
pub use read::{BILL_BYTES_MAX, Billed, NotABill, Provider, read};
