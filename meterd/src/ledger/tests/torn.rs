//! A torn last write: cut off, said, and nothing else lost.

use std::fs;

use super::{EVERY_BATCH, Ledger, NEVER, frame_bounds};
use crate::event::charge::tests::sample::{entries, small};
use crate::ledger::format::HEADER_LEN;
use crate::ledger::{LedgerError, Repair};

/// Puts `bytes` in place of the last segment; opening must give the first `kept` entries and this repair.
fn check(ledger: &Ledger, bytes: &[u8], kept: usize, expected: Option<Repair>) {
    let path = ledger.segments().pop().unwrap();
    fs::write(&path, bytes).unwrap();
    let (recovered, replayed) = ledger.replay(0).unwrap();
    assert_eq!(recovered.repair, expected);
    assert_eq!(replayed, ledger.entries[..kept], "{} bytes", bytes.len());
    assert_eq!(recovered.writer.next_seq(), kept as u64 + 1);
    let len = expected.map_or(bytes.len() as u64, |repair| repair.kept_bytes);
    assert_eq!(fs::metadata(&path).unwrap().len(), len);
    assert_eq!(recovered.writer.bytes(), len);
}

#[test]
fn a_write_torn_at_any_byte_is_cut_off_and_nothing_else() {
    let ledger = Ledger::of(&[1, 3, 2], NEVER);
    let path = ledger.segments().pop().unwrap();
    let whole = fs::read(&path).unwrap();
    let bounds = frame_bounds(&path);
    let good = usize::try_from(bounds[2]).unwrap();
    for cut in good..whole.len() {
        let repair = |len: usize| {
            let (kept_bytes, cut_bytes) = (good as u64, (len - good) as u64);
            (len > good).then(|| Repair { path: path.clone(), kept_bytes, cut_bytes })
        };
        check(&ledger, &whole[..cut], 4, repair(cut));
        // The length may be durable before the content is.
        let mut zeros = whole[..cut].to_vec();
        zeros.resize(whole.len(), 0);
        if zeros != whole {
            check(&ledger, &zeros, 4, repair(whole.len()));
        }
    }
    check(&ledger, &whole, 6, None);
}

#[test]
fn the_ledger_goes_on_after_a_repair() {
    let ledger = Ledger::of(&[2, 2], NEVER);
    let path = ledger.segments().pop().unwrap();
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() - 1]).unwrap();
    let mut writer = ledger.open().writer;
    let more = entries(3, [small(7)]);
    writer.append(more.clone()).unwrap();
    drop(writer);
    let (recovered, replayed) = ledger.replay(0).unwrap();
    assert_eq!(recovered.repair, None);
    assert_eq!(replayed, [&ledger.entries[..2], &more[..]].concat());
}

#[test]
fn a_new_segment_without_a_whole_header_was_never_used() {
    let ledger = Ledger::of(&[2, 2], EVERY_BATCH);
    let before = ledger.content();
    let path = ledger.dir.segments().join(format!("{:020}.log", 5));
    for len in 0..HEADER_LEN {
        fs::write(&path, vec![b'M'; len]).unwrap();
        let (recovered, replayed) = ledger.replay(0).unwrap();
        assert_eq!(recovered.repair, Some(Repair { path: path.clone(), kept_bytes: 0, cut_bytes: len as u64 }));
        assert_eq!(replayed, ledger.entries);
        assert_eq!(ledger.content(), before);
    }
    let mut writer = ledger.open().writer;
    writer.limit_segments(EVERY_BATCH);
    writer.append(entries(5, [small(9)])).unwrap();
    drop(writer);
    assert_eq!(ledger.replay(0).unwrap().1.len(), 5);
}

/// A new segment is begun only after everything before it was made durable: an end torn there is not one that was
/// never acknowledged.
#[test]
fn an_end_torn_before_a_new_segment_is_damage() {
    let ledger = Ledger::of(&[2, 2], EVERY_BATCH);
    let path = ledger.segments().pop().unwrap();
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() - 1]).unwrap();
    fs::write(ledger.dir.segments().join(format!("{:020}.log", 5)), b"MTRD").unwrap();
    let before = ledger.content();
    let error = ledger.replay(0).unwrap_err();
    assert!(
        matches!(&error, LedgerError::Damaged { path: at, offset, .. } if *at == path && *offset == HEADER_LEN as u64),
        "{error}"
    );
    assert_eq!(ledger.content(), before);
}

/// A snapshot knows of the entries that a cut would lose: then it was no torn write.
#[test]
fn nothing_that_a_snapshot_knows_of_is_cut_off() {
    let ledger = Ledger::of(&[2, 2], NEVER);
    let path = ledger.segments().pop().unwrap();
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() - 1]).unwrap();
    let before = ledger.content();
    let error = ledger.replay(4).unwrap_err();
    assert!(matches!(error, LedgerError::Missing { from: 3, to: 4, known_by: "a snapshot", .. }), "{error}");
    assert_eq!(ledger.content(), before);
}
