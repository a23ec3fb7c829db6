//! The house holds itself to its own rules: imports between rooms, sizes, headers, names, and what the documents promise.
//!
//! The import table of ARCHITECTURE.md stands in `rooms` as data; a test compares the two. Each finding is one line,
//! `file:line: what is wrong and what to do`, and a test prints them all at once. Never runs the daemon.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod documents;
mod imports;
mod rooms;
mod shape;
mod source;

use std::fmt::Write as _;

/// Fails with every finding, one a line.
#[track_caller]
fn none(findings: &[String]) {
    let mut text = String::new();
    for finding in findings {
        let _ = write!(text, "\n  {finding}");
    }
    assert!(findings.is_empty(), "{} finding(s):{text}", findings.len());
}
