//! Kills: sent, answered, failed; how long the answer took; what was charged between the limit and the stop.

use std::sync::Arc;

use budget::signal::{Attempt, Cause, Channel, Proof};
use budget::{Ref, Unit};
use pricing::Timestamp;
use serde::{Deserialize, Serialize};

use super::LedgerMetrics;
use super::kinds::{Counter, Histogram};
use super::runs::cause;
use super::words;

/// A kill that is not closed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct OpenKill {
    execution: Ref,
    decided_at: Timestamp,
    /// Charged between the limit and now, in 10⁻¹⁸ USD.
    pub(super) overshoot: i128,
    /// The channel that took it last, or that the agent answered on.
    channel: Option<Channel>,
    acked: bool,
    /// The trace of the run's newest call.
    trace: Option<u128>,
}

impl LedgerMetrics {
    /// The closed label sets that need no name from the ledger, at 0.
    pub(super) fn kills_known(&mut self) {
        for channel in words::CHANNELS {
            let channel = self.families.closed(channel);
            for outcome in [words::ACKED, words::CONFIRMED, words::MOOT] {
                let outcome = self.families.closed(outcome);
                self.families.zero(Counter::KillsAcked, &[channel, outcome]);
            }
            for reason in words::KILL_FAILURES {
                let reason = self.families.closed(reason);
                self.families.zero(Counter::KillsFailed, &[channel, reason]);
            }
            self.families.zero(Counter::KillsEscalated, &[channel]);
            self.families.zero_histogram(Histogram::KillLatency, &[channel]);
        }
    }

    pub(super) fn killed(&mut self, at: Timestamp, kill: &Arc<str>, execution: &Ref, why: &Cause) {
        let overshoot = match why {
            Cause::Budget(counter) if counter.unit == Unit::Usd => {
                // Only what this run's own charge put above the limit: another run may share the budget.
                let own = self.last_charge.as_ref().filter(|(run, _)| run == execution).map_or(0, |(_, spent)| *spent);
                counter.spent.saturating_sub(counter.limit).clamp(0, own)
            }
            Cause::Budget(_) | Cause::Operator { .. } => 0,
        };
        let mut trace = None;
        if let Some(run) = self.runs.get_mut(execution) {
            run.kill = Some(Arc::clone(kill));
            trace = run.trace;
        }
        let execution = execution.clone();
        let open = OpenKill { execution, decided_at: at, overshoot, channel: None, acked: false, trace };
        self.kills.insert(Arc::clone(kill), open);
    }

    pub(super) fn kill_sent(&mut self, kill: &str, channel: Channel, attempt: &Attempt) {
        let label = self.families.closed(channel.as_str());
        match attempt {
            Attempt::Delivered => {
                let Some(open) = self.kills.get_mut(kill) else { return };
                open.channel = Some(channel);
                let families = &mut self.families;
                let (symbols, caps) = (&mut families.symbols, &families.caps);
                let namespace = families.admission.namespace(symbols, caps, &open.execution.namespace);
                families.add(Counter::KillsSent, &[label, namespace], 1, None);
            }
            Attempt::Failed(text) => {
                let reason = self.families.closed(words::kill_failure(text));
                self.families.add(Counter::KillsFailed, &[label, reason], 1, None);
            }
        }
    }

    /// A channel did not do: the next one, or nobody, is named.
    pub(super) fn kill_escalated(&mut self, to: Option<Channel>) {
        let label = self.families.closed(to.map_or(words::NO_CHANNEL, Channel::as_str));
        self.families.add(Counter::KillsEscalated, &[label], 1, None);
    }

    pub(super) fn kill_manual(&mut self, kill: &str) {
        let Some(open) = self.kills.get(kill) else { return };
        let families = &mut self.families;
        let (symbols, caps) = (&mut families.symbols, &families.caps);
        let namespace = families.admission.namespace(symbols, caps, &open.execution.namespace);
        families.add(Counter::KillsManual, &[namespace], 1, None);
    }

    pub(super) fn kill_acked(&mut self, at: Timestamp, kill: &str, channel: Channel) {
        let Some(open) = self.kills.get_mut(kill) else { return };
        let first = !open.acked;
        open.acked = true;
        open.channel = Some(channel);
        let (execution, trace, took) = (open.execution.clone(), open.trace, i128::from(at.since(open.decided_at)));
        let label = self.families.closed(channel.as_str());
        let outcome = self.families.closed(words::ACKED);
        self.families.add(Counter::KillsAcked, &[label, outcome], 1, None);
        if first {
            let cause = cause(&execution, trace, took, at);
            self.families.observe(Histogram::KillLatency, &[label], took, Some(cause));
        }
    }

    /// A terminal phase proves a kill that some transport took; one that nobody was told of had nothing to stop.
    pub(super) fn kill_confirmed(&mut self, at: Timestamp, kill: &str, proof: Proof) {
        let Some(open) = self.kills.remove(kill) else { return };
        let channel = match proof {
            Proof::ProcessGone => Some(Channel::Process),
            Proof::PhaseTerminal | Proof::Target => open.channel,
        };
        let outcome = if channel.is_some() { words::CONFIRMED } else { words::MOOT };
        self.closed(at, &open, channel, outcome);
    }

    fn closed(&mut self, at: Timestamp, open: &OpenKill, channel: Option<Channel>, outcome: &str) {
        let channel = self.families.closed(channel.map_or(words::NO_CHANNEL, Channel::as_str));
        let confirmed = outcome == words::CONFIRMED;
        let outcome = self.families.closed(outcome);
        self.families.add(Counter::KillsAcked, &[channel, outcome], 1, None);
        if confirmed && !open.acked {
            let took = i128::from(at.since(open.decided_at));
            let cause = cause(&open.execution, open.trace, took, at);
            self.families.observe(Histogram::KillLatency, &[channel], took, Some(cause));
        }
        self.overshot(at, open);
    }

    fn overshot(&mut self, at: Timestamp, open: &OpenKill) {
        let families = &mut self.families;
        let (symbols, caps) = (&mut families.symbols, &families.caps);
        let namespace = families.admission.namespace(symbols, caps, &open.execution.namespace);
        let cause = cause(&open.execution, open.trace, open.overshoot, at);
        families.observe(Histogram::KillOvershoot, &[namespace], open.overshoot, Some(cause));
    }
}
