//! meterd: usage in, priced and durable ledger entries out; everything else is computed from those entries.
//!
//! The rooms and who may import whom are in ARCHITECTURE.md; `tests/tidy` holds the table.

pub mod auth;
pub mod bill;
pub mod cli;
pub mod clock;
pub mod config;
pub mod console;
pub mod daemon;
pub mod event;
pub mod follow;
pub mod ingest;
pub mod late;
pub mod ledger;
pub mod meter;
pub mod metrics;
pub mod pulse;
pub mod reconcile;
pub mod resource;
pub mod rollup;
pub mod server;
pub mod settle;
pub mod signal;
pub mod simulate;
pub mod sink;
pub mod spans;
pub mod watch;

pub mod api;
