//! Which families the ledger drives, and how their figures are scaled and bucketed. No figure is kept here.

use crate::metrics::catalog::{self, Family};

/// A counter family of the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Counter {
    Cost,
    ModelCost,
    ToolCost,
    Credit,
    Tokens,
    ModelCalls,
    ToolCalls,
    Executions,
    BudgetCharged,
    Thresholds,
    KillsSent,
    KillsAcked,
    KillsFailed,
    Unpriced,
    KillsEscalated,
    KillsManual,
    TokensCredit,
}

impl Counter {
    pub(super) const ALL: [Self; 17] = [
        Self::Cost,
        Self::ModelCost,
        Self::ToolCost,
        Self::Credit,
        Self::Tokens,
        Self::ModelCalls,
        Self::ToolCalls,
        Self::Executions,
        Self::BudgetCharged,
        Self::Thresholds,
        Self::KillsSent,
        Self::KillsAcked,
        Self::KillsFailed,
        Self::Unpriced,
        Self::KillsEscalated,
        Self::KillsManual,
        Self::TokensCredit,
    ];

    pub(super) const fn family(self) -> &'static Family {
        match self {
            Self::Cost => &catalog::COST,
            Self::ModelCost => &catalog::MODEL_COST,
            Self::ToolCost => &catalog::TOOL_COST,
            Self::Credit => &catalog::COST_CREDIT,
            Self::Tokens => &catalog::TOKENS,
            Self::ModelCalls => &catalog::MODEL_CALLS,
            Self::ToolCalls => &catalog::TOOL_CALLS,
            Self::Executions => &catalog::EXECUTIONS,
            Self::BudgetCharged => &catalog::BUDGET_CHARGED,
            Self::Thresholds => &catalog::BUDGET_THRESHOLDS,
            Self::KillsSent => &catalog::KILLS_SENT,
            Self::KillsAcked => &catalog::KILLS_ACKED,
            Self::KillsFailed => &catalog::KILLS_FAILED,
            Self::Unpriced => &catalog::UNPRICED_EVENTS,
            Self::KillsEscalated => &catalog::KILLS_ESCALATED,
            Self::KillsManual => &catalog::KILLS_MANUAL,
            Self::TokensCredit => &catalog::TOKENS_CREDIT,
        }
    }

    /// Decimal places of the totals: money is a count of 10⁻¹⁸ USD.
    pub(super) const fn scale(self) -> u32 {
        match self {
            Self::Cost | Self::ModelCost | Self::ToolCost | Self::Credit | Self::BudgetCharged => pricing::money::SCALE,
            _ => 0,
        }
    }
}

/// A histogram family of the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Histogram {
    ExecutionCost,
    KillLatency,
    KillOvershoot,
}

const MICRO_USD: i128 = 1_000_000_000_000;
const MILLI_USD: i128 = 1000 * MICRO_USD;
const USD: i128 = 1000 * MILLI_USD;
const MILLI_SECOND: i128 = 1_000_000;
const SECOND: i128 = 1000 * MILLI_SECOND;

const EXECUTION_COST_BOUNDS: [i128; 19] = [
    MILLI_USD,
    2500 * MICRO_USD,
    5 * MILLI_USD,
    10 * MILLI_USD,
    25 * MILLI_USD,
    50 * MILLI_USD,
    100 * MILLI_USD,
    250 * MILLI_USD,
    500 * MILLI_USD,
    USD,
    2500 * MILLI_USD,
    5 * USD,
    10 * USD,
    25 * USD,
    50 * USD,
    100 * USD,
    250 * USD,
    500 * USD,
    1000 * USD,
];
const KILL_LATENCY_BOUNDS: [i128; 14] = [
    10 * MILLI_SECOND,
    25 * MILLI_SECOND,
    50 * MILLI_SECOND,
    100 * MILLI_SECOND,
    250 * MILLI_SECOND,
    500 * MILLI_SECOND,
    SECOND,
    2500 * MILLI_SECOND,
    5 * SECOND,
    10 * SECOND,
    30 * SECOND,
    60 * SECOND,
    120 * SECOND,
    300 * SECOND,
];
const KILL_OVERSHOOT_BOUNDS: [i128; 13] = [
    0,
    100 * MICRO_USD,
    MILLI_USD,
    5 * MILLI_USD,
    10 * MILLI_USD,
    50 * MILLI_USD,
    100 * MILLI_USD,
    500 * MILLI_USD,
    USD,
    5 * USD,
    10 * USD,
    50 * USD,
    100 * USD,
];

impl Histogram {
    pub(super) const ALL: [Self; 3] = [Self::ExecutionCost, Self::KillLatency, Self::KillOvershoot];

    pub(super) const fn family(self) -> &'static Family {
        match self {
            Self::ExecutionCost => &catalog::EXECUTION_COST,
            Self::KillLatency => &catalog::KILL_ACK_LATENCY,
            Self::KillOvershoot => &catalog::KILL_OVERSHOOT,
        }
    }

    /// Decimal places of bounds and sums: 10⁻¹⁸ USD, or nanoseconds.
    pub(super) const fn scale(self) -> u32 {
        match self {
            Self::ExecutionCost | Self::KillOvershoot => pricing::money::SCALE,
            Self::KillLatency => 9,
        }
    }

    pub(super) const fn bounds(self) -> &'static [i128] {
        match self {
            Self::ExecutionCost => &EXECUTION_COST_BOUNDS,
            Self::KillLatency => &KILL_LATENCY_BOUNDS,
            Self::KillOvershoot => &KILL_OVERSHOOT_BOUNDS,
        }
    }
}
