//! Start-up = snapshot + replay of the entries after it; live and replayed state are equal (I5).

use budget::State;
use serde::{Deserialize, Serialize};

use super::Dedup;
use crate::ledger::{self, DataDir, LedgerError, Reader, Repair, Writer};

/// A snapshot is taken after so many entries, and at a clean stop.
pub(super) const EVERY_ENTRIES: u64 = 500_000;

#[derive(Serialize)]
struct Saved<'a> {
    state: &'a State,
    dedup: &'a Dedup,
}

#[derive(Deserialize)]
struct Loaded {
    state: State,
    dedup: Dedup,
}

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
}

pub(super) fn save(dir: &DataDir, state: &State, dedup: &Dedup) -> Result<(), LedgerError> {
    ledger::save_snapshot(dir, state.seq(), &Saved { state, dedup }).map(drop)
}

/// Takes the directory and rebuilds everything from what it holds.
pub fn restore(dir: &DataDir) -> Result<Restored, LedgerError> {
    let (snapshot_seq, Loaded { mut state, mut dedup }) = ledger::load_snapshot::<Loaded>(dir)?
        .unwrap_or_else(|| (0, Loaded { state: State::default(), dedup: Dedup::default() }));
    let recovered = ledger::open(dir, snapshot_seq, |entry| {
        state.apply(&entry);
        dedup.apply(&entry);
    })?;
    let ledger::Recovered { writer, replayed, repair } = recovered;
    Ok(Restored { writer, state, dedup, snapshot_seq, replayed, repair })
}

/// State as of the newest durable entry, for reading only; an owner that runs is not disturbed.
pub fn read_at_rest(dir: &DataDir) -> Result<(State, Reader), LedgerError> {
    let reader = Reader::at_rest(dir)?;
    let saved = ledger::load_snapshot::<Loaded>(dir)?.filter(|(seq, _)| *seq <= reader.committed());
    let (seq, mut state) = saved.map_or((0, State::default()), |(seq, loaded)| (seq, loaded.state));
    reader.scan(seq + 1, |entry| {
        state.apply(entry);
        true
    })?;
    Ok((state, reader))
}
