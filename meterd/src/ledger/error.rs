//! What can go wrong with a data directory, each with the place and the way out.

use std::io;
use std::path::PathBuf;

/// A problem with the ledger or its directory.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The file system said no.
    #[error("{}: cannot {doing}: {source}", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// Where.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Another process owns the directory.
    #[error(
        "{}: already in use by process {owner}: two daemons cannot share a data directory; \
         stop that one, or choose another with --data-dir", path.display()
    )]
    InUse {
        /// The directory.
        path: PathBuf,
        /// Process id as written in the lock file.
        owner: String,
    },
    /// The directory was written in a format this program does not know.
    #[error(
        "{}: format {:?} is not known to this version, which writes {:?} and moves the one before it forward: nothing was \
         changed. Start the version that wrote it (with it, `meterd export` takes the record out), or move the directory away \
         to start anew", path.display(), found.trim_end(), known.trim_end()
    )]
    Format {
        /// The file that says so.
        path: PathBuf,
        /// What it says.
        found: String,
        /// What this program writes.
        known: &'static str,
    },
    /// Bytes in the middle of the ledger are not what was written.
    #[error(
        "{}: damaged at byte {offset} ({what}); whole entries follow it, so this is not a torn last write: \
         nothing was changed. Restore the file from a copy, or move the data directory away to start anew", path.display()
    )]
    Damaged {
        /// The segment.
        path: PathBuf,
        /// Where.
        offset: u64,
        /// What is wrong there.
        what: String,
    },
    /// A file of the dedup index is not what was written.
    #[error(
        "{}: damaged at byte {offset} although it was just made again from the ledger: nothing is lost, but the disk keeps \
         nothing; look at it, then start again", path.display()
    )]
    Index {
        /// The file.
        path: PathBuf,
        /// Where.
        offset: u64,
    },
    /// Entries that were there before are gone.
    #[error(
        "{}: entries {from} to {to} are missing although {known_by} was made from them: nothing was changed. \
         Restore the ledger files from a copy", path.display()
    )]
    Missing {
        /// The directory.
        path: PathBuf,
        /// First missing entry.
        from: u64,
        /// Last one known of.
        to: u64,
        /// What knows of them.
        known_by: &'static str,
    },
    /// An earlier write failed; the log takes nothing more until a restart has read what the disk really holds.
    #[error("the ledger stopped after a failed write; restart the daemon to go on from what is on disk")]
    Stopped,
}

impl LedgerError {
    /// Wraps an I/O error with its place.
    pub fn io(doing: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { doing, path, source }
    }

    /// The disk has no room left.
    #[must_use]
    pub fn is_disk_full(&self) -> bool {
        matches!(self, Self::Io { source, .. }
            if matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded))
    }
}
