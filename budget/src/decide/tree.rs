//! Kills of trees: a run's own budget counts all that is below the run, so what uses it up ends with it.

use super::kill::Kills;
use crate::entry::Fact;
use crate::policy::Policy;
use crate::signal::CounterAt;

impl Kills<'_> {
    /// Fences a run and every live run below it.
    pub(super) fn tree(&mut self, root: u32, counter: &CounterAt, policy: &Policy, facts: &mut Vec<Fact>) {
        let state = self.state();
        for (number, run) in state.live_runs() {
            if self.is_full() {
                return;
            }
            if state.ancestry(number).any(|(above, _)| above == root) {
                self.kill(number, run, counter.clone(), policy, run.execution.cost, facts);
            }
        }
    }
}
