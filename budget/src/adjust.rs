//! Adjustments: a booked charge gets another price. What was booked stays; the difference is an entry of its own.
//!
//! An unpriced charge settles that way when its price arrives, and a corrected table books its difference that way. A
//! budget's `onUnpriced` policy (hold a ceiling, deny) is no concern of this: it would act when the charge is booked,
//! in `decide::settle`, and give back what it held when the adjustment of that charge is booked.

use std::sync::Arc;

use pricing::cost::Unpriced;
use pricing::usage::TokenTotals;
use pricing::{Attrs, Money, Quantity, Timestamp, Usage, UsageKey};
use serde::{Deserialize, Serialize};

use crate::charge::{CallOutcome, Called, Charge, Moved, Priced, Subject};
use crate::counter::AHEAD_MAX_NANOS;
use crate::scope::Ref;

/// Unpriced charges that the state lists one by one; those beyond are counted, and found in the ledger.
pub const QUARANTINE_LISTED_MAX: usize = 100_000;
/// Charges that are estimates and may be superseded, the newest: an older one stands.
pub const ESTIMATES_KEPT_MAX: usize = 65_536;
/// Adjustments that the state remembers, the newest. Who adjusts has read the ledger to within so many of them.
pub const ADJUSTMENTS_KEPT_MAX: usize = 65_536;

/// A charge's price changed by an entry of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Adjustment {
    /// Sequence number of the charge.
    pub of: u64,
    /// The charge's event.
    pub event_id: Arc<str>,
    /// The charge's run.
    pub execution: Ref,
    /// Whom the charge was for, as booked: the adjustment counts where the charge would.
    pub subject: Subject,
    /// What was called.
    pub called: Called,
    /// The charge's own time, as its windows took it: it picks the windows of the adjustment.
    pub time: Timestamp,
    /// Why.
    pub reason: AdjustReason,
    /// The price until now; `None` while there was none.
    pub before: Option<Money>,
    /// The new price.
    pub priced: Priced,
    /// New price less the one before: what is booked.
    pub delta: Money,
    /// The re-pricing that it belongs to.
    pub run: Option<Arc<str>>,
}

/// Why a price changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AdjustReason {
    /// There was no price, and now a table in force has one.
    Settled,
    /// Other tables give another price.
    Repriced,
    /// A person states the price: a refund, a correction, a line of an invoice.
    Operator {
        /// Reason given.
        reason: Arc<str>,
        /// Who, as far as known.
        by: Arc<str>,
    },
    /// Part of it is free: a credit, booked with the charge.
    Allowance(Arc<Drawn>),
    /// The charge was an estimate, and now the call itself is known.
    Superseded(Arc<Superseded>),
}

/// The call of which only an estimate was booked, as its own event says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Superseded {
    /// The event's id.
    pub event_id: Arc<str>,
    /// Its source.
    pub source: Arc<str>,
    /// Its dedup key.
    pub key: u128,
    /// That of its response.
    pub response_key: Option<u128>,
    /// Hash of its content.
    pub body: u64,
    /// Its time, which picks its price and not its windows.
    pub time: Timestamp,
    /// What was called.
    pub called: Called,
    /// Usage as declared.
    pub usage: Usage,
    /// Served attributes that decide the price.
    pub attrs: Attrs,
    /// How the call ended.
    pub outcome: CallOutcome,
    /// Tokens of the estimate, which no longer count.
    pub tokens_before: TokenTotals,
    /// Tokens that count instead.
    pub tokens: TokenTotals,
}

impl Superseded {
    /// What an event says of the call that was booked as `estimate`.
    #[must_use]
    pub fn of(estimate: &Charge, event: &Charge) -> Self {
        Self {
            event_id: event.event_id.clone(),
            source: event.source.clone(),
            key: event.key,
            response_key: event.response_key,
            body: event.body,
            time: event.time,
            called: event.called.clone(),
            usage: event.usage.clone(),
            attrs: event.attrs.clone(),
            outcome: event.outcome,
            tokens_before: estimate.usage.tokens().unwrap_or_default(),
            tokens: event.usage.tokens().unwrap_or_default(),
        }
    }

    /// The charge with what is known of its call now: what prices it from here on.
    #[must_use]
    pub fn corrected(&self, mut charge: Charge) -> Charge {
        (charge.time, charge.outcome) = (self.time, self.outcome);
        charge.called.clone_from(&self.called);
        charge.usage.clone_from(&self.usage);
        charge.attrs.clone_from(&self.attrs);
        charge
    }
}

/// What a call took of a free allowance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drawn {
    /// The allowance's name.
    pub name: Arc<str>,
    /// Whose quota it shares.
    pub group: Arc<str>,
    /// Start of the period.
    pub start: Timestamp,
    /// Its end, exclusive.
    pub end: Timestamp,
    /// The leaf that it paid for.
    pub unit: UsageKey,
    /// How much of it.
    pub quantity: Quantity,
}

impl AdjustReason {
    /// `settled`, `repriced`, `operator`, `allowance`, `superseded`: the wire's word.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Settled => "settled",
            Self::Repriced => "repriced",
            Self::Operator { .. } => "operator",
            Self::Allowance(_) => "allowance",
            Self::Superseded(_) => "superseded",
        }
    }
}

/// A price of a charge that an adjustment gave it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// The amount.
    pub total: Money,
    /// The table's digest.
    pub digest: Arc<str>,
}

/// The wish to change a charge's price. The charge is as the ledger has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Adjust {
    /// Sequence number of the charge.
    pub of: u64,
    /// Log time of the charge.
    pub logged: Timestamp,
    /// The charge.
    pub charge: Charge,
    /// What its newest adjustment up to `read_to` made of its price; `None` when there is none.
    pub standing: Option<Standing>,
    /// The ledger was read up to this entry: a newer adjustment of the same charge is not overlooked.
    pub read_to: u64,
    /// The new price, which must be one.
    pub priced: Priced,
    /// Why.
    pub reason: AdjustReason,
    /// The re-pricing that it belongs to.
    pub run: Option<Arc<str>>,
}

/// A charge without a price.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quarantined {
    /// The charge's event.
    pub event_id: Arc<str>,
    /// Its run.
    pub execution: Ref,
    /// The event's own time.
    pub time: Timestamp,
    /// Provider, for a model.
    pub provider: Option<Arc<str>>,
    /// Model or tool; `None` for an approval.
    pub name: Option<Arc<str>>,
    /// Why it has no price.
    pub reason: Unpriced,
}

/// Unpriced charges that are not listed one by one: the ledger from `from` on holds them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beyond {
    /// Sequence number of the first; 0 when there is none.
    pub from: u64,
    /// How many.
    pub count: u64,
}

impl Charge {
    /// Its price as booked; `None` while it has none.
    #[must_use]
    pub fn price(&self) -> Option<Money> {
        self.priced.total()
    }
}

impl Priced {
    /// The amount; `None` while there is none.
    #[must_use]
    pub const fn total(&self) -> Option<Money> {
        match self {
            Self::Cost(cost) => Some(cost.total),
            Self::Zero(_) => Some(Money::ZERO),
            Self::Reported(cost) => Some(*cost),
            Self::Unpriced(_) => None,
        }
    }
}

impl Adjustment {
    /// What it adds to each unit: money, and tokens where the call itself is known only now.
    pub(crate) fn moved(&self) -> Moved {
        self.reason.moved(self.delta)
    }
}

impl AdjustReason {
    pub(crate) fn moved(&self, delta: Money) -> Moved {
        match self {
            Self::Superseded(known) => {
                Moved { tokens: known.tokens, fewer: known.tokens_before, ..Moved::money(delta) }
            }
            _ => Moved::money(delta),
        }
    }
}

impl Adjust {
    /// The time that picked the charge's windows when it was booked.
    pub(crate) fn effective_time(&self) -> Timestamp {
        self.charge.window_time().min(self.logged.saturating_add(AHEAD_MAX_NANOS))
    }
}

impl Quarantined {
    /// The listing of a charge, if it has no price.
    #[must_use]
    pub fn of(charge: &Charge) -> Option<Self> {
        let Priced::Unpriced(reason) = &charge.priced else { return None };
        let (provider, name) = match &charge.called {
            Called::Model { provider, model, .. } => (Some(provider.clone()), Some(model.clone())),
            Called::Tool { tool, .. } => (None, Some(tool.clone())),
            Called::Approval => (None, None),
        };
        Some(Self {
            event_id: charge.event_id.clone(),
            execution: charge.execution.clone(),
            time: charge.time,
            provider,
            name,
            reason: reason.clone(),
        })
    }
}
