//! Packed segments: read like the others, proved like the others, and removed unpacked only when they are safe.

use std::fs;

use pricing::Timestamp;

use super::reading::check;
use super::{EVERY_BATCH, Ledger};
use crate::event::charge::tests::sample::{entries, small};
use crate::ledger::verify::verify;
use crate::ledger::{LedgerError, Reader, pack_closed};

const ALWAYS: Timestamp = Timestamp::from_nanos(i64::MAX);

#[test]
fn packed_segments_read_as_before() {
    let ledger = Ledger::of(&[3, 1, 4, 2], EVERY_BATCH);
    let writer = ledger.open().writer;
    let reader = writer.reader();
    // The newest is never packed: it is written to.
    assert_eq!(pack_closed(&ledger.dir, &reader, ALWAYS, u64::MAX).unwrap(), 3);
    check(&reader, &ledger.entries);
    assert_eq!(pack_closed(&ledger.dir, &reader, ALWAYS, u64::MAX).unwrap(), 0);
    assert_eq!(ledger.segments().len(), 1, "what is packed is gone the next time");
    check(&reader, &ledger.entries);
    check(&Reader::at_rest(&ledger.dir).unwrap(), &ledger.entries);
    drop((writer, reader));
    assert_eq!(verify(&ledger.dir, None, |_, _| {}).unwrap().entries, 10);
    for after in [0, 5, 9] {
        let (mut recovered, replayed) = ledger.replay(after).unwrap();
        assert_eq!(replayed, ledger.entries[usize::try_from(after).unwrap()..]);
        check(&recovered.writer.reader(), &ledger.entries);
        if after == 9 {
            recovered.writer.append(entries(11, [small(0)])).unwrap();
        }
    }
    assert_eq!(ledger.replay(0).unwrap().1.len(), 11);
}

/// A process packs, and ends before it removes what it packed: the next one reads the segments as they were, until it has packed
/// them itself.
#[test]
fn a_start_between_packing_and_removing_loses_nothing() {
    let ledger = Ledger::of(&[3, 1, 4, 2], EVERY_BATCH);
    let writer = ledger.open().writer;
    assert_eq!(pack_closed(&ledger.dir, &writer.reader(), ALWAYS, u64::MAX).unwrap(), 3);
    drop(writer);
    assert_eq!(ledger.segments().len(), 4, "not removed yet");
    let writer = ledger.open().writer;
    let reader = writer.reader();
    assert_eq!(pack_closed(&ledger.dir, &reader, ALWAYS, u64::MAX).unwrap(), 3);
    check(&reader, &ledger.entries);
    assert_eq!(pack_closed(&ledger.dir, &reader, ALWAYS, u64::MAX).unwrap(), 0);
    check(&reader, &ledger.entries);
    assert_eq!(ledger.segments().len(), 1);
}

#[test]
fn only_what_nobody_needs_is_packed() {
    let ledger = Ledger::of(&[3, 1, 4, 2], EVERY_BATCH);
    let writer = ledger.open().writer;
    let reader = writer.reader();
    let packed = |before, keep_from| pack_closed(&ledger.dir, &reader, before, keep_from).unwrap();
    assert_eq!(packed(ALWAYS, 3), 0, "the first segment holds entry 3");
    assert_eq!(packed(ledger.entries[3].at, u64::MAX), 0, "what follows the first is not old enough");
    assert_eq!(packed(ledger.entries[3].at.saturating_add(1), u64::MAX), 1);
    assert_eq!(packed(ALWAYS, 5), 1);
    check(&reader, &ledger.entries);
}

#[test]
fn a_packing_that_was_cut_off_is_done_again() {
    let ledger = Ledger::of(&[3, 1], EVERY_BATCH);
    fs::write(ledger.dir.archive().join("00000000000000000001-9.tmp"), b"half").unwrap();
    fs::write(ledger.dir.archive().join("00000000000000000001-9.zst"), b"not finished").unwrap();
    check(&Reader::at_rest(&ledger.dir).unwrap(), &ledger.entries);
    assert_eq!(ledger.replay(0).unwrap().1, ledger.entries);
}

#[test]
fn a_packed_segment_that_is_gone_is_missed() {
    let ledger = Ledger::of(&[3, 1, 4], EVERY_BATCH);
    let writer = ledger.open().writer;
    pack_closed(&ledger.dir, &writer.reader(), ALWAYS, u64::MAX).unwrap();
    pack_closed(&ledger.dir, &writer.reader(), ALWAYS, u64::MAX).unwrap();
    drop(writer);
    for file in fs::read_dir(ledger.dir.archive()).unwrap() {
        fs::remove_file(file.unwrap().path()).unwrap();
    }
    let gone = |error: &LedgerError| matches!(error, LedgerError::Missing { from: 1, to: 4, .. });
    let error = ledger.replay(0).unwrap_err();
    assert!(gone(&error), "{error}");
    // A snapshot covers them: the daemon goes on, but nothing can be proved.
    assert_eq!(ledger.replay(4).unwrap().1, ledger.entries[4..]);
    let error = verify(&ledger.dir, None, |_, _| {}).unwrap_err().to_string();
    assert!(error.contains("entries 1 to 4 are missing"), "{error}");
}

#[test]
fn a_packed_segment_that_is_damaged_is_refused() {
    let ledger = Ledger::of(&[40, 1], EVERY_BATCH);
    let writer = ledger.open().writer;
    pack_closed(&ledger.dir, &writer.reader(), ALWAYS, u64::MAX).unwrap();
    pack_closed(&ledger.dir, &writer.reader(), ALWAYS, u64::MAX).unwrap();
    drop(writer);
    let path = fs::read_dir(ledger.dir.archive()).unwrap().next().unwrap().unwrap().path();
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x55;
    fs::write(&path, bytes).unwrap();
    let error = ledger.replay(0).unwrap_err().to_string();
    assert!(error.contains(&path.display().to_string()), "{error}");
}
