//! Start-up: what does the disk really hold? A torn last write is cut off and said; anything else wrong is refused.

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};

use budget::Entry;

use super::dir::sync_dir;
use super::format::{GENESIS, HEADER_LEN, Hash, Header, whole_frame_after};
use super::reader::{Frames, Reader, segments_of};
use super::writer::{End, Writer};
use super::{DataDir, LedgerError};

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
    /// Its length now.
    pub kept_bytes: u64,
    /// Bytes cut off.
    pub cut_bytes: u64,
}

/// Takes ownership, checks every batch after entry `after` (which a snapshot covers) and hands its entries to `replay`.
pub fn open(dir: &DataDir, after: u64, mut replay: impl FnMut(Entry)) -> Result<Recovered, LedgerError> {
    let owner = dir.own()?;
    let mut segments = segments_of(dir)?;
    let mut repair = drop_torn_segment(&mut segments)?;
    // The segment that holds the first entry after the snapshot; those before it are covered.
    let begin = segments.partition_point(|(first, _)| *first <= after.saturating_add(1)).saturating_sub(1);
    let mut walk = Walk { next_seq: 1, chain: GENESIS, replayed: 0 };
    let mut active = None;
    for (index, (first_seq, path)) in segments.iter().enumerate().skip(begin) {
        let is_last = index + 1 == segments.len();
        walk.enter(path, *first_seq, index == begin && begin > 0)?;
        let len = walk.segment(path, after, is_last, &mut replay, &mut repair)?;
        active = Some((path.clone(), len));
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
    let mut bytes = 0;
    for (_, path) in &segments {
        bytes += fs::metadata(path).map_err(LedgerError::io("read", path))?.len();
    }
    let reader = Reader::new(segments, last);
    let end = End { next_seq: walk.next_seq, chain: walk.chain, bytes, active };
    let writer = Writer::new(dir.clone(), owner, reader, end)?;
    Ok(Recovered { writer, replayed: walk.replayed, repair })
}

/// A crash between creating a segment and its header's fsync leaves a last file without a whole header: no entry was
/// ever in it.
fn drop_torn_segment(segments: &mut Vec<(u64, PathBuf)>) -> Result<Option<Repair>, LedgerError> {
    let Some((_, path)) = segments.last() else { return Ok(None) };
    let len = fs::metadata(path).map_err(LedgerError::io("read", path))?.len();
    if len > HEADER_LEN as u64 || Frames::header(path)?.is_some() {
        return Ok(None);
    }
    let repair = Repair { path: path.clone(), kept_bytes: 0, cut_bytes: len };
    fs::remove_file(path).map_err(LedgerError::io("remove", path))?;
    if let Some(folder) = path.parent() {
        sync_dir(folder)?;
    }
    segments.pop();
    Ok(Some(repair))
}

/// The walk over the segments.
struct Walk {
    next_seq: u64,
    chain: Hash,
    replayed: u64,
}

impl Walk {
    /// Checks that this segment follows from what was read; the first one may stand on the snapshot's word.
    fn enter(&mut self, path: &Path, first_seq: u64, trusted: bool) -> Result<(), LedgerError> {
        let damaged = |what: &str| LedgerError::Damaged { path: path.to_owned(), offset: 0, what: what.to_owned() };
        let header: Header = Frames::header(path)?.ok_or_else(|| damaged("the segment's header"))?;
        if header.first_seq != first_seq {
            return Err(damaged("the name and the header disagree"));
        }
        if trusted {
            self.next_seq = header.first_seq;
            self.chain = header.chain;
        }
        if header.first_seq != self.next_seq {
            return Err(LedgerError::Missing {
                path: path.to_owned(),
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
        path: &Path,
        after: u64,
        is_last: bool,
        replay: &mut impl FnMut(Entry),
        repair: &mut Option<Repair>,
    ) -> Result<u64, LedgerError> {
        let mut frames = Frames::open(path, HEADER_LEN as u64)?;
        let mut good = frames.offset();
        loop {
            let damaged =
                |offset, what: &str| LedgerError::Damaged { path: path.to_owned(), offset, what: what.to_owned() };
            let Some(frame) = frames.next_frame()? else { break };
            let Some(body) = frame.body() else { break };
            if body.first_seq != self.next_seq || !body.chains_to(&self.chain) {
                return Err(damaged(frame.offset, "the hash chain breaks here"));
            }
            let last = body.first_seq + u64::from(body.count) - 1;
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
            cut_torn_end(path, good, frames.len(), is_last, repair)?;
        }
        Ok(good)
    }
}

fn cut_torn_end(
    path: &Path,
    good: u64,
    len: u64,
    is_last: bool,
    repair: &mut Option<Repair>,
) -> Result<(), LedgerError> {
    let bytes = fs::read(path).map_err(LedgerError::io("read", path))?;
    // One frame is in flight at a time, so a torn write has nothing whole after it and is in the last segment.
    let from = usize::try_from(good).unwrap_or(usize::MAX).saturating_add(1);
    if !is_last || whole_frame_after(&bytes, from) {
        return Err(LedgerError::Damaged { path: path.to_owned(), offset: good, what: "checksum".to_owned() });
    }
    let file = OpenOptions::new().write(true).open(path).map_err(LedgerError::io("open", path))?;
    file.set_len(good).map_err(LedgerError::io("cut the torn end of", path))?;
    file.sync_all().map_err(LedgerError::io("fsync", path))?;
    *repair = Some(Repair { path: path.to_owned(), kept_bytes: good, cut_bytes: len - good });
    Ok(())
}
