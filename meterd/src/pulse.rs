//! What the newest entries touched, for those who watch: a bounded memory from which a stream of changes can be resumed.
//!
//! Holds references, never figures: who watches reads the newest figures from the view. Decides nothing.

#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use budget::{Entry, Fact, Ref};
use pricing::Timestamp;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::follow::{Again, Handler};

/// Changes that are remembered; who is further behind starts over from the view.
const CHANGES_MAX: usize = 16_384;
/// Watchers at a time.
pub const WATCHERS_MAX: usize = 64;

/// The memory; cheap to clone.
#[derive(Clone)]
pub struct Pulse {
    recent: Arc<Mutex<Recent>>,
    reached: Arc<watch::Sender<u64>>,
    places: Arc<Semaphore>,
    started: Timestamp,
}

/// Fills a [`Pulse`]; run it with [`crate::follow::follow`].
pub struct Beat {
    pulse: Pulse,
}

/// What was touched after some entry.
#[derive(Debug, Default)]
pub struct Moved {
    /// The newest entry that is considered.
    pub seq: u64,
    /// Runs whose figures or phase moved, each once.
    pub runs: BTreeSet<Ref>,
    /// Entries that say more than a cost: openings, ends, thresholds, kills, resources.
    pub facts: Vec<Arc<Entry>>,
}

struct Recent {
    /// Everything after this entry is remembered.
    complete_after: u64,
    changes: VecDeque<Change>,
}

struct Change {
    seq: u64,
    run: Option<Ref>,
    fact: Option<Arc<Entry>>,
}

impl Pulse {
    /// A memory that begins after entry `cursor`, at `now`.
    #[must_use]
    pub fn new(cursor: u64, now: Timestamp) -> (Self, Beat) {
        let recent = Recent { complete_after: cursor, changes: VecDeque::new() };
        let pulse = Self {
            recent: Arc::new(Mutex::new(recent)),
            reached: Arc::new(watch::Sender::new(cursor)),
            places: Arc::new(Semaphore::new(WATCHERS_MAX)),
            started: now,
        };
        (pulse.clone(), Beat { pulse })
    }

    /// A watcher's place; `None` when all are taken.
    #[must_use]
    pub fn place(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.places).try_acquire_owned().ok()
    }

    /// When the daemon started.
    #[must_use]
    pub const fn started(&self) -> Timestamp {
        self.started
    }

    /// The newest entry that is remembered.
    #[must_use]
    pub fn reached(&self) -> u64 {
        *self.reached.borrow()
    }

    /// Waits for an entry after `seq`.
    pub async fn moved_past(&self, seq: u64) {
        let mut reached = self.reached.subscribe();
        // The sender lives in `self`, so waiting cannot fail.
        let _ = reached.wait_for(|reached| *reached > seq).await;
    }

    /// What was touched after entry `after`; `None` when that is not remembered any more.
    #[must_use]
    pub fn since(&self, after: u64) -> Option<Moved> {
        let seq = self.reached();
        let recent = self.recent();
        if after < recent.complete_after || after > seq {
            return None;
        }
        let from = recent.changes.partition_point(|change| change.seq <= after);
        let mut moved = Moved { seq, ..Moved::default() };
        for change in recent.changes.range(from..).take_while(|change| change.seq <= seq) {
            moved.runs.extend(change.run.clone());
            moved.facts.extend(change.fact.clone());
        }
        Some(moved)
    }

    /// The newest facts that are remembered, the newest first.
    #[must_use]
    pub fn newest_facts(&self, most: usize) -> Vec<Arc<Entry>> {
        self.recent().changes.iter().rev().filter_map(|change| change.fact.clone()).take(most).collect()
    }

    fn recent(&self) -> MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Handler for Beat {
    fn take(&mut self, entries: &[Entry]) -> Result<(), Again> {
        let mut recent = self.pulse.recent();
        for entry in entries {
            let (run, says_more) = touched(&entry.fact);
            let fact = says_more.then(|| Arc::new(entry.clone()));
            if run.is_some() || fact.is_some() {
                recent.changes.push_back(Change { seq: entry.seq, run: run.cloned(), fact });
            }
        }
        while recent.changes.len() > CHANGES_MAX
            && let Some(forgotten) = recent.changes.pop_front()
        {
            recent.complete_after = forgotten.seq;
        }
        drop(recent);
        if let Some(last) = entries.last() {
            self.pulse.reached.send_replace(last.seq);
        }
        Ok(())
    }
}

/// The run that a fact is about, and whether it says more than that a figure moved.
fn touched(fact: &Fact) -> (Option<&Ref>, bool) {
    match fact {
        Fact::Charged(charge) => (Some(&charge.execution), false),
        Fact::Adjusted(adjustment) => (Some(&adjustment.execution), false),
        Fact::Opened(opened) => (Some(&opened.execution), true),
        Fact::Ended { execution, .. }
        | Fact::Warned { execution, .. }
        | Fact::Reached { execution, .. }
        | Fact::WindDown { execution, .. }
        | Fact::Fenced { execution, .. }
        | Fact::Killed { execution, .. } => (Some(execution), true),
        Fact::KillSent { .. }
        | Fact::KillAcked { .. }
        | Fact::KillConfirmed { .. }
        | Fact::KillEscalated { .. }
        | Fact::KillManual { .. }
        | Fact::Applied(_)
        | Fact::Removed { .. } => (None, true),
        _ => (None, false),
    }
}
