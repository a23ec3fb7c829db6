//! Adjustments: what another price of a charge does to the families. Money only: it is no call and moves no tokens.

use budget::charge::Called;
use budget::{Adjustment, Subject};
use pricing::Timestamp;

use super::LedgerMetrics;
use super::kinds::Counter;

impl LedgerMetrics {
    /// A rise is cost like any other, under the labels of its charge; a fall is a credit, since no counter falls.
    pub(super) fn adjusted(&mut self, at: Timestamp, adjustment: &Adjustment) {
        let Subject { agent, team, .. } = &adjustment.subject;
        let whose = self.whose(&adjustment.execution.namespace, agent.as_deref(), team.as_deref(), at);
        let delta = adjustment.delta.scaled();
        let spent = delta.max(0);
        self.roll_up(at, &adjustment.execution, None, &adjustment.called, whose, delta);
        match &adjustment.called {
            Called::Model { provider, model, .. } => {
                let (provider, model) = self.model_labels(&adjustment.priced, provider, model);
                let labels = [provider, model, whose.namespace, whose.agent, whose.team];
                self.families.add(Counter::ModelCost, &labels, spent, None);
            }
            Called::Tool { tool, .. } => {
                let families = &mut self.families;
                let tool = families.admission.tool(&mut families.symbols, &families.caps, tool);
                self.tools_at.insert(tool.symbol, at);
                self.families.wake((whose.namespace.symbol, whose.agent.symbol), Some(tool.symbol));
                let labels = [tool, whose.namespace, whose.agent, whose.team];
                self.families.add(Counter::ToolCost, &labels, spent, None);
            }
            Called::Approval => {}
        }
        self.budgets.charged(&mut self.families, &adjustment.execution, &adjustment.subject, spent);
        if let Some(run) = self.runs.get_mut(&adjustment.execution) {
            run.cost = run.cost.saturating_add(delta);
            // What was called after the limit counts beyond it, also when its price came later.
            let fence = |kill: &str| kill.strip_prefix("kill-").and_then(|seq| seq.parse::<u64>().ok());
            let kill = run.kill.as_ref().filter(|kill| fence(kill).is_some_and(|fence| adjustment.of > fence));
            if let Some(kill) = kill.and_then(|kill| self.kills.get_mut(kill)) {
                kill.overshoot = kill.overshoot.saturating_add(delta).max(0);
            }
        }
        self.last_charge = Some((adjustment.execution.clone(), spent));
    }
}
