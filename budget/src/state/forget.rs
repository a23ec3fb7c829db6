//! Runs that ended long ago leave the state: their entries stay in the ledger, their number is never given again.
//!
//! A run is only forgotten when nothing can come for it any more: it is over, nothing is held for it, it has no call without a
//! price, and its kill, if it had one, is closed. The kill goes with it, and with it the fence: a run of that name that comes
//! later is a new one.

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
            let mut kills = execution.kill.iter().chain(&execution.winding);
            let closed = kills.all(|kill| self.kill(kill).is_none_or(|kill| kill.state.is_closed()));
            ended && closed && execution.unpriced_calls == 0 && execution.holds == 0
        });
        old.take(runs_max).map(|run| run.execution.id.clone()).collect()
    }

    /// How many runs were forgotten.
    #[must_use]
    pub fn forgotten(&self) -> usize {
        self.truth.runs.iter().filter(|run| run.is_none()).count()
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
