//! Delivery to a peer that may be slow, away or wrong: bounded batches in order, one in flight, a durable place, growing
//! pauses with jitter. For sinks and whatever else lives outside this process.
//!
//! Every entry is delivered at least once, and a delivery that was cut off by a crash comes again with the same bounds. A
//! peer that makes its own bookkeeping from [`Delivery::from`] and [`Delivery::to`] sees each entry exactly once (I16).

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use budget::Entry;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{Cursor, PAUSE_MAX, PAUSE_MIN};
use crate::ledger::{Batch, LedgerError, Reader};
#[cfg(feature = "mistakes")]
use budget::mistakes::{Mistake, made};

/// Takes deliveries to a peer.
pub trait Deliver: Send {
    /// Delivers these entries; `Ok` when they are safe at the peer. The same delivery may come again.
    fn deliver(&mut self, delivery: &Delivery) -> impl Future<Output = Result<(), Failed>> + Send;
}

/// Entries `from..=to`, as they were committed.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// First entry.
    pub from: u64,
    /// Last entry.
    pub to: u64,
    batches: Vec<Arc<Batch>>,
}

/// A delivery that did not arrive.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Failed {
    /// What happened, without secrets.
    pub message: String,
    /// Whether trying again may help.
    pub retry: Retry,
}

/// Whether trying again may help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// At once, then with growing pauses.
    Now,
    /// Not before so long; what a peer's `Retry-After` says.
    After(Duration),
    /// Not until somebody changes something and starts again: the follower stands still, and what it has not delivered
    /// stays in the ledger.
    Never,
}

/// How much at once, and how patiently.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Entries of one delivery, at most.
    pub entries_max: usize,
    /// A delivery that is not full waits so long for more.
    pub gather: Duration,
    /// The longest pause between two attempts.
    pub pause_max: Duration,
}

/// What a follower with a peer has to say of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Everything up to this entry has been delivered.
    pub delivered: u64,
    /// Attempts that failed since the last success.
    pub failures: u64,
    /// What the last attempt failed with; gone after a success.
    pub failing: Option<String>,
    /// It stands still until a restart.
    pub halted: bool,
}

/// One delivery attempted, or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Everything up to this entry has arrived.
    Delivered(u64),
    /// There is nothing to deliver.
    Idle,
    /// It did not arrive: try again after this pause.
    Failed(Duration),
    /// It will not arrive whatever is tried.
    Halted,
}

impl Default for Pace {
    fn default() -> Self {
        Self { entries_max: 8_192, gather: Duration::from_millis(200), pause_max: PAUSE_MAX }
    }
}

impl Failed {
    /// A failure that may pass.
    #[must_use]
    pub fn now(message: impl Into<String>) -> Self {
        Self { message: message.into(), retry: Retry::Now }
    }

    /// A failure that will not pass by itself.
    #[must_use]
    pub fn never(message: impl Into<String>) -> Self {
        Self { message: message.into(), retry: Retry::Never }
    }
}

impl Delivery {
    /// The entries, in order.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        let (from, to) = (self.from, self.to);
        self.batches.iter().flat_map(|batch| &batch.entries).filter(move |entry| (from..=to).contains(&entry.seq))
    }
}

/// Carries the ledger's entries to a peer. [`Courier::run`] is a task's whole life; [`Courier::step`] is one attempt, for
/// who keeps time himself.
pub struct Courier<D> {
    name: &'static str,
    reader: Reader,
    cursor: Cursor,
    pace: Pace,
    peer: D,
    pause: Duration,
    progress: watch::Sender<Progress>,
}

impl<D: Deliver> Courier<D> {
    /// A courier that goes on where `cursor` stands.
    pub fn new(name: &'static str, reader: Reader, cursor: Cursor, pace: Pace, peer: D) -> Self {
        let delivered = cursor.place().delivered;
        let progress = watch::Sender::new(Progress { delivered, ..Progress::default() });
        Self { name, reader, cursor, pace, peer, pause: PAUSE_MIN, progress }
    }

    /// To watch how far it has come.
    #[must_use]
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    /// Delivers until `stop`; at `stop` it lets a delivery under way end, and leaves the rest for the next start.
    pub async fn run(mut self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            match self.step().await {
                Step::Delivered(_) => self.gather(&stop).await,
                Step::Idle => {
                    let delivered = self.cursor.place().delivered;
                    tokio::select! {
                        more = self.reader.wait_past(delivered) => if more.is_none() { return },
                        () = stop.cancelled() => return,
                    }
                    self.gather(&stop).await;
                }
                Step::Failed(pause) => {
                    tokio::select! {
                        () = tokio::time::sleep(pause) => {}
                        () = stop.cancelled() => return,
                    }
                }
                Step::Halted => stop.cancelled().await,
            }
        }
    }

    /// One attempt at the next delivery.
    pub async fn step(&mut self) -> Step {
        if self.progress.borrow().halted {
            return Step::Halted;
        }
        let delivery = match self.next() {
            Ok(Some(delivery)) => delivery,
            Ok(None) => return Step::Idle,
            Err(error) => return self.failed(&Failed::now(error.to_string())),
        };
        #[cfg(feature = "mistakes")]
        if made(Mistake::CursorBeforeDelivery) && self.cursor.deliver(delivery.to).is_err() {
            return Step::Idle;
        }
        match self.peer.deliver(&delivery).await {
            Ok(()) => match self.cursor.deliver(delivery.to) {
                Ok(()) => {
                    self.pause = PAUSE_MIN;
                    self.progress.send_replace(Progress { delivered: delivery.to, ..Progress::default() });
                    Step::Delivered(delivery.to)
                }
                Err(error) => self.failed(&Failed::now(error.to_string())),
            },
            Err(failed) => self.failed(&failed),
        }
    }

    /// The next delivery: one that was begun before, with its bounds, or a new one.
    fn next(&mut self) -> Result<Option<Delivery>, LedgerError> {
        let place = self.cursor.place();
        let from = place.delivered + 1;
        let begun = place.intended > place.delivered;
        #[cfg(feature = "mistakes")]
        let begun = begun && !made(Mistake::BoundsNotKept);
        let wanted = if begun { place.intended - place.delivered } else { self.pace.entries_max.max(1) as u64 };
        let most = place.delivered.saturating_add(wanted);
        let mut batches: Vec<Arc<Batch>> = Vec::new();
        let mut to = place.delivered;
        while to < most {
            let more = self.reader.read_from(to + 1, usize::try_from(most - to).unwrap_or(usize::MAX))?;
            let Some(last) = more.last().map(|batch| batch.last()) else { break };
            batches.extend(more);
            to = last.min(most);
        }
        if to < from {
            return Ok(None);
        }
        if !begun {
            self.cursor.intend(to)?;
        } else if to < place.intended {
            let (from, to) = (to + 1, place.intended);
            let path = self.cursor.path().to_owned();
            return Err(LedgerError::Missing { path, from, to, known_by: "a delivery that had begun" });
        }
        Ok(Some(Delivery { from, to, batches }))
    }

    /// Waits until a full delivery is there, or for a while.
    async fn gather(&self, stop: &CancellationToken) {
        let full = self.cursor.place().delivered.saturating_add(self.pace.entries_max as u64).saturating_sub(1);
        tokio::select! {
            _ = timeout(self.pace.gather, self.reader.wait_past(full)) => {}
            () = stop.cancelled() => {}
        }
    }

    fn failed(&mut self, failed: &Failed) -> Step {
        let halted = failed.retry == Retry::Never;
        let delivered = self.cursor.place().delivered;
        if halted {
            tracing::error!(follower = self.name, delivered, error = %failed, "delivery halted; mend it and restart");
        } else {
            tracing::warn!(follower = self.name, delivered, error = %failed, "delivery failed; will try again");
        }
        self.progress.send_modify(|progress| {
            progress.failures = progress.failures.saturating_add(1);
            progress.failing = Some(failed.message.clone());
            progress.halted = halted;
        });
        match failed.retry {
            Retry::Never => Step::Halted,
            Retry::Now => Step::Failed(jittered(self.grow())),
            Retry::After(least) => Step::Failed(least.max(jittered(self.grow()))),
        }
    }

    fn grow(&mut self) -> Duration {
        let pause = self.pause;
        self.pause = (pause * 2).min(self.pace.pause_max);
        pause
    }
}

/// Between a half and the whole of it: followers that failed together do not come back together.
pub(super) fn jittered(pause: Duration) -> Duration {
    let share = getrandom::u32().unwrap_or(u32::MAX);
    let half = pause / 2;
    half + half.mul_f64(f64::from(share) / f64::from(u32::MAX))
}
