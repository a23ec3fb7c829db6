//! Adjustments: a booked charge gets another price. What was booked stays; the difference is an entry of its own.
//!
//! An unpriced charge settles that way when its price arrives, a corrected table books its difference that way, and a call takes
//! the place of its estimate. What a budget holds for a missing price is given back by the adjustment that brings the price.

use std::sync::Arc;

use pricing::cost::Unpriced;
use pricing::usage::TokenTotals;
use pricing::{Attrs, Money, Quantity, Timestamp, Usage, UsageKey};
use serde::{Deserialize, Serialize};

use crate::charge::{CallOutcome, Called, Charge, Moved, Priced, Subject, Zero};
use crate::counter::AHEAD_MAX_NANOS;
#[cfg(feature = "mistakes")]
use crate::mistakes::{Mistake::EstimateStays, made};
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
    /// The time that picked the charge's windows, and picks those of the adjustment.
    pub time: Timestamp,
    /// The charge's own time, kept from running ahead of the log: what sums by time count both in.
    pub event_time: Timestamp,
    /// Why.
    pub reason: AdjustReason,
    /// The price until now; `None` while there was none.
    pub before: Option<Money>,
    /// The new price.
    pub priced: Priced,
    /// New price less the one before: what is booked. Zero where it has no price: what was booked stands for it.
    pub delta: Money,
    /// Whether the call is one without a price now, or no more.
    pub turns: Turns,
    /// Held beside what stands for its price, until it has one.
    pub ceiling: Option<Money>,
    /// The re-pricing that it belongs to.
    pub run: Option<Arc<str>>,
}

/// What an adjustment makes of a call, as far as it has a price.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Turns {
    /// It had one and has one, or had none and has none.
    #[default]
    Not,
    /// It had none, and has one now.
    Priced,
    /// An estimate had one; the call itself has none yet.
    Unpriced,
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
    /// Tool calls of the estimate, which no longer count.
    pub tool_calls_before: u64,
    /// Tool calls that count instead.
    pub tool_calls: u64,
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
            tool_calls_before: estimate.tool_calls(),
            tool_calls: event.tool_calls(),
        }
    }

    /// Does an event know more of a call than an estimate? One that states no usage, or usage that cannot be, does not.
    #[must_use]
    pub const fn knows_more(event: &Charge) -> bool {
        !event.estimated
            && !matches!(
                event.priced,
                Priced::Zero(Zero::FailedWithoutUsage)
                    | Priced::Unpriced(Unpriced::MissingUsage | Unpriced::InvalidUsage(_) | Unpriced::OutOfRange)
            )
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
    /// The new price. It must be one, but for a call that supersedes its estimate.
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
    /// The entry that says what the call was, where an estimate was booked first.
    pub known_by: Option<u64>,
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
            Self::Superseded(known) => Moved {
                tokens: known.tokens,
                #[cfg(feature = "mistakes")]
                fewer: if made(EstimateStays) { TokenTotals::default() } else { known.tokens_before },
                #[cfg(not(feature = "mistakes"))]
                fewer: known.tokens_before,
                tool_calls: known.tool_calls,
                fewer_tool_calls: known.tool_calls_before,
                ..Moved::money(delta)
            },
            _ => Moved::money(delta),
        }
    }
}

impl Adjust {
    /// The time that picked the charge's windows when it was booked.
    pub(crate) fn effective_time(&self) -> Timestamp {
        self.charge.window_time().min(self.logged.saturating_add(AHEAD_MAX_NANOS))
    }

    /// The time of the charge itself, as sums by time take it.
    pub(crate) fn event_time(&self) -> Timestamp {
        self.charge.time.min(self.logged.saturating_add(AHEAD_MAX_NANOS))
    }
}

impl Quarantined {
    /// The listing of a charge, if it has no price.
    #[must_use]
    pub fn of(charge: &Charge) -> Option<Self> {
        let Priced::Unpriced(reason) = &charge.priced else { return None };
        Some(Self::new(&charge.event_id, &charge.execution, charge.time, &charge.called, reason))
    }

    /// The listing of a call that superseded its estimate and has no price; `seq` is the entry that says so.
    pub(crate) fn of_superseding(seq: u64, adjustment: &Adjustment) -> Option<Self> {
        let (Priced::Unpriced(reason), AdjustReason::Superseded(known)) = (&adjustment.priced, &adjustment.reason)
        else {
            return None;
        };
        let listed = Self::new(&known.event_id, &adjustment.execution, known.time, &known.called, reason);
        Some(Self { known_by: Some(seq), ..listed })
    }

    fn new(event_id: &Arc<str>, execution: &Ref, time: Timestamp, called: &Called, reason: &Unpriced) -> Self {
        let (provider, name) = match called {
            Called::Model { provider, model, .. } => (Some(provider.clone()), Some(model.clone())),
            Called::Tool { tool, .. } => (None, Some(tool.clone())),
            Called::Approval => (None, None),
        };
        let (event_id, execution, reason) = (event_id.clone(), execution.clone(), reason.clone());
        Self { event_id, execution, time, provider, name, reason, known_by: None }
    }
}
