//! Entries → the live view that readers ask: every Execution's status, every budget's figures.
//!
//! A second fold of the same facts, so that no question ever makes the writer wait. Never writes the ledger and never
//! shows what is not durable.

#[cfg(test)]
mod tests;

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use budget::adjust::Quarantined;
use budget::charge::{Called, Priced};
use budget::reservation::Reservation;
use budget::signal::{Attempt, Cause, Channel, Kill, Proof, Tried};
use budget::{AdjustReason, Adjustment, Charge, Entry, Fact, Found, Ref, State};
use pricing::{Money, Timestamp};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::follow::{Again, Handler};
use crate::ledger::Reader;
use crate::signal::{cause_message, counter_json};

/// A question waits at most so long for the view to catch up.
const FRESH_WAIT_MAX: Duration = Duration::from_secs(5);

/// The view; cheap to clone.
#[derive(Clone)]
pub struct View {
    state: Arc<RwLock<State>>,
    reached: Arc<watch::Sender<u64>>,
    reader: Reader,
}

/// Folds new entries into a [`View`]; run it with [`crate::follow::follow`].
pub struct Reconciler {
    view: View,
}

impl View {
    /// A view that begins as `state`, which is the fold of what `reader` holds up to `state.seq()`.
    #[must_use]
    pub fn new(state: State, reader: Reader) -> (Self, Reconciler) {
        let reached = Arc::new(watch::Sender::new(state.seq()));
        let view = Self { state: Arc::new(RwLock::new(state)), reached, reader };
        (view.clone(), Reconciler { view })
    }

    /// Asks the state as it is. Keep it short: the view stands still meanwhile.
    pub fn read<T>(&self, ask: impl FnOnce(&State) -> T) -> T {
        ask(&self.state.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Asks the state once it holds everything that was committed before this call. A view that does not get there in
    /// time answers as it is: late figures are better than none.
    pub async fn read_fresh<T>(&self, ask: impl FnOnce(&State) -> T) -> T {
        let committed = self.reader.committed();
        let mut reached = self.reached.subscribe();
        // The sender lives in `self`, so only the time can run out.
        if tokio::time::timeout(FRESH_WAIT_MAX, reached.wait_for(|reached| *reached >= committed)).await.is_err() {
            tracing::warn!(committed, "the view of executions and budgets is behind the ledger");
        }
        drop(reached);
        self.read(ask)
    }

    /// The ledger behind it.
    #[must_use]
    pub fn ledger(&self) -> &Reader {
        &self.reader
    }
}

impl Reconciler {
    /// Folds entries in, and does `beside` before anybody can ask: what it folds is never behind the view nor ahead.
    pub fn fold(&self, entries: &[Entry], beside: impl FnOnce()) {
        let mut state = self.view.state.write().unwrap_or_else(PoisonError::into_inner);
        for entry in entries {
            state.apply(entry);
        }
        let seq = state.seq();
        beside();
        drop(state);
        self.view.reached.send_replace(seq);
    }
}

impl Handler for Reconciler {
    fn take(&mut self, entries: &[Entry]) -> Result<(), Again> {
        self.fold(entries, || {});
        Ok(())
    }
}

/// A kill as the API shows it: cause, state, every time stamp, the newest attempts.
#[must_use]
pub fn kill_json(kill: &Kill) -> Value {
    let attempts = kill.attempts.iter().map(|Tried { at, channel, attempt, took_us }| {
        let (outcome, reason) = match attempt {
            Attempt::Delivered => ("delivered", None),
            Attempt::Failed(reason) => ("failed", Some(reason)),
        };
        json!({ "at": at, "channel": channel.as_str(), "outcome": outcome, "reason": reason, "tookUs": took_us })
    });
    let budget = match &kill.cause {
        Cause::Budget(counter) => counter_json(counter),
        Cause::Operator { .. } => Value::Null,
    };
    json!({
        "id": kill.id, "namespace": kill.execution.namespace, "execution": kill.execution.name,
        "state": kill.state.as_str(), "message": cause_message(&kill.cause), "budget": budget,
        "costUsdAtDecision": kill.cost_at_decision, "decidedAt": kill.decided_at,
        "turn": kill.turn.map(|turn| json!({ "allowanceUsd": turn.allowance, "until": turn.until })),
        "fencedAt": kill.fenced_at, "sentAt": kill.sent_at, "ackedAt": kill.acked_at,
        "ackedBy": kill.acked_by.map(Channel::as_str), "confirmedAt": kill.confirmed_at,
        "proof": kill.proof.map(Proof::as_str), "secondsToFence": seconds(kill, kill.fenced_at),
        "secondsToAck": seconds(kill, kill.acked_at), "secondsToConfirm": seconds(kill, kill.confirmed_at),
        "plan": kill.plan.iter().map(|step| step.channel.as_str()).collect::<Vec<_>>(),
        "channel": kill.track.channel.map(Channel::as_str), "rounds": kill.track.rounds,
        "attempts": attempts.collect::<Vec<Value>>(),
        "collateral": kill.collateral.iter().map(ToString::to_string).collect::<Vec<_>>(),
    })
}

/// A reservation as the API shows it: what was asked for, what is held, what was spent on it, where it stands.
#[must_use]
pub fn reservation_json(reservation: &Reservation, execution: &Ref) -> Value {
    let Reservation { id, asked, held, spent, reserved_at, until, generation, standing, denial, .. } = reservation;
    let (expires, resolved) = if reservation.is_held() { (Some(until), None) } else { (None, Some(until)) };
    json!({
        "id": id, "namespace": execution.namespace, "execution": execution.name, "state": standing.as_str(),
        "requestedUsd": asked.usd, "heldUsd": held.usd, "heldTokens": held.tokens, "heldToolCalls": held.tool_calls,
        "heldModelCalls": held.model_calls, "spentUsd": spent, "reservedAt": reserved_at, "expiresAt": expires,
        "resolvedAt": resolved, "generation": generation, "code": denial.as_ref().map(|denial| denial.code()),
    })
}

/// Seconds from the decision, as an exact decimal.
fn seconds(kill: &Kill, until: Option<Timestamp>) -> Option<String> {
    let nanos = until?.since(kill.decided_at).max(0);
    Some(format!("{}.{:06}", nanos / 1_000_000_000, nanos % 1_000_000_000 / 1_000))
}

/// The execution whose cost an entry moves. `None` for entries that move no cost.
#[must_use]
pub const fn cost_of(entry: &Entry) -> Option<&Ref> {
    match &entry.fact {
        Fact::Charged(charge) => Some(&charge.execution),
        Fact::Adjusted(adjustment) => Some(&adjustment.execution),
        _ => None,
    }
}

/// A charge or an adjustment as the API shows it: a ledger line behind a cost. `None` for entries of other kinds. The
/// `cost_usd` of all lines of an execution sum to its cost.
#[must_use]
pub fn entry_json(entry: &Entry) -> Option<Value> {
    match &entry.fact {
        Fact::Charged(charge) => Some(charge_json(entry, charge)),
        Fact::Adjusted(adjustment) => Some(adjustment_json(entry, adjustment)),
        _ => None,
    }
}

/// A charge without a price as the API shows it; `held` is what budgets hold until it has one.
#[must_use]
pub fn quarantined_json(seq: u64, quarantined: &Quarantined, held: Option<Money>) -> Value {
    let Quarantined { event_id, execution, time, provider, name, reason, .. } = quarantined;
    json!({
        "seq": seq, "event_id": event_id, "namespace": execution.namespace, "execution": execution.name, "time": time,
        "provider": provider, "name": name, "reason": reason.code(), "message": reason.to_string(), "held_usd": held,
    })
}

/// What was called: the word for its kind, and its names.
fn called_json(called: &Called) -> (&'static str, Value) {
    match called {
        Called::Model { provider, model, request_model, response_id } => (
            "model",
            json!({ "provider": provider, "model": model, "request_model": request_model, "response_id": response_id }),
        ),
        Called::Tool { tool, mcp_server } => ("tool", json!({ "tool": tool, "mcp_server": mcp_server })),
        Called::Approval => ("approval", json!({})),
    }
}

fn adjustment_json(entry: &Entry, adjustment: &Adjustment) -> Value {
    let (called_kind, called) = called_json(&adjustment.called);
    let (lines, table) = match &adjustment.priced {
        Priced::Cost(cost) => (json!(cost.lines), json!(cost.table)),
        Priced::Zero(_) | Priced::Reported(_) | Priced::Unpriced(_) => (json!([]), Value::Null),
    };
    let flags: Vec<&str> = match &adjustment.priced {
        Priced::Unpriced(reason) => vec!["unpriced", reason.code()],
        _ => Vec::new(),
    };
    let (reason, by) = match &adjustment.reason {
        AdjustReason::Operator { reason, by } => (Some(reason), Some(by)),
        AdjustReason::Superseded(known) => (None, Some(&known.source)),
        AdjustReason::Settled | AdjustReason::Repriced | AdjustReason::Allowance(_) => (None, None),
    };
    let mut value = json!({
        "seq": entry.seq, "event_id": adjustment.event_id, "of": adjustment.of, "time": adjustment.time,
        "recorded_at": entry.at, "kind": "adjustment", "called": called_kind, "agent": adjustment.subject.agent,
        "team": adjustment.subject.team, "status": adjustment.reason.as_str(), "cost_usd": adjustment.delta,
        "before_usd": adjustment.before, "price_usd": adjustment.priced.total(), "lines": lines, "price_table": table,
        "flags": flags, "run": adjustment.run, "reason": reason, "by": by,
    });
    if let (Some(value), Value::Object(called)) = (value.as_object_mut(), called) {
        value.extend(called);
    }
    value
}

fn charge_json(entry: &Entry, charge: &Charge) -> Value {
    let (kind, called) = called_json(&charge.called);
    let (status, cost, lines, table, reason) = match &charge.priced {
        Priced::Cost(cost) => ("priced", Some(cost.total), json!(cost.lines), json!(cost.table), None),
        Priced::Zero(zero) => ("priced", Some(Money::ZERO), json!([]), Value::Null, Some(zero.code())),
        Priced::Reported(cost) => ("reported", Some(*cost), json!([]), Value::Null, None),
        Priced::Unpriced(reason) => ("unpriced", None, json!([]), Value::Null, Some(reason.code())),
    };
    let mut flags: Vec<&str> = reason.into_iter().collect();
    if charge.estimated {
        flags.push("estimated");
    }
    if charge.late || charge.claim.as_ref().is_some_and(|claim| claim.found == Found::Late) {
        flags.push("late");
    }
    let mut value = json!({
        "seq": entry.seq, "event_id": charge.event_id, "source": charge.source, "via": charge.via, "time": charge.time,
        "recorded_at": entry.at, "kind": kind, "agent": charge.subject.agent, "team": charge.subject.team,
        "usage": charge.usage, "attrs": charge.attrs, "outcome": charge.outcome.as_str(), "status": status,
        "cost_usd": cost, "reported_cost_usd": charge.reported_cost, "lines": lines, "price_table": table,
        "flags": flags, "reservation": charge.claim.as_ref().map(|claim| &claim.reservation),
    });
    if let (Some(value), Value::Object(called)) = (value.as_object_mut(), called) {
        value.extend(called);
    }
    value
}
