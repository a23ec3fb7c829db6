//! Runs that ended long ago leave the state: their entries stay in the ledger, their number is never given again. Runs that nobody
//! ends are put to rest when nothing has named them for long, and leave it like those.
//!
//! A run is only forgotten when nothing can come for it any more: it is over or at rest, nothing is held for it, it has no call
//! without a price, its kill, if it had one, is closed, and no run below it is known, which would count on it. The kill goes with
//! it, and with it the fence: a run of that name that comes later is a new one.

use pricing::Timestamp;

use super::{Run, State};
#[cfg(feature = "mistakes")]
use crate::mistakes::{Mistake, made};
use crate::scope::Ref;

impl State {
    /// Runs that ended, or were put to rest, before `before` and may be forgotten, oldest first, at most so many.
    #[must_use]
    pub fn forgettable(&self, before: Timestamp, runs_max: usize) -> Vec<Ref> {
        let old = |run: &Run| {
            let over = if run.is_live() { run.execution.rested_at } else { run.execution.completed_at };
            over.is_some_and(|over| over < before) && self.has_nothing_open(run)
        };
        let runs = || (0_u32..).zip(&self.truth.runs).filter_map(|(number, run)| Some((number, run.as_deref()?)));
        if !runs().any(|(_, run)| old(run)) {
            return Vec::new();
        }
        let mut has_children = vec![false; self.truth.runs.len()];
        for parent in runs().filter_map(|(_, run)| run.parent) {
            if let Some(has_children) = usize::try_from(parent).ok().and_then(|parent| has_children.get_mut(parent)) {
                *has_children = true;
            }
        }
        #[cfg(feature = "mistakes")]
        if made(Mistake::ForgottenInTheTree) {
            has_children.fill(false);
        }
        let leaf = |number: u32| usize::try_from(number).is_ok_and(|at| has_children.get(at) == Some(&false));
        let old = runs().filter(|(number, run)| leaf(*number) && old(run));
        old.take(runs_max).map(|(_, run)| run.execution.id.clone()).collect()
    }

    /// Runs that are not over, that nothing has named since `before` and for which nothing is open, oldest first, at most so many.
    #[must_use]
    pub fn restable(&self, before: Timestamp, runs_max: usize) -> Vec<Ref> {
        let idle = self.live_runs().filter(|(_, run)| {
            run.named_at < before && run.execution.rested_at.is_none() && self.has_nothing_open(run)
        });
        idle.take(runs_max).map(|(_, run)| run.execution.id.clone()).collect()
    }

    /// Is nothing held for a run, no price awaited, and no kill on its way?
    fn has_nothing_open(&self, run: &Run) -> bool {
        let execution = &run.execution;
        let mut kills = execution.kill.iter().chain(&execution.winding);
        let closed = kills.all(|kill| self.kill(kill).is_none_or(|kill| kill.state.is_closed()));
        #[cfg(feature = "mistakes")]
        let closed = closed || made(Mistake::ForgottenWithItsKill);
        closed && execution.unpriced_calls == 0 && execution.holds == 0
    }

    /// How many runs were forgotten.
    #[must_use]
    pub fn forgotten(&self) -> usize {
        self.truth.runs.iter().filter(|run| run.is_none()).count()
    }

    pub(super) fn rest(&mut self, now: Timestamp, execution: &Ref) {
        if let Some(run) = self.number(execution).and_then(|number| self.run_mut(number)) {
            run.execution.rested_at = Some(now);
        }
    }

    pub(super) fn forget(&mut self, execution: &Ref) {
        let Some(number) = self.number(execution) else { return };
        self.index.runs.remove(execution, |known| known == number);
        self.index.live.remove(&number);
        self.index.set_class(number, None);
        self.truth.processes.remove(&number);
        if let Some(slot) = usize::try_from(number).ok().and_then(|number| self.truth.runs.get_mut(number)) {
            let run = slot.take();
            for kill in run.iter().flat_map(|run| run.execution.kill.iter().chain(&run.execution.winding)) {
                if let Some(place) = self.index.remove_kill(kill).and_then(|number| self.truth.kills.get_mut(number)) {
                    *place = None;
                }
            }
        }
    }
}
