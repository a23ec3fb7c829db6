//! `cargo +nightly fuzz run litellm`: see `targets.rs`.
#![no_main]
#![allow(dead_code)]

#[path = "../targets.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|data: &[u8]| targets::litellm_payloads(data));
