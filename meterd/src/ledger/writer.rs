//! The one writer: a batch is one write and one fsync; after the first failure nothing more is written.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use budget::Entry;

use super::disk::DiskFile;
use super::format::{Encoder, HEADER_LEN, Hash, Header};
use super::reader::{Batch, Reader};
use super::{DataDir, LedgerError, Owner};
#[cfg(feature = "mistakes")]
use budget::mistakes::{Mistake, made};

/// Room on the disk that only what ends or settles something may use, so that it still can when the disk is full.
pub const RESERVE_BYTES: u64 = 8 << 20;
/// Room is set aside in steps of this, beyond the reserve.
const STEP_BYTES: u64 = 4 << 20;
/// A segment that has grown past this is closed and the next one begun.
const SEGMENT_BYTES_MAX: u64 = 256 << 20;

/// Appends batches. Holds the directory's lock for as long as it lives.
#[derive(Debug)]
pub struct Writer {
    dir: DataDir,
    _owner: Owner,
    reader: Reader,
    active: Option<Active>,
    segment_bytes_max: u64,
    reserve_bytes: u64,
    step_bytes: u64,
    chain: Hash,
    next_seq: u64,
    bytes: u64,
    encoder: Encoder,
    buffer: Vec<u8>,
    stopped: bool,
}

#[derive(Debug)]
struct Active {
    file: Box<dyn DiskFile>,
    path: PathBuf,
    len: u64,
    /// The disk has room for the file up to here.
    allocated: u64,
}

/// Where the log ends, as recovery found it.
pub(super) struct End {
    pub next_seq: u64,
    pub chain: Hash,
    /// Bytes in all segments.
    pub bytes: u64,
    /// The segment to go on with, and its length.
    pub active: Option<(PathBuf, u64)>,
}

impl Writer {
    pub(super) fn new(dir: DataDir, owner: Owner, reader: Reader, end: End) -> Result<Self, LedgerError> {
        let active = match end.active {
            Some((path, len)) => {
                let file = dir.disk().open_append(&path).map_err(LedgerError::io("open", &path))?;
                // What this start has found is what stays. A cut that the process before made after a failed fsync may
                // not be on the disk yet: with the power it would be lost, and what nobody was promised would come back.
                file.sync_all().map_err(LedgerError::io("fsync", &path))?;
                Some(Active { file, path, len, allocated: len })
            }
            None => None,
        };
        Ok(Self {
            dir,
            _owner: owner,
            reader,
            active,
            segment_bytes_max: SEGMENT_BYTES_MAX,
            reserve_bytes: RESERVE_BYTES,
            step_bytes: STEP_BYTES,
            chain: end.chain,
            next_seq: end.next_seq,
            bytes: end.bytes,
            encoder: Encoder::default(),
            buffer: Vec::new(),
            stopped: false,
        })
    }

    /// So much room stays set aside for what ends or settles something.
    pub fn reserve(&mut self, bytes: u64) {
        self.reserve_bytes = bytes;
    }

    /// Sequence number of the next entry.
    #[must_use]
    pub fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// Bytes in all segments.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// A reader that sees what this writer commits.
    #[must_use]
    pub fn reader(&self) -> Reader {
        self.reader.clone()
    }

    /// Makes the entries durable, then shows them to readers. Returns how long the fsync took.
    ///
    /// Entries are numbered from [`Writer::next_seq`] without gaps. After an error nothing may be acknowledged and
    /// nothing more is written: what the disk holds is only known by reading it again.
    pub fn append(&mut self, entries: Vec<Entry>) -> Result<Duration, LedgerError> {
        if self.stopped {
            return Err(LedgerError::Stopped);
        }
        self.stopped = true;
        let took = self.write(entries).inspect_err(|_| self.cut_back());
        #[cfg(feature = "mistakes")]
        if made(Mistake::GoOnAfterFailure) {
            self.stopped = false;
        }
        let took = took?;
        self.stopped = false;
        Ok(took)
    }

    fn write(&mut self, entries: Vec<Entry>) -> Result<Duration, LedgerError> {
        let Some(first) = entries.first().map(|entry| entry.seq) else { return Ok(Duration::ZERO) };
        debug_assert_eq!(first, self.next_seq, "entries are numbered without gaps");
        if self.active.as_ref().is_none_or(|active| active.len >= self.segment_bytes_max) {
            self.next_segment()?;
        }
        let Some(active) = &mut self.active else { return Err(LedgerError::Stopped) };
        self.buffer.clear();
        let encoded = self.encoder.frame(&mut self.buffer, &entries, &self.chain);
        let chain = encoded.map_err(LedgerError::io("encode a batch for", &active.path))?;
        active.file.append(&self.buffer).map_err(LedgerError::io("write", &active.path))?;
        let begin = Instant::now();
        #[cfg(feature = "mistakes")]
        if made(Mistake::ShownBeforeFsync) {
            self.reader.publish(Batch { entries: entries.clone() }, active.len);
        }
        sync(&*active.file).map_err(LedgerError::io("fsync", &active.path))?;
        let took = begin.elapsed();
        let offset = active.len;
        active.len += self.buffer.len() as u64;
        self.bytes += self.buffer.len() as u64;
        self.chain = chain;
        self.next_seq += entries.len() as u64;
        self.reader.publish(Batch { entries }, offset);
        Ok(took)
    }

    /// Takes back what was not acknowledged, as far as the disk lets it. After a failed fsync the system shows bytes that
    /// may not be on the disk and never will be: the next start must not find them whole and go on behind them.
    fn cut_back(&mut self) {
        #[cfg(feature = "mistakes")]
        if made(Mistake::TailLeftAfterFailure) {
            return;
        }
        if let Some(active) = &self.active
            && let Err(error) = active.file.set_len(active.len)
        {
            tracing::warn!(path = %active.path.display(), %error, "cannot cut off what was not acknowledged");
        }
    }

    /// Sees to it that the disk has room for so many bytes more and for the reserve behind them. `false`: it has not, so
    /// that only what may use the reserve can be written.
    pub fn make_room(&mut self, bytes: u64) -> Result<bool, LedgerError> {
        let Some(active) = &mut self.active else {
            // The first segment is made with the first batch.
            let folder = self.dir.segments();
            let free =
                self.dir.disk().free_bytes(&folder).map_err(LedgerError::io("ask for the free room of", folder))?;
            return Ok(free >= bytes.saturating_add(self.reserve_bytes));
        };
        let wanted = active.len.saturating_add(bytes).saturating_add(self.reserve_bytes);
        if active.allocated >= wanted {
            return Ok(true);
        }
        // A step ahead, or if there is no room for that, just what is wanted.
        for len in [wanted.saturating_add(self.step_bytes), wanted] {
            match active.file.allocate(len) {
                Ok(()) => {
                    active.allocated = len;
                    return Ok(true);
                }
                Err(error) if is_full(&error) => {}
                Err(error) if error.kind() == io::ErrorKind::Unsupported => {
                    let path = &active.path;
                    let free =
                        self.dir.disk().free_bytes(path).map_err(LedgerError::io("ask for the free room of", path))?;
                    return Ok(free >= bytes.saturating_add(self.reserve_bytes));
                }
                Err(error) => return Err(LedgerError::io("set room aside for", &active.path)(error)),
            }
        }
        Ok(false)
    }

    /// Goes on in a new segment, or in the one there is while the disk has no room for a new one's reserve.
    fn next_segment(&mut self) -> Result<(), LedgerError> {
        let Some(active) = &self.active else { return self.begin_segment() };
        let folder = self.dir.segments();
        let free = self.dir.disk().free_bytes(&folder).map_err(LedgerError::io("ask for the free room of", folder))?;
        if free < self.reserve_bytes.saturating_add(self.step_bytes) {
            return Ok(());
        }
        // What was set aside behind its end is given back.
        active.file.set_len(active.len).map_err(LedgerError::io("give back room of", &active.path))?;
        self.begin_segment()
    }

    fn begin_segment(&mut self) -> Result<(), LedgerError> {
        let path = self.dir.segments().join(format!("{:020}.log", self.next_seq));
        let file = self.dir.disk().create(&path).map_err(LedgerError::io("create", &path))?;
        let file = self.put_header(file, &path).inspect_err(|_| {
            // For the same reason as in `cut_back`; a file that stays is told from a whole one at the next start.
            if let Err(error) = self.dir.remove(&path) {
                tracing::warn!(%error, "cannot remove a segment that was not begun");
            }
        })?;
        self.bytes += HEADER_LEN as u64;
        self.reader.add_segment(self.next_seq, path.clone());
        self.active = Some(Active { file, path, len: HEADER_LEN as u64, allocated: HEADER_LEN as u64 });
        Ok(())
    }

    fn put_header(&self, mut file: Box<dyn DiskFile>, path: &Path) -> Result<Box<dyn DiskFile>, LedgerError> {
        let header = Header { first_seq: self.next_seq, chain: self.chain }.encode();
        file.append(&header).map_err(LedgerError::io("write", path))?;
        file.sync_all().map_err(LedgerError::io("fsync", path))?;
        #[cfg(feature = "mistakes")]
        if made(Mistake::SegmentNameNotSynced) {
            return Ok(file);
        }
        self.dir.sync(&self.dir.segments())?;
        Ok(file)
    }
}

/// Makes what was appended durable; asked once, for a failed fsync says nothing the second time.
fn sync(file: &dyn DiskFile) -> io::Result<()> {
    #[cfg(feature = "mistakes")]
    if made(Mistake::AcknowledgeBeforeFsync) {
        return Ok(());
    }
    #[cfg(feature = "mistakes")]
    if made(Mistake::RetryFsync) && file.sync_data().is_ok() {
        return Ok(());
    }
    file.sync_data()
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

impl Writer {
    /// Segments end after so many bytes; small ones let a test pass many ends.
    pub fn limit_segments(&mut self, bytes_max: u64) {
        self.segment_bytes_max = bytes_max;
    }

    /// The reserve on the disk, and the steps beyond it, are of so many bytes; few let a test come to their end.
    pub fn limit_room(&mut self, reserve_bytes: u64, step_bytes: u64) {
        (self.reserve_bytes, self.step_bytes) = (reserve_bytes, step_bytes);
    }

    /// A call to the disk will fail.
    #[cfg(test)]
    pub(crate) fn fail(&self, fault: super::Fault) {
        self.dir.disk().fail(fault);
    }
}
