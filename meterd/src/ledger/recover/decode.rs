//! Entries out of frames, on every core, in their order. Decoding is what takes the time of a start.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
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
    receivers: Vec<Receiver<Decoded>>,
    next: usize,
}

/// Starts a thread for each core.
pub(super) fn start<'scope>(scope: &'scope Scope<'scope, '_>) -> (Input, Output) {
    let (mut senders, mut receivers) = (Vec::new(), Vec::new());
    for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
        let (sender, frames) = sync_channel::<Whole>(WAITING_MAX);
        let (decoded, receiver) = sync_channel(WAITING_MAX);
        scope.spawn(move || {
            for Whole { offset, head, bytes } in frames {
                let entries = Body::checked(head, &bytes).and_then(|body| body.entries());
                if decoded.send((offset, entries)).is_err() {
                    return;
                }
            }
        });
        senders.push(sender);
        receivers.push(receiver);
    }
    (Input { senders, next: 0 }, Output { receivers, next: 0 })
}

impl Input {
    /// False when nobody wants more.
    pub(super) fn give(&mut self, frame: Whole) -> bool {
        let sender = self.senders.get(self.next);
        self.next = (self.next + 1) % self.senders.len().max(1);
        sender.is_some_and(|sender| sender.send(frame).is_ok())
    }
}

impl Iterator for Output {
    type Item = Decoded;

    /// Frames go round, so the first thread without one ends it.
    fn next(&mut self) -> Option<Decoded> {
        let decoded = self.receivers.get(self.next)?.recv().ok();
        self.next = (self.next + 1) % self.receivers.len().max(1);
        decoded
    }
}
