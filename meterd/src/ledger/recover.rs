//! Start-up: what does the disk really hold? A torn last write is cut off and said; anything else wrong is refused.

use std::path::PathBuf;

use budget::Entry;

use super::archive::SegmentFile;
use super::disk::Disk;
use super::format::{GENESIS, HEADER_LEN, Hash, Header};
use super::frames::{Frames, segments_of, torn_end};
use super::reader::Reader;
use super::writer::{End, Writer};
use super::{DataDir, LedgerError, Owner};

/// A ledger ready to go on.
#[derive(Debug)]
pub struct Recovered {
    /// The writer, which owns the directory.
    pub writer: Writer,
    /// Entries that were read back.
    pub replayed: u64,
    /// What was mended, if anything.
    pub repair: Option<Repair>,
}

/// A torn last write that was cut off. It was never acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repair {
    /// The segment.
    pub path: PathBuf,
    /// Its length now; 0 for a segment that is gone, as it had no whole header yet.
    pub kept_bytes: u64,
    /// Bytes cut off.
    pub cut_bytes: u64,
}

/// Takes ownership and opens the ledger as [`open_owned`] does.
pub fn open(dir: &DataDir, after: u64, replay: impl FnMut(Entry)) -> Result<Recovered, LedgerError> {
    open_owned(dir, dir.own()?, after, replay)
}

/// Checks every batch after entry `after` (which a snapshot covers) and hands its entries to `replay`.
/// Nothing is mended before everything was found to be whole.
pub fn open_owned(
    dir: &DataDir,
    owner: Owner,
    after: u64,
    mut replay: impl FnMut(Entry),
) -> Result<Recovered, LedgerError> {
    let mut segments = segments_of(dir)?;
    let mut repair = torn_segment(dir.disk(), &segments)?;
    if repair.is_some() {
        segments.pop();
    }
    // A segment is begun only when everything before it is durable, so beside a torn new one nothing else is torn.
    let may_be_torn = repair.is_none();
    // The segment that holds the first entry after the snapshot; those before it are covered.
    let begin = segments.partition_point(|segment| segment.first_seq <= after.saturating_add(1)).saturating_sub(1);
    let mut walk = Walk { disk: dir.disk(), next_seq: 1, chain: GENESIS, replayed: 0 };
    let mut active = None;
    for (index, segment) in segments.iter().enumerate().skip(begin) {
        let may_be_torn = may_be_torn && index + 1 == segments.len();
        let covered = segment.first_seq > 1 && segment.first_seq <= after.saturating_add(1);
        walk.enter(segment, index == begin && covered)?;
        let len = walk.segment(segment, after, may_be_torn, &mut replay, &mut repair)?;
        active = segment.packed.is_none().then(|| (segment.path.clone(), len));
    }
    let last = walk.next_seq - 1;
    if last < after {
        return Err(LedgerError::Missing {
            path: dir.root().to_owned(),
            from: walk.next_seq,
            to: after,
            known_by: "a snapshot",
        });
    }
    if let Some(repair) = &repair {
        repair.mend(dir)?;
    }
    let mut bytes = 0;
    for segment in segments.iter().filter(|segment| segment.packed.is_none()) {
        let path = &segment.path;
        bytes += dir.disk().len(path).map_err(LedgerError::io("read", path))?;
    }
    let reader = Reader::new(dir, segments, last);
    let end = End { next_seq: walk.next_seq, chain: walk.chain, bytes, active };
    let writer = Writer::new(dir.clone(), owner, reader, end)?;
    Ok(Recovered { writer, replayed: walk.replayed, repair })
}

/// A crash between creating a segment and its header's fsync leaves a last file without a whole header: no entry was
/// ever in it.
fn torn_segment(disk: &dyn Disk, segments: &[SegmentFile]) -> Result<Option<Repair>, LedgerError> {
    let Some(segment) = segments.last().filter(|segment| segment.packed.is_none()) else { return Ok(None) };
    let path = &segment.path;
    let len = disk.len(path).map_err(LedgerError::io("read", path))?;
    if len > HEADER_LEN as u64 || Frames::header(disk, segment)?.is_some() {
        return Ok(None);
    }
    Ok(Some(Repair { path: path.clone(), kept_bytes: 0, cut_bytes: len }))
}

impl Repair {
    fn mend(&self, dir: &DataDir) -> Result<(), LedgerError> {
        #[cfg(feature = "mistakes")]
        if budget::mistakes::made(budget::mistakes::Mistake::TornTailAccepted) {
            return Ok(());
        }
        let path = &self.path;
        if self.kept_bytes == 0 {
            dir.remove(path)?;
            return path.parent().map_or(Ok(()), |folder| dir.sync(folder));
        }
        let file = dir.disk().open_append(path).map_err(LedgerError::io("open", path))?;
        file.set_len(self.kept_bytes).map_err(LedgerError::io("cut the torn end of", path))?;
        file.sync_all().map_err(LedgerError::io("fsync", path))
    }
}

/// The walk over the segments.
struct Walk<'a> {
    disk: &'a dyn Disk,
    next_seq: u64,
    chain: Hash,
    replayed: u64,
}

impl Walk<'_> {
    /// Checks that this segment follows from what was read; the first one may stand on the snapshot's word.
    fn enter(&mut self, segment: &SegmentFile, trusted: bool) -> Result<(), LedgerError> {
        let SegmentFile { first_seq, path, .. } = segment;
        let damaged = |what: &str| LedgerError::Damaged { path: path.to_owned(), offset: 0, what: what.to_owned() };
        let header: Header = Frames::header(self.disk, segment)?.ok_or_else(|| damaged("the segment's header"))?;
        if header.first_seq != *first_seq {
            return Err(damaged("the name and the header disagree"));
        }
        if trusted {
            self.next_seq = header.first_seq;
            self.chain = header.chain;
        }
        if header.first_seq != self.next_seq {
            return Err(LedgerError::Missing {
                path: path.clone(),
                from: self.next_seq,
                to: header.first_seq.saturating_sub(1),
                known_by: "a later segment",
            });
        }
        if header.chain != self.chain { Err(damaged("the hash chain breaks here")) } else { Ok(()) }
    }

    /// Reads one segment; returns its length after a repair.
    fn segment(
        &mut self,
        segment: &SegmentFile,
        after: u64,
        may_be_torn: bool,
        replay: &mut impl FnMut(Entry),
        repair: &mut Option<Repair>,
    ) -> Result<u64, LedgerError> {
        let path = &segment.path;
        let mut frames = Frames::open(self.disk, segment, HEADER_LEN as u64)?;
        let mut good = frames.offset();
        loop {
            let damaged =
                |offset, what: &str| LedgerError::Damaged { path: path.to_owned(), offset, what: what.to_owned() };
            let Some(frame) = frames.next_frame()? else { break };
            let Some(body) = frame.body() else { break };
            if body.first_seq != self.next_seq || !body.chains_to(&self.chain) {
                return Err(damaged(frame.offset, "the hash chain breaks here"));
            }
            let last = body.last();
            if last > after {
                let entries = body.entries().ok_or_else(|| damaged(frame.offset, "not an entry of this version"))?;
                for entry in entries.into_iter().filter(|entry| entry.seq > after) {
                    self.replayed += 1;
                    replay(entry);
                }
            }
            self.chain = body.chain;
            self.next_seq = last + 1;
            good = frames.offset();
        }
        if good < frames.len() {
            if !may_be_torn {
                let (path, what) = (path.to_owned(), "checksum".to_owned());
                return Err(LedgerError::Damaged { path, offset: good, what });
            }
            torn_end(self.disk, path, good, frames.len())?;
            *repair = Some(Repair { path: path.to_owned(), kept_bytes: good, cut_bytes: frames.len() - good });
        }
        Ok(good)
    }
}
