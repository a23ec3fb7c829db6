//! What can be derived from the truth: ways to find things, and which counters bind whom. Never compared, never stored.

use std::collections::BTreeSet;
use std::sync::Arc;

use pricing::Timestamp;
use rustc_hash::FxHashMap;

use super::Truth;
use super::hold::HeldRow;
use super::numbers::Numbers;
use crate::limits::{Class, ClassKey, Limits};
use crate::scope::Ref;

/// Kinds of subjects remembered with what binds them; all are forgotten when there would be more.
const CLASSES_MAX: usize = 65_536;
const NONE: u32 = u32::MAX;

#[derive(Clone, Debug, Default)]
pub(super) struct Index {
    /// Runs by id.
    pub(super) runs: Numbers,
    kills: FxHashMap<Arc<str>, usize>,
    /// Kills that are not closed.
    pub(super) open_kills: BTreeSet<usize>,
    /// Runs that are not over.
    pub(super) live: BTreeSet<u32>,
    /// Children of runs that are not known yet.
    pub(super) orphans: FxHashMap<Ref, Vec<u32>>,
    /// Generation of the limits that the classes are of.
    generation: u64,
    classes: Vec<Class>,
    by_key: FxHashMap<ClassKey, u32>,
    /// The class of each run, `NONE` until it is asked for.
    of_run: Vec<u32>,
    /// The newest adjustment of each charge that the state remembers one of.
    pub(super) adjusted: FxHashMap<u64, u64>,
    /// Reservations by id.
    pub(super) reservations: Numbers,
    /// Live reservations by the time at which they expire.
    pub(super) expiries: BTreeSet<(Timestamp, u32)>,
    /// Rows that reservations have, and their number.
    pub(super) by_rows: FxHashMap<Arc<[HeldRow]>, u32>,
    /// Room for one walk over the rows that a hold is on.
    pub(super) held_rows: Vec<HeldRow>,
    /// Room for one walk over the rows that bind a call.
    pub(super) scratch: Vec<HeldRow>,
}

impl Index {
    pub(super) fn of(truth: &Truth) -> Self {
        let mut index = Self::default();
        for (number, run) in (0_u32..).zip(&truth.runs) {
            let Some(run) = run else {
                index.of_run.push(NONE);
                continue;
            };
            index.add_run(number, &run.execution.id);
            if !run.is_live() {
                index.live.remove(&number);
            }
            if let (Some(parent), None) = (&run.execution.parent, run.parent) {
                index.orphans.entry(parent.clone()).or_default().push(number);
            }
        }
        for (number, kill) in truth.kills.iter().enumerate() {
            let Some(kill) = kill else { continue };
            index.add_kill(&kill.id, number);
            if kill.state.is_closed() {
                index.open_kills.remove(&number);
            }
        }
        for (number, reservation) in (0_u32..).zip(&truth.reservations.all) {
            let Some(reservation) = reservation else { continue };
            if !reservation.is_cover() {
                index.reservations.insert(&*reservation.id, number, |_| false);
            }
            if reservation.is_held() {
                index.expiries.insert((reservation.until, number));
            }
        }
        for (number, entry) in (0_u32..).zip(&truth.reservations.rows) {
            if entry.is_used() {
                index.by_rows.insert(Arc::clone(&entry.rows), number);
            }
        }
        index.adjusted = truth.prices.recent.iter().map(|(seq, (charge, _))| (*charge, *seq)).collect();
        index
    }

    /// A run of an id that is not known yet.
    pub(super) fn add_run(&mut self, number: u32, id: &Ref) {
        self.runs.insert(id, number, |_| false);
        self.live.insert(number);
        self.of_run.push(NONE);
    }

    pub(super) fn add_kill(&mut self, id: &Arc<str>, number: usize) {
        self.kills.insert(Arc::clone(id), number);
        self.open_kills.insert(number);
    }

    /// The kill's number, which is not known any more.
    pub(super) fn remove_kill(&mut self, id: &str) -> Option<usize> {
        let number = self.kills.remove(id)?;
        self.open_kills.remove(&number);
        Some(number)
    }

    pub(super) fn kill(&self, id: &str) -> Option<usize> {
        self.kills.get(id).copied()
    }

    /// The class of a run, if it was asked for since the run's subject last changed.
    pub(super) fn class_of_run(&self, run: u32) -> Option<&Class> {
        self.class_at(*self.of_run.get(usize::try_from(run).ok()?)?)
    }

    pub(super) fn class_at(&self, class: u32) -> Option<&Class> {
        self.classes.get(usize::try_from(class).ok()?)
    }

    /// The class under a key, if it is remembered for this generation of the limits.
    pub(super) fn class(&self, generation: u64, key: &ClassKey) -> Option<&Class> {
        if self.generation != generation {
            return None;
        }
        self.class_at(*self.by_key.get(key)?)
    }

    /// The number of the class under a key, which is made when it is new.
    pub(super) fn class_number(&mut self, limits: &Limits, key: ClassKey, make: impl FnOnce() -> Class) -> u32 {
        if self.generation != limits.generation || self.classes.len() >= CLASSES_MAX {
            self.generation = limits.generation;
            self.classes.clear();
            self.by_key.clear();
            self.of_run.fill(NONE);
        }
        if let Some(class) = self.by_key.get(&key) {
            return *class;
        }
        let number = u32::try_from(self.classes.len()).unwrap_or(NONE);
        self.classes.push(make());
        self.by_key.insert(key, number);
        number
    }

    /// Remembers, or with `None` forgets, the class of a run.
    pub(super) fn set_class(&mut self, run: u32, class: Option<u32>) {
        if let Some(of_run) = usize::try_from(run).ok().and_then(|run| self.of_run.get_mut(run)) {
            *of_run = class.unwrap_or(NONE);
        }
    }

    pub(super) fn known_class(&self, run: u32) -> Option<u32> {
        let class = *self.of_run.get(usize::try_from(run).ok()?)?;
        (class != NONE).then_some(class)
    }
}
