//! State: the fold of all entries. `apply` never fails and never decides; `decide` never mutates.
//!
//! Ids are dense and given in the order of the entries, so two folds of the same entries are equal to the last bit.

use std::sync::Arc;

use pricing::cost::TableRef;
use pricing::{Money, Timestamp};
use serde::{Deserialize, Serialize};

use crate::charge::Subject;
use crate::entry::{Applied, Entry, Phase};
use crate::scope::Ref;
use crate::signal::Kill;

/// Everything known, folded from the ledger.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    // private, dense tables; see the accessors
    seq: u64,
}

/// One run as the state remembers it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Execution {
    /// Name.
    pub id: Ref,
    /// Whom it is for.
    pub subject: Subject,
    /// The run that started it.
    pub parent: Option<Ref>,
    /// Conversation.
    pub conversation: Option<Arc<str>>,
    /// Where it stands.
    pub phase: Phase,
    /// The document as sent, if any.
    pub document: Option<Arc<str>>,
    /// First seen (event time of its first call, else log time of its opening).
    pub started_at: Timestamp,
    /// Ended.
    pub completed_at: Option<Timestamp>,
    /// Own cost.
    pub cost: Money,
    /// Own cost and that of every run below it.
    pub subtree_cost: Money,
    /// Model calls.
    pub model_calls: u64,
    /// Tool calls.
    pub tool_calls: u64,
    /// Approvals.
    pub approvals: u64,
    /// Tokens by disjoint type.
    pub tokens: Tokens,
    /// Calls without a price.
    pub unpriced_calls: u64,
    /// Calls booked after the fence.
    pub calls_after_fence: u64,
    /// Cost booked after the fence.
    pub cost_after_fence: Money,
    /// Price tables that priced its calls, in order of first use.
    pub tables: Vec<TableRef>,
    /// The kill that fenced it.
    pub kill: Option<Arc<str>>,
    /// Soft level passed, newest: budget, shown as a condition.
    pub soft_limit: Option<(Ref, Timestamp)>,
    /// Hard limit reached, newest.
    pub hard_limit: Option<(Ref, Timestamp)>,
    /// Sequence number of its newest entry.
    pub last_seq: u64,
    /// Rises with each entry after completion.
    pub revision: u64,
}

/// Token totals by disjoint type, so that their sum is right.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tokens {
    /// Uncached input.
    pub input: u64,
    /// Read from a cache.
    pub cache_read: u64,
    /// Written to a cache.
    pub cache_write: u64,
    /// Output without reasoning.
    pub output: u64,
    /// Reasoning.
    pub reasoning: u64,
}

impl State {
    /// Folds one entry in. Entries come in order, without gaps.
    pub fn apply(&mut self, entry: &Entry) {
        self.seq = entry.seq;
    }

    /// Sequence number of the newest entry.
    #[must_use]
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// Log time of the newest entry.
    #[must_use]
    pub fn log_time(&self) -> Timestamp {
        Timestamp::default()
    }

    /// One run.
    #[must_use]
    pub fn execution(&self, id: &Ref) -> Option<&Execution> {
        let _ = id;
        None
    }

    /// Every run, in the order of opening.
    pub fn executions(&self) -> impl DoubleEndedIterator<Item = &Execution> {
        std::iter::empty()
    }

    /// One kill by id.
    #[must_use]
    pub fn kill(&self, id: &str) -> Option<&Kill> {
        let _ = id;
        None
    }

    /// Every kill, oldest first.
    pub fn kills(&self) -> impl DoubleEndedIterator<Item = &Kill> {
        std::iter::empty()
    }

    /// Every resource in force, by kind and name.
    pub fn resources(&self) -> impl Iterator<Item = &Applied> {
        std::iter::empty()
    }

    /// One resource.
    #[must_use]
    pub fn resource(&self, kind: &str, id: &Ref) -> Option<&Applied> {
        let _ = (kind, id);
        None
    }
}
