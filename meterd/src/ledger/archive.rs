//! Segments that are closed and old, packed: `archive/FIRST-LENGTH.zst` holds a segment as it was, byte for byte, and reads
//! like one. A segment is removed only when its packed copy is durable. Nothing here removes a packed copy: that is history.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use pricing::Timestamp;

#[cfg(feature = "mistakes")]
use budget::mistakes::{Mistake, made};

use super::disk::{At, DiskFile};
use super::{DataDir, LedgerError, Reader};

const EXTENSION: &str = "zst";
/// zstd's own default: a third to a fifth of the size at some hundred megabytes a second.
const LEVEL: i32 = 3;
/// Read and packed at once.
const AT_ONCE: usize = 1 << 18;

/// A segment, as it lies on disk.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SegmentFile {
    pub(super) first_seq: u64,
    pub(super) path: PathBuf,
    /// Packed, and so long when unpacked.
    pub(super) packed: Option<u64>,
}

/// Packed segments, in no order.
pub(super) fn packed(dir: &DataDir) -> Result<Vec<SegmentFile>, LedgerError> {
    let folder = dir.archive();
    let paths = match dir.disk().list(&folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        result => result.map_err(LedgerError::io("list", &folder))?,
    };
    let named = paths.into_iter().filter(|path| path.extension().is_some_and(|found| found == EXTENSION));
    let read = |path: PathBuf| {
        let numbers = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| {
            let (first, len) = stem.split_once('-')?;
            Some((first.parse().ok()?, len.parse().ok()?))
        });
        match numbers {
            Some((first_seq, len)) => Ok(SegmentFile { first_seq, path, packed: Some(len) }),
            None => Err(LedgerError::Damaged { path, offset: 0, what: "the name is not an archive's".to_owned() }),
        }
    };
    named.map(read).collect()
}

/// Packs a closed segment. Durable when this returns.
pub(super) fn pack(dir: &DataDir, segment: &SegmentFile) -> Result<SegmentFile, LedgerError> {
    let file = dir.disk().open(&segment.path).map_err(LedgerError::io("open", &segment.path))?;
    let len = file.len().map_err(LedgerError::io("read", &segment.path))?;
    let folder = dir.archive();
    let path = folder.join(format!("{:020}-{len}.{EXTENSION}", segment.first_seq));
    let temporary = path.with_extension("tmp");
    let target = dir.disk().replace(&temporary).map_err(LedgerError::io("create", &temporary))?;
    let packed = copy(At::new(file, 0), target).map_err(LedgerError::io("pack a segment into", &temporary))?;
    packed.sync_all().map_err(LedgerError::io("fsync", &temporary))?;
    dir.disk().rename(&temporary, &path).map_err(LedgerError::io("rename into place", &path))?;
    #[cfg(feature = "mistakes")]
    if made(Mistake::RemovedBeforePacked) {
        dir.remove(&segment.path)?;
        return Ok(SegmentFile { first_seq: segment.first_seq, path, packed: Some(len) });
    }
    dir.sync(&folder)?;
    Ok(SegmentFile { first_seq: segment.first_seq, path, packed: Some(len) })
}

/// Packs closed segments whose entries are all before entry `keep_from` and before the time `before`; how many. The segments
/// of the last time are removed first: who had looked one up just then has long read it. One that this reader still reads, because
/// the process before packed it and came to its end, is packed once more.
pub fn pack_closed(dir: &DataDir, reader: &Reader, before: Timestamp, keep_from: u64) -> Result<u64, LedgerError> {
    for (first_seq, path) in dir.numbered(&dir.segments(), "log")? {
        if reader.reads_packed(first_seq) {
            dir.remove(&path)?;
        }
    }
    let mut done = 0;
    for (segment, last) in reader.closed() {
        // The next segment begins with the next entry; log time never goes back.
        let next = reader.entry(last.saturating_add(1))?;
        if last >= keep_from || next.is_none_or(|next| next.at >= before) {
            break;
        }
        let packed = pack(dir, &segment)?;
        #[cfg(feature = "mistakes")]
        if made(Mistake::PackedUnsaid) {
            dir.remove(&segment.path)?;
            continue;
        }
        reader.put_packed(packed);
        done += 1;
    }
    Ok(done)
}

/// Reads a packed segment as it was.
pub(super) fn unpack(dir: &dyn super::Disk, path: &Path) -> io::Result<impl Read + std::fmt::Debug + use<>> {
    #[derive(Debug)]
    struct Unpacked(Quiet);
    impl Read for Unpacked {
        fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
            self.0.0.read(bytes)
        }
    }
    let file = dir.open(path)?;
    Ok(Unpacked(Quiet(zstd::Decoder::new(At::new(file, 0))?)))
}

/// The decoder has nothing to show.
struct Quiet(zstd::Decoder<'static, io::BufReader<At>>);

impl std::fmt::Debug for Quiet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("zstd")
    }
}

fn copy(mut from: At, to: Box<dyn DiskFile>) -> io::Result<Box<dyn DiskFile>> {
    struct Target(Box<dyn DiskFile>);
    impl Write for Target {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.append(bytes)?;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let buffered = io::BufWriter::with_capacity(AT_ONCE, Target(to));
    let mut encoder = zstd::Encoder::new(buffered, LEVEL)?;
    let mut bytes = vec![0; AT_ONCE];
    loop {
        match from.read(&mut bytes)? {
            0 => break,
            #[cfg(feature = "mistakes")]
            read if made(Mistake::PackedCutShort) => {
                encoder.write_all(bytes.get(..read - read / 4).unwrap_or_default())?
            }
            read => encoder.write_all(bytes.get(..read).unwrap_or_default())?,
        }
    }
    let buffered = encoder.finish()?;
    Ok(buffered.into_inner().map_err(io::IntoInnerError::into_error)?.0)
}
