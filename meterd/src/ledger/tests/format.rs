//! The format on disk, byte for byte: `segment.hex` is a segment with one of each fact.
//!
//! When this fails, ledgers that were written before can no longer be read. Give the format a new number (`FORMAT` in
//! `dir.rs`, the magics in `format.rs`) and a way to read the old one; then `UPDATE=1` rewrites the fixture.

use std::fs;

use budget::Fact;

use super::Ledger;
use crate::event::charge::tests::sample::{entries, one_of_each_fact, small};
use crate::ledger::{LedgerError, Reader};

const FIXTURE: &str = include_str!("segment.hex");
/// A segment of the format before, as it was written then; never rewritten.
const FIXTURE_BEFORE: &str = include_str!("segment2.hex");

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

/// A directory of the format before: read as it was, given the new number, and written on.
#[test]
fn the_format_before_moves_forward() {
    let ledger = Ledger::empty();
    drop(ledger.open());
    fs::write(ledger.dir.segments().join(format!("{:020}.log", 1)), bytes(FIXTURE_BEFORE)).unwrap();
    let format = ledger.dir.root().join("FORMAT");
    fs::write(&format, "meterd-data 2\n").unwrap();
    let reader = Reader::at_rest(&ledger.dir).unwrap();
    // It knew every fact of today but the last ones.
    let facts: Vec<Fact> = one_of_each_fact().into_iter().filter(|fact| !matches!(fact, Fact::Rested { .. })).collect();
    assert_eq!(reader.committed(), facts.len() as u64);
    assert_eq!(fs::read_to_string(&format).unwrap(), "meterd-data 2\n", "who only reads changes nothing");
    let (mut recovered, replayed) = ledger.replay(0).unwrap();
    assert_eq!(replayed, entries(1, facts));
    assert_eq!(fs::read_to_string(&format).unwrap(), "meterd-data 3\n");
    let more = entries(recovered.writer.next_seq(), (0..500).map(small));
    recovered.writer.append(more.clone()).unwrap();
    drop(recovered);
    assert_eq!(ledger.replay(replayed.len() as u64).unwrap().1, more);
}

/// Any other number is refused in words that say the way out, by who starts and by who only reads; nothing is changed.
#[test]
fn other_formats_are_refused() {
    for other in ["meterd-data 1\n", "meterd-data 4\n", "something else\n", ""] {
        let ledger = Ledger::with(one_of_each_fact());
        let format = ledger.dir.root().join("FORMAT");
        fs::write(&format, other).unwrap();
        let errors = [ledger.replay(0).unwrap_err(), Reader::at_rest(&ledger.dir).unwrap_err()];
        for error in errors {
            assert!(matches!(error, LedgerError::Format { .. }), "{error}");
            let said = error.to_string();
            assert!(
                said.contains(&format!("{:?}", other.trim_end())) && said.contains("nothing was changed"),
                "{said}"
            );
            assert!(said.contains("meterd-data 3") && said.contains("Start the version that wrote it"), "{said}");
        }
        assert_eq!(fs::read_to_string(&format).unwrap(), other);
    }
}

/// Large batches are packed, small ones are not, and both read back; a segment that is large is decoded on every core.
#[test]
fn packed_batches_read_back() {
    let mut ledger = Ledger::empty();
    let mut writer = ledger.open().writer;
    for batch in [1, 4_000, 2, 4_000, 3] {
        let before = writer.bytes();
        let more = entries(writer.next_seq(), (0..batch).map(|number| small(number * 7)));
        writer.append(more.clone()).unwrap();
        let plain: usize = more.iter().map(|entry| postcard::to_stdvec(entry).unwrap().len() + 4).sum();
        let written = usize::try_from(writer.bytes() - before).unwrap();
        assert_eq!(written < plain, batch > 100, "{batch} entries of {plain} bytes take {written}");
        ledger.entries.extend(more);
    }
    drop(writer);
    assert_eq!(ledger.replay(0).unwrap().1, ledger.entries);
    assert_eq!(ledger.replay(4_002).unwrap().1, ledger.entries[4_002..]);
}

#[test]
fn a_large_segment_is_decoded_on_every_core_in_order() {
    let mut ledger = Ledger::empty();
    let mut writer = ledger.open().writer;
    // Texts that do not pack well, so that the segment passes the size from which it is decoded beside.
    let noise = |seed: usize| {
        let mut state = seed as u64 | 1;
        let mut text = String::new();
        for _ in 0..600 {
            state = state.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23) ^ 0x5851_f42d;
            text.push_str(&format!("{state:016x}"));
        }
        text
    };
    for batch in 0..60 {
        let fact = |number: usize| {
            let Fact::Pinned(table) = small(number) else { panic!() };
            Fact::Pinned(pricing::cost::TableRef::new(&*table.name, noise(batch * 100 + number), &*table.digest))
        };
        let more = entries(writer.next_seq(), (0..20).map(fact));
        writer.append(more.clone()).unwrap();
        ledger.entries.extend(more);
    }
    assert!(writer.bytes() > 4 << 20, "{}", writer.bytes());
    drop(writer);
    assert_eq!(ledger.replay(0).unwrap().1, ledger.entries);
    assert_eq!(ledger.replay(601).unwrap().1, ledger.entries[601..]);
    // Damage in the middle is found there too.
    let path = ledger.segments().pop().unwrap();
    let mut content = fs::read(&path).unwrap();
    let middle = content.len() / 2;
    content[middle] ^= 1;
    fs::write(&path, content).unwrap();
    let error = ledger.replay(0).unwrap_err();
    assert!(matches!(error, LedgerError::Damaged { .. }), "{error}");
}
