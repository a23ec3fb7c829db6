//! `cargo +nightly fuzz run otlp_logs_json`: see `targets.rs`.
#![no_main]
#![allow(dead_code)]

#[path = "../targets.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|data: &[u8]| targets::otlp_logs_json(data));
