//! Sinks: entries → places outside, each entry exactly once in what they show (I16). Never an authority, never in the way.
//!
//! A sink follows the ledger with a durable cursor of its own; it may be away for hours, and intake neither knows nor waits.
//! Each sink has the same anatomy: `config` (from settings to a connection), `encode` (entries to its rows, pure), `client`
//! (the connection), `carry` (a delivery), `run` (its whole life).

pub mod clickhouse;
