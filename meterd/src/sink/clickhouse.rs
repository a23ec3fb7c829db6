//! ClickHouse: usage entries, adjustments, kills and executions, and roll-ups that stay right whatever is sent again.
//!
//! A batch is a range of ledger entries with bounds that are durable before it is sent, so a batch that comes again is the same
//! batch. Its rows are keyed by shard and sequence number; its roll-ups, made by a materialised view, are keyed by the batch; and
//! the roll-ups that count are those of batches whose row in `batches` says that they are complete. That row is written last,
//! after the roll-ups of the batch were read back and found to hold its sums. So neither a retry, nor a connection cut in the
//! middle, nor a token that was forgotten or remembered too long can make a view count anything twice or not at all.

mod ask;
mod carry;
mod client;
mod config;
mod encode;
mod run;
mod schema;
mod watermark;

#[cfg(test)]
mod tests;

pub use client::{Client, SinkError};
pub use run::{ClickHouseSink, State, Status};
pub use schema::{Schema, rendered};
