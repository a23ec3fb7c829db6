//! The data directory: made with mode 0700, owned by one process through a lock, marked with its format.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use super::LedgerError;

/// What `FORMAT` says.
const FORMAT: &str = "meterd-data 1\n";

/// Paths inside a data directory.
#[derive(Clone, Debug)]
pub struct DataDir {
    root: PathBuf,
}

/// Proof that this process owns the directory; the lock goes with it.
#[derive(Debug)]
pub struct Owner {
    _lock: File,
}

impl DataDir {
    /// Names a directory; touches nothing.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The directory itself.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
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

    /// Cursors of followers.
    #[must_use]
    pub fn followers(&self) -> PathBuf {
        self.root.join("followers")
    }

    /// Where a running daemon says how to reach it.
    #[must_use]
    pub fn endpoints(&self) -> PathBuf {
        self.root.join("endpoints.json")
    }

    /// Creates what is missing and takes ownership; refuses a directory that another process owns.
    pub fn own(&self) -> Result<Owner, LedgerError> {
        self.create(&self.root)?;
        let path = self.root.join("LOCK");
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(LedgerError::io("open the lock file", &path))?;
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            let mut owner = String::new();
            let _ = lock.read_to_string(&mut owner);
            let owner = if owner.trim().is_empty() { "unknown".to_owned() } else { owner.trim().to_owned() };
            return Err(LedgerError::InUse { path: self.root.clone(), owner });
        }
        lock.set_len(0).map_err(LedgerError::io("write the lock file", &path))?;
        writeln!(lock, "{}", std::process::id()).map_err(LedgerError::io("write the lock file", &path))?;
        self.check_format()?;
        for path in [self.segments(), self.snapshots(), self.prices(), self.followers()] {
            self.create(&path)?;
        }
        sync_dir(&self.root)?;
        Ok(Owner { _lock: lock })
    }

    /// Does a running process seem to own the directory? Asked without touching the lock, so that a start beside it is
    /// never refused; a process that got the owner's number later counts as the owner.
    #[must_use]
    pub fn is_owned(&self) -> bool {
        let owner = fs::read_to_string(self.root.join("LOCK")).unwrap_or_default();
        let owner: Option<u32> = owner.trim().parse().ok();
        owner.is_some_and(|pid| Path::new("/proc").join(pid.to_string()).exists())
    }

    /// Reads along beside an owner, or at rest: checks that this is a data directory.
    pub fn visit(&self) -> Result<(), LedgerError> {
        let path = self.root.join("FORMAT");
        let found =
            fs::read_to_string(&path).map_err(LedgerError::io("read (is this a meterd data directory?)", &path))?;
        known(&path, found)
    }

    fn check_format(&self) -> Result<(), LedgerError> {
        let path = self.root.join("FORMAT");
        match fs::read_to_string(&path) {
            Ok(found) => known(&path, found),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => write_durably(&path, FORMAT.as_bytes()),
            Err(error) => Err(LedgerError::io("read", path)(error)),
        }
    }

    fn create(&self, path: &Path) -> Result<(), LedgerError> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(LedgerError::io("create the directory", path))
    }
}

fn known(path: &Path, found: String) -> Result<(), LedgerError> {
    if found == FORMAT { Ok(()) } else { Err(LedgerError::Format { path: path.to_owned(), found, known: FORMAT }) }
}

/// Writes a small file so that after a crash it is there whole or not at all: temporary file, fsync, rename, fsync.
pub fn write_durably(path: &Path, bytes: &[u8]) -> Result<(), LedgerError> {
    let temporary = path.with_extension("tmp");
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary)
        .map_err(LedgerError::io("create", &temporary))?;
    file.write_all(bytes).map_err(LedgerError::io("write", &temporary))?;
    file.sync_all().map_err(LedgerError::io("fsync", &temporary))?;
    fs::rename(&temporary, path).map_err(LedgerError::io("rename into place", path))?;
    path.parent().map_or(Ok(()), sync_dir)
}

/// Makes names durable.
pub(super) fn sync_dir(path: &Path) -> Result<(), LedgerError> {
    let dir = File::open(path).map_err(LedgerError::io("open the directory", path))?;
    dir.sync_all().map_err(LedgerError::io("fsync the directory", path))
}
