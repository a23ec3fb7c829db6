//! `cargo +nightly fuzz run otlp_metrics_protobuf`: see `targets.rs`.
#![no_main]
#![allow(dead_code)]

#[path = "../targets.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|data: &[u8]| targets::otlp_metrics_protobuf(data));
