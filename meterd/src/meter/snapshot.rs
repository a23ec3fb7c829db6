//! Start-up = snapshot + replay of the entries after it; live and replayed state are equal (I5).

use std::thread::JoinHandle;

use budget::State;
#[cfg(feature = "mistakes")]
use budget::mistakes::{Mistake, made};

use super::Dedup;
use super::upkeep::Upkeep;
use crate::ledger::{self, DataDir, LedgerError, Reader, Repair, Writer};

/// A snapshot is taken after so many entries, and at a clean stop.
pub(super) const EVERY_ENTRIES: u64 = 500_000;

/// What start-up found.
pub struct Restored {
    /// The ledger, ready to append.
    pub writer: Writer,
    /// State as of its last entry.
    pub state: State,
    /// Ids as of its last entry.
    pub dedup: Dedup,
    /// The snapshot's position; 0 when there was none.
    pub snapshot_seq: u64,
    /// Entries replayed after it.
    pub replayed: u64,
    /// A torn last write that was cut off.
    pub repair: Option<Repair>,
    /// What to do with what is old; the daemon's to set.
    pub upkeep: Upkeep,
}

/// Writes snapshots beside the meter's thread, which only pays for a copy: encoding and writing a large one takes longer
/// than callers should wait. One at a time.
#[derive(Debug)]
pub(super) struct Saver {
    /// On a thread; else in the call that asks for it.
    beside: bool,
    running: Option<JoinHandle<()>>,
}

impl Saver {
    pub(super) const fn new(beside: bool) -> Self {
        Self { beside, running: None }
    }

    /// Begins a snapshot; `false` while the one before is still being written.
    ///
    /// A snapshot only saves time: when it fails the ledger still holds everything.
    pub(super) fn save(&mut self, dir: &DataDir, state: &State) -> bool {
        if self.running.as_ref().is_some_and(|running| !running.is_finished()) {
            return false;
        }
        self.wait();
        if !self.beside {
            write(dir, state);
            return true;
        }
        let (dir, state) = (dir.clone(), state.clone());
        let write = move || write(&dir, &state);
        match std::thread::Builder::new().name("snapshot".to_owned()).spawn(write) {
            Ok(running) => self.running = Some(running),
            Err(error) => tracing::warn!(%error, "no thread for a snapshot; the ledger is complete without it"),
        }
        true
    }

    /// Waits for the snapshot under way.
    pub(super) fn wait(&mut self) {
        // A writer that panicked has written no snapshot, and said so on stderr.
        let _ = self.running.take().map(JoinHandle::join);
    }
}

impl Drop for Saver {
    fn drop(&mut self) {
        self.wait();
    }
}

fn write(dir: &DataDir, state: &State) {
    if let Err(error) = ledger::save_snapshot(dir, state.seq(), state) {
        tracing::warn!(%error, "snapshot failed; the ledger is complete without it");
    }
}

/// Takes the directory and rebuilds everything from what it holds.
pub fn restore(dir: &DataDir) -> Result<Restored, LedgerError> {
    let owner = dir.own()?;
    let (snapshot_seq, mut state) = ledger::load_snapshot::<State>(dir)?.unwrap_or_default();
    let mut dedup = Dedup::open(dir)?;
    #[cfg(feature = "mistakes")]
    let snapshot_seq = snapshot_seq.saturating_sub(u64::from(made(Mistake::ReplayTwice)));
    let after = snapshot_seq.min(dedup.covered());
    let (mut replayed, mut spilled) = (0, Ok(()));
    let recovered = ledger::open_owned(dir, owner, after, |entry| {
        if entry.seq > snapshot_seq {
            replayed += 1;
            state.apply(entry);
        }
        if entry.seq > dedup.covered() {
            dedup.apply(entry);
            if spilled.is_ok() {
                spilled = dedup.spill();
            }
        }
    })?;
    spilled?;
    let ledger::Recovered { writer, repair, .. } = recovered;
    let reader = writer.reader();
    if snapshot_seq > reader.committed() {
        let (path, from, to) = (dir.root().to_owned(), reader.committed() + 1, snapshot_seq);
        return Err(LedgerError::Missing { path, from, to, known_by: "a snapshot" });
    }
    let ahead = dedup.covered() > reader.committed();
    #[cfg(feature = "mistakes")]
    let ahead = ahead && !made(Mistake::IndexAheadOfLedger);
    if ahead {
        dedup.cut_back(reader.committed())?;
        let mut spilled = Ok(());
        reader.scan(dedup.covered() + 1, |entry| {
            dedup.apply(entry);
            spilled = dedup.spill();
            spilled.is_ok()
        })?;
        spilled?;
    }
    Ok(Restored { writer, state, dedup, snapshot_seq, replayed, repair, upkeep: Upkeep::default() })
}

/// State as of the newest durable entry, for reading only; an owner that runs is not disturbed.
pub fn read_at_rest(dir: &DataDir) -> Result<(State, Reader), LedgerError> {
    let reader = Reader::at_rest(dir)?;
    let saved = ledger::load_snapshot::<State>(dir)?.filter(|(seq, _)| *seq <= reader.committed());
    let (seq, mut state) = saved.unwrap_or_default();
    reader.scan(seq + 1, |entry| {
        state.apply(entry);
        true
    })?;
    Ok((state, reader))
}
