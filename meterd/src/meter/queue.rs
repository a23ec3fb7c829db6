//! The bounded queue into the meter: room is counted in charges, taken before a job is sent, and given back when it is
//! durable. Full means refused at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use budget::{Charge, Command, Reserve, Verdict};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::core::{Held, Settled};
use super::{Answer, Ask, Booked};
use crate::ledger::LedgerError;

/// Why work was not taken: nothing of it was acknowledged. After a failed write the next start finds out whether any of
/// it is on disk, so the same events may be sent again: they count once.
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
    /// The disk is full: it takes new work again when there is room. A write that failed for want of room has stopped the
    /// ledger besides, until a restart.
    #[error("the disk is full; nothing new is taken until there is room")]
    DiskFull,
}

pub(super) struct Job {
    pub work: Work,
    pub permit: OwnedSemaphorePermit,
}

enum Message {
    Job(Job),
    /// What was sent before is still worked on; nothing is after it.
    Stop,
}

pub(super) enum Work {
    Charges(Vec<Charge>, oneshot::Sender<Result<Vec<Booked>, Refused>>),
    Command(Box<Command>, oneshot::Sender<Result<Verdict, Refused>>),
    Reserve(Box<Reserve>, oneshot::Sender<Result<Held, Refused>>),
    Settle(Box<Charge>, oneshot::Sender<Result<Option<Settled>, Refused>>),
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
    /// One of the states below; it only rises.
    state: Arc<AtomicU8>,
    /// The disk has no room for new work.
    scarce: Arc<AtomicBool>,
}

const UP: u8 = 0;
const STOPPED: u8 = 1;
const DISK_FULL: u8 = 2;

impl Shared {
    /// Refuses work from now on.
    pub(super) fn stop(&self) {
        self.state.fetch_max(STOPPED, Ordering::SeqCst);
    }

    /// Refuses work from now on, because a write failed.
    pub(super) fn fail(&self, error: &LedgerError) {
        let state = if error.is_disk_full() { DISK_FULL } else { STOPPED };
        self.state.fetch_max(state, Ordering::SeqCst);
    }

    /// Says whether the disk has room for new work.
    pub(super) fn room(&self, has_room: bool) {
        self.scarce.store(!has_room, Ordering::Relaxed);
    }

    /// Why work is refused, if it is.
    fn refused(&self) -> Option<Refused> {
        match self.state.load(Ordering::SeqCst) {
            UP => None,
            DISK_FULL => Some(Refused::DiskFull),
            _ => Some(Refused::Stopped),
        }
    }
}

pub(super) struct Receiver {
    receiver: mpsc::UnboundedReceiver<Message>,
    closed: bool,
}

/// The sender is unbounded because the semaphore is the bound: no job is sent without its permit.
pub(super) fn channel(capacity: usize) -> (Handle, Receiver) {
    let capacity = capacity.clamp(1, Semaphore::MAX_PERMITS);
    let (sender, receiver) = mpsc::unbounded_channel();
    let shared = Shared {
        room: Arc::new(Semaphore::new(capacity)),
        capacity,
        state: Arc::new(AtomicU8::new(UP)),
        scarce: Arc::default(),
    };
    (Handle { sender, shared }, Receiver { receiver, closed: false })
}

impl Receiver {
    /// With `wait` blocks for the first job, then takes what is there without waiting. `false` after a stop, or when every handle
    /// is gone.
    pub(super) fn next_batch(&mut self, jobs: &mut Vec<Job>, commands_max: usize, wait: bool) -> bool {
        let mut commands = 0;
        while commands < commands_max {
            // Closed, this waits for those that are just sending and then says that nobody will: no job is forgotten
            // between the queue and its end.
            let blocks = (wait && jobs.is_empty()) || self.closed;
            let next = if blocks { self.receiver.blocking_recv() } else { self.receiver.try_recv().ok() };
            match next {
                Some(Message::Job(job)) => {
                    commands += job.work.len();
                    jobs.push(job);
                }
                Some(Message::Stop) => self.close(),
                None => break,
            }
        }
        !jobs.is_empty() || !(wait || self.closed)
    }

    /// Lets go of everybody who still waits: they hear that nothing of theirs was taken.
    pub(super) fn refuse_rest(mut self) {
        self.close();
        while self.receiver.blocking_recv().is_some() {}
    }

    fn close(&mut self) {
        self.receiver.close();
        self.closed = true;
    }
}

/// Who waits for an answer. One that is dropped tells its caller that nothing was acknowledged.
pub(super) enum Reply {
    Charges(oneshot::Sender<Result<Vec<Booked>, Refused>>),
    Command(oneshot::Sender<Result<Verdict, Refused>>),
    Reserve(oneshot::Sender<Result<Held, Refused>>),
    Settle(oneshot::Sender<Result<Option<Settled>, Refused>>),
}

impl Reply {
    /// A caller that has gone away finds its entries in the ledger all the same.
    pub(super) fn send(self, answer: Answer) {
        match (self, answer) {
            (Self::Charges(reply), Answer::Charges(booked)) => drop(reply.send(Ok(booked))),
            (Self::Command(reply), Answer::Command(verdict)) => drop(reply.send(Ok(verdict))),
            (Self::Reserve(reply), Answer::Reserve(held)) => drop(reply.send(Ok(held))),
            (Self::Settle(reply), Answer::Settle(settled)) => drop(reply.send(Ok(settled))),
            (Self::Charges(reply), Answer::NoRoom) => drop(reply.send(Err(Refused::DiskFull))),
            (Self::Command(reply), Answer::NoRoom) => drop(reply.send(Err(Refused::DiskFull))),
            (Self::Reserve(reply), Answer::NoRoom) => drop(reply.send(Err(Refused::DiskFull))),
            (Self::Settle(reply), Answer::NoRoom) => drop(reply.send(Err(Refused::DiskFull))),
            // An answer has the shape of its question.
            _ => {}
        }
    }
}

impl Work {
    /// The question, and who asks it.
    pub(super) fn split(self) -> (Ask, Reply) {
        match self {
            Self::Charges(charges, reply) => (Ask::Charges(charges), Reply::Charges(reply)),
            Self::Command(command, reply) => (Ask::Command(command), Reply::Command(reply)),
            Self::Reserve(wish, reply) => (Ask::Reserve(wish), Reply::Reserve(reply)),
            Self::Settle(charge, reply) => (Ask::Settle(charge), Reply::Settle(reply)),
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Charges(charges, _) => charges.len().max(1),
            Self::Command(..) | Self::Reserve(..) | Self::Settle(..) => 1,
        }
    }
}

impl Handle {
    /// Books priced charges together; answers in their order once they are durable.
    pub async fn book(&self, charges: Vec<Charge>) -> Result<Vec<Booked>, Refused> {
        let (reply, answer) = oneshot::channel();
        let permit = self.room(charges.len().max(1))?;
        self.send(Work::Charges(charges, reply), permit)?;
        answer.await.map_err(|_| self.refused())?
    }

    /// Carries out one command; answers once its facts are durable.
    pub async fn command(&self, command: Command) -> Result<Verdict, Refused> {
        let (reply, answer) = oneshot::channel();
        let permit = self.room(1)?;
        self.send(Work::Command(Box::new(command), reply), permit)?;
        answer.await.map_err(|_| self.refused())?
    }

    /// Holds an amount for a call; answers once that, or the refusal, is durable.
    pub async fn reserve(&self, wish: Reserve) -> Result<Held, Refused> {
        let (reply, answer) = oneshot::channel();
        let permit = self.room(1)?;
        self.send(Work::Reserve(Box::new(wish), reply), permit)?;
        answer.await.map_err(|_| self.refused())?
    }

    /// Books a charge on the run of the reservation that it names; `None` when nobody knows the reservation.
    pub async fn settle(&self, charge: Charge) -> Result<Option<Settled>, Refused> {
        let (reply, answer) = oneshot::channel();
        let permit = self.room(1)?;
        self.send(Work::Settle(Box::new(charge), reply), permit)?;
        answer.await.map_err(|_| self.refused())?
    }

    /// The same for the daemon's own commands, which nobody would send again: waits for room.
    pub async fn command_when_room(&self, command: Command) -> Result<Verdict, Refused> {
        let (reply, answer) = oneshot::channel();
        let permit = Arc::clone(&self.shared.room).acquire_owned().await.map_err(|_| self.refused())?;
        self.send(Work::Command(Box::new(command), reply), permit)?;
        answer.await.map_err(|_| self.refused())?
    }

    /// Carries out commands in their order, which are likely to share one fsync. From the first that is refused on all
    /// are, so that none overtakes another.
    pub async fn commands(&self, commands: Vec<Command>) -> Vec<Result<Verdict, Refused>> {
        let mut refused = None;
        let sent = commands.into_iter().map(|command| {
            if let Some(refused) = refused {
                return Err(refused);
            }
            let (reply, answer) = oneshot::channel();
            let sent = self.room(1).and_then(|permit| self.send(Work::Command(Box::new(command), reply), permit));
            refused = sent.err();
            sent.map(|()| answer)
        });
        let mut verdicts = Vec::new();
        for sent in sent.collect::<Vec<_>>() {
            verdicts.push(match sent {
                Ok(answer) => answer.await.map_err(|_| self.refused()).and_then(|verdict| verdict),
                Err(refused) => Err(refused),
            });
        }
        verdicts
    }

    /// Is the meter taking work?
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.stopped().is_none()
    }

    /// Why the meter takes no work, if it does not.
    #[must_use]
    pub fn stopped(&self) -> Option<Refused> {
        self.shared.refused().or_else(|| self.sender.is_closed().then_some(Refused::Stopped))
    }

    /// Does the disk have room for new work? Without it the meter still ends and settles.
    #[must_use]
    pub fn has_room(&self) -> bool {
        !self.shared.scarce.load(Ordering::Relaxed)
    }

    /// Charges and commands that wait or are being written, and how many may.
    #[must_use]
    pub fn depth(&self) -> (usize, usize) {
        (self.shared.capacity.saturating_sub(self.shared.room.available_permits()), self.shared.capacity)
    }

    /// Ends the meter's thread after what is already queued; later work is refused.
    pub fn stop(&self) {
        self.shared.stop();
        // A thread that has ended already needs no message; nor is a second one harmful.
        drop(self.sender.send(Message::Stop));
    }

    pub(super) fn shared(&self) -> Shared {
        self.shared.clone()
    }

    fn room(&self, len: usize) -> Result<OwnedSemaphorePermit, Refused> {
        if let Some(refused) = self.stopped() {
            return Err(refused);
        }
        if len > self.shared.capacity {
            return Err(Refused::TooMany);
        }
        let len = u32::try_from(len).map_err(|_| Refused::TooMany)?;
        Arc::clone(&self.shared.room).try_acquire_many_owned(len).map_err(|_| Refused::Full)
    }

    fn send(&self, work: Work, permit: OwnedSemaphorePermit) -> Result<(), Refused> {
        if let Some(refused) = self.stopped() {
            return Err(refused);
        }
        self.sender.send(Message::Job(Job { work, permit })).map_err(|_| self.refused())
    }

    /// A waiter that got no answer: the meter has ended, or is about to say why.
    fn refused(&self) -> Refused {
        self.shared.refused().unwrap_or(Refused::Stopped)
    }
}
