//! Which events were booked already: derived from the ledger, kept for the horizon, mostly outside memory.
//!
//! An event is known by (tenant, source, id) and, when it has one, by its provider's response id, so that the same call
//! seen through two sources counts once (I4). The newest ids are in memory; older ones are in sorted runs on disk, each of
//! one stretch of the ledger, so that forgetting is dropping whole files. What is dropped is older than a mark, and what is
//! older than the mark is refused: an event is remembered, or too old, or new, whatever the clocks did meanwhile.
//!
//! Nothing here is fsynced but the mark. What a crash tore, what is missing and what is found to be damaged is made again from
//! the ledger: at the start, or while the meter goes on.

mod filter;
mod keeper;
mod look;
mod mend;
mod run;
#[cfg(test)]
pub(super) mod tests;

use std::sync::Arc;
use std::time::Duration;

#[cfg(feature = "mistakes")]
use budget::mistakes::{Mistake, made};
use budget::{AdjustReason, Adjustment, Charge, Entry, Fact};
use pricing::Timestamp;
use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

use self::filter::Probe;
use self::keeper::Keeper;
pub(super) use self::look::Look;
use self::run::{Run, RunWriter};
use crate::ledger::{DataDir, LedgerError};

/// Keys in memory before they go to disk: what a hash table of 2¹⁸ places holds, less those of one batch.
const FRESH_KEYS_MAX: usize = 212_992;
/// With fewer keys than these a snapshot leaves them where they are: the next start reads them from the ledger.
const SEAL_KEYS_MIN: usize = 8_192;
/// After a full disk nothing is written for so many batches.
const PUT_OFF_KEEPS: u32 = 256;
/// Tells keys of responses from keys of events.
const RESPONSE: u128 = 0x9d5c_11f0_3b6e_42a7_8f21_6c0d_e594_7ab3;

/// The ids booked within the horizon.
#[derive(Debug)]
pub struct Dedup {
    dir: DataDir,
    keeper: Keeper,
    fresh: Table,
    /// On its way to a run.
    sealing: Option<Arc<Table>>,
    /// Oldest first; their stretches follow each other.
    runs: Vec<Arc<Run>>,
    floor: Floor,
    horizon: Duration,
    fresh_keys_max: usize,
    seal_keys_min: usize,
    /// Calls of `keep` that begin nothing, after the disk was full.
    put_off: u32,
}

/// The first time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct First {
    seq: u64,
    body: u64,
}

/// A stretch of the ledger, and the newest time of the events booked in it: the later of an event's own and the log's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stretch {
    first_seq: u64,
    last_seq: u64,
    newest: Timestamp,
}

/// Ids in memory.
#[derive(Debug, PartialEq, Eq)]
struct Table {
    keys: FxHashMap<(u64, u64), First>,
    stretch: Stretch,
}

/// Where remembering begins. Written durably before anything is forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Floor {
    /// Ids of entries before this one are forgotten.
    seq: u64,
    /// Ids of events before this time may be forgotten, in nanoseconds of Unix time.
    forgotten_before: Timestamp,
}

impl Floor {
    /// Nothing is forgotten.
    const BEGIN: Self = Self { seq: 1, forgotten_before: Timestamp::from_nanos(0) };
}

/// What is known of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// Booked by this entry.
    Same(u64),
    /// The id was booked with another body, by this entry.
    Other(u64),
    /// Its response was booked by this entry, and it is of a time whose ids are forgotten: it may have been booked itself.
    Known(u64),
    /// It is of a time whose ids are forgotten.
    Forgotten,
}

impl Stretch {
    const fn empty(after: u64) -> Self {
        Self { first_seq: after + 1, last_seq: after, newest: Timestamp::from_nanos(i64::MIN) }
    }

    /// Two stretches that follow each other, as one.
    fn and(self, next: Self) -> Self {
        Self { first_seq: self.first_seq, last_seq: next.last_seq, newest: self.newest.max(next.newest) }
    }
}

impl Table {
    fn after(seq: u64) -> Self {
        Self { keys: FxHashMap::default(), stretch: Stretch::empty(seq) }
    }

    fn get(&self, key: u128) -> Option<First> {
        self.keys.get(&halves(key)).copied()
    }

    /// Folds one entry in.
    fn apply(&mut self, entry: &Entry) {
        self.stretch.last_seq = entry.seq;
        let charge = match &entry.fact {
            Fact::Charged(charge) => charge,
            // The event that supersedes an estimate is known from now on, under the estimate's entry.
            Fact::Adjusted(adjustment) => return self.superseded(entry.at, adjustment),
            _ => return,
        };
        self.stretch.newest = self.stretch.newest.max(entry.at.max(charge.time));
        let first = First { seq: entry.seq, body: charge.body };
        self.keys.insert(halves(charge.key), first);
        // One that was booked under a response that stands here already came when that was forgotten: the newer one counts,
        // also where both are read again because the index was lost.
        if let Some(key) = charge.response_key {
            self.keys.insert(halves(key ^ RESPONSE), first);
        }
    }

    fn superseded(&mut self, logged: Timestamp, adjustment: &Adjustment) {
        let AdjustReason::Superseded(known) = &adjustment.reason else { return };
        self.stretch.newest = self.stretch.newest.max(logged.max(known.time));
        let first = First { seq: adjustment.of, body: known.body };
        self.keys.insert(halves(known.key), first);
        if let Some(key) = known.response_key {
            self.keys.insert(halves(key ^ RESPONSE), first);
        }
    }

    fn write(&self, dir: &DataDir) -> Result<Run, LedgerError> {
        let mut records: Vec<_> =
            self.keys.iter().map(|((high, low), first)| (u128::from(*high) << 64 | u128::from(*low), *first)).collect();
        records.sort_unstable_by_key(|(key, _)| *key);
        let path = run_path(dir, &self.stretch);
        let mut writer = RunWriter::create(dir, &path, records.len() as u64)?;
        for record in records {
            writer.push(record)?;
        }
        writer.finish(&path, self.stretch)
    }
}

impl Dedup {
    /// Opens what the disk holds, whose owner is the caller. Entries after [`Dedup::covered`] must be applied before
    /// anything is asked.
    pub(super) fn open(dir: &DataDir) -> Result<Self, LedgerError> {
        let (floor, runs) = keeper::load(dir)?;
        let covered = runs.last().map_or(floor.seq.saturating_sub(1), |run| run.stretch.last_seq);
        Ok(Self {
            dir: dir.clone(),
            keeper: Keeper::default(),
            fresh: Table::after(covered),
            sealing: None,
            runs,
            floor,
            horizon: Duration::MAX,
            fresh_keys_max: FRESH_KEYS_MAX,
            seal_keys_min: SEAL_KEYS_MIN,
            put_off: 0,
        })
    }

    /// Forgets what is older than `horizon` from now on; `beside`: runs are written and merged on threads of their own.
    pub(super) fn set(&mut self, horizon: Duration, beside: bool) {
        self.horizon = horizon;
        self.keeper.set(beside);
    }

    /// So many keys go to disk together, and a snapshot takes along half of them; few let a test pass many runs.
    pub fn limit_memory(&mut self, keys_max: usize) {
        self.fresh_keys_max = keys_max;
        self.seal_keys_min = self.seal_keys_min.min(keys_max / 2);
    }

    /// Leaves out runs of entries that the ledger does not hold. What they covered besides must be applied again.
    pub(super) fn cut_back(&mut self, committed: u64) -> Result<(), LedgerError> {
        while let Some(ahead) = self.runs.pop_if(|run| run.stretch.last_seq > committed) {
            self.dir.remove(&ahead.path)?;
        }
        keeper::sync(&self.dir)?;
        let covered = self.runs.last().map_or(self.floor.seq.saturating_sub(1), |run| run.stretch.last_seq);
        self.fresh = Table::after(covered);
        Ok(())
    }

    /// Ids of every entry up to here are known, or forgotten.
    #[must_use]
    pub fn covered(&self) -> u64 {
        self.fresh.stretch.last_seq
    }

    /// What is known of a charge that was looked for with [`Dedup::look`] since runs last came or went. A run that is damaged
    /// is an error, until [`Dedup::mend`] has made it again.
    pub(super) fn seen(&self, charge: &Charge, look: Look) -> Result<Option<Seen>, LedgerError> {
        if let Some(first) = self.find(charge.key, look.key)? {
            return Ok(Some(if first.body == charge.body { Seen::Same(first.seq) } else { Seen::Other(first.seq) }));
        }
        // Another source describes the same call in its own words, so the bodies may differ: the first one counts.
        #[cfg(feature = "mistakes")]
        if made(Mistake::ResponseIgnored) {
            return Ok((charge.time < self.floor.forgotten_before).then_some(Seen::Forgotten));
        }
        if let Some(key) = charge.response_key
            && let Some(first) = self.find(key ^ RESPONSE, look.response)?
        {
            // Who has a dead letter booked answers for it.
            let old = charge.time < self.floor.forgotten_before && !charge.late;
            return Ok(Some(if old { Seen::Known(first.seq) } else { Seen::Same(first.seq) }));
        }
        Ok((charge.time < self.floor.forgotten_before).then_some(Seen::Forgotten))
    }

    /// Folds one entry in.
    pub fn apply(&mut self, entry: &Entry) {
        self.fresh.apply(entry);
    }

    /// Puts ids on disk when there are many in memory. Everything applied must be durable in the ledger: an index that is
    /// ahead of it would call events duplicates of what never was.
    pub(super) fn spill(&mut self) -> Result<(), LedgerError> {
        if self.fresh.keys.len() >= self.fresh_keys_max { self.seal() } else { Ok(()) }
    }

    /// Takes in what was written beside, and begins what is due. Called when everything applied is durable.
    pub(super) fn keep(&mut self, now: Timestamp) -> Result<(), LedgerError> {
        self.collect()?;
        if self.put_off > 0 {
            self.put_off -= 1;
            return Ok(());
        }
        if let Some(table) = &self.sealing
            && self.keeper.is_idle()
        {
            self.keeper.seal(&self.dir, Arc::clone(table))?;
        }
        self.spill()?;
        self.forget(now)?;
        if let Some(range) = self.keeper.due(&self.runs, self.horizon) {
            let inputs = self.runs.get(range).unwrap_or_default().to_vec();
            self.keeper.merge(&self.dir, inputs)?;
            self.collect()?;
        }
        Ok(())
    }

    /// Puts the newest ids on disk, so that the next start need not read the entries they came from; few are left.
    pub(super) fn flush(&mut self) -> Result<(), LedgerError> {
        if self.fresh.keys.len() >= self.seal_keys_min { self.seal() } else { Ok(()) }
    }

    /// Waits for everything that is being written.
    pub(super) fn wait(&mut self) -> Result<(), LedgerError> {
        self.keeper.wait();
        self.collect()
    }

    /// The first entry whose ids are remembered: entries before it are not needed to rebuild this.
    #[must_use]
    pub fn floor(&self) -> u64 {
        self.floor.seq
    }

    /// How many keys are remembered: one for each event, and one for each response id.
    #[must_use]
    pub fn len(&self) -> u64 {
        let tables = self.fresh.keys.len() + self.sealing.as_ref().map_or(0, |table| table.keys.len());
        self.runs.iter().map(|run| run.keys).fold(tables as u64, u64::saturating_add)
    }

    /// Nothing remembered?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn find(&self, key: u128, in_runs: bool) -> Result<Option<First>, LedgerError> {
        if let Some(first) = self.fresh.get(key).or_else(|| self.sealing.as_ref()?.get(key)) {
            return Ok(Some(first));
        }
        if !in_runs {
            return Ok(None);
        }
        let probe = Probe::of(key);
        for run in self.runs.iter().rev().filter(|run| run.may_hold(&probe)) {
            let found = run.find(key)?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    fn seal(&mut self) -> Result<(), LedgerError> {
        // One on its way at a time: who fills memory faster than the disk takes it waits here.
        if self.sealing.is_some() {
            self.keeper.wait_for_seal();
            self.collect()?;
        }
        if self.sealing.is_some() {
            return Ok(());
        }
        let table = std::mem::replace(&mut self.fresh, Table::after(0));
        self.fresh.stretch = Stretch::empty(table.stretch.last_seq);
        let table = Arc::new(table);
        self.sealing = Some(Arc::clone(&table));
        self.keeper.seal(&self.dir, table)?;
        self.collect()
    }

    fn collect(&mut self) -> Result<(), LedgerError> {
        match self.keeper.sealed() {
            Ok(Some(run)) => {
                self.runs.push(Arc::new(run));
                self.sealing = None;
            }
            Ok(None) => {}
            Err(error) => self.put_off(error)?,
        }
        let merged = match self.keeper.merged() {
            Ok(merged) => merged,
            Err(error) => return self.put_off(error),
        };
        if let Some(merged) = merged {
            let Stretch { first_seq, last_seq, .. } = merged.stretch;
            let begin = self.runs.partition_point(|run| run.stretch.first_seq < first_seq);
            let end = self.runs.partition_point(|run| run.stretch.last_seq <= last_seq);
            // Forgotten meanwhile, in part: what is left of its inputs stays as it is.
            let whole = self.runs.get(begin).is_some_and(|run| run.stretch.first_seq == first_seq);
            if !whole || begin >= end {
                return self.keeper.remove(&self.dir, vec![Arc::new(merged)]);
            }
            let inputs = self.runs.splice(begin..end, [Arc::new(merged)]).collect();
            self.keeper.remove(&self.dir, inputs)?;
        }
        Ok(())
    }

    /// A full disk is waited for: the ids stay where they are. Anything else is the end.
    fn put_off(&mut self, error: LedgerError) -> Result<(), LedgerError> {
        if !error.is_disk_full() {
            return Err(error);
        }
        tracing::warn!(%error, "no room for the dedup index; its ids stay in memory for now");
        self.put_off = PUT_OFF_KEEPS;
        Ok(())
    }

    /// Forgets runs in which everything is older than the horizon. The mark never goes back, though the clock may.
    fn forget(&mut self, now: Timestamp) -> Result<(), LedgerError> {
        let horizon = i64::try_from(self.horizon.as_nanos()).unwrap_or(i64::MAX);
        #[cfg(feature = "mistakes")]
        let horizon = if made(Mistake::ForgetTooSoon) { horizon / 4 } else { horizon };
        let keep = now.saturating_add(horizon.saturating_neg());
        let old = self.runs.iter().take_while(|run| run.stretch.newest < keep).count();
        let Some(last) = old.checked_sub(1).and_then(|last| self.runs.get(last)) else { return Ok(()) };
        let seq = last.stretch.last_seq + 1;
        let newest = self.runs.iter().take(old).map(|run| run.stretch.newest).max().unwrap_or(keep);
        let forgotten_before = newest.saturating_add(1).max(self.floor.forgotten_before);
        self.floor = Floor { seq, forgotten_before };
        keeper::write_floor(&self.dir, &self.floor)?;
        let forgotten = self.runs.drain(..old).collect();
        self.keeper.remove(&self.dir, forgotten)
    }
}

fn halves(key: u128) -> (u64, u64) {
    ((key >> 64) as u64, key as u64)
}

fn run_path(dir: &DataDir, stretch: &Stretch) -> std::path::PathBuf {
    dir.index().join(format!("{:020}-{:020}.run", stretch.first_seq, stretch.last_seq))
}
