//! The end of a process, and the loss of power: what is left, and what the next start finds.

use super::{Inner, Node, SimDisk};
use crate::prng::Prng;

impl SimDisk {
    /// The process is gone; the machine goes on, and with it what was written.
    pub fn end_process(&self) {
        let mut inner = self.inner();
        inner.epoch += 1;
        inner.locks.clear();
        inner.armed = None;
        inner.tally.count("fault: process killed");
    }

    /// The power was gone and is back: what was not synced may be lost, in part or whole.
    pub fn power_cycle(&self) {
        let mut inner = self.inner();
        if !inner.off {
            inner.tally.count("fault: power lost");
        }
        inner.off = false;
        inner.epoch += 1;
        inner.locks.clear();
        inner.armed = None;
        inner.lose_names();
        let Inner { nodes, prng, tally, .. } = &mut *inner;
        for node in nodes {
            if node.lose(prng) {
                tally.count("fault: unsynced bytes lost or torn");
            }
        }
    }
}

impl Inner {
    /// Of the changes of names in each folder, the first so many survive, as in a journal.
    fn lose_names(&mut self) {
        for (_, changes) in std::mem::take(&mut self.unsynced) {
            let kept = self.prng.index(changes.len() + 1);
            changes.iter().take(kept).for_each(|change| self.make_durable(change));
            self.tally.add("fault: unsynced names lost", (changes.len() - kept) as u64);
        }
        self.names = self.durable_names.clone();
    }
}

impl Node {
    /// Was anything lost?
    fn lose(&mut self, prng: &mut Prng) -> bool {
        let (synced, written) = (self.durable.len(), self.live.len());
        let dirty = self.cut || written > synced;
        if self.cut {
            // The cut itself may be lost.
            if prng.permille(500) {
                self.durable.clone_from(&self.live);
            }
        } else if written > synced {
            let kept = synced + prng.index(written - synced + 1);
            self.durable.extend_from_slice(&self.live[synced..kept]);
            if prng.permille(300) {
                // The length came through, some of the content did not.
                let zeros = prng.index(written - kept + 1);
                self.durable.resize(kept + zeros, 0);
            } else if prng.permille(200) && kept > synced {
                // Blocks are written in any order.
                let from = synced + prng.index(kept - synced);
                let to = from + prng.index((kept - from).min(64) + 1);
                self.durable[from..to].fill(0);
            }
        }
        if let Some(hole) = self.hole.take() {
            let end = hole.end.min(self.durable.len());
            self.durable[hole.start.min(end)..end].fill(0);
        }
        self.live.clone_from(&self.durable);
        self.cut = false;
        self.allocated = 0;
        dirty
    }
}
