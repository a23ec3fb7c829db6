//! What one entry adds: its place in time, its dimensions, its sums.

use budget::charge::{Called, Priced};
use budget::counter::AHEAD_MAX_NANOS;
use budget::state::Tokens;
use budget::{AdjustReason, Adjustment, Charge, Entry, Fact, Ref, Subject, Turns};
use pricing::{Money, Timestamp};
use serde::{Deserialize, Serialize};

use super::QUARTER_NANOS;

/// What is summed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sums {
    /// Money.
    pub cost: Money,
    /// Ledger lines: charges and adjustments.
    pub entries: u64,
    /// Model calls.
    pub model_calls: i64,
    /// Tool calls.
    pub tool_calls: i64,
    /// Approvals.
    pub approvals: i64,
    /// Calls that have no price, less those that got one since.
    pub unpriced_calls: i64,
    /// Tokens by disjoint type.
    pub tokens: Tokens,
}

/// An entry that moves cost or counts a call.
#[derive(Clone, Debug)]
pub struct Line<'a> {
    /// The time it counts in: the event's own, kept from running ahead of the log.
    pub at: Timestamp,
    /// The run.
    pub execution: &'a Ref,
    /// Whom it is for.
    pub subject: &'a Subject,
    /// What was called.
    pub called: &'a Called,
    /// What it adds.
    pub sums: Sums,
}

/// The quarter-hour of an instant, counted from the epoch.
#[must_use]
pub const fn quarter_of(at: Timestamp) -> i64 {
    at.nanos().div_euclid(QUARTER_NANOS)
}

/// Calls that a charge stands for: a tool event may stand for several.
#[must_use]
pub fn calls_of(charge: &Charge) -> (i64, i64, i64) {
    match charge.called {
        Called::Model { .. } => (1, 0, 0),
        Called::Tool { .. } => (0, signed(charge.tool_calls()), 0),
        Called::Approval => (0, 0, 1),
    }
}

impl Sums {
    /// Adds the sums of others. Amounts beyond 38 digits stand still: no ledger holds so much money.
    pub fn add(&mut self, more: &Self) {
        self.cost = self.cost.checked_add(more.cost).unwrap_or(self.cost);
        self.entries = self.entries.saturating_add(more.entries);
        self.model_calls = self.model_calls.saturating_add(more.model_calls);
        self.tool_calls = self.tool_calls.saturating_add(more.tool_calls);
        self.approvals = self.approvals.saturating_add(more.approvals);
        self.unpriced_calls = self.unpriced_calls.saturating_add(more.unpriced_calls);
        self.tokens.add(&more.tokens);
    }

    /// Calls of every kind.
    #[must_use]
    pub const fn calls(&self) -> i64 {
        self.model_calls.saturating_add(self.tool_calls).saturating_add(self.approvals)
    }
}

impl<'a> Line<'a> {
    /// The line of an entry; `None` for entries that move nothing.
    #[must_use]
    pub fn of(entry: &'a Entry) -> Option<Self> {
        match &entry.fact {
            Fact::Charged(charge) => Some(Self::of_charge(entry.at, charge)),
            Fact::Adjusted(adjustment) => Some(Self {
                at: adjustment.event_time,
                execution: &adjustment.execution,
                subject: &adjustment.subject,
                called: &adjustment.called,
                sums: Self::sums_of(adjustment),
            }),
            _ => None,
        }
    }

    /// Money, and where a call took its estimate's place the difference in what it used; both count where the estimate did.
    fn sums_of(adjustment: &Adjustment) -> Sums {
        let unpriced_calls = match adjustment.turns {
            Turns::Not => 0,
            Turns::Priced => -1,
            Turns::Unpriced => 1,
        };
        let sums = Sums { cost: adjustment.delta, entries: 1, unpriced_calls, ..Sums::default() };
        match &adjustment.reason {
            AdjustReason::Superseded(known) => Sums {
                tokens: Tokens::difference(&known.tokens, &known.tokens_before),
                tool_calls: signed(known.tool_calls).saturating_sub(signed(known.tool_calls_before)),
                ..sums
            },
            _ => sums,
        }
    }

    fn of_charge(logged: Timestamp, charge: &'a Charge) -> Self {
        let (model_calls, tool_calls, approvals) = calls_of(charge);
        // Usage that cannot be has no tokens, as everywhere.
        let tokens = charge.usage.tokens().unwrap_or_default().into();
        let unpriced_calls = i64::from(matches!(charge.priced, Priced::Unpriced(_)));
        let cost = charge.amount();
        Self {
            at: charge.time.min(logged.saturating_add(AHEAD_MAX_NANOS)),
            execution: &charge.execution,
            subject: &charge.subject,
            called: &charge.called,
            sums: Sums { cost, entries: 1, model_calls, tool_calls, approvals, unpriced_calls, tokens },
        }
    }
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
