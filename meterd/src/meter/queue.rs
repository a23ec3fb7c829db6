//! The bounded queue into the meter: room is counted in charges, taken before a job is sent, and given back when it is
//! durable. Full means refused at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use budget::{Charge, Command, Verdict};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::Booked;

/// Why work was not taken. Nothing of it is in the ledger unless `Unknown`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The queue is full: try again soon.
    #[error("the queue is full")]
    Full,
    /// More charges at once than the queue can ever hold.
    #[error("more events in one request than the queue holds")]
    TooMany,
    /// The ledger has stopped, or the daemon is going down.
    #[error("the ledger takes nothing more; the daemon must be restarted")]
    Stopped,
}

pub(super) struct Job {
    pub work: Work,
    pub permit: OwnedSemaphorePermit,
}

enum Message {
    Job(Job),
    Stop,
}

pub(super) enum Work {
    Charges(Vec<Charge>, oneshot::Sender<Vec<Booked>>),
    Command(Command, oneshot::Sender<Verdict>),
}

/// Sends work to the meter; cheap to clone.
#[derive(Clone)]
pub struct Handle {
    sender: mpsc::UnboundedSender<Message>,
    shared: Shared,
}

/// What the meter's thread and its handles share.
#[derive(Clone)]
pub(super) struct Shared {
    room: Arc<Semaphore>,
    capacity: usize,
    stopped: Arc<AtomicBool>,
}

impl Shared {
    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
    }
}

pub(super) struct Receiver {
    receiver: mpsc::UnboundedReceiver<Message>,
    stopping: bool,
}

/// The sender is unbounded because the semaphore is the bound: no job is sent without its permit.
pub(super) fn channel(capacity: usize) -> (Handle, Receiver) {
    let capacity = capacity.clamp(1, Semaphore::MAX_PERMITS);
    let (sender, receiver) = mpsc::unbounded_channel();
    let shared =
        Shared { room: Arc::new(Semaphore::new(capacity)), capacity, stopped: Arc::new(AtomicBool::new(false)) };
    (Handle { sender, shared }, Receiver { receiver, stopping: false })
}

impl Receiver {
    /// Blocks for the first job, then takes what is there without waiting. `false` after a stop, or when every handle
    /// is gone.
    pub(super) fn next_batch(&mut self, jobs: &mut Vec<Job>, commands_max: usize) -> bool {
        if self.stopping {
            return false;
        }
        let mut next = self.receiver.blocking_recv();
        let mut commands = 0;
        loop {
            match next {
                Some(Message::Job(job)) => {
                    commands += job.work.len();
                    jobs.push(job);
                }
                Some(Message::Stop) | None => {
                    self.stopping = true;
                    return !jobs.is_empty();
                }
            }
            if commands >= commands_max {
                return true;
            }
            match self.receiver.try_recv() {
                Ok(message) => next = Some(message),
                Err(_) => return true,
            }
        }
    }
}

impl Work {
    fn len(&self) -> usize {
        match self {
            Self::Charges(charges, _) => charges.len().max(1),
            Self::Command(..) => 1,
        }
    }
}

impl Handle {
    /// Books priced charges together; answers in their order once they are durable.
    pub async fn book(&self, charges: Vec<Charge>) -> Result<Vec<Booked>, Refused> {
        let (reply, answer) = oneshot::channel();
        self.send(Work::Charges(charges, reply))?;
        answer.await.map_err(|_| Refused::Stopped)
    }

    /// Carries out one command; answers once its facts are durable.
    pub async fn command(&self, command: Command) -> Result<Verdict, Refused> {
        let (reply, answer) = oneshot::channel();
        self.send(Work::Command(command, reply))?;
        answer.await.map_err(|_| Refused::Stopped)
    }

    /// Carries out commands in their order, which are likely to share one fsync; each is taken or refused by itself.
    pub async fn commands(&self, commands: Vec<Command>) -> Vec<Result<Verdict, Refused>> {
        let sent = commands.into_iter().map(|command| {
            let (reply, answer) = oneshot::channel();
            self.send(Work::Command(command, reply)).map(|()| answer)
        });
        let mut verdicts = Vec::new();
        for sent in sent.collect::<Vec<_>>() {
            verdicts.push(match sent {
                Ok(answer) => answer.await.map_err(|_| Refused::Stopped),
                Err(refused) => Err(refused),
            });
        }
        verdicts
    }

    /// Is the meter taking work?
    #[must_use]
    pub fn is_up(&self) -> bool {
        !self.shared.stopped.load(Ordering::SeqCst) && !self.sender.is_closed()
    }

    /// Charges and commands that wait or are being written, and how many may.
    #[must_use]
    pub fn depth(&self) -> (usize, usize) {
        (self.shared.capacity.saturating_sub(self.shared.room.available_permits()), self.shared.capacity)
    }

    /// Ends the meter's thread after what is already queued; later work is refused.
    pub fn stop(&self) {
        self.shared.stop();
        // A thread that has ended already needs no message.
        drop(self.sender.send(Message::Stop));
    }

    pub(super) fn shared(&self) -> Shared {
        self.shared.clone()
    }

    fn send(&self, work: Work) -> Result<(), Refused> {
        if !self.is_up() {
            return Err(Refused::Stopped);
        }
        let len = work.len();
        if len > self.shared.capacity {
            return Err(Refused::TooMany);
        }
        let len = u32::try_from(len).map_err(|_| Refused::TooMany)?;
        let room = Arc::clone(&self.shared.room);
        let permit = room.try_acquire_many_owned(len).map_err(|_| Refused::Full)?;
        self.sender.send(Message::Job(Job { work, permit })).map_err(|_| Refused::Stopped)
    }
}
