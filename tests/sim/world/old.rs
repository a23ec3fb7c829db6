//! What the meter does with what is old, after a commit: ids go to disk and are forgotten, runs rest and leave, segments are packed;
//! and the same while the disk fails below it.

use std::time::Duration;

use meterd::ledger::Disk;

use super::{Fallible, World};
use crate::disk::Fault;
use crate::network::Weather;
use crate::words::{Act, HOUR, SECOND};

impl World {
    /// Looks after what is old. After an error: what may have been written by then.
    pub(super) fn keep_house(&mut self) -> Result<(), (String, Vec<Act>)> {
        let nanos = |span: Duration| i64::try_from(span.as_nanos()).unwrap();
        self.forgotten_before = self.forgotten_before.max(self.now - nanos(self.rules.dedup_horizon));
        let due = self.look_at.is_none_or(|at| self.now >= at);
        let ago = |span: Option<Duration>| self.now - nanos(span.unwrap());
        let look = Act::Forget { rest: ago(self.upkeep.rest_after), before: ago(self.upkeep.forget_after) };
        let acts = if due { vec![look] } else { Vec::new() };
        let packed = self.packed();
        let kept = self.core().keep_house().map_err(|error| error.to_string());
        if let (Err(error), _) | (Ok(()), Some(error)) =
            (kept, self.disk.is_off().then(|| "the power is off".to_owned()))
        {
            return Err((error, acts));
        }
        self.tally.add("segments packed", self.packed() - packed);
        let entries = self.oracle.seq;
        self.judge(self.now, &acts, None).map_err(|error| (error, Vec::new()))?;
        if due {
            // Soon again while there is something to do.
            let least = [self.upkeep.rest_after, self.upkeep.forget_after].into_iter().flatten().min();
            let quiet = (nanos(least.unwrap()) / 64).clamp(60 * SECOND, HOUR);
            self.look_at = Some(self.now + if self.oracle.seq > entries { 60 * SECOND } else { quiet });
        }
        Ok(())
    }

    fn packed(&self) -> u64 {
        let files = self.disk.list(&self.dir.archive()).unwrap_or_default();
        files.iter().filter(|path| path.extension().is_some_and(|extension| extension == "zst")).count() as u64
    }

    /// Time goes by, the followers catch up, a snapshot is taken, and the disk fails while old segments are packed.
    pub(super) fn pack_under_fire(&mut self, fault: Option<Fault>) -> Fallible {
        self.core().snapshot().map_err(|error| error.to_string())?;
        self.peer.set(Weather::Fine);
        for _ in 0..200 {
            self.step_courier();
        }
        self.clocks.pass(self.prng.within(61 * SECOND, HOUR));
        self.look_at_clock()?;
        let (before, calls) = (self.packed(), self.disk.calls());
        if let Some(fault) = fault {
            self.disk.arm(fault, 12);
        }
        let kept = self.keep_house();
        let struck = self.disk.disarm() && fault.is_some();
        if struck && (self.disk.is_off() || self.packed() > before || self.disk.calls() > calls + 3) {
            self.tally.count("fault: packing, or what goes before it, struck");
        }
        match kept {
            Err((_, acts)) if struck => self.come_back(self.now, &acts),
            kept => kept.map_err(|(error, _)| error),
        }?;
        self.audit(true)
    }

    /// A file of the index is damaged or lost: while the meter goes on, or while it is down.
    pub(super) fn rot_index(&mut self) -> Fallible {
        let files = self.disk.list(&self.dir.index()).map_err(|error| error.to_string())?;
        if files.is_empty() {
            return Ok(());
        }
        let path = self.prng.pick(&files).clone();
        if self.prng.permille(500) {
            if self.disk.flip(&mut self.prng, &path, 0..usize::MAX).is_some() {
                self.tally.count("fault: index damaged in use");
            }
            return Ok(());
        }
        self.stop();
        self.disk.end_process();
        if self.prng.permille(500) {
            self.disk.lose(&path);
            self.tally.count("fault: index file lost");
        } else if self.disk.flip(&mut self.prng, &path, 0..usize::MAX).is_some() {
            self.tally.count("fault: index damaged at rest");
        }
        self.start()?;
        self.after_start(self.now, &[], true)
    }
}
