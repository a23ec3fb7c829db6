//! Damage in the middle and gaps: refused with the place, and nothing changed.

use std::fs;
use std::path::Path;

use super::{EVERY_BATCH, Ledger, NEVER, frame_bounds};
use crate::ledger::format::HEADER_LEN;
use crate::ledger::verify::{Difference, verify};
use crate::ledger::{LedgerError, Reader};

/// Flips a byte of a file; opening, and proving at rest, must name the file and this offset and change nothing.
fn check(ledger: &Ledger, path: &Path, at: usize, expected: u64) {
    let whole = fs::read(path).unwrap();
    let mut flipped = whole.clone();
    flipped[at] ^= 0x10;
    fs::write(path, &flipped).unwrap();
    let before = ledger.content();
    let named = |error: &LedgerError| matches!(error, LedgerError::Damaged { path: file, offset, .. } if file == path && *offset == expected);
    let error = ledger.replay(0).unwrap_err();
    assert!(named(&error), "byte {at}: {error}");
    let error = verify(&ledger.dir, None, |_, _| {}).unwrap_err();
    assert!(matches!(&error, Difference::Ledger(error) if named(error)), "byte {at}: {error}");
    assert_eq!(ledger.content(), before);
    fs::write(path, whole).unwrap();
}

#[test]
fn a_flipped_byte_before_the_last_frame_is_refused() {
    let ledger = Ledger::of(&[2, 1, 3, 1], NEVER);
    let path = ledger.segments().pop().unwrap();
    let bounds = frame_bounds(&path);
    for frame in bounds[..bounds.len() - 1].windows(2) {
        let (begin, end) = (usize::try_from(frame[0]).unwrap(), usize::try_from(frame[1]).unwrap());
        // Magic, length, checksum, sequence number, count, chain hash, and entries to the last byte.
        for at in (begin..end).step_by(5).chain([end - 1]) {
            check(&ledger, &path, at, frame[0]);
        }
    }
    ledger.replay(0).unwrap();
}

#[test]
fn a_flipped_byte_anywhere_in_an_older_segment_is_refused() {
    let ledger = Ledger::of(&[2, 2, 2], EVERY_BATCH);
    for path in &ledger.segments()[..2] {
        let len = usize::try_from(fs::metadata(path).unwrap().len()).unwrap();
        for at in (0..HEADER_LEN).step_by(7) {
            check(&ledger, path, at, 0);
        }
        for at in (HEADER_LEN..len).step_by(7) {
            check(&ledger, path, at, HEADER_LEN as u64);
        }
    }
    ledger.replay(0).unwrap();
}

/// A rewritten batch with a right checksum still breaks the chain.
#[test]
fn a_batch_from_elsewhere_breaks_the_chain() {
    let ledger = Ledger::of(&[2, 2, 1], NEVER);
    let path = ledger.segments().pop().unwrap();
    let bounds = frame_bounds(&path);
    let other = Ledger::of(&[2, 2, 1], NEVER);
    let other_path = other.segments().pop().unwrap();
    // The same batches after a beginning of another length: same lengths, same numbers, another history.
    let mut bytes = fs::read(&path).unwrap();
    let foreign = {
        let mut writer = other.open().writer;
        writer.append(crate::event::charge::tests::sample::entries(6, [super::small(1)])).unwrap();
        drop(writer);
        let bounds = frame_bounds(&other_path);
        fs::read(&other_path).unwrap()[usize::try_from(bounds[3]).unwrap()..].to_vec()
    };
    bytes.extend(foreign);
    fs::write(&path, &bytes).unwrap();
    // That frame continues this ledger byte for byte, so it is taken …
    assert_eq!(ledger.replay(0).unwrap().1.len(), 6);
    // … but not in another place.
    let begin = usize::try_from(bounds[1]).unwrap();
    let end = usize::try_from(bounds[2]).unwrap();
    let moved = [&bytes[..begin], &bytes[end..]].concat();
    fs::write(&path, moved).unwrap();
    let error = ledger.replay(0).unwrap_err();
    assert!(matches!(&error, LedgerError::Damaged { offset, .. } if *offset == bounds[1]), "{error}");
}

#[test]
fn a_missing_middle_segment_is_named() {
    let ledger = Ledger::of(&[2, 3, 2], EVERY_BATCH);
    fs::remove_file(&ledger.segments()[1]).unwrap();
    let gone = |error: &LedgerError| matches!(error, LedgerError::Missing { from: 3, to: 5, .. });
    let error = ledger.replay(0).unwrap_err();
    assert!(gone(&error), "{error}");
    let error = verify(&ledger.dir, None, |_, _| {}).unwrap_err();
    assert!(matches!(&error, Difference::Ledger(error) if gone(error)), "{error}");
    // Reading says so, too, and does not take the gap for the end.
    let mut seen = Vec::new();
    let error = Reader::at_rest(&ledger.dir).unwrap().scan(1, |entry| {
        seen.push(entry.seq);
        true
    });
    assert!(matches!(error, Err(LedgerError::Missing { from: 3, .. })), "{error:?}");
    assert_eq!(seen.len().min(2), seen.len());
}

#[test]
fn a_missing_first_segment_is_named() {
    let ledger = Ledger::of(&[2, 3], EVERY_BATCH);
    fs::remove_file(&ledger.segments()[0]).unwrap();
    let error = ledger.replay(0).unwrap_err();
    assert!(matches!(error, LedgerError::Missing { from: 1, to: 2, .. }), "{error}");
}

#[test]
fn a_snapshot_ahead_of_the_log_means_that_entries_are_missing() {
    let ledger = Ledger::of(&[2, 3], NEVER);
    let error = ledger.replay(9).unwrap_err();
    assert!(matches!(error, LedgerError::Missing { from: 6, to: 9, known_by: "a snapshot", .. }), "{error}");
}

#[test]
fn a_file_that_is_no_segment_is_refused() {
    let ledger = Ledger::of(&[2], NEVER);
    fs::write(ledger.dir.segments().join("first.log"), b"").unwrap();
    let error = ledger.replay(0).unwrap_err();
    assert!(matches!(&error, LedgerError::Damaged { path, .. } if path.ends_with("first.log")), "{error}");
}
