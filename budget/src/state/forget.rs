//! Runs that ended long ago leave the state: their entries stay in the ledger, their number is never given again.
//!
//! A run is only forgotten when nothing can come for it any more: it is over, nothing is held for it, it has no call without a
//! price, and it was never killed, since a fence is for ever. A run of that name that comes later is a new one.

use pricing::Timestamp;

use super::State;
use crate::scope::Ref;

impl State {
    /// Runs that ended before `before` and may be forgotten, oldest first, at most so many.
    #[must_use]
    pub fn forgettable(&self, before: Timestamp, runs_max: usize) -> Vec<Ref> {
        let old = self.truth.runs.iter().flatten().filter(|run| {
            let execution = &run.execution;
            let ended = execution.phase.is_terminal() && execution.completed_at.is_some_and(|ended| ended < before);
            ended && execution.kill.is_none() && execution.unpriced_calls == 0 && run.holds == 0
        });
        old.take(runs_max).map(|run| run.execution.id.clone()).collect()
    }

    /// How many runs were forgotten.
    #[must_use]
    pub fn forgotten(&self) -> usize {
        self.truth.runs.iter().filter(|run| run.is_none()).count()
    }

    pub(super) fn forget(&mut self, execution: &Ref) {
        let Some(number) = self.index.runs.remove(execution) else { return };
        self.index.live.remove(&number);
        self.index.set_class(number, None);
        self.truth.processes.remove(&number);
        if let Some(slot) = usize::try_from(number).ok().and_then(|number| self.truth.runs.get_mut(number)) {
            *slot = None;
        }
    }
}
