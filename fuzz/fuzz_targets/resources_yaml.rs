//! `cargo +nightly fuzz run resources_yaml`: see `targets.rs`.
#![no_main]
#![allow(dead_code)]

#[path = "../targets.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|data: &[u8]| targets::resources_yaml(data));
