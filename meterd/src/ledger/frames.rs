//! Segment files as frames, one after the other: what is whole, and where it ends. Reads only; knows no entry.

use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use super::archive::{self, SegmentFile};

use super::disk::{At, Disk};
use super::format::{Body, FRAME_HEAD_LEN, FrameHead, HEADER_LEN, Header, whole_frame_after};
use super::{DataDir, LedgerError};

/// Segments in order, packed ones among them. A segment that is there both ways counts as it was: its packing was cut off.
pub(super) fn segments_of(dir: &DataDir) -> Result<Vec<SegmentFile>, LedgerError> {
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
            segments.push(SegmentFile { first_seq: first, path, packed: None });
        }
    }
    let live: Vec<u64> = segments.iter().map(|segment| segment.first_seq).collect();
    segments.extend(archive::packed(dir)?.into_iter().filter(|packed| !live.contains(&packed.first_seq)));
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
    file: Source,
    path: PathBuf,
    offset: u64,
    len: u64,
    body: Vec<u8>,
}

/// Where a segment's bytes come from.
#[derive(Debug)]
enum Source {
    Plain(BufReader<At>),
    Packed(Box<dyn Unpacked>),
}

/// A packed segment that is read from its beginning.
trait Unpacked: Read + std::fmt::Debug + Send {}

impl<R: Read + std::fmt::Debug + Send> Unpacked for R {}

impl Read for Source {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(file) => file.read(bytes),
            Self::Packed(packed) => packed.read(bytes),
        }
    }
}

impl Source {
    fn skip(&mut self, bytes: u64) -> io::Result<()> {
        match self {
            Self::Plain(file) => file.seek_relative(i64::try_from(bytes).unwrap_or(i64::MAX)),
            Self::Packed(packed) => io::copy(&mut packed.take(bytes), &mut io::sink()).map(drop),
        }
    }
}

/// A frame as read, not yet checked.
#[derive(Debug)]
pub(super) struct Frame<'a> {
    pub offset: u64,
    head: FrameHead,
    bytes: &'a [u8],
}

impl Frame<'_> {
    pub(super) fn head(&self) -> FrameHead {
        self.head
    }

    /// The body, if its checksum is right.
    pub(super) fn body(&self) -> Option<Body<'_>> {
        Body::decode(self.head, self.bytes)
    }
}

impl Frames {
    pub(super) fn open(disk: &dyn Disk, segment: &SegmentFile, offset: u64) -> Result<Self, LedgerError> {
        let path = &segment.path;
        let (mut file, len) = Self::source(disk, segment)?;
        if offset > 0 {
            file.skip(offset).map_err(LedgerError::io("read", path))?;
        }
        Ok(Self { file, path: path.to_owned(), offset, len, body: Vec::new() })
    }

    fn source(disk: &dyn Disk, segment: &SegmentFile) -> Result<(Source, u64), LedgerError> {
        let path = &segment.path;
        if let Some(len) = segment.packed {
            let packed = archive::unpack(disk, path).map_err(LedgerError::io("open", path))?;
            return Ok((Source::Packed(Box::new(packed)), len));
        }
        let file = disk.open(path).map_err(LedgerError::io("open", path))?;
        let len = file.len().map_err(LedgerError::io("read", path))?;
        Ok((Source::Plain(BufReader::with_capacity(1 << 18, At::new(file, 0))), len))
    }

    /// Reads a segment's header.
    pub(super) fn header(disk: &dyn Disk, segment: &SegmentFile) -> Result<Option<Header>, LedgerError> {
        let path = &segment.path;
        let mut bytes = Vec::with_capacity(HEADER_LEN);
        let (source, _) = Self::source(disk, segment)?;
        source.take(HEADER_LEN as u64).read_to_end(&mut bytes).map_err(LedgerError::io("read", path))?;
        Ok(Header::decode(&bytes))
    }

    /// The body of the frame that was read last, to keep.
    pub(super) fn take_body(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.body)
    }

    /// The segment's file.
    pub(super) fn path(&self) -> &Path {
        &self.path
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
        self.file.skip((head.body_len - seq.len()) as u64).map_err(LedgerError::io("read", &self.path))?;
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
