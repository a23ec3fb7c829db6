//! Reading by position: the newest batches from memory, everything else from the segments. Never past what is committed.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use budget::Entry;
use tokio::sync::watch;

use super::format::{Body, FRAME_HEAD_LEN, FrameHead, HEADER_LEN, Header};
use super::{DataDir, LedgerError};

/// How many entries stay in memory for followers that keep up.
const RECENT_ENTRIES_MAX: usize = 65_536;
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
}

#[derive(Debug, Default)]
struct Recent {
    batches: VecDeque<Arc<Batch>>,
    entries: usize,
}

/// A segment file and a sparse index into it, made on the first look.
#[derive(Debug)]
struct Segment {
    first_seq: u64,
    path: PathBuf,
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
    pub(super) fn new(segments: Vec<(u64, PathBuf)>, committed: u64) -> Self {
        let segments = segments.into_iter().map(|(first_seq, path)| Segment::new(first_seq, path)).collect();
        Self {
            shared: Arc::new(Shared {
                committed: watch::Sender::new(committed),
                recent: Mutex::default(),
                segments: RwLock::new(segments),
            }),
        }
    }

    /// Opens a data directory for reading only, at rest or beside its owner; sees what is committed now.
    pub fn at_rest(dir: &DataDir) -> Result<Self, LedgerError> {
        dir.visit()?;
        let segments = segments_of(dir)?;
        let mut committed = 0;
        if let Some((first_seq, path)) = segments.last() {
            committed = first_seq.saturating_sub(1);
            let mut frames = Frames::open(path, HEADER_LEN as u64)?;
            while let Some(frame) = frames.next_frame()? {
                let Some(body) = frame.body() else { break };
                committed = body.first_seq + u64::from(body.count) - 1;
            }
        }
        Ok(Self::new(segments, committed))
    }

    /// Sequence number of the newest committed entry; 0 when there is none.
    #[must_use]
    pub fn committed(&self) -> u64 {
        *self.shared.committed.borrow()
    }

    /// Waits until there is an entry after `seq`; returns the newest. `None` when the writer is gone.
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
        if let Some(batches) = self.from_memory(seq, entries_max) {
            return Ok(batches);
        }
        self.from_disk(seq.max(1), entries_max, committed)
    }

    /// One entry.
    pub fn entry(&self, seq: u64) -> Result<Option<Entry>, LedgerError> {
        let batches = self.read_from(seq, 1)?;
        Ok(batches.iter().flat_map(|batch| &batch.entries).find(|entry| entry.seq == seq).cloned())
    }

    /// Every entry from `seq` on, one after the other; stops at the first error or when `visit` says so.
    pub fn scan(&self, seq: u64, mut visit: impl FnMut(&Entry) -> bool) -> Result<(), LedgerError> {
        const AT_ONCE: usize = 16_384;
        let mut next = seq.max(1);
        loop {
            let batches = self.read_from(next, AT_ONCE)?;
            let Some(last) = batches.last().map(|batch| batch.last()) else { return Ok(()) };
            let entries = batches.iter().flat_map(|batch| &batch.entries).filter(|entry| entry.seq >= next);
            for entry in entries {
                if !visit(entry) {
                    return Ok(());
                }
            }
            next = last + 1;
        }
    }

    pub(super) fn add_segment(&self, first_seq: u64, path: PathBuf) {
        let segment = Segment::new(first_seq, path);
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
            while recent.entries > RECENT_ENTRIES_MAX && recent.batches.len() > 1 {
                let gone = recent.batches.pop_front().map_or(0, |batch| batch.entries.len());
                recent.entries -= gone;
            }
        }
        self.shared.committed.send_replace(last);
    }

    fn from_memory(&self, seq: u64, entries_max: usize) -> Option<Vec<Arc<Batch>>> {
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

    fn from_disk(&self, seq: u64, entries_max: usize, committed: u64) -> Result<Vec<Arc<Batch>>, LedgerError> {
        let mut taken = Vec::new();
        let mut entries = 0;
        let mut next = seq;
        while entries < entries_max && next <= committed {
            let Some(segment) = self.segment_of(next) else { break };
            let mut frames = Frames::open(&segment.path, segment.floor(next)?)?;
            let mut end = None;
            while entries < entries_max {
                let Some(frame) = frames.next_frame()? else { break };
                let damaged = |what: &str| LedgerError::Damaged {
                    path: segment.path.clone(),
                    offset: frame.offset,
                    what: what.to_owned(),
                };
                let body = frame.body().ok_or_else(|| damaged("checksum"))?;
                let last = body.first_seq + u64::from(body.count) - 1;
                if last > committed {
                    break;
                }
                end = Some(last);
                if last >= next {
                    let batch = Batch { entries: body.entries().ok_or_else(|| damaged("not an entry"))? };
                    entries += batch.entries.len();
                    taken.push(Arc::new(batch));
                    next = last + 1;
                }
            }
            if end.is_none_or(|end| end < next - 1) || taken.is_empty() {
                break;
            }
        }
        Ok(taken)
    }

    fn segment_of(&self, seq: u64) -> Option<Arc<Segment>> {
        let segments = self.shared.segments.read().unwrap_or_else(PoisonError::into_inner);
        let after = segments.partition_point(|segment| segment.first_seq <= seq);
        segments.get(after.checked_sub(1)?).cloned()
    }
}

impl Segment {
    fn new(first_seq: u64, path: PathBuf) -> Arc<Self> {
        Arc::new(Self { first_seq, path, points: Mutex::new(None) })
    }

    /// Offset of the newest indexed frame that begins at or before `seq`.
    fn floor(&self, seq: u64) -> Result<u64, LedgerError> {
        let mut points = lock(&self.points);
        let points = match &mut *points {
            Some(points) => points,
            none => none.insert(self.index()?),
        };
        let after = points.partition_point(|point| point.seq <= seq);
        let point = after.checked_sub(1).and_then(|at| points.get(at));
        Ok(point.map_or(HEADER_LEN as u64, |point| point.offset))
    }

    /// Remembers a frame just written, if the index exists; else the first look will find it.
    fn add_point(&self, seq: u64, offset: u64) {
        if let Some(points) = &mut *lock(&self.points) {
            push_point(points, seq, offset);
        }
    }

    fn index(&self) -> Result<Vec<Point>, LedgerError> {
        let mut points = Vec::new();
        let mut frames = Frames::open(&self.path, HEADER_LEN as u64)?;
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

/// Segment files with their first sequence numbers, in order.
pub(super) fn segments_of(dir: &DataDir) -> Result<Vec<(u64, PathBuf)>, LedgerError> {
    let folder = dir.segments();
    let mut segments = Vec::new();
    for entry in fs::read_dir(&folder).map_err(LedgerError::io("list", &folder))? {
        let path = entry.map_err(LedgerError::io("list", &folder))?.path();
        if path.extension().is_some_and(|extension| extension == "log") {
            let first = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse().ok());
            let first: u64 = first.ok_or_else(|| LedgerError::Damaged {
                path: path.clone(),
                offset: 0,
                what: "the name is not a sequence number".to_owned(),
            })?;
            segments.push((first, path));
        }
    }
    segments.sort_unstable();
    Ok(segments)
}

/// Frames of one segment, one after the other. Ends (`None`) where no whole frame follows.
#[derive(Debug)]
pub(super) struct Frames {
    file: BufReader<File>,
    path: PathBuf,
    offset: u64,
    len: u64,
    body: Vec<u8>,
}

/// A frame as read, not yet checked.
#[derive(Debug)]
pub(super) struct Frame<'a> {
    pub offset: u64,
    head: FrameHead,
    bytes: &'a [u8],
}

impl Frame<'_> {
    /// The body, if its checksum is right.
    pub(super) fn body(&self) -> Option<Body<'_>> {
        Body::decode(self.head, self.bytes)
    }
}

impl Frames {
    pub(super) fn open(path: &Path, offset: u64) -> Result<Self, LedgerError> {
        let mut file = File::open(path).map_err(LedgerError::io("open", path))?;
        let len = file.metadata().map_err(LedgerError::io("read", path))?.len();
        file.seek(SeekFrom::Start(offset)).map_err(LedgerError::io("read", path))?;
        let file = BufReader::with_capacity(1 << 18, file);
        Ok(Self { file, path: path.to_owned(), offset, len, body: Vec::new() })
    }

    /// Reads the segment's header of the file at `path`.
    pub(super) fn header(path: &Path) -> Result<Option<Header>, LedgerError> {
        let mut bytes = Vec::with_capacity(HEADER_LEN);
        let file = File::open(path).map_err(LedgerError::io("open", path))?;
        file.take(HEADER_LEN as u64).read_to_end(&mut bytes).map_err(LedgerError::io("read", path))?;
        Ok(Header::decode(&bytes))
    }

    /// Where the next frame would begin.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// The file's length when it was opened.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    pub(super) fn next_frame(&mut self) -> Result<Option<Frame<'_>>, LedgerError> {
        let Some(head) = self.head()? else { return Ok(None) };
        let offset = self.offset;
        self.body.resize(head.body_len, 0);
        self.file.read_exact(&mut self.body).map_err(LedgerError::io("read", &self.path))?;
        self.offset += (FRAME_HEAD_LEN + head.body_len) as u64;
        Ok(Some(Frame { offset, head, bytes: &self.body }))
    }

    /// First sequence number and offset of the next frame, without reading the rest of it.
    fn skip_frame(&mut self) -> Result<Option<(u64, u64)>, LedgerError> {
        let Some(head) = self.head()? else { return Ok(None) };
        let offset = self.offset;
        let mut seq = [0; 8];
        self.file.read_exact(&mut seq).map_err(LedgerError::io("read", &self.path))?;
        let rest = i64::try_from(head.body_len - seq.len()).unwrap_or(i64::MAX);
        self.file.seek_relative(rest).map_err(LedgerError::io("read", &self.path))?;
        self.offset += (FRAME_HEAD_LEN + head.body_len) as u64;
        Ok(Some((u64::from_le_bytes(seq), offset)))
    }

    fn head(&mut self) -> Result<Option<FrameHead>, LedgerError> {
        let mut bytes = [0; FRAME_HEAD_LEN];
        if self.len.saturating_sub(self.offset) < FRAME_HEAD_LEN as u64 {
            return Ok(None);
        }
        self.file.read_exact(&mut bytes).map_err(LedgerError::io("read", &self.path))?;
        let left = self.len - self.offset - FRAME_HEAD_LEN as u64;
        Ok(FrameHead::decode(&bytes).filter(|head| head.body_len as u64 <= left))
    }
}
