//! The format on disk, byte for byte: `segment.hex` is a segment with one of each fact.
//!
//! When this fails, ledgers that were written before can no longer be read. Give the format a new number (`FORMAT` in
//! `dir.rs`, the magics in `format.rs`) and a way to read the old one; then `UPDATE=1` rewrites the fixture.

use std::fs;

use super::Ledger;
use crate::event::charge::tests::sample::{entries, one_of_each_fact};

const FIXTURE: &str = include_str!("segment.hex");

fn hex(bytes: &[u8]) -> String {
    let line = |line: &[u8]| line.iter().map(|byte| format!("{byte:02x}")).collect::<String>() + "\n";
    bytes.chunks(60).map(line).collect()
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

#[test]
fn the_format_on_disk_is_stable() {
    let ledger = Ledger::with(one_of_each_fact());
    let path = ledger.segments().pop().unwrap();
    let written = hex(&fs::read(&path).unwrap());
    if std::env::var_os("UPDATE").is_some() {
        let fixture = concat!(env!("CARGO_MANIFEST_DIR"), "/src/ledger/tests/segment.hex");
        return fs::write(fixture, written).unwrap();
    }
    assert_eq!(written, FIXTURE, "the format changed: see the top of this file");
    // And back: a ledger of those bytes gives those entries.
    let again = Ledger::empty();
    drop(again.open());
    fs::write(again.dir.segments().join(format!("{:020}.log", 1)), bytes(FIXTURE)).unwrap();
    let (_, replayed) = again.replay(0).unwrap();
    assert_eq!(replayed, entries(1, one_of_each_fact()));
}
