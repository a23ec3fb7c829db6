//! Old segments are packed: beside the meter's thread, one at a time, and only what nobody needs unpacked any more.
//!
//! A segment is packed when its time has passed, when every durable follower has passed it, when a snapshot covers it, and
//! when its ids are forgotten. Packed it still reads as it was, only slower.

use std::thread::JoinHandle;
use std::time::Duration;

use pricing::Timestamp;

use crate::ledger::{self, DataDir, LedgerError, Reader};

/// How often it is looked after what may be packed.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// What the daemon wants done with what is old.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Upkeep {
    /// Closed segments are packed after so long; never without it.
    pub pack_after: Option<Duration>,
    /// Runs leave the state so long after their end; never without it.
    pub forget_after: Option<Duration>,
    /// Runs that nobody ends are put to rest when nothing has named them for so long; never without it.
    pub rest_after: Option<Duration>,
    /// Room on the disk that only what ends or settles something may use.
    pub reserve_bytes: u64,
}

impl Default for Upkeep {
    fn default() -> Self {
        Self { pack_after: None, forget_after: None, rest_after: None, reserve_bytes: ledger::RESERVE_BYTES }
    }
}

/// Packs now and then.
#[derive(Debug)]
pub(super) struct Packer {
    pack_after: Option<Duration>,
    beside: bool,
    looked_at: Option<Timestamp>,
    job: Option<JoinHandle<()>>,
}

impl Packer {
    pub(super) const fn new(pack_after: Option<Duration>, beside: bool) -> Self {
        Self { pack_after, beside, looked_at: None, job: None }
    }

    /// Begins what is due. `floor`: ids of entries before it are forgotten.
    pub(super) fn look(&mut self, dir: &DataDir, reader: &Reader, now: Timestamp, floor: u64) {
        let Some(pack_after) = self.pack_after else { return };
        let nanos = |duration: Duration| i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX);
        if self.looked_at.is_some_and(|at| now < at.saturating_add(nanos(LOOK_EVERY))) {
            return;
        }
        if self.job.as_ref().is_some_and(|job| !job.is_finished()) {
            return;
        }
        self.wait();
        self.looked_at = Some(now);
        let (dir, reader) = (dir.clone(), reader.clone());
        let before = now.saturating_add(nanos(pack_after).saturating_neg());
        let job = move || match pack(&dir, &reader, before, floor) {
            Ok(0) => {}
            Ok(packed) => tracing::info!(packed, "old segments packed"),
            Err(error) => tracing::warn!(%error, "old segments could not be packed; they stay as they are"),
        };
        if !self.beside {
            return job();
        }
        match std::thread::Builder::new().name("pack".to_owned()).spawn(job) {
            Ok(job) => self.job = Some(job),
            Err(error) => tracing::warn!(%error, "no thread to pack old segments; they stay as they are"),
        }
    }

    /// Waits for the segment that is being packed.
    pub(super) fn wait(&mut self) {
        // One that panicked has said so; the segment is still there.
        let _ = self.job.take().map(JoinHandle::join);
    }
}

fn pack(dir: &DataDir, reader: &Reader, before: Timestamp, floor: u64) -> Result<u64, LedgerError> {
    let followed = ledger::places(dir)?.into_iter().map(|(_, place)| place.delivered).min().unwrap_or(u64::MAX);
    let snapshot = ledger::newest_snapshot(dir)?.unwrap_or(0);
    let keep_from = floor.min(followed.saturating_add(1)).min(snapshot.saturating_add(1));
    ledger::pack_closed(dir, reader, before, keep_from)
}
