//! The import table as data: which room of the daemon may use which, and which crates the pure rooms may name.
//!
//! ARCHITECTURE.md shows the same table; `the_architecture_document_shows_the_same_import_table` compares them.

/// Every room but these is closed to all that the table does not name.
pub(crate) const EVERYTHING: &str = "everything";

/// `(rooms, what they may use)`. A room may always use itself.
pub(crate) const IMPORTS: &[(&[&str], &[&str])] = &[
    (&["clock"], &["pricing", "budget"]),
    (&["event"], &["pricing", "budget"]),
    (&["ingest"], &["pricing", "budget", "event"]),
    (&["resource"], &["pricing", "budget", "event"]),
    (&["config"], &["pricing", "resource", "signal"]),
    (&["auth"], &["config"]),
    (&["watch"], &["pricing", "budget", "config", "resource"]),
    (&["ledger"], &["pricing", "budget", "event"]),
    (&["meter"], &["pricing", "budget", "clock", "ledger"]),
    (&["follow"], &["budget", "ledger"]),
    (&["metrics"], &["pricing", "budget", "follow", "ledger"]),
    (&["signal"], &["pricing", "budget", "follow"]),
    (&["reconcile"], &["pricing", "budget", "follow", "ledger", "signal"]),
    (&["bill"], &["pricing"]),
    (&["rollup"], &["pricing", "budget", "follow", "ledger"]),
    (&["settle"], &["pricing", "budget", "event", "ledger", "meter", "reconcile"]),
    (&["simulate"], &["pricing", "budget", "ledger"]),
    (&["spans"], &["ingest", "ledger"]),
    (&["late"], &["pricing", "budget", "ledger", "meter"]),
    (&["sink"], &["pricing", "budget", "config", "follow", "ledger", "metrics", "rollup"]),
    (&["pulse"], &["pricing", "budget", "follow"]),
    (&["server", "console"], &[]),
    (
        &["api"],
        &[
            "auth",
            "bill",
            "pricing",
            "budget",
            "clock",
            "console",
            "event",
            "ingest",
            "late",
            "ledger",
            "meter",
            "metrics",
            "pulse",
            "reconcile",
            "resource",
            "rollup",
            "server",
            "settle",
            "signal",
            "simulate",
            "sink",
            "spans",
        ],
    ),
    (&["daemon", "cli"], &[EVERYTHING]),
];

/// Crates that a pure crate may name, beside `core`, `alloc` and the harmless part of `std`.
pub(crate) const PURE_CRATES: &[(&str, &[&str])] = &[
    (
        "pricing",
        &[
            "arrayvec",
            "jiff",
            "regex_lite",
            "rust_decimal",
            "rustc_hash",
            "saphyr_parser",
            "serde",
            "serde_json",
            "sha2",
            "thiserror",
        ],
    ),
    ("budget", &["hashbrown", "jiff", "pricing", "rustc_hash", "serde", "thiserror"]),
];

/// Rooms of the daemon that do no I/O either.
pub(crate) const PURE_ROOMS: &[&str] = &["event", "ingest", "resource"];

/// The one type that appends to the ledger, and the rooms that may name it.
pub(crate) const LEDGER_WRITER: &str = "Writer";
pub(crate) const LEDGER_WRITERS: &[&str] = &["ledger", "meter"];

/// Paths that only the pure crates must not name: the rooms read bytes in memory with them.
pub(crate) const IMPURE_IN_CRATES: &[&str] = &["std::io"];

/// Paths that mean a clock, a file, a socket, a thread, the environment or chance.
pub(crate) const IMPURE_PATHS: &[&str] = &[
    "std::fs",
    "std::net",
    "std::env",
    "std::process",
    "std::thread",
    "std::os",
    "std::time::SystemTime",
    "std::time::Instant",
    "tokio::",
    "hyper::",
    "hyper_util::",
    "axum::",
    "notify::",
    "rustix::",
    "rand::",
    "tempfile::",
    "Timestamp::now",
    "Zoned::now",
    "SystemTime::now",
    "Instant::now",
];

/// What a room may use; `None` for a room that the table does not know.
pub(crate) fn allowed(room: &str) -> Option<&'static [&'static str]> {
    IMPORTS.iter().find(|(rooms, _)| rooms.contains(&room)).map(|(_, allowed)| *allowed)
}

/// Every room of the table.
pub(crate) fn rooms() -> impl Iterator<Item = &'static str> {
    IMPORTS.iter().flat_map(|(rooms, _)| rooms.iter().copied())
}
