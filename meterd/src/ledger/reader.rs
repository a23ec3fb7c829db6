//! Reading by position: the newest batches from memory, everything else from the segments. Never past what is committed.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use budget::Entry;
use tokio::sync::watch;

use super::archive::SegmentFile;
use super::disk::Disk;
use super::format::HEADER_LEN;
use super::frames::{Frames, segments_of, torn_end};
use super::{DataDir, LedgerError};

/// How many entries stay in memory for followers that keep up.
const RECENT_ENTRIES_MAX: usize = 16_384;
/// One index point for so many entries.
const INDEX_EVERY_ENTRIES: u64 = 256;

/// Entries that were committed together, in order.
#[derive(Debug, PartialEq, Eq)]
pub struct Batch {
    /// Their entries; never empty.
    pub entries: Vec<Entry>,
}

impl Batch {
    fn first(&self) -> u64 {
        self.entries.first().map_or(0, |entry| entry.seq)
    }

    /// Sequence number of the last entry.
    #[must_use]
    pub fn last(&self) -> u64 {
        self.entries.last().map_or(0, |entry| entry.seq)
    }
}

/// Reads the log; cheap to clone, safe beside the writer.
#[derive(Clone, Debug)]
pub struct Reader {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    committed: watch::Sender<u64>,
    recent: Mutex<Recent>,
    segments: RwLock<Vec<Arc<Segment>>>,
    dir: DataDir,
}

#[derive(Debug)]
struct Recent {
    batches: VecDeque<Arc<Batch>>,
    entries: usize,
    entries_max: usize,
}

/// A segment file and a sparse index into it, made on the first look.
#[derive(Debug)]
struct Segment {
    file: SegmentFile,
    points: Mutex<Option<Vec<Point>>>,
}

#[derive(Clone, Copy, Debug)]
struct Point {
    seq: u64,
    offset: u64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Reader {
    pub(super) fn new(dir: &DataDir, segments: Vec<SegmentFile>, committed: u64) -> Self {
        let segments = segments.into_iter().map(Segment::new).collect();
        Self {
            shared: Arc::new(Shared {
                committed: watch::Sender::new(committed),
                recent: Mutex::new(Recent { batches: VecDeque::new(), entries: 0, entries_max: RECENT_ENTRIES_MAX }),
                segments: RwLock::new(segments),
                dir: dir.clone(),
            }),
        }
    }

    /// Opens a data directory for reading only, at rest or beside its owner; sees what is committed now.
    pub fn at_rest(dir: &DataDir) -> Result<Self, LedgerError> {
        dir.visit()?;
        let segments = segments_of(dir)?;
        let mut committed = 0;
        if let Some(last) = segments.last() {
            committed = last.first_seq.saturating_sub(1);
            let mut frames = Frames::open(dir.disk(), last, HEADER_LEN as u64)?;
            let mut good = frames.offset();
            while let Some(frame) = frames.next_frame()? {
                let Some(body) = frame.body() else { break };
                committed = body.last();
                good = frames.offset();
            }
            // Beside a live writer the end may be a frame under way; whole frames after it mean damage.
            if good < frames.len() {
                torn_end(dir.disk(), &last.path, good, frames.len())?;
            }
        }
        Ok(Self::new(dir, segments, committed))
    }

    /// Sequence number of the newest committed entry; 0 when there is none.
    #[must_use]
    pub fn committed(&self) -> u64 {
        *self.shared.committed.borrow()
    }

    /// Waits until there is an entry after `seq`; returns the newest. A writer that is gone leaves this waiting.
    pub async fn wait_past(&self, seq: u64) -> Option<u64> {
        let mut receiver = self.shared.committed.subscribe();
        receiver.wait_for(|committed| *committed > seq).await.ok().map(|committed| *committed)
    }

    /// Batches that hold entries from `seq` on, about `entries_max` of them; empty when there are none yet.
    /// The first batch may begin before `seq`.
    pub fn read_from(&self, seq: u64, entries_max: usize) -> Result<Vec<Arc<Batch>>, LedgerError> {
        let committed = self.committed();
        if seq > committed {
            return Ok(Vec::new());
        }
        if let Some(batches) = self.in_memory(seq, entries_max) {
            return Ok(batches);
        }
        self.on_disk(seq.max(1), entries_max, committed)
    }

    /// One entry.
    pub fn entry(&self, seq: u64) -> Result<Option<Entry>, LedgerError> {
        let batches = self.read_from(seq, 1)?;
        Ok(batches.iter().flat_map(|batch| &batch.entries).find(|entry| entry.seq == seq).cloned())
    }

    /// These entries, as far as there are such; `seqs` ascend. Each batch is read once, however many of it are wanted.
    pub fn entries(&self, seqs: &[u64], mut visit: impl FnMut(&Entry)) -> Result<(), LedgerError> {
        let mut left = seqs;
        while let Some(first) = left.first() {
            let batches = self.read_from(*first, 1)?;
            let Some(last) = batches.last().map(|batch| batch.last()) else { break };
            let (here, after) = left.split_at(left.partition_point(|seq| *seq <= last));
            let found = batches.iter().flat_map(|batch| &batch.entries);
            found.filter(|entry| here.binary_search(&entry.seq).is_ok()).for_each(&mut visit);
            left = after;
        }
        Ok(())
    }

    /// Every entry from `seq` on, one after the other; stops at the first error or when `visit` says so.
    pub fn scan(&self, seq: u64, mut visit: impl FnMut(&Entry) -> bool) -> Result<(), LedgerError> {
        let from = seq.max(1);
        self.scan_batches(from, |batch| batch.entries.iter().filter(|entry| entry.seq >= from).all(&mut visit))
    }

    /// The same batch by batch; the first one may begin before `seq`. Each file is read once, from end to end.
    pub fn scan_batches(&self, seq: u64, mut visit: impl FnMut(Arc<Batch>) -> bool) -> Result<(), LedgerError> {
        const AT_ONCE: usize = 16_384;
        let mut next = seq.max(1);
        if self.in_memory(next, 1).is_none() && !self.scan_disk(&mut next, &mut visit)? {
            return Ok(());
        }
        loop {
            let batches = self.read_from(next, AT_ONCE)?;
            let Some(last) = batches.last().map(|batch| batch.last()) else { return Ok(()) };
            if !batches.into_iter().all(&mut visit) {
                return Ok(());
            }
            next = last + 1;
        }
    }

    pub(super) fn add_segment(&self, first_seq: u64, path: PathBuf) {
        let segment = Segment::new(SegmentFile { first_seq, path, packed: None });
        self.shared.segments.write().unwrap_or_else(PoisonError::into_inner).push(segment);
    }

    pub(super) fn publish(&self, batch: Batch, offset: u64) {
        let last = batch.last();
        if let Some(segment) = self.segment_of(batch.first()) {
            segment.add_point(batch.first(), offset);
        }
        {
            let mut recent = lock(&self.shared.recent);
            recent.entries += batch.entries.len();
            recent.batches.push_back(Arc::new(batch));
            while recent.entries > recent.entries_max && recent.batches.len() > 1 {
                let gone = recent.batches.pop_front().map_or(0, |batch| batch.entries.len());
                recent.entries -= gone;
            }
        }
        self.shared.committed.send_replace(last);
    }

    fn in_memory(&self, seq: u64, entries_max: usize) -> Option<Vec<Arc<Batch>>> {
        let recent = lock(&self.shared.recent);
        if recent.batches.front().is_none_or(|batch| batch.first() > seq) {
            return None;
        }
        let skip = recent.batches.partition_point(|batch| batch.last() < seq);
        let mut taken = Vec::new();
        let mut entries = 0;
        for batch in recent.batches.iter().skip(skip) {
            entries += batch.entries.len();
            taken.push(Arc::clone(batch));
            if entries >= entries_max {
                break;
            }
        }
        Some(taken)
    }

    fn on_disk(&self, seq: u64, entries_max: usize, committed: u64) -> Result<Vec<Arc<Batch>>, LedgerError> {
        let mut taken = Vec::new();
        let mut entries = 0;
        let mut next = seq;
        while entries < entries_max && next <= committed {
            let segment = self.segment_of(next).ok_or_else(|| self.missing(next, committed))?;
            let mut frames = Frames::open(self.disk(), &segment.file, segment.floor(self.disk(), next)?)?;
            let before = next;
            while entries < entries_max && next <= committed {
                let Some(frame) = frames.next_frame()? else { break };
                let damaged = |what: &str| LedgerError::Damaged {
                    path: segment.file.path.clone(),
                    offset: frame.offset,
                    what: what.to_owned(),
                };
                let body = frame.body().ok_or_else(|| damaged("checksum"))?;
                if body.last() >= next {
                    let batch = Batch { entries: body.entries().ok_or_else(|| damaged("not an entry"))? };
                    if batch.first() > next {
                        return Err(self.missing(next, batch.first() - 1));
                    }
                    entries += batch.entries.len();
                    next = batch.last() + 1;
                    taken.push(Arc::new(batch));
                }
            }
            // An empty answer would read as "nothing there yet", and the asker would ask again for ever.
            if next == before {
                return Err(self.missing(next, committed));
            }
        }
        Ok(taken)
    }

    /// Everything on disk from `next` on, each file read once from end to end; false when `visit` has had enough. What is
    /// committed meanwhile is left to the caller.
    fn scan_disk(&self, next: &mut u64, visit: &mut impl FnMut(Arc<Batch>) -> bool) -> Result<bool, LedgerError> {
        let committed = self.committed();
        while *next <= committed {
            let segment = self.segment_of(*next).ok_or_else(|| self.missing(*next, committed))?;
            let mut frames = Frames::open(self.disk(), &segment.file, segment.floor(self.disk(), *next)?)?;
            let before = *next;
            while *next <= committed {
                let Some(frame) = frames.next_frame()? else { break };
                let (path, offset) = (&segment.file.path, frame.offset);
                let damaged = |what: &str| LedgerError::Damaged { path: path.clone(), offset, what: what.to_owned() };
                let body = frame.body().ok_or_else(|| damaged("checksum"))?;
                if body.last() < *next {
                    continue;
                }
                if body.first_seq > *next {
                    return Err(self.missing(*next, body.first_seq - 1));
                }
                let batch = Batch { entries: body.entries().ok_or_else(|| damaged("not an entry"))? };
                let last = body.last();
                if !visit(Arc::new(batch)) {
                    return Ok(false);
                }
                *next = last + 1;
            }
            if *next == before {
                return Err(self.missing(*next, committed));
            }
        }
        Ok(true)
    }

    /// Closed segments that are not packed, oldest first, each with its last entry.
    pub(super) fn closed(&self) -> Vec<(SegmentFile, u64)> {
        let segments = self.shared.segments.read().unwrap_or_else(PoisonError::into_inner);
        let pairs = segments.iter().zip(segments.iter().skip(1));
        let closed = pairs.filter(|(segment, _)| segment.file.packed.is_none());
        closed.map(|(segment, next)| (segment.file.clone(), next.file.first_seq - 1)).collect()
    }

    /// Is the segment that begins with this entry read from its packed copy?
    pub(super) fn reads_packed(&self, first_seq: u64) -> bool {
        self.segment_of(first_seq)
            .is_some_and(|segment| segment.file.first_seq == first_seq && segment.file.packed.is_some())
    }

    /// From now on a segment is read from its packed copy.
    pub(super) fn put_packed(&self, packed: SegmentFile) {
        let mut segments = self.shared.segments.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(segment) = segments.iter_mut().find(|segment| segment.file.first_seq == packed.first_seq) {
            *segment = Segment::new(packed);
        }
    }

    fn disk(&self) -> &dyn Disk {
        self.shared.dir.disk()
    }

    fn missing(&self, from: u64, to: u64) -> LedgerError {
        LedgerError::Missing { path: self.shared.dir.segments(), from, to, known_by: "a later entry" }
    }

    /// So many entries stay in memory; few let a test read from the segments.
    pub fn keep_recent(&self, entries_max: usize) {
        lock(&self.shared.recent).entries_max = entries_max;
    }

    fn segment_of(&self, seq: u64) -> Option<Arc<Segment>> {
        let segments = self.shared.segments.read().unwrap_or_else(PoisonError::into_inner);
        let after = segments.partition_point(|segment| segment.file.first_seq <= seq);
        segments.get(after.checked_sub(1)?).cloned()
    }
}

impl Segment {
    fn new(file: SegmentFile) -> Arc<Self> {
        Arc::new(Self { file, points: Mutex::new(None) })
    }

    /// Offset of the newest indexed frame that begins at or before `seq`.
    fn floor(&self, disk: &dyn Disk, seq: u64) -> Result<u64, LedgerError> {
        // There is no way into the middle of a packed one.
        if self.file.packed.is_some() {
            return Ok(HEADER_LEN as u64);
        }
        let mut points = lock(&self.points);
        let points = match &mut *points {
            Some(points) => points,
            none => none.insert(self.index(disk)?),
        };
        let after = points.partition_point(|point| point.seq <= seq);
        let point = after.checked_sub(1).and_then(|at| points.get(at));
        Ok(point.map_or(HEADER_LEN as u64, |point| point.offset))
    }

    /// Remembers a frame just written, if the index exists; else the first look will find it. The writer never waits
    /// for that look: a point left out only makes the way to its frame longer.
    fn add_point(&self, seq: u64, offset: u64) {
        if let Ok(mut points) = self.points.try_lock()
            && let Some(points) = &mut *points
        {
            push_point(points, seq, offset);
        }
    }

    fn index(&self, disk: &dyn Disk) -> Result<Vec<Point>, LedgerError> {
        let mut points = Vec::new();
        let mut frames = Frames::open(disk, &self.file, HEADER_LEN as u64)?;
        while let Some((seq, offset)) = frames.skip_frame()? {
            push_point(&mut points, seq, offset);
        }
        Ok(points)
    }
}

fn push_point(points: &mut Vec<Point>, seq: u64, offset: u64) {
    if points.last().is_none_or(|point| seq >= point.seq + INDEX_EVERY_ENTRIES) {
        points.push(Point { seq, offset });
    }
}
