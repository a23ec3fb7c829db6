//! Start-up: what does the disk really hold? A torn last write is cut off and said; anything else wrong is refused.

mod decode;

use std::path::PathBuf;

use budget::Entry;

use self::decode::Whole;
use super::archive::SegmentFile;
use super::disk::Disk;
use super::format::{Body, GENESIS, HEADER_LEN, Hash, Header};
use super::frames::{Frames, segments_of, torn_end};
use super::reader::Reader;
use super::writer::{End, Writer};
use super::{DataDir, LedgerError, Owner};

/// Segments from this size on are decoded on every core.
const DECODE_BESIDE_FROM: u64 = 4 << 20;

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
pub fn open(dir: &DataDir, after: u64, replay: impl FnMut(&Entry)) -> Result<Recovered, LedgerError> {
    open_owned(dir, dir.own()?, after, replay)
}

/// Checks every batch after entry `after` (which a snapshot covers) and hands its entries to `replay`.
/// Nothing is mended before everything was found to be whole.
pub fn open_owned(
    dir: &DataDir,
    owner: Owner,
    after: u64,
    mut replay: impl FnMut(&Entry),
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
        replay: &mut impl FnMut(&Entry),
        repair: &mut Option<Repair>,
    ) -> Result<u64, LedgerError> {
        let path = &segment.path;
        let mut frames = Frames::open(self.disk, segment, HEADER_LEN as u64)?;
        let mut replayed = 0;
        let mut take = |entries: &[Entry]| {
            for entry in entries.iter().filter(|entry| entry.seq > after) {
                replayed += 1;
                replay(entry);
            }
        };
        let unreadable = |offset| LedgerError::Damaged {
            path: path.clone(),
            offset,
            what: "not an entry of this version: was it written by another one?".to_owned(),
        };
        let good = if frames.len() < DECODE_BESIDE_FROM {
            self.check(&mut frames, after, |whole| {
                let body = Body::checked(whole.head, &whole.bytes);
                take(&body.and_then(|body| body.entries()).ok_or_else(|| unreadable(whole.offset))?);
                Ok(true)
            })?
        } else {
            std::thread::scope(|scope| {
                let (mut input, mut output) = decode::start(scope);
                let checked = scope.spawn(|| self.check(&mut frames, after, move |whole| Ok(input.give(whole))));
                while let Some((offset, entries)) = output.next() {
                    // Leaving ends the threads: nobody takes what they have.
                    let entries = entries.ok_or_else(|| unreadable(offset))?;
                    take(&entries);
                    output.give_back(entries);
                }
                drop(output);
                checked.join().unwrap_or(Err(LedgerError::Stopped))
            })?
        };
        self.replayed += replayed;
        if good < frames.len() {
            if !may_be_torn {
                let (path, what) = (path.clone(), "checksum".to_owned());
                return Err(LedgerError::Damaged { path, offset: good, what });
            }
            torn_end(self.disk, path, good, frames.len())?;
            *repair = Some(Repair { path: path.clone(), kept_bytes: good, cut_bytes: frames.len() - good });
        }
        Ok(good)
    }

    /// Checks the frames of a segment and hands those on that hold entries after `after`; where the whole ones end.
    fn check(
        &mut self,
        frames: &mut Frames,
        after: u64,
        mut hand_on: impl FnMut(Whole) -> Result<bool, LedgerError>,
    ) -> Result<u64, LedgerError> {
        let mut good = frames.offset();
        let path = frames.path().to_owned();
        loop {
            let Some(frame) = frames.next_frame()? else { return Ok(good) };
            let Some(body) = frame.body() else { return Ok(good) };
            if body.first_seq != self.next_seq || !body.chains_to(&self.chain) {
                let (offset, what) = (frame.offset, "the hash chain breaks here".to_owned());
                return Err(LedgerError::Damaged { path, offset, what });
            }
            let last = body.last();
            (self.chain, self.next_seq) = (body.chain, last + 1);
            let (offset, head) = (frame.offset, frame.head());
            if last > after && !hand_on(Whole { offset, head, bytes: frames.take_body() })? {
                return Ok(good);
            }
            good = frames.offset();
        }
    }
}
