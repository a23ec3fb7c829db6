//! The real follower with its durable cursor, carrying every entry to a peer over the simulated network.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use meterd::follow::{Courier, Cursor, Pace, Step};

use super::{Fallible, World};
use crate::disk::Fault;
use crate::network::{Peer, Weather};

const NAME: &str = "sim";

/// Runs what never waits: the simulated network answers at once.
fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("the simulated network does not wait"),
    }
}

impl World {
    /// Where the follower goes on after a start. A cursor beyond what is there would be refused.
    pub(super) fn follow(&mut self) -> Fallible {
        let reader = self.core().writer().reader();
        let cursor = Cursor::open(&self.dir, NAME, 0, reader.committed())
            .map_err(|error| format!("the follower refuses to start: {error}"))?;
        let pace = Pace { entries_max: self.delivery_entries_max, ..Pace::default() };
        self.courier = Some(Courier::new(NAME, reader, cursor, pace, self.peer.clone()));
        Ok(())
    }

    /// Some attempts in some weather; a slow follower makes none for long.
    pub(super) fn deliver(&mut self) -> Fallible {
        let weather = *self.prng.pick(&[Weather::Fine, Weather::Rough, Weather::Rough, Weather::Down]);
        self.peer.set(weather);
        for _ in 0..=self.prng.below(4) {
            self.step_courier();
        }
        self.peer.effects().map(drop)
    }

    /// The same while the disk fails below the cursor.
    pub(super) fn deliver_under_fire(&mut self, fault: Fault) -> Fallible {
        self.disk.arm(fault, 6);
        self.deliver()?;
        self.disk.disarm();
        // A cursor that could not be saved is saved later, or delivered again by the next start.
        if self.disk.is_off() { self.come_back(self.now, &[]) } else { Ok(()) }
    }

    pub(super) fn step_courier(&mut self) -> Step {
        self.tally.count("follower steps");
        now(self.courier.as_mut().expect("the meter is up").step())
    }

    /// Everything arrives once the weather is fine: each entry, in order, with effect exactly once.
    pub(super) fn deliver_all(&mut self) -> Fallible {
        self.peer.set(Weather::Fine);
        for _ in 0..10_000 {
            if self.step_courier() == Step::Idle {
                let effects = self.peer.effects()?;
                let entries = self.entries_after(0)?;
                return match effects.iter().zip(&entries).find(|(effect, entry)| effect != entry) {
                    Some((effect, entry)) => Err(format!("the peer has {effect:?} where the ledger has {entry:?}")),
                    None if effects.len() == entries.len() => Ok(()),
                    None => Err(format!("the peer has {} entries, the ledger {}", effects.len(), entries.len())),
                };
            }
        }
        Err("the follower does not come to its end".to_owned())
    }
}

/// The follower of a world.
pub type Following = Courier<Peer>;
