//! Runs and their calls: what an opening, a charge and an end do to the families.

use std::collections::BTreeSet;
use std::sync::Arc;

use budget::charge::Called;
use budget::entry::{Opened, Phase};
use budget::signal::Proof;
use budget::{Charge, Priced, Ref, Subject};
use pricing::usage::TokenTotals;
use pricing::{Timestamp, Unpriced};
use serde::{Deserialize, Serialize};

use super::LedgerMetrics;
use super::caps::Value;
use super::kinds::{Counter, Histogram};
use super::series::{Cause, Symbol};
use super::words;

/// A run that is open.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Run {
    pub(super) agent: Option<Arc<str>>,
    pub(super) team: Option<Arc<str>>,
    /// Own cost so far, in 10⁻¹⁸ USD.
    pub(super) cost: i128,
    /// The kill that fenced it.
    pub(super) kill: Option<Arc<str>>,
    /// The trace of its newest call, when that came with one.
    pub(super) trace: Option<u128>,
}

/// The labels that say whom a figure is for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Whose {
    pub(super) namespace: Value,
    pub(super) agent: Value,
    pub(super) team: Value,
}

/// How long an agent's series are written after its last entry, and a tool's after its last call.
const AGENT_IDLE_NANOS: i64 = 24 * 3600 * 1_000_000_000;
const TOOL_IDLE_NANOS: i64 = 3600 * 1_000_000_000;
/// How often, in log time, idle agents and tools are looked for.
const SWEEP_NANOS: i64 = 900 * 1_000_000_000;

impl LedgerMetrics {
    /// Whom entries of this subject count for; admits new names while the caps have room.
    pub(super) fn whose(&mut self, namespace: &str, agent: Option<&str>, team: Option<&str>, at: Timestamp) -> Whose {
        let families = &mut self.families;
        let (symbols, caps) = (&mut families.symbols, &families.caps);
        let namespace = families.admission.namespace(symbols, caps, namespace);
        let agent = families.admission.agent(symbols, caps, namespace.symbol, agent.unwrap_or_default());
        let team = families.admission.team(symbols, caps, team.unwrap_or_default());
        let pair = (namespace.symbol, agent.symbol);
        self.agents_at.insert(pair, at);
        self.families.wake(pair, None);
        Whose { namespace, agent, team }
    }

    pub(super) fn opened(&mut self, at: Timestamp, opened: &Opened) {
        let Subject { agent, team, .. } = &opened.subject;
        let whose = self.whose(&opened.execution.namespace, agent.as_deref(), team.as_deref(), at);
        self.known(whose);
        let fresh = || Run { agent: None, team: None, cost: 0, kill: None, trace: None };
        let run = self.runs.entry(opened.execution.clone()).or_insert_with(fresh);
        run.agent = agent.clone().or(run.agent.take());
        run.team = team.clone().or(run.team.take());
    }

    /// Everything about this subject that can be known before its first charge, at 0.
    fn known(&mut self, whose: Whose) {
        let Whose { namespace, agent, team } = whose;
        let priced = self.families.closed(words::PRICED);
        for category in words::CATEGORIES {
            let category = self.families.closed(category);
            self.families.zero(Counter::Cost, &[namespace, agent, team, category, priced]);
        }
        for phase in [Phase::Succeeded, Phase::Failed, Phase::Cancelled] {
            let outcome = self.families.closed(words::phase(phase));
            self.families.zero(Counter::Executions, &[namespace, agent, team, outcome]);
        }
        self.families.zero(Counter::Credit, &[namespace, team]);
        for (token_type, _) in words::by_type(&TokenTotals::default()) {
            let token_type = self.families.closed(token_type);
            self.families.zero(Counter::TokensCredit, &[namespace, team, token_type]);
        }
        for channel in words::CHANNELS {
            let channel = self.families.closed(channel);
            self.families.zero(Counter::KillsSent, &[channel, namespace]);
        }
        self.families.zero_histogram(Histogram::ExecutionCost, &[namespace, team]);
        self.families.zero_histogram(Histogram::KillOvershoot, &[namespace]);
    }

    pub(super) fn ended(&mut self, at: Timestamp, execution: &Ref, phase: Phase) {
        let Some(run) = self.runs.remove(execution) else { return };
        let whose = self.whose(&execution.namespace, run.agent.as_deref(), run.team.as_deref(), at);
        let outcome = self.families.closed(words::phase(phase));
        let Whose { namespace, agent, team } = whose;
        self.families.add(Counter::Executions, &[namespace, agent, team, outcome], 1, None);
        let cause = cause(execution, run.trace, run.cost, at);
        self.families.observe(Histogram::ExecutionCost, &[namespace, team], run.cost, Some(cause));
        // The confirmation that follows this entry is the same one, and finds the kill closed.
        if let Some(kill) = run.kill {
            self.kill_confirmed(at, &kill, Proof::PhaseTerminal);
        }
    }

    pub(super) fn charged(&mut self, at: Timestamp, charge: &Charge) {
        let Subject { agent, team, .. } = &charge.subject;
        let whose = self.whose(&charge.execution.namespace, agent.as_deref(), team.as_deref(), at);
        let amount = charge.amount().scaled();
        let spent = amount.max(0);
        let trace = trace_of(charge);
        self.roll_up(at, &charge.execution, trace, &charge.called, whose, amount);
        match &charge.called {
            Called::Model { provider, model, .. } => self.model_call(charge, whose, provider, model, spent),
            Called::Tool { tool, .. } => self.tool_call(at, charge, whose, tool, spent),
            Called::Approval => {}
        }
        if let Priced::Unpriced(reason) = &charge.priced {
            self.unpriced(&charge.called, &charge.priced, reason);
        }
        self.budgets.charged(&mut self.families, &charge.execution, &charge.subject, spent);
        if let Some(run) = self.runs.get_mut(&charge.execution) {
            run.cost = run.cost.saturating_add(amount);
            run.trace = trace.or(run.trace);
            // A run that was opened without an agent or a team takes them from its calls.
            run.agent = run.agent.take().or_else(|| agent.clone());
            run.team = run.team.take().or_else(|| team.clone());
            if let Some(kill) = run.kill.as_ref().and_then(|kill| self.kills.get_mut(kill)) {
                kill.overshoot = kill.overshoot.saturating_add(spent);
            }
        }
        self.last_charge = Some((charge.execution.clone(), spent));
    }

    /// The roll-up of all categories. It never carries a model or a tool, so junk names cannot fill it.
    pub(super) fn roll_up(
        &mut self,
        at: Timestamp,
        execution: &Ref,
        trace: Option<u128>,
        called: &Called,
        whose: Whose,
        amount: i128,
    ) {
        let Whose { namespace, agent, team } = whose;
        let category = self.families.closed(words::category(called));
        let basis = self.families.closed(words::PRICED);
        let cause = (amount > 0).then(|| cause(execution, trace, amount, at));
        self.families.add(Counter::Cost, &[namespace, agent, team, category, basis], amount.max(0), cause);
        if amount < 0 {
            self.families.add(Counter::Credit, &[namespace, team], amount.saturating_neg(), None);
        }
    }

    fn model_call(&mut self, charge: &Charge, whose: Whose, provider: &str, model: &str, spent: i128) {
        let Whose { namespace, agent, team } = whose;
        let (provider, model) = self.model_labels(&charge.priced, provider, model);
        let labels = [provider, model, namespace, agent, team];
        self.families.add(Counter::ModelCost, &labels, spent, None);
        let begins = self.families.begins(Counter::Tokens, &labels);
        for (token_type, tokens) in words::tokens(&charge.usage) {
            if tokens == 0 && !begins {
                continue;
            }
            let token_type = self.families.closed(token_type);
            let values = [provider, model, namespace, agent, team, token_type];
            self.call(Counter::Tokens, &values, tokens);
        }
        for outcome in words::OUTCOMES {
            if outcome != charge.outcome && !begins {
                continue;
            }
            let label = self.families.closed(outcome.as_str());
            let values = [provider, model, namespace, agent, team, label];
            self.call(Counter::ModelCalls, &values, u64::from(outcome == charge.outcome));
        }
    }

    fn tool_call(&mut self, at: Timestamp, charge: &Charge, whose: Whose, tool: &str, spent: i128) {
        let Whose { namespace, agent, team } = whose;
        let families = &mut self.families;
        let tool = families.admission.tool(&mut families.symbols, &families.caps, tool);
        self.tools_at.insert(tool.symbol, at);
        self.families.wake((namespace.symbol, agent.symbol), Some(tool.symbol));
        self.families.add(Counter::ToolCost, &[tool, namespace, agent, team], spent, None);
        for outcome in words::OUTCOMES {
            let label = self.families.closed(outcome.as_str());
            let calls = if outcome == charge.outcome { words::tool_calls(&charge.usage) } else { 0 };
            self.call(Counter::ToolCalls, &[tool, namespace, agent, team, label], calls);
        }
    }

    /// So many more in one series of a closed set; the others of the set become known at 0.
    pub(super) fn call(&mut self, counter: Counter, values: &[Value], by: u64) {
        if by > 0 {
            self.families.add(counter, values, i128::from(by), None);
        } else {
            self.families.zero(counter, values);
        }
    }

    /// Provider and model as labels. A name gets in when a price table knew it; a failed or unpriced call may carry a
    /// typo or an invention, so it uses a name that is in already, or `_other`.
    pub(super) fn model_labels(&mut self, priced: &Priced, provider: &str, model: &str) -> (Value, Value) {
        let (provider_known, model_known) = match priced {
            Priced::Cost(_) | Priced::Unpriced(Unpriced::NoRateForUnit(_) | Unpriced::NoRateAtTime) => (true, true),
            Priced::Unpriced(Unpriced::UnknownModel) => (true, false),
            // A call that cost nothing was not looked up.
            Priced::Unpriced(_) | Priced::Zero(_) | Priced::Reported(_) => (false, false),
        };
        let families = &mut self.families;
        let (symbols, caps) = (&mut families.symbols, &families.caps);
        let provider = families.admission.provider(symbols, caps, provider, provider_known);
        let model = families.admission.model(symbols, caps, provider.symbol, model, model_known);
        (provider, model)
    }

    pub(super) fn unpriced(&mut self, called: &Called, priced: &Priced, reason: &Unpriced) {
        let provider = match called {
            Called::Model { provider, model, .. } => self.model_labels(priced, provider, model).0,
            Called::Tool { .. } | Called::Approval => Value::of(Symbol::EMPTY),
        };
        for code in words::UNPRICED {
            let label = self.families.closed(code);
            self.call(Counter::Unpriced, &[provider, label], u64::from(code == words::unpriced(reason)));
        }
    }

    /// Hides the series of agents and tools that have been idle for long, now and then in log time.
    pub(super) fn sweep(&mut self, at: Timestamp) {
        if at.since(self.swept_at) < SWEEP_NANOS {
            return;
        }
        self.swept_at = at;
        let idle = |last: Timestamp, limit| at.since(last) >= limit;
        let agents: BTreeSet<_> =
            self.agents_at.iter().filter(|(_, last)| idle(**last, AGENT_IDLE_NANOS)).map(|(pair, _)| *pair).collect();
        let tools: BTreeSet<_> =
            self.tools_at.iter().filter(|(_, last)| idle(**last, TOOL_IDLE_NANOS)).map(|(tool, _)| *tool).collect();
        self.families.rest(agents, tools);
    }
}

/// The execution and the trace behind an amount, for an exemplar.
pub(super) fn cause(execution: &Ref, trace: Option<u128>, amount: i128, at: Timestamp) -> Cause {
    Cause { execution: Arc::clone(&execution.name), trace, amount, at_nanos: at.nanos() }
}

/// The trace of a call that came as a span: its event is named `traceid:spanid`, in hex.
fn trace_of(charge: &Charge) -> Option<u128> {
    let (trace, span) = charge.event_id.split_once(':').filter(|_| &*charge.via == "otlp")?;
    (trace.len() == 32 && span.len() == 16).then(|| u128::from_str_radix(trace, 16).ok()).flatten()
}
