//! What goes wrong, when, and what must be true afterwards.

use super::{Fallible, World};
use meterd::ledger::Disk;

use crate::disk::Fault;
use crate::prng::Prng;
use crate::words::{Act, BudgetId, DAY, HOUR, SECOND};
use crate::workload::spec;

/// What strikes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strike {
    /// The disk fails, or the power goes, somewhere in the next batch.
    During(Fault),
    /// The same while a snapshot is taken.
    Snapshot(Option<Fault>),
    /// The process is killed between two batches, before its answers are heard.
    Kill,
    /// The power goes between two batches.
    PowerLoss,
    /// A clean stop and a start.
    Restart,
    /// The disk fills up.
    DiskFull,
    /// The clock is set.
    ClockJump,
    /// The disk fails, or the power goes, while a follower saves its cursor.
    Following(Fault),
    /// A byte of the newest snapshot changes.
    SnapshotRots,
    /// A byte in the middle of the ledger changes, for as long as it is there the daemon must refuse to start.
    LedgerRots,
    /// A file of the index is damaged or lost; the daemon goes on.
    IndexRots,
    /// The disk fails, or the power goes, while old segments are packed; or nothing does.
    Packing(Option<Fault>),
}

/// How often each strikes in this seed.
pub struct Plan {
    permille: u64,
    weights: [u64; STRIKES.len()],
    /// How often followers come to their turn, in a thousand.
    pub follows: u64,
}

const STRIKES: [Strike; 21] = [
    Strike::During(Fault::PowerLoss),
    Strike::During(Fault::Write),
    Strike::During(Fault::Sync),
    Strike::During(Fault::Name),
    Strike::Snapshot(None),
    Strike::Snapshot(Some(Fault::PowerLoss)),
    Strike::Kill,
    Strike::PowerLoss,
    Strike::Restart,
    Strike::DiskFull,
    Strike::ClockJump,
    Strike::Following(Fault::PowerLoss),
    Strike::Following(Fault::Name),
    Strike::SnapshotRots,
    Strike::LedgerRots,
    Strike::IndexRots,
    Strike::Packing(None),
    Strike::Packing(Some(Fault::PowerLoss)),
    Strike::Packing(Some(Fault::Write)),
    Strike::Packing(Some(Fault::Sync)),
    Strike::Packing(Some(Fault::Name)),
];

impl Plan {
    pub fn new(prng: &mut Prng) -> Self {
        let weights = [4, 2, 3, 1, 4, 2, 3, 2, 2, 2, 3, 3, 1, 1, 1, 2, 1, 1, 1, 1, 1];
        let weights = weights.map(|weight| if prng.permille(200) { weight * 5 } else { weight });
        Self { permille: *prng.pick(&[20, 80, 150]), weights, follows: *prng.pick(&[10, 100, 300]) }
    }

    pub fn next(&self, prng: &mut Prng) -> Option<Strike> {
        prng.permille(self.permille).then(|| STRIKES[prng.weighted(&self.weights)])
    }
}

impl World {
    pub(super) fn strike(&mut self, strike: Strike) -> Fallible {
        self.steps += 1;
        match strike {
            Strike::During(fault) => {
                let acts = self.some_acts();
                self.disk.arm(fault, 3);
                self.ask_under_fire(&acts)
            }
            Strike::Snapshot(fault) => self.snapshot(fault),
            Strike::Kill => {
                let (acts, clock) = (self.some_acts(), self.now);
                self.batch(&acts)?;
                // It was made durable, and nobody heard of it.
                self.stop();
                self.disk.end_process();
                self.start()?;
                self.after_start(clock, &acts, true)
            }
            Strike::PowerLoss => {
                self.stop();
                self.disk.power_cycle();
                self.start()?;
                self.after_start(self.now, &[], true)
            }
            Strike::Restart => {
                self.core().close().map_err(|error| error.to_string())?;
                self.stop();
                self.tally.count("fault: clean restart");
                self.start()?;
                self.after_start(self.now, &[], true)
            }
            Strike::DiskFull => {
                let room = self.prng.below(3_000);
                self.disk.leave_room(Some(room));
                self.disk_is_full = true;
                self.tally.count("fault: disk fills up");
                let batches = 1 + self.prng.below(5);
                let mut done = Ok(());
                for _ in 0..batches {
                    let acts = self.some_acts();
                    done = self.ask_under_fire(&acts);
                    if done.is_err() || !self.disk_is_full {
                        break;
                    }
                }
                self.make_room();
                done
            }
            Strike::ClockJump => {
                self.tally.count("fault: clock jump");
                match self.prng.below(8) {
                    0 => self.clocks.jump(self.prng.within(-2 * HOUR, 0)),
                    1 => self.clocks.jump(self.prng.within(-3 * DAY, 0)),
                    2 => self.clocks.jump(self.prng.within(0, 2 * DAY)),
                    3 => self.clocks.jump(self.prng.within(-6 * SECOND, 6 * SECOND)),
                    // A year ahead, until somebody sees it.
                    4 if !self.clocks.is_doubted() => self.clocks.jump(365 * DAY),
                    5 if !self.clocks.is_doubted() => self.clocks.jump(-365 * DAY),
                    _ => self.clocks.mend(),
                }
                self.look_at_clock()
            }
            Strike::Following(fault) => self.deliver_under_fire(fault),
            Strike::SnapshotRots => self.rot_snapshot(),
            Strike::LedgerRots => self.rot_ledger(),
            Strike::IndexRots => self.rot_index(),
            Strike::Packing(fault) => self.pack_under_fire(fault),
        }
    }

    /// A snapshot only saves time: one that is damaged is passed over.
    fn rot_snapshot(&mut self) -> Fallible {
        self.core().snapshot().map_err(|error| error.to_string())?;
        let newest = self.disk.list(&self.dir.snapshots()).map_err(|error| error.to_string())?.into_iter().max();
        self.stop();
        self.disk.end_process();
        if let Some(path) = newest
            && self.disk.flip(&mut self.prng, &path, 0..usize::MAX).is_some()
        {
            self.tally.count("fault: snapshot damaged");
        }
        self.start()?;
        self.after_start(self.now, &[], true)
    }

    /// Damage in the middle is refused and nothing is changed; what is mended goes on.
    fn rot_ledger(&mut self) -> Fallible {
        let segments = self.disk.list(&self.dir.segments()).map_err(|error| error.to_string())?;
        let Some(path) = segments.into_iter().min() else { return Ok(()) };
        let end = usize::try_from(self.disk.len(&path).map_err(|error| error.to_string())?).unwrap();
        self.stop();
        self.disk.end_process();
        // Any byte of the first frames; whole ones follow where the ledger is long enough.
        if end > 3_000
            && let Some(at) = self.disk.flip(&mut self.prng, &path, 0..end - 3_000)
        {
            self.tally.count("fault: ledger damaged");
            let snapshots = self.disk.list(&self.dir.snapshots()).map_err(|error| error.to_string())?;
            if self.start().is_ok() && snapshots.is_empty() {
                return Err(format!("starts although byte {at} of {} is damaged", path.display()));
            }
            self.stop();
            self.disk.end_process();
            self.disk.flip_back(&path, at);
        }
        self.start()?;
        self.after_start(self.now, &[], true)
    }

    /// The process is gone.
    pub(super) fn stop(&mut self) {
        self.courier = None;
        self.core = None;
    }

    /// A batch that a fault may strike. Afterwards it is there whole, or nothing of it is.
    fn ask_under_fire(&mut self, acts: &[Act]) -> Fallible {
        let clock = self.now;
        let Ok(answers) = self.batch(acts) else {
            self.disk.disarm();
            // The disk is well again, and whoever asks goes on asking: nothing may be taken any more.
            self.make_room();
            let id = BudgetId::Named(9);
            let more = Act::Apply { budget: id, spec: spec(&mut self.prng, id) };
            if self.batch(&[more]).is_ok() {
                return Err("the ledger goes on after a failed write".to_owned());
            }
            return self.come_back(clock, acts);
        };
        if self.disk.is_off() {
            return Err("acknowledged although the disk had failed".to_owned());
        }
        self.judge(clock, acts, Some(&answers))?;
        let kept = self.keep_house();
        let struck = self.disk.disarm() || self.disk_is_full;
        match kept {
            Err((_, left)) if struck => {
                self.make_room();
                return self.come_back(self.now, &left);
            }
            kept => kept.map_err(|(error, _)| error)?,
        }
        self.look_around()
    }

    fn make_room(&mut self) {
        self.disk.leave_room(None);
        self.disk_is_full = false;
    }

    /// The process ends after a failed write, or the power is gone; the next start may be struck as well.
    pub(super) fn come_back(&mut self, clock: i64, acts: &[Act]) -> Fallible {
        self.stop();
        self.end_somehow();
        while self.prng.permille(300) {
            let fault = *self.prng.pick(&[Fault::PowerLoss, Fault::Sync, Fault::Name]);
            self.disk.arm(fault, 6);
            let started = self.start();
            self.stop();
            if self.disk.disarm() {
                self.tally.count("fault: start struck");
            } else {
                started?;
            }
            self.end_somehow();
        }
        self.start()?;
        self.after_start(clock, acts, false)
    }

    fn end_somehow(&mut self) {
        if self.disk.is_off() || self.prng.permille(400) {
            self.disk.power_cycle();
        } else {
            self.disk.end_process();
        }
    }

    /// What the new start found. `durable`: the batch was committed before, so it must be there.
    pub(super) fn after_start(&mut self, clock: i64, acts: &[Act], durable: bool) -> Fallible {
        self.tally.count("recoveries");
        let there = self.core().state().seq();
        if there < self.oracle.seq {
            return Err(format!("entries {} to {} are lost", there + 1, self.oracle.seq));
        }
        if durable || there > self.oracle.seq {
            self.judge(clock, acts, None)?;
        } else {
            self.tally.count("batches lost before they were acknowledged");
        }
        self.audit(false)
    }

    fn snapshot(&mut self, fault: Option<Fault>) -> Fallible {
        self.tally.count("snapshots");
        if let Some(fault) = fault {
            self.disk.arm(fault, 8);
        }
        let done = self.core().snapshot();
        self.disk.disarm();
        match (done, fault) {
            (Err(error), None) => Err(error.to_string()),
            (Err(_), Some(_)) => self.come_back(self.now, &[]),
            (Ok(()), _) if self.disk.is_off() => self.come_back(self.now, &[]),
            (Ok(()), _) => Ok(()),
        }
    }

    /// The end: everything once more, from the disk.
    pub(super) fn end(&mut self) -> Fallible {
        self.stop();
        self.disk.power_cycle();
        self.start()?;
        self.after_start(self.now, &[], true)?;
        self.deliver_all()?;
        self.audit(true)
    }
}
