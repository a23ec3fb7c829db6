//! The driver of kills: every kill that is not closed has a task that asks `budget::signal::next` what is due, does it,
//! and records what became of it. What it knows is in the ledger, so a restart goes on where it stopped.
//!
//! Decides nothing about money and fences nobody but at the end of a turn; a fence never waits for a signal.

mod attempt;

use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::num::NonZeroU32;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use budget::policy::KillStep;
use budget::signal::{Channel, Kill, Next, Process, Proof, next};
use budget::{Command, Entry, Fact, Ref};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use pricing::Timestamp;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::Hub;
use super::joch::Joch;
use super::process::{Held, NotIt};
use super::webhook::{Topic, Webhook};
use crate::follow::{Again, Handler};

/// The daemon's own order of channels, from a request to force.
const PLAN: [Channel; 4] = [Channel::Stream, Channel::Joch, Channel::Webhook, Channel::Process];
/// Kills that are driven at a time; more wait, fenced as they are.
const TASKS_MAX: usize = 4_096;
/// How often joch is asked whether a run that it was told to cancel is over.
const JOCH_POLL: Duration = Duration::from_secs(2);

/// A boxed answer of a [`Book`].
pub type Answer<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// What the driver reads and writes: the view of the ledger, and the ledger through its one writer.
pub trait Book: Send + Sync {
    /// What time it is.
    fn now(&self) -> Timestamp;
    /// Ids of every kill that is not closed, oldest first.
    fn open(&self) -> Answer<Vec<Arc<str>>>;
    /// One kill, with everything that was committed before this call.
    fn kill(&self, id: Arc<str>) -> Answer<Option<Kill>>;
    /// The worker of a run, and the other live runs that it serves, with what their registrations permit.
    fn worker(&self, execution: &Ref) -> Option<(Process, Vec<(Ref, bool)>)>;
    /// Records a fact; `false`: nothing is recorded any more, because the daemon is going down.
    fn record(&self, command: Command) -> Answer<bool>;
}

/// Where kills go beside the stream.
#[derive(Clone, Debug, Default)]
pub struct Targets {
    /// Webhooks.
    pub webhooks: Vec<Webhook>,
    /// joch's control plane.
    pub joch: Option<Joch>,
}

/// Drives every open kill.
pub struct Driver {
    shared: Arc<Shared>,
}

/// Wakes the driver with the entries that concern kills; run it with [`crate::follow::follow`].
pub struct Waker {
    shared: Arc<Shared>,
}

struct Shared {
    book: Arc<dyn Book>,
    hub: Hub,
    targets: Targets,
    limiter: DefaultDirectRateLimiter,
    /// There may be kills without a task.
    new: Notify,
    /// Something about a kill that has a task was recorded.
    tasks: Mutex<HashMap<Arc<str>, Arc<Notify>>>,
}

impl Driver {
    /// A driver and its waker. `per_second_max` is the rate of signals to the outside; fences know no rate.
    #[must_use]
    pub fn new(book: Arc<dyn Book>, hub: Hub, targets: Targets, per_second_max: NonZeroU32) -> (Self, Waker) {
        let limiter = RateLimiter::direct(Quota::per_second(per_second_max));
        let (new, tasks) = (Notify::new(), Mutex::default());
        let shared = Arc::new(Shared { book, hub, targets, limiter, new, tasks });
        (Self { shared: Arc::clone(&shared) }, Waker { shared })
    }

    /// Drives kills until `stop`; begins with those that are open already.
    pub async fn run(self, stop: CancellationToken) {
        let mut tasks = JoinSet::new();
        loop {
            let open = self.shared.book.open().await;
            for id in open {
                if tasks.len() >= TASKS_MAX {
                    break;
                }
                let notify = Arc::new(Notify::new());
                let is_new = self.shared.tasks().insert_new(&id, &notify);
                if is_new {
                    let shared = Arc::clone(&self.shared);
                    tasks.spawn(async move {
                        Task { shared: Arc::clone(&shared), id: Arc::clone(&id), notify }.run().await;
                        shared.tasks().remove(&id);
                    });
                }
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.shared.new.notified() => {}
                Some(_) = tasks.join_next() => {}
            }
        }
    }
}

trait InsertNew {
    fn insert_new(&mut self, id: &Arc<str>, notify: &Arc<Notify>) -> bool;
}

impl InsertNew for std::sync::MutexGuard<'_, HashMap<Arc<str>, Arc<Notify>>> {
    fn insert_new(&mut self, id: &Arc<str>, notify: &Arc<Notify>) -> bool {
        if self.contains_key(id) {
            return false;
        }
        self.insert(Arc::clone(id), Arc::clone(notify)).is_none()
    }
}

impl Handler for Waker {
    fn take(&mut self, entries: &[Entry]) -> Result<(), Again> {
        for entry in entries {
            match &entry.fact {
                Fact::Killed { .. } | Fact::WindDown { .. } => self.shared.new.notify_one(),
                Fact::Fenced { kill, .. }
                | Fact::KillSent { kill, .. }
                | Fact::KillAcked { kill, .. }
                | Fact::KillConfirmed { kill, .. } => {
                    if let Some(task) = self.shared.tasks().get(kill) {
                        task.notify_one();
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }
}

impl Shared {
    fn tasks(&self) -> std::sync::MutexGuard<'_, HashMap<Arc<str>, Arc<Notify>>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One kill on its way.
struct Task {
    shared: Arc<Shared>,
    id: Arc<str>,
    notify: Arc<Notify>,
}

/// What a task remembers between two looks; all of it can be found again.
#[derive(Default)]
struct Memory {
    /// The worker, verified and held.
    held: Option<Held>,
    /// The worker cannot be signalled, and why.
    lost: Option<NotIt>,
    /// Webhooks that took the kill.
    took: HashSet<usize>,
    /// The turn was told of.
    told: bool,
    /// joch took the cancel.
    cancelled: bool,
}

impl Task {
    async fn run(self) {
        let mut memory = Memory::default();
        while let Some(kill) = self.shared.book.kill(Arc::clone(&self.id)).await {
            if self.look_for_worker(&kill, &mut memory).await {
                continue;
            }
            let now = self.shared.book.now();
            let plan = plan(&kill);
            let able = |channel| self.is_able(channel, &kill, &memory);
            let id = Arc::clone(&self.id);
            let recorded = match next(&kill, now, &plan, able) {
                Next::Nothing => return,
                Next::Wait(until) => {
                    if kill.fenced_at.is_none() && !std::mem::replace(&mut memory.told, true) {
                        self.tell_of_turn(&kill);
                    }
                    self.wait(&kill, until, &memory).await
                }
                Next::Fence => self.record(Command::Fence { kill: id }).await,
                Next::Try { channel, again } => self.attempt(&kill, channel, again, &mut memory).await,
                Next::Escalate(to) => self.record(Command::Escalate { kill: id, to }).await,
                Next::Manual => {
                    tracing::error!(
                        kill = %kill.id, execution = %kill.execution,
                        "a killed run answers on no channel: stop it by hand; it is fenced, and signals go on"
                    );
                    self.record(Command::Manual { kill: id }).await
                }
            };
            if !recorded {
                return;
            }
        }
    }

    fn record(&self, command: Command) -> Answer<bool> {
        self.shared.book.record(command)
    }

    /// Finds and holds the worker of the run; `true` when it is gone, which proves the kill.
    async fn look_for_worker(&self, kill: &Kill, memory: &mut Memory) -> bool {
        if memory.held.is_some() || memory.lost.is_some() || kill.state.is_closed() || kill.fenced_at.is_none() {
            return false;
        }
        let Some((process, _)) = self.shared.book.worker(&kill.execution) else { return false };
        match Held::open(&process) {
            Ok(held) => memory.held = Some(held),
            Err(lost) => {
                let is_gone = matches!(lost, NotIt::Gone(_));
                memory.lost = Some(lost);
                if is_gone {
                    return self.record(Command::Confirm { kill: kill.id.clone(), proof: Proof::ProcessGone }).await;
                }
            }
        }
        false
    }

    /// Does a channel lead anywhere for this kill?
    fn is_able(&self, channel: Channel, kill: &Kill, memory: &Memory) -> bool {
        let namespace = &kill.execution.namespace;
        match channel {
            Channel::Stream => true,
            Channel::Joch => self.shared.targets.joch.is_some(),
            Channel::Webhook => self.shared.targets.webhooks.iter().any(|hook| hook.wants(Topic::Kill, namespace)),
            Channel::Process => memory.held.is_some() || memory.lost.is_some(),
        }
    }

    /// Waits until a time, or until something about the kill is recorded, or until the worker or joch proves the end.
    async fn wait(&self, kill: &Kill, until: Timestamp, memory: &Memory) -> bool {
        let nanos = until.since(self.shared.book.now()).max(0);
        let proof = async {
            match &memory.held {
                Some(held) => {
                    held.ended().await;
                    Proof::ProcessGone
                }
                None => std::future::pending().await,
            }
        };
        let joch = async {
            match &self.shared.targets.joch {
                Some(joch) if memory.cancelled => loop {
                    tokio::time::sleep(JOCH_POLL).await;
                    if joch.is_over(&kill.execution).await == Ok(true) {
                        return Proof::Target;
                    }
                },
                _ => std::future::pending().await,
            }
        };
        let proof = tokio::select! {
            () = self.notify.notified() => return true,
            () = tokio::time::sleep(Duration::from_nanos(nanos.unsigned_abs())) => return true,
            proof = proof => proof,
            proof = joch => proof,
        };
        self.record(Command::Confirm { kill: kill.id.clone(), proof }).await
    }
}

/// The order of channels for a kill: the budget's, else the daemon's own.
fn plan(kill: &Kill) -> Vec<KillStep> {
    if kill.plan.is_empty() {
        return PLAN.iter().map(|channel| KillStep { channel: *channel, grace_ms: None }).collect();
    }
    kill.plan.clone()
}
