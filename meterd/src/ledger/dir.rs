//! The data directory: made with mode 0700, owned by one process through a lock, marked with its format.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fmt, io};

use super::LedgerError;
use super::disk::{self, Disk, Lock, Locked, OsDisk};

/// What `FORMAT` says. It rises whenever a program of the number before could not read what this one writes.
const FORMAT: &str = "meterd-data 3\n";
/// The number before: fewer kinds of facts. Everything of that format reads as before; what is written from now on may not read
/// with a program of that time, so a start gives the directory the new number.
const FORMAT_BEFORE: &str = "meterd-data 2\n";

/// Paths inside a data directory, and the disk that they are on.
#[derive(Clone)]
pub struct DataDir {
    root: PathBuf,
    disk: Arc<dyn Disk>,
}

impl fmt::Debug for DataDir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DataDir({})", self.root.display())
    }
}

/// Proof that this process owns the directory; the lock goes with it.
#[derive(Debug)]
pub struct Owner {
    _lock: Box<dyn Lock>,
}

impl DataDir {
    /// Names a directory; touches nothing.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self::on(Arc::new(OsDisk::default()), root)
    }

    /// Names a directory on a disk of one's own.
    #[must_use]
    pub fn on(disk: Arc<dyn Disk>, root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), disk }
    }

    /// The directory itself.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The disk that it is on.
    #[must_use]
    pub fn disk(&self) -> &dyn Disk {
        &*self.disk
    }

    /// Segments.
    #[must_use]
    pub fn segments(&self) -> PathBuf {
        self.root.join("ledger")
    }

    /// Snapshots.
    #[must_use]
    pub fn snapshots(&self) -> PathBuf {
        self.root.join("snapshots")
    }

    /// Pinned price tables.
    #[must_use]
    pub fn prices(&self) -> PathBuf {
        self.root.join("prices")
    }

    /// The dedup index: derived, made again from the segments when it is not whole.
    #[must_use]
    pub fn index(&self) -> PathBuf {
        self.root.join("index")
    }

    /// Segments that are old and packed.
    #[must_use]
    pub fn archive(&self) -> PathBuf {
        self.root.join("archive")
    }

    /// Cursors of followers.
    #[must_use]
    pub fn followers(&self) -> PathBuf {
        self.root.join("followers")
    }

    /// Usage refused for its time.
    #[must_use]
    pub fn dead_letters(&self) -> PathBuf {
        self.root.join("dead-letters")
    }

    /// Which spans are around calls that were counted.
    #[must_use]
    pub fn spans(&self) -> PathBuf {
        self.root.join("spans")
    }

    /// What the clock believed last.
    #[must_use]
    pub fn clock(&self) -> PathBuf {
        self.root.join("clock")
    }

    /// Where a running daemon says how to reach it.
    #[must_use]
    pub fn endpoints(&self) -> PathBuf {
        self.root.join("endpoints.json")
    }

    /// The Unix socket of a running daemon, unless its configuration puts it elsewhere.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.root.join("meterd.sock")
    }

    /// Creates what is missing and takes ownership; refuses a directory that another process owns.
    pub fn own(&self) -> Result<Owner, LedgerError> {
        self.create(&self.root)?;
        let path = self.root.join("LOCK");
        let note = format!("{}\n", std::process::id());
        let lock = match self.disk.lock(&path, &note).map_err(LedgerError::io("take the lock file", &path))? {
            Locked::Ours(lock) => lock,
            Locked::Others(holder) => {
                let holder = holder.trim();
                let owner = if holder.is_empty() { "unknown".to_owned() } else { holder.to_owned() };
                return Err(LedgerError::InUse { path: self.root.clone(), owner });
            }
        };
        self.check_format()?;
        let folders =
            [self.segments(), self.snapshots(), self.index(), self.archive(), self.prices(), self.followers()];
        for path in folders {
            self.create(&path)?;
        }
        self.sync(&self.root)?;
        Ok(Owner { _lock: lock })
    }

    /// Does a running process seem to own the directory? Asked without touching the lock, so that a start beside it is
    /// never refused.
    #[must_use]
    pub fn is_owned(&self) -> bool {
        self.disk.is_locked(&self.root.join("LOCK"))
    }

    /// Reads along beside an owner, or at rest: checks that this is a data directory.
    pub fn visit(&self) -> Result<(), LedgerError> {
        let path = self.root.join("FORMAT");
        let found = self.read(&path).map_err(LedgerError::io("read (is this a meterd data directory?)", &path))?;
        known(&path, &found)
    }

    /// The whole content of a file.
    pub fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        disk::read(self.disk(), path)
    }

    /// Is there such a file?
    #[must_use]
    pub fn has(&self, path: &Path) -> bool {
        self.disk.len(path).is_ok()
    }

    /// Writes a small file so that after a crash it is there whole or not at all: temporary file, fsync, rename, fsync.
    pub fn write_durably(&self, path: &Path, bytes: &[u8]) -> Result<(), LedgerError> {
        let temporary = path.with_extension("tmp");
        let mut file = self.disk.replace(&temporary).map_err(LedgerError::io("create", &temporary))?;
        file.append(bytes).map_err(LedgerError::io("write", &temporary))?;
        #[cfg(feature = "mistakes")]
        if budget::mistakes::made(budget::mistakes::Mistake::NamedBeforeFsync) {
            self.disk.rename(&temporary, path).map_err(LedgerError::io("rename into place", path))?;
            return path.parent().map_or(Ok(()), |folder| self.sync(folder));
        }
        file.sync_all().map_err(LedgerError::io("fsync", &temporary))?;
        self.disk.rename(&temporary, path).map_err(LedgerError::io("rename into place", path))?;
        path.parent().map_or(Ok(()), |folder| self.sync(folder))
    }

    /// Removes a file. What is gone already is well.
    pub fn remove(&self, path: &Path) -> Result<(), LedgerError> {
        match self.disk.remove(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(LedgerError::io("remove", path)(error)),
            _ => Ok(()),
        }
    }

    /// Makes the names in a folder durable.
    pub(super) fn sync(&self, folder: &Path) -> Result<(), LedgerError> {
        self.disk.sync_dir(folder).map_err(LedgerError::io("fsync the directory", folder))
    }

    /// Files in a folder that are named `N.EXTENSION`, by number; none when there is no such folder.
    pub(super) fn numbered(&self, folder: &Path, extension: &str) -> Result<Vec<(u64, PathBuf)>, LedgerError> {
        let paths = match self.disk.list(folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            result => result.map_err(LedgerError::io("list", folder))?,
        };
        let number = |path: &PathBuf| path.file_stem()?.to_str()?.parse().ok();
        let named = paths.into_iter().filter(|path| path.extension().is_some_and(|found| found == extension));
        let mut found: Vec<(u64, PathBuf)> = named.filter_map(|path| Some((number(&path)?, path))).collect();
        found.sort_unstable();
        Ok(found)
    }

    fn check_format(&self) -> Result<(), LedgerError> {
        let path = self.root.join("FORMAT");
        match self.read(&path) {
            Ok(found) if found == FORMAT_BEFORE.as_bytes() => {
                tracing::info!(path = %path.display(), "the data directory moves to the format of this version");
                self.write_durably(&path, FORMAT.as_bytes())
            }
            Ok(found) => known(&path, &found),
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.write_durably(&path, FORMAT.as_bytes()),
            Err(error) => Err(LedgerError::io("read", path)(error)),
        }
    }

    fn create(&self, path: &Path) -> Result<(), LedgerError> {
        self.disk.create_dir(path).map_err(LedgerError::io("create the directory", path))
    }
}

fn known(path: &Path, found: &[u8]) -> Result<(), LedgerError> {
    if [FORMAT, FORMAT_BEFORE].iter().any(|known| found == known.as_bytes()) {
        return Ok(());
    }
    let found = String::from_utf8_lossy(found).into_owned();
    Err(LedgerError::Format { path: path.to_owned(), found, known: FORMAT })
}
