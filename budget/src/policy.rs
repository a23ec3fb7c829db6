//! What a budget does beside counting: unpriced usage, lost contact, the last turn before a kill, and the way of a kill.
//!
//! Settings only, with the defaults that keep a plain budget valid. Never a counter, never a decision.

use pricing::Money;
use serde::{Deserialize, Serialize};

use crate::budget::{Fraction, Limit};
use crate::signal::Channel;

/// Everything of a budget that is neither scope nor limit nor level.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// What becomes of usage without a price.
    pub on_unpriced: OnUnpriced,
    /// Held for a call without an estimate and for a call without a price, where the budget says an amount itself.
    pub estimate_ceiling: Option<Money>,
    /// What one call may cost at most: joch's `maxCostUsdPerCall`.
    pub per_call: Option<Money>,
    /// What a sidecar does without contact to the ledger.
    pub on_partition: OnPartition,
    /// One bounded turn before the kill; `None`: the kill comes at once.
    pub wind_down: Option<WindDown>,
    /// Channels of a kill in their order; empty: the daemon's own order.
    pub kill_plan: Vec<KillStep>,
    /// This budget of a run is a slice of its parent's own; its limits are made from it.
    pub slice: Option<Slice>,
}

/// A share of the own budget of the run above.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slice {
    /// How much of each limit.
    pub share: Fraction,
    /// Limits that the run states itself beside; where both say one, the tighter holds.
    pub stated: Vec<Limit>,
}

/// What becomes of usage without a price.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum OnUnpriced {
    /// A run with unpriced usage gets no further reservation.
    Deny,
    /// The ceiling is held until the price arrives.
    #[default]
    Hold,
    /// It counts as a call and moves no money.
    Allow,
}

/// What a sidecar does without contact to the ledger.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum OnPartition {
    /// Nothing is granted.
    #[default]
    Deny,
    /// What its lease has left; with an amount, no more than that.
    AllowUpTo(Option<Money>),
    /// Everything is granted.
    Allow,
}

/// One bounded hand-back turn before a kill.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindDown {
    /// What the turn may cost above the limit.
    pub allowance: Money,
    /// How long it may last, in milliseconds.
    pub grace_ms: u64,
}

impl Policy {
    /// The last turn that the budget grants before a kill: its own limits may be passed by what that allows.
    #[must_use]
    pub fn turn(&self) -> Option<WindDown> {
        self.wind_down.filter(|wind_down| wind_down.grace_ms > 0)
    }
}

/// One step of a kill plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KillStep {
    /// How the kill travels.
    pub channel: Channel,
    /// How long this channel has before the next one is tried (for a process: between SIGTERM and SIGKILL), in
    /// milliseconds; `None`: the daemon's own.
    pub grace_ms: Option<u64>,
}
