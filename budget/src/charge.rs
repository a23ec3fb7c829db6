//! A charge: one priced call attributed to a run. What `meter` books for each usage event.

use std::sync::Arc;

use pricing::cost::{Cost, Unpriced};
use pricing::usage::TokenTotals;
use pricing::{Attrs, Money, Timestamp, Usage, UsageKey};
use serde::{Deserialize, Serialize};

use crate::budget::Unit;
use crate::reservation::{Claim, Estimate, Found};
use crate::scope::Ref;

/// Whom a run or a call is for, beside its namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Subject {
    /// Agent name.
    #[serde(default, deserialize_with = "pricing::text::maybe_name")]
    pub agent: Option<Arc<str>>,
    /// Team.
    #[serde(default, deserialize_with = "pricing::text::maybe_name")]
    pub team: Option<Arc<str>>,
    /// Environment, such as `prod`.
    #[serde(default, deserialize_with = "pricing::text::maybe_name")]
    pub environment: Option<Arc<str>>,
    /// Labels, sorted by key.
    #[serde(default, deserialize_with = "pricing::text::pairs")]
    pub labels: Vec<(Arc<str>, Arc<str>)>,
}

/// What was called.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Called {
    /// A model.
    Model {
        /// Provider id.
        #[serde(deserialize_with = "pricing::text::name")]
        provider: Arc<str>,
        /// Model of the response, as sent.
        #[serde(deserialize_with = "pricing::text::name")]
        model: Arc<str>,
        /// Model of the request, when it differs.
        #[serde(default, deserialize_with = "pricing::text::maybe_name")]
        request_model: Option<Arc<str>>,
        /// The provider's id of the response.
        #[serde(default, deserialize_with = "pricing::text::maybe_id")]
        response_id: Option<Arc<str>>,
    },
    /// A tool.
    Tool {
        /// Tool name.
        #[serde(deserialize_with = "pricing::text::name")]
        tool: Arc<str>,
        /// MCP server.
        #[serde(default, deserialize_with = "pricing::text::maybe_name")]
        mcp_server: Option<Arc<str>>,
    },
    /// A human approval.
    Approval,
}

/// How the call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum CallOutcome {
    /// It worked.
    Ok,
    /// It failed.
    Error,
    /// It was cut off; usage is what is known.
    Aborted,
}

impl CallOutcome {
    /// `ok`, `error`, `aborted`: the metric label and the wire's word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Error => "error",
            Self::Aborted => "aborted",
        }
    }
}

/// Where an amount came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Basis {
    /// Computed from a price table.
    Priced,
    /// Stated by a trusted source.
    Reported,
}

/// The price of a call, or why there is none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Priced {
    /// Computed from a table.
    Cost(Cost),
    /// No price: counts as a call, moves tokens, moves no money.
    Unpriced(Unpriced),
    /// Nothing to bill, and why that is known.
    Zero(Zero),
    /// Stated by a trusted caller.
    Reported(Money),
}

/// Why a call costs nothing although no table says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Zero {
    /// It failed or was cut off, and states no usage.
    FailedWithoutUsage,
    /// A tool that no table lists: tools are free unless priced.
    UnlistedTool,
    /// A model that no table lists, where a table says that such models are free.
    UnlistedModel,
}

impl Zero {
    /// The stable code, shown as a flag.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::FailedWithoutUsage => "failed_without_usage",
            Self::UnlistedTool => "unlisted_tool",
            Self::UnlistedModel => "unlisted_model",
        }
    }
}

impl Priced {
    /// The cost, where a table gave one.
    #[must_use]
    pub const fn cost(&self) -> Option<&Cost> {
        if let Self::Cost(cost) = self { Some(cost) } else { None }
    }
}

/// One call, priced and attributed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Charge {
    /// The event's id, as sent.
    #[serde(deserialize_with = "pricing::text::id")]
    pub event_id: Arc<str>,
    /// The event's source, as sent.
    #[serde(deserialize_with = "pricing::text::name")]
    pub source: Arc<str>,
    /// How it came in: `api`, `otlp` … a closed set (the metric label `source`).
    #[serde(deserialize_with = "pricing::text::name")]
    pub via: Arc<str>,
    /// First 16 bytes of sha256 over (tenant, source, id): the dedup key.
    pub key: u128,
    /// First 16 bytes of sha256 over (tenant, provider, response id), when there is one.
    pub response_key: Option<u128>,
    /// First 8 bytes of sha256 over the normalised event: the same id with another body is a conflict.
    pub body: u64,
    /// The event's own time.
    pub time: Timestamp,
    /// The run.
    pub execution: Ref,
    /// Whom the call is for; what the event leaves out is filled from the run.
    pub subject: Subject,
    /// The run that started this run.
    pub parent: Option<Ref>,
    /// Conversation.
    #[serde(default, deserialize_with = "pricing::text::maybe_name")]
    pub conversation: Option<Arc<str>>,
    /// Model, tool or approval.
    pub called: Called,
    /// Usage as declared (inclusive totals); empty when missing.
    pub usage: Usage,
    /// Served attributes that decide the price.
    pub attrs: Attrs,
    /// How the call ended.
    pub outcome: CallOutcome,
    /// The usage is an estimate.
    pub estimated: bool,
    /// The price.
    pub priced: Priced,
    /// What the source said it cost; recorded beside, never instead.
    pub reported_cost: Option<Money>,
    /// The reservation that it settles.
    pub claim: Option<Claim>,
    /// Held while it has no price. As asked: where no budget names a ceiling of its own. As booked: what is held, `None` where
    /// nothing is or where its reservation goes on holding.
    pub ceiling: Option<Money>,
    /// A person had it booked after it was refused for its time.
    pub late: bool,
}

/// What a charge adds to a counter of each unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moved {
    pub(crate) cost: Money,
    pub(crate) tokens: TokenTotals,
    /// Tokens that no longer count: those of an estimate.
    pub(crate) fewer: TokenTotals,
    pub(crate) tool_calls: u64,
    /// Tool calls that no longer count: those of an estimate.
    pub(crate) fewer_tool_calls: u64,
    pub(crate) model_calls: u64,
    pub(crate) approvals: u64,
}

impl Moved {
    /// Money and nothing else: an adjustment is no call.
    pub(crate) fn money(cost: Money) -> Self {
        Self {
            cost,
            tokens: TokenTotals::default(),
            fewer: TokenTotals::default(),
            tool_calls: 0,
            fewer_tool_calls: 0,
            model_calls: 0,
            approvals: 0,
        }
    }

    pub(crate) fn unit(&self, unit: Unit) -> i128 {
        match unit {
            Unit::Usd => self.cost.scaled(),
            Unit::Tokens => i128::from(self.tokens.total()).saturating_sub(i128::from(self.fewer.total())),
            Unit::ToolCalls => i128::from(self.tool_calls).saturating_sub(i128::from(self.fewer_tool_calls)),
            Unit::ModelCalls => i128::from(self.model_calls),
        }
    }
}

impl Subject {
    /// Takes from `other` what is not said here.
    pub fn fill_from(&mut self, other: &Self) {
        let fill = |own: &mut Option<Arc<str>>, other: &Option<Arc<str>>| {
            if own.is_none() {
                own.clone_from(other);
            }
        };
        fill(&mut self.agent, &other.agent);
        fill(&mut self.team, &other.team);
        fill(&mut self.environment, &other.environment);
        if self.labels.is_empty() {
            self.labels.clone_from(&other.labels);
        }
    }

    /// Shares its names with equal ones that were met lately: very many runs are for few agents.
    pub(crate) fn share(&mut self) {
        for name in [&mut self.agent, &mut self.team, &mut self.environment].into_iter().flatten() {
            *name = pricing::text::shared(name);
        }
    }

    /// Would `fill_from(other)` change anything?
    #[must_use]
    pub fn lacks(&self, other: &Self) -> bool {
        (self.agent.is_none() && other.agent.is_some())
            || (self.team.is_none() && other.team.is_some())
            || (self.environment.is_none() && other.environment.is_some())
            || (self.labels.is_empty() && !other.labels.is_empty())
    }
}

impl Charge {
    /// What a reservation for exactly this call would have asked for.
    #[must_use]
    pub fn as_estimate(&self) -> Estimate {
        let moved = self.moved();
        let count = |calls: u64| u32::try_from(calls).unwrap_or(u32::MAX);
        Estimate {
            usd: Some(moved.cost),
            tokens: u64::try_from(moved.unit(Unit::Tokens)).unwrap_or(u64::MAX),
            tool_calls: count(moved.tool_calls),
            model_calls: count(moved.model_calls),
            unpriced: matches!(self.priced, Priced::Unpriced(_)),
        }
    }

    /// What it adds to each unit. A tool event may stand for several calls; usage that cannot be has no tokens.
    pub(crate) fn moved(&self) -> Moved {
        let (model_calls, approvals) = match self.called {
            Called::Tool { .. } => (0, 0),
            Called::Model { .. } => (1, 0),
            Called::Approval => (0, 1),
        };
        let tokens = self.usage.tokens().unwrap_or_default();
        Moved { tokens, tool_calls: self.tool_calls(), model_calls, approvals, ..Moved::money(self.amount()) }
    }

    /// Tool calls that it stands for: a tool event may stand for several.
    #[must_use]
    pub fn tool_calls(&self) -> u64 {
        match self.called {
            Called::Tool { .. } => self.usage.get(UsageKey::Calls).and_then(|calls| calls.as_u64()).unwrap_or(1),
            Called::Model { .. } | Called::Approval => 0,
        }
    }

    /// Money to book: zero while unpriced. Credits are entries of their own.
    #[must_use]
    pub fn amount(&self) -> Money {
        match &self.priced {
            Priced::Cost(cost) => cost.total,
            Priced::Reported(cost) => *cost,
            Priced::Unpriced(_) | Priced::Zero(_) => Money::ZERO,
        }
    }

    /// The time that picks its windows: that of the reservation that it settles, else its own.
    #[must_use]
    pub fn window_time(&self) -> Timestamp {
        match self.claim.as_ref().map(|claim| claim.found) {
            Some(Found::Held(at)) => at,
            _ => self.time,
        }
    }
}
