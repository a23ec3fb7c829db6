//! The single writer: queue → seen this id? → decide → append with one fsync → reply. One thread, one order of facts.
//!
//! The only room that writes the ledger (I9). Nothing is answered before it is durable (I3). Does no pricing and no
//! wire format: charges arrive priced. A full queue is answered at once, never waited for and never dropped.
//!
//! [`Core`] is all of it without a thread: `decide` each thing asked, `commit` them as one batch, then tell the answers.
//! [`start`] runs a core on the daemon's thread; a simulation runs one itself, on a disk and a clock of its own.

mod core;
mod dedup;
mod queue;
mod room;
mod snapshot;
#[cfg(test)]
mod tests;
mod upkeep;

use std::time::Duration;

use tokio::sync::oneshot;

pub use self::core::{Answer, Ask, Core, Held, Settled};
pub use dedup::Dedup;
pub use queue::{Handle, Refused};
pub use snapshot::{Restored, read_at_rest, restore};
pub use upkeep::Upkeep;

use crate::clock::Clock;
use crate::ledger::{DataDir, LedgerError};
use queue::Job;

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
    let mut core = Core::new(dir, restored, clock, rules, on_commit, true);
    let (tell, ended) = oneshot::channel();
    std::thread::Builder::new().name("meter".to_owned()).spawn(move || {
        let result = run(&mut core, &mut queue, &shared);
        shared.stop();
        queue.refuse_rest();
        // Frees the directory's lock before anybody hears of the end.
        drop(core);
        drop(tell.send(result));
    })?;
    Ok(Meter { handle, ended })
}

fn run(core: &mut Core, queue: &mut queue::Receiver, shared: &queue::Shared) -> Result<(), LedgerError> {
    let mut jobs: Vec<Job> = Vec::new();
    while queue.next_batch(&mut jobs, BATCH_COMMANDS_MAX, !core.is_behind()) {
        let mut pending = Vec::with_capacity(jobs.len());
        let mut permits = Vec::with_capacity(jobs.len());
        for job in jobs.drain(..) {
            permits.push(job.permit);
            let (ask, reply) = job.work.split();
            pending.push((reply, core.decide(ask)));
        }
        if let Err(error) = core.commit() {
            // Said before the answers are dropped with this scope, so that each of them can tell why.
            shared.fail(&error);
            return Err(error);
        }
        // Durable: whoever hears of it finds the room free again.
        drop(permits);
        shared.room(core.has_room());
        for (reply, answer) in pending {
            reply.send(answer);
        }
        core.keep_house().inspect_err(|error| shared.fail(error))?;
    }
    core.close()
}
