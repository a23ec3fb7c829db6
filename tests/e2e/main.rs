//! The real binary, from outside, with real peers: what a user of the contract sees. Never a look inside the library.
//!
//! Every expectation is worked out by hand in the test's comment, from the published prices and the contract.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::print_stderr)]
#![allow(missing_docs, unreachable_pub)]

#[path = "../harness/harness.rs"]
mod harness;

mod adjust;
mod allowances;
mod archive;
mod auth;
mod bench;
mod bombs;
mod budgets;
mod callers;
mod clickhouse;
mod clickhouse_settings;
mod clocks;
mod commands;
mod console;
mod contract;
mod cost;
mod crash;
mod demo;
mod derived;
mod events;
mod executions;
mod export;
mod faults;
mod holds;
mod kills;
mod late;
mod layers;
mod links;
mod live;
mod metrics_only;
mod openapi;
mod otlp;
mod paths;
mod price_resources;
mod prometheus;
mod provider;
mod quarantine;
mod refusals;
mod reload;
mod reservations;
mod run;
mod series;
mod settle;
mod simulate;
mod startup;
mod supersede;
mod tables;
mod terminal;
mod tls;
mod usage;
mod warehouse;
