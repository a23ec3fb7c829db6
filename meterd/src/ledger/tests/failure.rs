//! A write that fails: nothing is shown, nothing more is taken, and the next start goes on from what is on disk.

use std::io::ErrorKind;

use super::{EVERY_BATCH, Ledger};
use crate::event::charge::tests::sample::{entries, small};
use crate::ledger::{Call, Fault, LedgerError};

/// The second batch fails; after it the ledger holds `on_disk` entries.
fn check(call: Call, kind: ErrorKind, after: u32, on_disk: usize) {
    let ledger = Ledger::empty();
    let mut writer = ledger.open().writer;
    writer.limit_segments(EVERY_BATCH);
    let first = entries(1, [small(1), small(2)]);
    writer.append(first.clone()).unwrap();
    writer.fail(Fault { call, after, kind });
    let second = entries(3, [small(3)]);
    let error = writer.append(second.clone()).unwrap_err();
    assert_eq!(error.is_disk_full(), matches!(kind, ErrorKind::StorageFull | ErrorKind::QuotaExceeded), "{error}");
    assert_eq!(writer.reader().committed(), 2, "{call:?}: what is not durable is not shown");
    assert!(writer.reader().entry(3).unwrap().is_none());
    for _ in 0..2 {
        let error = writer.append(second.clone()).unwrap_err();
        assert!(matches!(error, LedgerError::Stopped), "{call:?}: {error}");
    }
    drop(writer);
    let (mut recovered, replayed) = ledger.replay(0).unwrap();
    assert_eq!(replayed, [first, second].concat()[..on_disk], "{call:?}");
    recovered.writer.append(entries(on_disk as u64 + 1, [small(4)])).unwrap();
}

#[test]
fn after_a_failed_write_nothing_more_is_written() {
    // The first call of each kind is for the new segment, the second for the batch.
    check(Call::Create, ErrorKind::StorageFull, 0, 2);
    check(Call::Write(0), ErrorKind::StorageFull, 0, 2);
    check(Call::Write(20), ErrorKind::StorageFull, 0, 2);
    check(Call::Sync, ErrorKind::Other, 0, 2);
    check(Call::Write(0), ErrorKind::StorageFull, 1, 2);
    check(Call::Write(40), ErrorKind::StorageFull, 1, 2);
    // Whole on disk, but nobody was told so: it is taken back.
    check(Call::Write(usize::MAX), ErrorKind::Other, 1, 2);
    check(Call::Sync, ErrorKind::QuotaExceeded, 1, 2);
}

#[test]
fn a_start_makes_durable_what_it_found_before_it_goes_on() {
    // The cut after a failed write may be in the page cache only: lost with the power, it would bring the batch back.
    let ledger = Ledger::empty();
    let mut writer = ledger.open().writer;
    writer.append(entries(1, [small(1)])).unwrap();
    drop(writer);
    ledger.dir.disk().fail(Fault { call: Call::Sync, after: 0, kind: ErrorKind::Other });
    let error = ledger.replay(0).unwrap_err();
    assert!(matches!(&error, LedgerError::Io { .. }), "{error}");
    let (_recovered, replayed) = ledger.replay(0).unwrap();
    assert_eq!(replayed.len(), 1);
}
