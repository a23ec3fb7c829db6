//! Kills and warnings on their way to the runs: entries → one hub that every open stream listens to.
//!
//! The fence is already in the ledger when anything here happens; a signal is a courtesy, at least once, idempotent by
//! kill id. Never decides and never writes the ledger.

mod counter;
pub mod deliver;
pub mod exceeded;
pub mod joch;
pub mod process;
pub mod target;
#[cfg(test)]
mod tests;
pub mod webhook;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use budget::signal::Cause;
use budget::{Entry, Fact, Ref};
use serde_json::{Value, json};
use tokio::sync::broadcast;

pub use self::counter::{Shown, amount, counter_json};
use crate::follow::{Again, Handler};

/// Signals that a slow stream may lag behind before it is told to start over from its last id.
const LAG_MAX: usize = 64;
/// Listeners of one run at a time: its agent, its supervisor, some people who watch.
pub const LISTENERS_PER_RUN_MAX: usize = 64;

/// One signal to one run.
#[derive(Clone, Debug, PartialEq)]
pub struct Signal {
    /// Sequence number of its entry: the stream's event id.
    pub seq: u64,
    /// `kill`, `wind_down` or `budget_warning`.
    pub event: &'static str,
    /// The kill, for `kill` and `wind_down`.
    pub kill: Option<Arc<str>>,
    /// What is sent.
    pub data: Value,
}

/// Where streams listen. Holds a channel only for runs that somebody listens to.
#[derive(Clone, Default)]
pub struct Hub {
    channels: Arc<Mutex<HashMap<Ref, broadcast::Sender<Signal>>>>,
}

/// One listener of one run; gone from the hub when it is dropped.
pub struct Listener {
    hub: Hub,
    execution: Ref,
    /// There until it is dropped.
    receiver: Option<broadcast::Receiver<Signal>>,
}

/// Why nothing more comes to a listener: it lagged behind, and finds what it missed in the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("signals came faster than they were taken")]
pub struct Lagged;

/// Why a run takes no further listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{LISTENERS_PER_RUN_MAX} listeners hold a stream of this run already; close one")]
pub struct TooManyListeners;

/// Feeds a [`Hub`] from the ledger; run it with [`crate::follow::follow`].
pub struct Feed {
    hub: Hub,
}

impl Hub {
    /// An empty hub and its feed.
    #[must_use]
    pub fn new() -> (Self, Feed) {
        let hub = Self::default();
        (hub.clone(), Feed { hub })
    }

    /// Listens for signals to one run from now on.
    pub fn listen(&self, execution: &Ref) -> Result<Listener, TooManyListeners> {
        let mut channels = self.channels();
        let sender = channels.entry(execution.clone()).or_insert_with(|| broadcast::Sender::new(LAG_MAX));
        if sender.receiver_count() >= LISTENERS_PER_RUN_MAX {
            return Err(TooManyListeners);
        }
        let receiver = Some(sender.subscribe());
        drop(channels);
        Ok(Listener { hub: self.clone(), execution: execution.clone(), receiver })
    }

    /// Does anybody listen to this run?
    #[must_use]
    pub fn has_listener(&self, execution: &Ref) -> bool {
        self.channels().contains_key(execution)
    }

    /// Runs that somebody listens to.
    #[must_use]
    pub fn runs(&self) -> usize {
        self.channels().len()
    }

    fn send(&self, execution: &Ref, signal: Signal) {
        if let Some(sender) = self.channels().get(execution) {
            // Nobody listening any more is no error: the fence holds without a listener.
            drop(sender.send(signal));
        }
    }

    fn channels(&self) -> MutexGuard<'_, HashMap<Ref, broadcast::Sender<Signal>>> {
        self.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Listener {
    /// The next signal; waits for ever when none comes.
    pub async fn next(&mut self) -> Result<Signal, Lagged> {
        let Some(receiver) = &mut self.receiver else { return Err(Lagged) };
        // The channel is closed only after its last listener, so the error can only be a lag.
        receiver.recv().await.map_err(|_| Lagged)
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let mut channels = self.hub.channels();
        // Counted out under the lock, so that the last one always knows that it is.
        self.receiver = None;
        if channels.get(&self.execution).is_some_and(|sender| sender.receiver_count() == 0) {
            channels.remove(&self.execution);
        }
    }
}

impl Handler for Feed {
    fn take(&mut self, entries: &[Entry]) -> Result<(), Again> {
        for entry in entries {
            if let Some((execution, signal)) = signal_of(entry) {
                self.hub.send(execution, signal);
            }
        }
        Ok(())
    }
}

/// The signal that an entry means for its run, if it means one.
#[must_use]
pub fn signal_of(entry: &Entry) -> Option<(&Ref, Signal)> {
    match &entry.fact {
        Fact::Killed { kill, execution, cause, cost } | Fact::Fenced { kill, execution, cause, cost } => {
            let data = kill_data("kill", kill, execution, cause, *cost, entry.at);
            Some((execution, Signal { seq: entry.seq, event: "kill", kill: Some(Arc::clone(kill)), data }))
        }
        Fact::WindDown { kill, execution, cause, cost, turn } => {
            let mut data = kill_data("wind_down", kill, execution, cause, *cost, entry.at);
            if let Some(data) = data.as_object_mut() {
                data.insert("allowanceUsd".to_owned(), json!(turn.allowance));
                data.insert("until".to_owned(), json!(turn.until));
            }
            Some((execution, Signal { seq: entry.seq, event: "wind_down", kill: Some(Arc::clone(kill)), data }))
        }
        Fact::Warned { execution, counter, level } => {
            let data = json!({
                "type": "budget_warning", "execution": execution.name, "namespace": execution.namespace,
                "level": fraction(level.0), "budget": counter_json(counter), "at": entry.at,
            });
            Some((execution, Signal { seq: entry.seq, event: "budget_warning", kill: None, data }))
        }
        Fact::Reached { execution, counter } => {
            let data = json!({
                "type": "budget_warning", "execution": execution.name, "namespace": execution.namespace,
                "level": "1", "budget": counter_json(counter), "at": entry.at,
            });
            Some((execution, Signal { seq: entry.seq, event: "budget_warning", kill: None, data }))
        }
        _ => None,
    }
}

/// What is sent for a kill, or for the turn before it. `decidedAt` of a kill is the time of its fence.
pub(crate) fn kill_data(
    event: &str,
    kill: &str,
    execution: &Ref,
    cause: &Cause,
    cost: pricing::Money,
    at: pricing::Timestamp,
) -> Value {
    let (reason, budget) = match cause {
        Cause::Budget(counter) => ("budget_exceeded", counter_json(counter)),
        Cause::Operator { .. } => ("operator", Value::Null),
    };
    json!({
        "id": kill, "type": event, "execution": execution.name, "namespace": execution.namespace, "reason": reason,
        "message": cause_message(cause), "costUsd": cost, "decidedAt": at, "budget": budget,
    })
}

/// Parts per million as a decimal: 800,000 is `0.8`.
#[must_use]
pub fn fraction(ppm: u32) -> String {
    let text = format!("{}.{:06}", ppm / 1_000_000, ppm % 1_000_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Why a run was killed, in a sentence.
#[must_use]
pub fn cause_message(cause: &Cause) -> String {
    match cause {
        Cause::Operator { reason, by } => format!("killed by {by}: {reason}"),
        Cause::Budget(counter) => format!(
            "budget {} reached its {} limit: {} of {} {}",
            counter.budget,
            counter.window.as_str(),
            amount(counter.unit, counter.spent),
            amount(counter.unit, counter.limit),
            unit_word(counter.unit)
        ),
    }
}

/// The wire's word for a unit.
#[must_use]
pub const fn unit_word(unit: budget::Unit) -> &'static str {
    match unit {
        budget::Unit::Usd => "usd",
        budget::Unit::Tokens => "tokens",
        budget::Unit::ToolCalls => "toolCalls",
        budget::Unit::ModelCalls => "modelCalls",
    }
}

/// The kind of resource a budget came from.
#[must_use]
pub const fn source_word(source: budget::Source) -> &'static str {
    match source {
        budget::Source::Budget => "Budget",
        budget::Source::Agent => "Agent",
        budget::Source::Execution => "Execution",
        budget::Source::ModelRoute => "ModelRoute",
    }
}
