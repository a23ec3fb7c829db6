//! Reservations: an amount held for a call before it is made, until it is settled, released, or expires.
//!
//! An id has one outcome for ever: a grant stays granted, a denial stays denied, and each grant ends in exactly one
//! terminal standing. What is held is part of every counter that bound the call when it was reserved, and of no other.

use std::sync::Arc;

use pricing::{Money, Timestamp};
use serde::{Deserialize, Serialize};

use crate::budget::Unit;
use crate::charge::{Moved, Subject};
use crate::scope::Ref;
use crate::signal::CounterAt;

/// Resolved and denied reservations that the state remembers, the newest; a retry after so many others is a new one.
pub const RESOLVED_KEPT_MAX: usize = 1_048_576;
/// Reservations that one decision lets expire; the others follow with the next.
pub const EXPIRED_PER_DECISION_MAX: usize = 1_024;
/// Longest life of a reservation without an extension: a day.
pub const TTL_MS_MAX: u64 = 86_400_000;

/// What a call may use at most, as its caller says before it is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Estimate {
    /// Its worst cost; `None`: not known, so a ceiling stands for it.
    pub usd: Option<Money>,
    /// Tokens, input and output.
    pub tokens: u64,
    /// Tool calls.
    pub tool_calls: u32,
    /// Model calls.
    pub model_calls: u32,
    /// It names what no price table in force has.
    pub unpriced: bool,
}

/// The wish to hold an amount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reserve {
    /// The reservation's id, chosen by its caller.
    pub id: Arc<str>,
    /// Hash of what was asked for: the same id with another body is a conflict.
    pub body: u64,
    /// The run.
    pub execution: Ref,
    /// Whom the call is for; what it leaves out is taken from the run.
    pub subject: Subject,
    /// The run that started this run.
    pub parent: Option<Ref>,
    /// What may be used.
    pub estimate: Estimate,
    /// Held where the estimate has no amount and no budget names a ceiling.
    pub ceiling: Option<Money>,
    /// Life in milliseconds, at most [`TTL_MS_MAX`].
    pub ttl_ms: u64,
}

/// Amounts of every unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Amounts {
    /// Money.
    pub usd: Money,
    /// Tokens.
    pub tokens: u64,
    /// Tool calls.
    pub tool_calls: u32,
    /// Model calls.
    pub model_calls: u32,
}

/// Where a reservation stands. All but `Held` are terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Standing {
    /// Live.
    Held,
    /// Its last usage was booked.
    Settled,
    /// Given back.
    Released,
    /// Its time ran out.
    Expired,
    /// It was refused.
    Denied,
}

/// A reservation as the state remembers it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reservation {
    /// Its id.
    pub id: Arc<str>,
    /// Number of its run.
    pub(crate) run: u32,
    /// Number of its rows.
    pub(crate) rows: u32,
    /// Whom the call is for, where that is not the run's own subject.
    pub(crate) call: Option<Box<Subject>>,
    /// Hash of what was asked for.
    pub(crate) body: u64,
    /// What was asked for.
    pub asked: Amounts,
    /// What is still held.
    pub held: Amounts,
    /// Cost booked on it.
    pub spent: Money,
    /// Log time of the decision: it picks the windows.
    pub reserved_at: Timestamp,
    /// When it expires, or was resolved.
    pub until: Timestamp,
    /// Generation of the limits at the decision.
    pub generation: u64,
    /// Where it stands.
    pub standing: Standing,
    /// Why it was refused.
    pub denial: Option<Box<Denial>>,
    /// Calls of it without a price: the money that is left stays held until each has one, also once it is resolved.
    pub unpriced: u32,
    /// The entry of the charge that settled it; 0 when none did.
    pub settled_by: u64,
}

/// Why nothing more may be spent: a fence, or the counter that lacks headroom.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Denial {
    /// The run is fenced by this kill.
    Fenced(Arc<str>),
    /// The run is over.
    Ended(crate::entry::Phase),
    /// This counter has no headroom left.
    Limit(CounterAt),
    /// Budgets in dollars bind the call, nobody says what it may cost, and no ceiling stands for it.
    NoEstimate,
    /// The run has usage without a price, and this budget refuses more until it has one.
    Unpriced(Ref),
    /// The call alone would cost more than this budget or route lets one call cost.
    PerCall {
        /// The budget.
        budget: Ref,
        /// What one call may cost.
        limit: Money,
    },
}

/// A granted or refused reservation, as an entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reserved {
    /// Its id.
    pub id: Arc<str>,
    /// Hash of what was asked for.
    pub body: u64,
    /// The run.
    pub execution: Ref,
    /// Whom the call is for, as asked.
    pub subject: Subject,
    /// The parent that the call names.
    pub parent: Option<Ref>,
    /// What is held, or would have been.
    pub asked: Amounts,
    /// When it expires.
    pub expires_at: Timestamp,
    /// Generation of the limits at the decision.
    pub generation: u64,
    /// Why it is refused; `None`: it is granted.
    pub denial: Option<Box<Denial>>,
}

/// What a charge says of a reservation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// The reservation that it names.
    pub reservation: Arc<str>,
    /// Nothing more will come for it.
    pub last: bool,
    /// What became of that; set by `decide`.
    pub found: Found,
}

/// What a charge found where it named a reservation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Found {
    /// No such reservation of this run.
    #[default]
    Nothing,
    /// It was live since this time, which picks the windows of the charge.
    Held(Timestamp),
    /// It was resolved before: the charge is late.
    Late,
}

impl Standing {
    /// `held`, `settled`, `released`, `expired`, `denied`: metric label and the wire's word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Settled => "settled",
            Self::Released => "released",
            Self::Expired => "expired",
            Self::Denied => "denied",
        }
    }
}

impl Denial {
    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Fenced(_) => "fenced",
            Self::Ended(_) => "execution_ended",
            Self::Limit(_) => "budget_exceeded",
            Self::NoEstimate => "no_estimate",
            Self::Unpriced(_) => "unpriced",
            Self::PerCall { .. } => "call_too_expensive",
        }
    }
}

impl Amounts {
    /// Nothing.
    pub const ZERO: Self = Self { usd: Money::ZERO, tokens: 0, tool_calls: 0, model_calls: 0 };

    pub(crate) fn unit(&self, unit: Unit) -> i128 {
        match unit {
            Unit::Usd => self.usd.scaled(),
            Unit::Tokens => i128::from(self.tokens),
            Unit::ToolCalls => i128::from(self.tool_calls),
            Unit::ModelCalls => i128::from(self.model_calls),
        }
    }

    /// What usage takes off: no more of any unit than there is.
    pub(crate) fn used_by(&self, moved: &Moved) -> Self {
        let count = |held: u32, moved: u64| held.min(u32::try_from(moved).unwrap_or(u32::MAX));
        Self {
            usd: self.usd.min(moved.cost).max(Money::ZERO),
            tokens: self.tokens.min(u64::try_from(moved.unit(Unit::Tokens)).unwrap_or(u64::MAX)),
            tool_calls: count(self.tool_calls, moved.tool_calls),
            model_calls: count(self.model_calls, moved.model_calls),
        }
    }

    /// Money alone.
    pub(crate) fn money(usd: Money) -> Self {
        Self { usd, ..Self::ZERO }
    }

    /// What is left without `part`, which is no more of any unit than there is.
    pub(crate) fn less(&self, part: &Self) -> Self {
        Self {
            usd: self.usd.checked_sub(part.usd).unwrap_or(Money::ZERO),
            tokens: self.tokens.saturating_sub(part.tokens),
            tool_calls: self.tool_calls.saturating_sub(part.tool_calls),
            model_calls: self.model_calls.saturating_sub(part.model_calls),
        }
    }
}

impl Reservation {
    /// Live?
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.standing == Standing::Held
    }

    /// Does it, or what is left of it, count on counters?
    pub(crate) fn counts(&self) -> bool {
        self.is_held() || self.unpriced > 0
    }

    /// Nobody reserved it: it holds the ceiling of one call without a price.
    pub(crate) fn is_cover(&self) -> bool {
        self.id.is_empty()
    }
}

impl Reserve {
    /// When it would expire.
    pub(crate) fn expires_at(&self, now: Timestamp) -> Timestamp {
        expiry(now, self.ttl_ms)
    }
}

/// `ttl_ms` after `now`, at most the longest life.
pub(crate) fn expiry(now: Timestamp, ttl_ms: u64) -> Timestamp {
    let ttl = ttl_ms.clamp(1, TTL_MS_MAX).saturating_mul(1_000_000);
    now.saturating_add(i64::try_from(ttl).unwrap_or(i64::MAX))
}
