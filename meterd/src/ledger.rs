//! The durable log: numbered entries in hash-chained batches, appended with one fsync a batch, read by position.
//!
//! Truth is the sequence of entries; everything else is derived and can be rebuilt. Written by `meter` alone (I9).
//! Knows files and bytes, never budgets or prices: entries go in and come out whole.
//!
//! Every file access goes through [`Disk`]; [`DataDir::on`] takes another one than the operating system's.
//!
//! A data directory: `LOCK` (one owner), `FORMAT`, `ledger/N.log` (segments, named by first sequence number),
//! `snapshots/N.snap`, `index/FIRST-LAST.run` (ids booked), `archive/FIRST-LENGTH.zst` (old segments, packed),
//! `prices/DIGEST.json` (pinned tables), `followers/NAME.cursor` (places of followers), `followers/NAME` (derived views).

mod archive;
mod cursor;
mod dir;
mod disk;
mod error;
mod format;
mod frames;
mod reader;
mod recover;
mod snapshot;
pub mod verify;
mod writer;

#[cfg(test)]
mod tests;

pub use archive::pack_closed;
pub use cursor::{Cursor, Place, places};
pub use dir::{DataDir, Owner};
#[cfg(test)]
pub use disk::{Call, Fault};
pub use disk::{Disk, DiskFile, Lock, Locked, OsDisk};
pub use error::LedgerError;
pub use reader::{Batch, Reader};
pub use recover::{Recovered, Repair, open, open_owned};
pub use snapshot::{load_newest as load_snapshot, newest as newest_snapshot, save as save_snapshot};
pub use writer::{RESERVE_BYTES, Writer};
