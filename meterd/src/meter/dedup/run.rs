//! A run: ids of one stretch of the ledger in a file, sorted by key, never changed. Derived from the ledger, so it is never
//! fsynced: each part carries a checksum, and a run that is not whole is left out and made again.
//!
//! A file is blocks of 4 KiB (127 records of 32 bytes, padding, CRC-32 of the rest), then the first key of each block (its
//! high half), then the filter, then a footer with a CRC-32 over everything after the blocks. All little endian. In memory
//! are the first keys and the filter: some 17 bits a key.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use pricing::Timestamp;

use super::filter::{Filter, Probe};
use super::{First, Stretch};
use crate::ledger::{DataDir, DiskFile, LedgerError};

const BLOCK: usize = 4_096;
const RECORD: usize = 32;
const PER_BLOCK: usize = 127;
const FOOTER: usize = 56;
const MAGIC: &[u8; 8] = b"MTRDIDX1";
/// Written at once.
const WRITE_AT_ONCE: usize = 64 * BLOCK;

/// A key and its first time, as on disk.
pub(super) type Record = (u128, First);

/// A run that can be asked.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) path: PathBuf,
    pub(super) stretch: Stretch,
    pub(super) keys: u64,
    file: Box<dyn DiskFile>,
    fences: Vec<u64>,
    filter: Filter,
}

impl Run {
    /// Opens a run that was written whole; `None` for one that was not.
    pub(super) fn open(dir: &DataDir, path: &Path) -> io::Result<Option<Self>> {
        let file = dir.disk().open(path)?;
        let len = file.len()?;
        let mut footer = [0; FOOTER];
        let Some(footer_at) = len.checked_sub(FOOTER as u64) else { return Ok(None) };
        if !read_whole(&*file, &mut footer, footer_at)? {
            return Ok(None);
        }
        let Some((footer, crc)) = Footer::decode(&footer) else { return Ok(None) };
        let blocks = footer.keys.div_ceil(PER_BLOCK as u64);
        let parts = blocks.checked_mul(8).and_then(|fences| fences.checked_add(footer.filter_bytes));
        let begin = blocks.checked_mul(BLOCK as u64);
        let (Some(parts), Some(begin)) = (parts, begin) else { return Ok(None) };
        if begin.checked_add(parts) != Some(footer_at) {
            return Ok(None);
        }
        let mut bytes = vec![0; usize::try_from(parts).unwrap_or(usize::MAX)];
        if !read_whole(&*file, &mut bytes, begin)? || crc != footer.crc(&bytes) {
            return Ok(None);
        }
        let (fences, filter) = bytes.split_at(bytes.len() - usize::try_from(footer.filter_bytes).unwrap_or(0));
        let fences = fences.chunks_exact(8).filter_map(|word| Some(u64::from_le_bytes(*word.first_chunk()?))).collect();
        let Some(filter) = Filter::from_bytes(filter) else { return Ok(None) };
        let Footer { stretch, keys, .. } = footer;
        Ok(Some(Self { path: path.to_owned(), stretch, keys, file, fences, filter }))
    }

    /// May the key be here? Never `false` for one that is.
    pub(super) fn may_hold(&self, probe: &Probe) -> bool {
        self.filter.may_hold(probe)
    }

    /// The first time of a key, if it is here.
    pub(super) fn find(&self, key: u128) -> Result<Option<First>, LedgerError> {
        let high = (key >> 64) as u64;
        // Keys whose high halves are equal may begin in the block before the first fence that equals it.
        let mut block = self.fences.partition_point(|fence| *fence < high).saturating_sub(1);
        while self.fences.get(block).is_some_and(|fence| *fence <= high) {
            let bytes = self.block(block)?;
            let records = self.records_in(block);
            let found = bytes.chunks_exact(RECORD).take(records).filter_map(decode).find(|(found, _)| *found >= key);
            match found {
                Some((found, first)) => return Ok((found == key).then_some(first)),
                None => block += 1,
            }
        }
        Ok(None)
    }

    /// Every record, in the order of the keys.
    pub(super) fn records(&self) -> Records<'_> {
        Records { run: self, block: 0, read: Vec::new().into_iter() }
    }

    fn records_in(&self, block: usize) -> usize {
        let before = block.saturating_mul(PER_BLOCK) as u64;
        usize::try_from(self.keys.saturating_sub(before)).unwrap_or(PER_BLOCK).min(PER_BLOCK)
    }

    fn block(&self, block: usize) -> Result<[u8; BLOCK], LedgerError> {
        let offset = (block * BLOCK) as u64;
        let mut bytes = [0; BLOCK];
        let whole = read_whole(&*self.file, &mut bytes, offset).map_err(LedgerError::io("read", &self.path))?;
        let stated = bytes.last_chunk::<4>().map(|crc| u32::from_le_bytes(*crc));
        let actual = bytes.get(..BLOCK - 4).map(crc32fast::hash);
        if whole && stated == actual { Ok(bytes) } else { Err(self.damaged(offset)) }
    }

    fn damaged(&self, offset: u64) -> LedgerError {
        LedgerError::Index { path: self.path.clone(), offset }
    }
}

/// The records of a run, one after the other.
pub(super) struct Records<'a> {
    run: &'a Run,
    block: usize,
    read: std::vec::IntoIter<Record>,
}

impl Iterator for Records<'_> {
    type Item = Result<Record, LedgerError>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(record) = self.read.next() {
            return Some(Ok(record));
        }
        if self.block >= self.run.fences.len() {
            return None;
        }
        match self.run.block(self.block) {
            Ok(bytes) => {
                let records = self.run.records_in(self.block);
                let read: Vec<Record> = bytes.chunks_exact(RECORD).take(records).filter_map(decode).collect();
                self.read = read.into_iter();
                self.block += 1;
                self.read.next().map(Ok)
            }
            Err(error) => {
                self.block = usize::MAX;
                Some(Err(error))
            }
        }
    }
}

/// Writes a run: records in the order of their keys, then `finish`.
pub(super) struct RunWriter<'a> {
    dir: &'a DataDir,
    temporary: PathBuf,
    file: Box<dyn DiskFile>,
    buffer: Vec<u8>,
    /// Records in the block that is being filled.
    filled: usize,
    fences: Vec<u64>,
    filter: Filter,
    keys: u64,
}

impl<'a> RunWriter<'a> {
    /// Begins a run of at most so many keys at `path`.
    pub(super) fn create(dir: &'a DataDir, path: &Path, keys_max: u64) -> Result<Self, LedgerError> {
        let temporary = path.with_extension("tmp");
        let file = dir.disk().replace(&temporary).map_err(LedgerError::io("create", &temporary))?;
        let (buffer, fences, filter) =
            (Vec::with_capacity(WRITE_AT_ONCE + BLOCK), Vec::new(), Filter::for_keys(keys_max));
        Ok(Self { dir, temporary, file, buffer, filled: 0, fences, filter, keys: 0 })
    }

    pub(super) fn push(&mut self, (key, first): Record) -> Result<(), LedgerError> {
        if self.filled == 0 {
            self.fences.push((key >> 64) as u64);
        }
        self.filter.insert(key);
        self.keys += 1;
        self.buffer.extend_from_slice(&key.to_le_bytes());
        self.buffer.extend_from_slice(&first.seq.to_le_bytes());
        self.buffer.extend_from_slice(&first.body.to_le_bytes());
        self.filled += 1;
        if self.filled == PER_BLOCK { self.end_block() } else { Ok(()) }
    }

    /// Writes what is left and gives the file its name.
    pub(super) fn finish(mut self, path: &Path, stretch: Stretch) -> Result<Run, LedgerError> {
        if self.filled > 0 {
            self.end_block()?;
        }
        self.write()?;
        let mut bytes: Vec<u8> = self.fences.iter().flat_map(|fence| fence.to_le_bytes()).collect();
        bytes.extend_from_slice(&self.filter.to_bytes());
        let footer = Footer { stretch, keys: self.keys, filter_bytes: self.filter.bytes() as u64 };
        let crc = footer.crc(&bytes);
        bytes.extend_from_slice(&footer.encode());
        bytes.extend_from_slice(&crc.to_le_bytes());
        self.file.append(&bytes).map_err(LedgerError::io("write", &self.temporary))?;
        self.dir.disk().rename(&self.temporary, path).map_err(LedgerError::io("rename into place", path))?;
        let file = self.dir.disk().open(path).map_err(LedgerError::io("open", path))?;
        let (fences, filter) = (self.fences, self.filter);
        Ok(Run { path: path.to_owned(), stretch, keys: self.keys, file, fences, filter })
    }

    fn end_block(&mut self) -> Result<(), LedgerError> {
        let begin = self.buffer.len() - self.filled * RECORD;
        self.buffer.resize(begin + BLOCK - 4, 0);
        let crc = crc32fast::hash(self.buffer.get(begin..).unwrap_or_default());
        self.buffer.extend_from_slice(&crc.to_le_bytes());
        self.filled = 0;
        if self.buffer.len() >= WRITE_AT_ONCE { self.write() } else { Ok(()) }
    }

    fn write(&mut self) -> Result<(), LedgerError> {
        self.file.append(&self.buffer).map_err(LedgerError::io("write", &self.temporary))?;
        self.buffer.clear();
        Ok(())
    }
}

struct Footer {
    stretch: Stretch,
    keys: u64,
    filter_bytes: u64,
}

impl Footer {
    /// Without the checksum, which follows.
    fn encode(&self) -> Vec<u8> {
        let Stretch { first_seq, last_seq, newest } = self.stretch;
        let mut bytes = Vec::with_capacity(FOOTER);
        bytes.extend_from_slice(MAGIC);
        for word in [first_seq, last_seq, newest.nanos().cast_unsigned()] {
            bytes.extend_from_slice(&word.to_le_bytes());
        }
        bytes.extend_from_slice(&self.keys.to_le_bytes());
        bytes.extend_from_slice(&self.filter_bytes.to_le_bytes());
        bytes.resize(FOOTER - 4, 0);
        bytes
    }

    fn decode(bytes: &[u8; FOOTER]) -> Option<(Self, u32)> {
        let (content, crc) = bytes.split_last_chunk::<4>()?;
        let mut words = content.strip_prefix(MAGIC)?.chunks_exact(8);
        let mut word = || Some(u64::from_le_bytes(*words.next()?.first_chunk()?));
        let (first_seq, last_seq) = (word()?, word()?);
        let newest = Timestamp::from_nanos(word()?.cast_signed());
        let stretch = Stretch { first_seq, last_seq, newest };
        Some((Self { stretch, keys: word()?, filter_bytes: word()? }, u32::from_le_bytes(*crc)))
    }

    /// Over the parts before the footer, and the footer.
    fn crc(&self, parts: &[u8]) -> u32 {
        let mut crc = crc32fast::Hasher::new();
        crc.update(parts);
        crc.update(&self.encode());
        crc.finalize()
    }
}

fn decode(bytes: &[u8]) -> Option<Record> {
    let (key, rest) = bytes.split_first_chunk::<16>()?;
    let (seq, body) = rest.split_first_chunk::<8>()?;
    let first = First { seq: u64::from_le_bytes(*seq), body: u64::from_le_bytes(*body.first_chunk()?) };
    Some((u128::from_le_bytes(*key), first))
}

/// Fills `bytes`; false where the file ends before.
fn read_whole(file: &dyn DiskFile, bytes: &mut [u8], offset: u64) -> io::Result<bool> {
    struct From<'a>(&'a dyn DiskFile, u64);
    impl Read for From<'_> {
        fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
            let read = self.0.read_at(bytes, self.1)?;
            self.1 += read as u64;
            Ok(read)
        }
    }
    match From(file, offset).read_exact(bytes) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        result => result.map(|()| true),
    }
}
