//! The single writer: queue → seen this id? → decide → append with one fsync → reply. One thread, one order of facts.
//!
//! The only room that writes the ledger (I9). Nothing is answered before it is durable (I3). Does no pricing and no
//! wire format: charges arrive priced. A full queue is answered at once, never waited for and never dropped.

mod dedup;
mod queue;
mod snapshot;
#[cfg(test)]
mod tests;

use std::time::Duration;

use budget::{Charge, Command, Entry, Fact, State, Verdict, decide};
use pricing::Timestamp;
use tokio::sync::oneshot;

pub use dedup::Dedup;
pub use queue::{Handle, Refused};
use snapshot::Saver;
pub use snapshot::{Restored, read_at_rest, restore};

use crate::clock::Clock;
use crate::ledger::{DataDir, LedgerError, Writer};
use dedup::Seen;
use queue::{Job, Work};

/// A batch closes at so many commands, or when the queue is empty.
const BATCH_COMMANDS_MAX: usize = 4_096;

/// What became of one charge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Booked {
    /// It is in the ledger now.
    Accepted {
        /// Its entry.
        seq: u64,
        /// The run is fenced, by this call or before.
        fenced: bool,
    },
    /// The same event was booked before, by this entry.
    Duplicate {
        /// The entry of the first time.
        seq: u64,
    },
    /// The same id was booked with another body, by this entry.
    Conflict {
        /// The entry of the first time.
        seq: u64,
    },
    /// The sum would leave the range of 38 digits; nothing was booked.
    OutOfRange,
    /// It is from a time whose ids are forgotten, so nobody can tell whether it was booked; it was not booked now.
    TooOld,
}

/// The rules that the meter applies by itself.
#[derive(Clone, Debug)]
pub struct Rules {
    /// How many charges and commands may wait.
    pub queue_events_max: usize,
    /// How long an id is remembered; older events are refused before they come here.
    pub dedup_horizon: Duration,
}

/// Told after each commit, for metrics: commands, entries, time of the fsync, bytes of the ledger, waiting commands.
pub type OnCommit = Box<dyn FnMut(Commit) + Send>;

/// One commit, as told to [`OnCommit`].
#[derive(Clone, Copy, Debug)]
pub struct Commit {
    /// How long the fsync took.
    pub fsync: Duration,
    /// Bytes in all segments.
    pub ledger_bytes: u64,
    /// The append failed: nothing more will be written.
    pub failed: bool,
}

/// The meter's thread and the handle to it.
pub struct Meter {
    /// To send work.
    pub handle: Handle,
    /// Answers when the thread has ended: after a stop and a final snapshot, or at the first ledger error, with it.
    pub ended: oneshot::Receiver<Result<(), LedgerError>>,
}

/// Starts the writer's thread on a recovered ledger.
pub fn start(
    dir: DataDir,
    restored: Restored,
    clock: Clock,
    rules: &Rules,
    on_commit: OnCommit,
) -> std::io::Result<Meter> {
    let (handle, mut queue) = queue::channel(rules.queue_events_max);
    let shared = handle.shared();
    let mut core = Core {
        shared: shared.clone(),
        dir,
        saver: Saver::default(),
        writer: restored.writer,
        state: restored.state,
        dedup: restored.dedup,
        clock,
        horizon: rules.dedup_horizon,
        since_snapshot: restored.replayed,
        on_commit,
    };
    let (tell, ended) = oneshot::channel();
    std::thread::Builder::new().name("meter".to_owned()).spawn(move || {
        let result = core.run(&mut queue);
        shared.stop();
        queue.refuse_rest();
        // Frees the directory's lock before anybody hears of the end.
        drop(core);
        drop(tell.send(result));
    })?;
    Ok(Meter { handle, ended })
}

struct Core {
    shared: queue::Shared,
    dir: DataDir,
    /// Before the writer, which holds the directory's lock: a snapshot under way ends while the directory is still ours.
    saver: Saver,
    writer: Writer,
    state: State,
    dedup: Dedup,
    clock: Clock,
    horizon: Duration,
    since_snapshot: u64,
    on_commit: OnCommit,
}

/// An answer that waits for the fsync. One that is dropped tells its caller that nothing was acknowledged.
enum Pending {
    Charges(oneshot::Sender<Vec<Booked>>, Vec<Booked>),
    Command(oneshot::Sender<Verdict>, Verdict),
}

impl Core {
    fn run(&mut self, queue: &mut queue::Receiver) -> Result<(), LedgerError> {
        let mut jobs: Vec<Job> = Vec::new();
        while queue.next_batch(&mut jobs, BATCH_COMMANDS_MAX) {
            let mut entries = Vec::new();
            let mut pending = Vec::with_capacity(jobs.len());
            let mut permits = Vec::with_capacity(jobs.len());
            for job in jobs.drain(..) {
                permits.push(job.permit);
                pending.push(self.work(job.work, &mut entries));
            }
            if let Err(error) = self.commit(entries) {
                // Said before the answers are dropped with this scope, so that each of them can tell why.
                self.shared.fail(&error);
                return Err(error);
            }
            // Durable: whoever hears of it finds the room free again.
            drop(permits);
            for pending in pending {
                // A caller that has gone away finds its entries in the ledger all the same.
                match pending {
                    Pending::Charges(reply, booked) => drop(reply.send(booked)),
                    Pending::Command(reply, verdict) => drop(reply.send(verdict)),
                }
            }
            if self.since_snapshot >= snapshot::EVERY_ENTRIES {
                self.snapshot();
            }
        }
        self.saver.wait();
        if self.since_snapshot > 0 {
            self.snapshot();
            self.saver.wait();
        }
        Ok(())
    }

    fn work(&mut self, work: Work, entries: &mut Vec<Entry>) -> Pending {
        match work {
            Work::Charges(charges, reply) => {
                let booked = charges.into_iter().map(|charge| self.charge(charge, entries)).collect();
                Pending::Charges(reply, booked)
            }
            Work::Command(command, reply) => {
                let verdict = self.decide(*command, entries);
                Pending::Command(reply, verdict)
            }
        }
    }

    fn charge(&mut self, charge: Charge, entries: &mut Vec<Entry>) -> Booked {
        match self.dedup.seen(&charge) {
            Some(Seen::Same(seq)) => return Booked::Duplicate { seq },
            Some(Seen::Other(seq)) => return Booked::Conflict { seq },
            Some(Seen::Forgotten) => return Booked::TooOld,
            None => {}
        }
        match self.decide(Command::Charge(Box::new(charge)), entries) {
            Verdict::Booked { fenced, .. } => {
                let booked = entries.iter().rev().find(|entry| matches!(entry.fact, Fact::Charged(_)));
                Booked::Accepted { seq: booked.map_or(0, |entry| entry.seq), fenced }
            }
            _ => Booked::OutOfRange,
        }
    }

    fn decide(&mut self, command: Command, entries: &mut Vec<Entry>) -> Verdict {
        let now = self.clock.now();
        let mut facts = Vec::new();
        let verdict = decide(&self.state, self.log_time(now), command, &mut facts);
        for fact in facts {
            let entry = Entry { seq: self.state.seq() + 1, at: self.log_time(now), fact };
            self.state.apply(&entry);
            self.dedup.apply(&entry);
            entries.push(entry);
        }
        verdict
    }

    /// Log time strictly increases, whatever the wall clock does.
    fn log_time(&self, now: Timestamp) -> Timestamp {
        now.max(self.state.log_time().saturating_add(1))
    }

    fn commit(&mut self, entries: Vec<Entry>) -> Result<(), LedgerError> {
        if entries.is_empty() {
            return Ok(());
        }
        self.since_snapshot += entries.len() as u64;
        let result = self.writer.append(entries);
        let fsync = *result.as_ref().unwrap_or(&Duration::ZERO);
        (self.on_commit)(Commit { fsync, ledger_bytes: self.writer.bytes(), failed: result.is_err() });
        match &result {
            Err(error) if error.is_disk_full() => tracing::error!(
                %error,
                "the disk is full: nothing of this batch is acknowledged, intake stops; make room and start again"
            ),
            Err(error) => {
                tracing::error!(%error, "ledger write failed: nothing of this batch is acknowledged, intake stops");
            }
            Ok(_) => {}
        }
        result.map(drop)
    }

    fn snapshot(&mut self) {
        self.dedup.forget_before(self.clock.now(), self.horizon);
        if self.saver.save(&self.dir, &self.state, &self.dedup) {
            self.since_snapshot = 0;
        }
    }
}
