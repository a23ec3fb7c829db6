//! The meter over a real directory: duplicates, refusals, failed writes, restarts.

mod clock;
mod driven;
mod estimates;
mod forget;
mod full;
mod identity;
mod laws;
mod mend;
mod queue;
mod slices;
mod stopping;

use std::fs;
use std::sync::mpsc;
use std::time::Duration;

use budget::{Charge, Entry, Fact, State};
use tempfile::TempDir;

use super::dedup::tests::Ids;
use super::{Booked, Meter, OnCommit, Restored, Rules, restore, start};
use crate::clock::Clock;
use crate::event::charge::tests::sample::START;
use crate::ledger::{DataDir, LedgerError, Reader};

/// Ids are remembered for an hour.
const HORIZON: Duration = Duration::from_secs(3_600);

/// A data directory and a clock that only the test moves.
struct Place {
    _folder: TempDir,
    dir: DataDir,
    clock: Clock,
}

impl Place {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let dir = DataDir::new(folder.path().join("data"));
        Self { _folder: folder, dir, clock: Clock::manual(START) }
    }

    fn restore(&self) -> Restored {
        restore(&self.dir).unwrap()
    }

    fn start(&self) -> Meter {
        self.start_from(self.restore(), 64, Box::new(|_| {}))
    }

    fn start_from(&self, restored: Restored, queue_events_max: usize, on_commit: OnCommit) -> Meter {
        let rules = Rules { queue_events_max, dedup_horizon: HORIZON };
        start(self.dir.clone(), restored, self.clock.clone(), &rules, on_commit).unwrap()
    }

    /// A meter that stands still after each commit, before it answers, until the gate is dropped.
    fn start_gated(&self, restored: Restored, queue_events_max: usize) -> (Meter, Gate) {
        let (gate, wait) = mpsc::channel::<()>();
        let on_commit: OnCommit = Box::new(move |_| {
            // Ends with an error when the gate is dropped: open.
            let _ = wait.recv();
        });
        (self.start_from(restored, queue_events_max, on_commit), Gate { _sender: gate })
    }

    fn forget_snapshots(&self) {
        for entry in fs::read_dir(self.dir.snapshots()).unwrap() {
            fs::remove_file(entry.unwrap().path()).unwrap();
        }
    }

    /// What a start finds.
    fn found(&self) -> (State, Ids) {
        let restored = self.restore();
        (restored.state, restored.dedup.ids())
    }

    /// Puts ids that are in memory into a run, which a start does only with many.
    fn spill(&self) {
        self.restore().dedup.seal_now();
    }

    fn entries(&self) -> Vec<Entry> {
        let mut entries = Vec::new();
        let reader = Reader::at_rest(&self.dir).unwrap();
        reader
            .scan(1, |entry| {
                entries.push(entry.clone());
                true
            })
            .unwrap();
        entries
    }

    fn booked_ids(&self) -> Vec<String> {
        let id = |entry: &Entry| match &entry.fact {
            Fact::Charged(charge) => Some(charge.event_id.to_string()),
            _ => None,
        };
        self.entries().iter().filter_map(id).collect()
    }
}

/// Closed while it lives.
struct Gate {
    _sender: mpsc::Sender<()>,
}

impl Meter {
    async fn stop(self) -> Result<(), LedgerError> {
        self.handle.stop();
        self.ended.await.unwrap()
    }

    async fn book_one(&self, charge: Charge) -> Booked {
        self.handle.book(vec![charge]).await.unwrap().remove(0)
    }

    /// Until so much of the queue is taken.
    async fn filled(&self, commands: usize) {
        while self.handle.depth().0 < commands {
            tokio::task::yield_now().await;
        }
    }
}
