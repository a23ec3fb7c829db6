//! Segment files as frames, one after the other: what is whole, and where it ends. Reads only; knows no entry.

use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use super::disk::{At, Disk};
use super::format::{Body, FRAME_HEAD_LEN, FrameHead, HEADER_LEN, Header, whole_frame_after};
use super::{DataDir, LedgerError};

/// Segment files with their first sequence numbers, in order.
pub(super) fn segments_of(dir: &DataDir) -> Result<Vec<(u64, PathBuf)>, LedgerError> {
    let folder = dir.segments();
    let mut segments = Vec::new();
    for path in dir.disk().list(&folder).map_err(LedgerError::io("list", &folder))? {
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

/// Is the end of a segment from `good` on a write that was torn, and not damage with whole frames behind it? Looks at
/// the first `len` bytes only: beside a live writer there may be more by now.
pub(super) fn torn_end(disk: &dyn Disk, path: &Path, good: u64, len: u64) -> Result<(), LedgerError> {
    let file = disk.open(path).map_err(LedgerError::io("open", path))?;
    let mut bytes = Vec::new();
    At::new(file, good)
        .take(len.saturating_sub(good))
        .read_to_end(&mut bytes)
        .map_err(LedgerError::io("read", path))?;
    // One frame is in flight at a time, so a torn write has nothing whole after it.
    if whole_frame_after(&bytes, 1) {
        return Err(LedgerError::Damaged { path: path.to_owned(), offset: good, what: "checksum".to_owned() });
    }
    Ok(())
}

/// Frames of one segment, one after the other. Ends (`None`) where no whole frame follows.
#[derive(Debug)]
pub(super) struct Frames {
    file: BufReader<At>,
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
    pub(super) fn open(disk: &dyn Disk, path: &Path, offset: u64) -> Result<Self, LedgerError> {
        let file = disk.open(path).map_err(LedgerError::io("open", path))?;
        let len = file.len().map_err(LedgerError::io("read", path))?;
        let file = BufReader::with_capacity(1 << 18, At::new(file, offset));
        Ok(Self { file, path: path.to_owned(), offset, len, body: Vec::new() })
    }

    /// Reads the segment's header of the file at `path`.
    pub(super) fn header(disk: &dyn Disk, path: &Path) -> Result<Option<Header>, LedgerError> {
        let mut bytes = Vec::with_capacity(HEADER_LEN);
        let file = disk.open(path).map_err(LedgerError::io("open", path))?;
        At::new(file, 0).take(HEADER_LEN as u64).read_to_end(&mut bytes).map_err(LedgerError::io("read", path))?;
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
    pub(super) fn skip_frame(&mut self) -> Result<Option<(u64, u64)>, LedgerError> {
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
