//! The price tables that are built in: every file of `pricing/tables`, listed by the build script. Data only.

/// `(file name, text)` of each built-in price table, sorted by name.
pub const TABLES: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/seed_tables.rs"));
