//! The ledger over real files: torn ends, damage, gaps, owners, reading by position.

mod archive;
mod damage;
mod directory;
mod failure;
mod format;
mod reading;
mod torn;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use budget::{Entry, Fact};
use tempfile::TempDir;

use super::{DataDir, LedgerError, Recovered, open};
use crate::event::charge::tests::sample::{entries, small};

/// Ends a segment after every batch.
pub(super) const EVERY_BATCH: u64 = 1;
/// Never ends a segment.
pub(super) const NEVER: u64 = u64::MAX;

/// A data directory that goes away with the test.
pub(super) struct Ledger {
    _folder: TempDir,
    pub(super) dir: DataDir,
    pub(super) entries: Vec<Entry>,
}

impl Ledger {
    pub(super) fn empty() -> Self {
        let folder = TempDir::new().unwrap();
        let dir = DataDir::new(folder.path().join("data"));
        Self { _folder: folder, dir, entries: Vec::new() }
    }

    /// Batches of so many small entries each.
    pub(super) fn of(batches: &[usize], segment_bytes_max: u64) -> Self {
        let mut ledger = Self::empty();
        let mut writer = ledger.open().writer;
        writer.limit_segments(segment_bytes_max);
        for batch in batches {
            let facts = (0..*batch).map(|n| small(n + ledger.entries.len()));
            let batch = entries(writer.next_seq(), facts);
            ledger.entries.extend(batch.iter().cloned());
            writer.append(batch).unwrap();
        }
        ledger
    }

    /// A ledger that holds these facts in one batch.
    pub(super) fn with(facts: Vec<Fact>) -> Self {
        let mut ledger = Self::empty();
        ledger.entries = entries(1, facts);
        ledger.open().writer.append(ledger.entries.clone()).unwrap();
        ledger
    }

    pub(super) fn open(&self) -> Recovered {
        open(&self.dir, 0, |_| {}).unwrap()
    }

    /// Opens it and collects what is replayed.
    pub(super) fn replay(&self, after: u64) -> Result<(Recovered, Vec<Entry>), LedgerError> {
        let mut replayed = Vec::new();
        let recovered = open(&self.dir, after, |entry| replayed.push(entry.clone()))?;
        Ok((recovered, replayed))
    }

    pub(super) fn segments(&self) -> Vec<PathBuf> {
        let mut paths: Vec<PathBuf> =
            fs::read_dir(self.dir.segments()).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        paths
    }

    /// Every segment with its content.
    pub(super) fn content(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        self.segments().into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect()
    }
}

/// Where the frames of a segment begin, and where the last one ends.
pub(super) fn frame_bounds(path: &Path) -> Vec<u64> {
    let segment = super::archive::SegmentFile { first_seq: 1, path: path.to_owned(), packed: None };
    let mut frames =
        super::frames::Frames::open(&super::OsDisk::default(), &segment, super::format::HEADER_LEN as u64).unwrap();
    let mut bounds = vec![frames.offset()];
    while frames.next_frame().unwrap().is_some() {
        bounds.push(frames.offset());
    }
    assert_eq!(*bounds.last().unwrap(), frames.len());
    bounds
}
