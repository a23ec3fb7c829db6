//! Adjustments: what another price of a charge does to the families. It is no call. Where a call took its estimate's place, what it
//! used more is counted under the estimate's labels, and what it used less is a credit.

use budget::adjust::Superseded;
use budget::charge::Called;
use budget::{AdjustReason, Adjustment, Priced, Subject, Turns};
use pricing::Timestamp;

use super::LedgerMetrics;
use super::kinds::Counter;
use super::runs::Whose;
use super::words;

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
        if let AdjustReason::Superseded(known) = &adjustment.reason {
            self.superseded(&adjustment.called, &adjustment.priced, whose, known);
        }
        if let (Turns::Unpriced, Priced::Unpriced(reason)) = (adjustment.turns, &adjustment.priced) {
            self.unpriced(&adjustment.called, &adjustment.priced, reason);
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

    /// Tokens and tool calls of a call beyond those of its estimate, and the tokens that it takes back.
    fn superseded(&mut self, called: &Called, priced: &Priced, whose: Whose, known: &Superseded) {
        let Whose { namespace, agent, team } = whose;
        match called {
            Called::Model { provider, model, .. } => {
                let (provider, model) = self.model_labels(priced, provider, model);
                let before = words::by_type(&known.tokens_before);
                for ((token_type, now), (_, before)) in words::by_type(&known.tokens).into_iter().zip(before) {
                    let token_type = self.families.closed(token_type);
                    let values = [provider, model, namespace, agent, team, token_type];
                    self.call(Counter::Tokens, &values, now.saturating_sub(before));
                    self.call(Counter::TokensCredit, &[namespace, team, token_type], before.saturating_sub(now));
                }
            }
            Called::Tool { tool, .. } => {
                let families = &mut self.families;
                let tool = families.admission.tool(&mut families.symbols, &families.caps, tool);
                let outcome = self.families.closed(known.outcome.as_str());
                let more = known.tool_calls.saturating_sub(known.tool_calls_before);
                self.call(Counter::ToolCalls, &[tool, namespace, agent, team, outcome], more);
            }
            Called::Approval => {}
        }
    }
}
