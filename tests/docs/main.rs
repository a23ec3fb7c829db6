//! The documents are true: reference pages equal what the program says of itself, the guides' commands and files run
//! against the real daemon, links and anchors resolve.
//!
//! `UPDATE=1 cargo test -p meterd --test docs reference` writes the reference pages anew. Never a look at prose.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::print_stderr)]
#![allow(missing_docs, unreachable_pub)]

#[allow(dead_code, reason = "the end-to-end tests use the rest")]
#[path = "../harness/harness.rs"]
mod harness;

mod codes;
mod dashboards;
mod deploy;
mod fences;
mod guides;
mod links;
mod otlp;
mod reference;
mod replay;
mod runbooks;

use std::path::PathBuf;

/// The project's root.
fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}
