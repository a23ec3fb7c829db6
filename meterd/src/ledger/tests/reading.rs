//! Reading by position: across memory, segments and restarts the same entries.

use budget::Entry;
use proptest::prelude::*;

use super::{EVERY_BATCH, Ledger, NEVER};
use crate::event::charge::tests::sample::{entries, small};
use crate::ledger::{Reader, load_snapshot, open, save_snapshot};

/// Every position, with several limits: what comes back continues there, is as much as was asked for, and is true.
pub(super) fn check(reader: &Reader, whole: &[Entry]) {
    for from in 1..=whole.len() {
        for entries_max in [1, 2, 7, 1_000] {
            let batches = reader.read_from(from as u64, entries_max).unwrap();
            let got: Vec<Entry> = batches.iter().flat_map(|batch| batch.entries.clone()).collect();
            let first = usize::try_from(got[0].seq).unwrap();
            assert!(first <= from && usize::try_from(batches[0].last()).unwrap() >= from, "the first batch holds it");
            assert_eq!(got, whole[first - 1..first - 1 + got.len()]);
            assert!(got.len() >= entries_max.min(whole.len() + 1 - from), "from {from}, at most {entries_max}");
        }
        assert_eq!(reader.entry(from as u64).unwrap().as_ref(), Some(&whole[from - 1]));
    }
    for step in [1, 2, 5] {
        let wanted: Vec<u64> = (1..=whole.len() as u64).step_by(step).collect();
        let mut found = Vec::new();
        reader.entries(&wanted, |entry| found.push(entry.seq)).unwrap();
        assert_eq!(found, wanted);
    }
    let end = whole.len() as u64 + 1;
    reader.entries(&[end, end + 1], |entry| panic!("{entry:?}")).unwrap();
    assert!(reader.read_from(end, 10).unwrap().is_empty());
    assert!(reader.entry(end).unwrap().is_none());
    assert!(reader.read_from(u64::MAX, 10).unwrap().is_empty());
    let mut scanned = Vec::new();
    reader
        .scan(0, |entry| {
            scanned.push(entry.clone());
            true
        })
        .unwrap();
    assert_eq!(scanned, whole);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// I5, the ledger's part: what is read back is what was appended, however it is cut into batches and segments and
    /// wherever memory ends.
    #[test]
    fn appended_entries_are_read_back_from_anywhere(
        batches in prop::collection::vec(1usize..6, 1..24),
        segment_bytes_max in prop::sample::select(vec![EVERY_BATCH, 700, NEVER]),
        recent in prop::sample::select(vec![0usize, 5, 20, 100_000]),
    ) {
        let mut ledger = Ledger::empty();
        let mut writer = ledger.open().writer;
        writer.limit_segments(segment_bytes_max);
        let reader = writer.reader();
        reader.keep_recent(recent);
        for batch in batches {
            let batch = entries(writer.next_seq(), (0..batch).map(small));
            ledger.entries.extend(batch.iter().cloned());
            writer.append(batch).unwrap();
            // An index that was made early must follow what is written later.
            reader.entry(1).unwrap();
        }
        check(&reader, &ledger.entries);
        check(&Reader::at_rest(&ledger.dir).unwrap(), &ledger.entries);
        drop((writer, reader));
        let (recovered, replayed) = ledger.replay(0).unwrap();
        assert_eq!(replayed, ledger.entries);
        assert_eq!(recovered.replayed, ledger.entries.len() as u64);
        check(&recovered.writer.reader(), &ledger.entries);
    }

    /// What a snapshot covers is not replayed, and everything after it is.
    #[test]
    fn replay_begins_after_the_snapshot(after in 0u64..=10, segment_bytes_max in prop::sample::select(vec![EVERY_BATCH, NEVER])) {
        let ledger = Ledger::of(&[3, 1, 4, 2], segment_bytes_max);
        let (mut recovered, replayed) = ledger.replay(after).unwrap();
        assert_eq!(replayed, ledger.entries[usize::try_from(after).unwrap()..]);
        recovered.writer.append(entries(11, [small(0)])).unwrap();
        drop(recovered);
        assert_eq!(ledger.replay(0).unwrap().1.len(), 11, "the chain goes on from a start with a snapshot");
    }
}

#[test]
fn a_reader_at_rest_beside_a_live_writer_sees_what_was_committed_when_it_came() {
    let ledger = Ledger::empty();
    let mut writer = ledger.open().writer;
    assert_eq!(Reader::at_rest(&ledger.dir).unwrap().committed(), 0);
    writer.append(entries(1, [small(1), small(2)])).unwrap();
    let beside = Reader::at_rest(&ledger.dir).unwrap();
    writer.append(entries(3, [small(3)])).unwrap();
    assert_eq!((beside.committed(), writer.reader().committed()), (2, 3));
    assert!(beside.entry(3).unwrap().is_none());
    assert_eq!(Reader::at_rest(&ledger.dir).unwrap().committed(), 3);
    // A frame that is just being written is not there yet.
    let path = ledger.segments().pop().unwrap();
    let mut under_way = std::fs::read(&path).unwrap();
    under_way.extend_from_slice(b"MTB1\x40\0\0\0");
    std::fs::write(&path, under_way).unwrap();
    assert_eq!(Reader::at_rest(&ledger.dir).unwrap().committed(), 3);
}

#[tokio::test]
async fn who_waits_hears_of_the_next_entry() {
    let ledger = Ledger::empty();
    let mut writer = ledger.open().writer;
    let reader = writer.reader();
    let waiting = tokio::spawn(async move { reader.wait_past(0).await });
    writer.append(entries(1, [small(1), small(2)])).unwrap();
    assert_eq!(waiting.await.unwrap(), Some(2));
}

#[test]
fn the_newest_snapshot_that_reads_back_whole_counts() {
    let ledger = Ledger::of(&[5], NEVER);
    assert_eq!(load_snapshot::<String>(&ledger.dir).unwrap(), None);
    for seq in 1..=4 {
        save_snapshot(&ledger.dir, seq, &format!("as of {seq}")).unwrap();
    }
    assert_eq!(std::fs::read_dir(ledger.dir.snapshots()).unwrap().count(), 2, "older ones are gone");
    assert_eq!(load_snapshot(&ledger.dir).unwrap(), Some((4, "as of 4".to_owned())));
    let newest = ledger.dir.snapshots().join(format!("{:020}.snap", 4));
    let whole = std::fs::read(&newest).unwrap();
    for at in [0, 9, 20, whole.len() - 1] {
        let mut flipped = whole.clone();
        flipped[at] ^= 1;
        std::fs::write(&newest, flipped).unwrap();
        assert_eq!(load_snapshot(&ledger.dir).unwrap(), Some((3, "as of 3".to_owned())), "byte {at}");
    }
    assert!(open(&ledger.dir, 3, |_| {}).is_ok());
}
