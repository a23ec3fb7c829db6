//! Entries out of frames, on every core, in their order. Decoding is what takes the time of a start.
//!
//! What was read goes back to the thread that decoded it: freeing what another thread allocated, and letting go of names that
//! it shares among its entries, would keep both cores waiting for each other.

use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::Scope;

use budget::Entry;

use crate::ledger::format::{Body, FrameHead};

/// Frames that wait for each core, and decoded ones that wait for their turn.
const WAITING_MAX: usize = 4;

/// A checked frame whose entries are wanted.
pub(super) struct Whole {
    pub(super) offset: u64,
    pub(super) head: FrameHead,
    pub(super) bytes: Vec<u8>,
}

/// A frame's offset and its entries; `None` where they are not entries of this version.
pub(super) type Decoded = (u64, Option<Vec<Entry>>);

/// Where checked frames go in.
pub(super) struct Input {
    senders: Vec<SyncSender<Whole>>,
    next: usize,
}

/// Where their entries come out, in the order in which they went in.
pub(super) struct Output {
    receivers: Vec<(Receiver<Decoded>, Sender<Vec<Entry>>)>,
    next: usize,
    last: usize,
}

/// Starts a thread for each core.
pub(super) fn start<'scope>(scope: &'scope Scope<'scope, '_>) -> (Input, Output) {
    let (mut senders, mut receivers) = (Vec::new(), Vec::new());
    for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
        let (sender, frames) = sync_channel::<Whole>(WAITING_MAX);
        let (decoded, receiver) = sync_channel(WAITING_MAX);
        // No more come back than were sent.
        let (back, done) = channel::<Vec<Entry>>();
        scope.spawn(move || {
            for Whole { offset, head, bytes } in frames {
                done.try_iter().for_each(drop);
                let entries = Body::checked(head, &bytes).and_then(|body| body.entries());
                if decoded.send((offset, entries)).is_err() {
                    return;
                }
            }
        });
        senders.push(sender);
        receivers.push((receiver, back));
    }
    (Input { senders, next: 0 }, Output { receivers, next: 0, last: 0 })
}

impl Input {
    /// False when nobody wants more.
    pub(super) fn give(&mut self, frame: Whole) -> bool {
        let sender = self.senders.get(self.next);
        self.next = (self.next + 1) % self.senders.len().max(1);
        sender.is_some_and(|sender| sender.send(frame).is_ok())
    }
}

impl Output {
    /// Frames go round, so the first thread without one ends it.
    pub(super) fn next(&mut self) -> Option<Decoded> {
        let decoded = self.receivers.get(self.next)?.0.recv().ok();
        self.last = self.next;
        self.next = (self.next + 1) % self.receivers.len().max(1);
        decoded
    }

    /// What [`Output::next`] gave last is not needed any more.
    pub(super) fn give_back(&self, entries: Vec<Entry>) {
        if let Some((_, back)) = self.receivers.get(self.last) {
            // A thread that has ended frees nothing more.
            drop(back.send(entries));
        }
    }
}
