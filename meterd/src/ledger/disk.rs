//! The way to the disk: every access of the ledger, its snapshots, index, archive and cursors to files goes through a
//! [`Disk`], so that a simulation can put one of its own below (lost and torn writes, errors, a full disk).
//!
//! Plug one in with [`super::DataDir::on`]; [`super::DataDir::new`] takes [`OsDisk`], the real one. What a disk promises is
//! what POSIX promises: appended bytes may be lost or torn until `sync_data` or `sync_all` of their file has returned,
//! names (create, rename, remove) may be lost until `sync_dir` of their folder has. Calls go once a batch or block, so that
//! dynamic dispatch costs nothing that could be measured.

mod os;

use std::fmt::Debug;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

pub use os::OsDisk;
#[cfg(test)]
pub use os::{Call, Fault};

/// A file system. Paths are those of the data directory that it was given to.
pub trait Disk: Debug + Send + Sync {
    /// Makes a folder and those above it, for this user only; one that is there is well.
    fn create_dir(&self, path: &Path) -> io::Result<()>;
    /// Makes a new, empty file to append to; an error when the name is taken.
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;
    /// Makes an empty file to append to, in the place of one that may be there.
    fn replace(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;
    /// Opens a file for reading.
    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;
    /// Opens a file for reading and appending.
    fn open_append(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;
    /// Gives a file another name, over what may have had it.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Paths of what is in a folder, in no order; a folder that is missing is `NotFound`.
    fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>>;
    /// Length of a file in bytes.
    fn len(&self, path: &Path) -> io::Result<u64>;
    /// Makes the names in a folder durable.
    fn sync_dir(&self, folder: &Path) -> io::Result<()>;
    /// Takes the lock at `path`, or tells what its holder wrote there. `note` is written for others to read.
    fn lock(&self, path: &Path, note: &str) -> io::Result<Locked>;
    /// Does a living process seem to hold the lock at `path`? Asked without touching it.
    fn is_locked(&self, path: &Path) -> bool;
    /// Bytes that this user may still write below `path`.
    fn free_bytes(&self, path: &Path) -> io::Result<u64>;
    /// The next call of this kind to a segment fails.
    #[cfg(test)]
    fn fail(&self, _fault: Fault) {}
    /// From now on nobody can set room aside, or can again.
    #[cfg(test)]
    fn fill(&self, _full: bool) {}
}

/// An open file. Reading has no position of its own, so readers can share one.
pub trait DiskFile: Debug + Send + Sync {
    /// Writes at the end. After an error any part of `bytes` may be there.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Reads from `offset` on; 0 only at the end of the file or for an empty `bytes`.
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Makes content and length durable.
    fn sync_data(&self) -> io::Result<()>;
    /// Makes content and everything else about the file durable.
    fn sync_all(&self) -> io::Result<()>;
    /// Length in bytes.
    fn len(&self) -> io::Result<u64>;
    /// Nothing in it?
    fn is_empty(&self) -> io::Result<bool> {
        self.len().map(|len| len == 0)
    }
    /// Cuts the file off at `len`, and gives back room that was set aside beyond it.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Sets room aside for what is appended up to `len`; the length stays. `StorageFull` when there is none,
    /// `Unsupported` where files have no such thing.
    fn allocate(&self, len: u64) -> io::Result<()>;
}

/// What became of taking a lock.
#[derive(Debug)]
pub enum Locked {
    /// It is ours until this is dropped.
    Ours(Box<dyn Lock>),
    /// Another holds it, and wrote this.
    Others(String),
}

/// A lock that is held until it is dropped.
pub trait Lock: Debug + Send + Sync {}

/// The whole content of a file.
pub(super) fn read(disk: &dyn Disk, path: &Path) -> io::Result<Vec<u8>> {
    let file = disk.open(path)?;
    let mut bytes = Vec::new();
    At::new(file, 0).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// An open file with a position, for `std::io`.
#[derive(Debug)]
pub(super) struct At {
    file: Box<dyn DiskFile>,
    offset: u64,
}

impl At {
    pub(super) fn new(file: Box<dyn DiskFile>, offset: u64) -> Self {
        Self { file, offset }
    }
}

impl Read for At {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(bytes, self.offset)?;
        self.offset = self.offset.saturating_add(read as u64);
        Ok(read)
    }
}

impl Seek for At {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let target = match to {
            SeekFrom::Start(offset) => Some(offset),
            SeekFrom::Current(by) => self.offset.checked_add_signed(by),
            SeekFrom::End(by) => self.file.len()?.checked_add_signed(by),
        };
        self.offset = target.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        Ok(self.offset)
    }
}
