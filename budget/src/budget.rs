//! A budget as the core sees it: scope, limits, levels, actions. Never a counter, never YAML.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use pricing::Money;
use serde::{Deserialize, Serialize};

use crate::policy::Policy;
use crate::scope::{Ref, Scope};
use crate::window::{Calendar, Window};

/// Where a budget came from. Budgets of different sources may share a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Source {
    /// A joch `Budget`.
    Budget,
    /// `Agent.spec.budgets`: the reference names the agent.
    Agent,
    /// An Execution's own `spec.budgets`: the reference names the execution.
    Execution,
    /// `ModelRoute.spec.constraints`.
    ModelRoute,
}

/// What a limit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Unit {
    /// US dollars, amounts in 10⁻¹⁸ USD.
    Usd,
    /// Tokens, input and output, cached ones included.
    Tokens,
    /// Tool calls.
    ToolCalls,
    /// Model calls.
    ModelCalls,
}

/// A share of a limit in parts per million, exact: 0.8 is 800,000.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Fraction(pub u32);

/// One limit: so much of a unit in a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limit {
    /// Counted unit.
    pub unit: Unit,
    /// Window.
    pub window: Window,
    /// 10⁻¹⁸ USD for `Usd`, a plain count for the rest. Never negative.
    pub amount: i128,
}

/// What happens at a limit. Each includes the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Action {
    /// Say so, once for each counter window.
    Alert,
    /// Refuse the next call.
    Deny,
    /// Fence the run and kill it.
    Terminate,
}

/// A budget in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Budget {
    /// Which kind of resource it came from.
    pub source: Source,
    /// Its name.
    pub id: Ref,
    /// Rises with each change; recorded in each decision.
    pub generation: u64,
    /// Whom it binds.
    pub scope: Scope,
    /// Its limits.
    pub limits: Vec<Limit>,
    /// Soft levels as shares of each limit, ascending.
    pub soft_levels: Vec<Fraction>,
    /// What a hard limit does.
    pub on_hard_limit: Action,
    /// IANA zone of its civil windows.
    pub time_zone: Arc<str>,
    /// First weekday of a week: 1 = Monday … 7 = Sunday.
    pub week_start: u8,
    /// First day of a month, 1–28.
    pub month_start_day: u8,
    /// Caps of single agents as shares of each limit; the others share what is left.
    pub by_agent: Vec<(Arc<str>, Fraction)>,
    /// Unpriced usage, wind-down, kill plan.
    pub policy: Policy,
}

impl Fraction {
    /// All of it.
    pub const ONE: Self = Self(1_000_000);

    /// This share of an amount, rounded down: the cap of an agent.
    #[must_use]
    pub fn of(self, amount: i128) -> i128 {
        #[cfg(feature = "mistakes")]
        if crate::mistakes::made(crate::mistakes::Mistake::ShareRoundedUp) {
            return self.of_rounded_up(amount);
        }
        let (whole, rest) = self.parts(amount);
        whole.saturating_add(rest.div_euclid(PER_ONE))
    }

    /// This share of an amount, rounded up: the first whole amount that has reached it.
    #[must_use]
    pub fn of_rounded_up(self, amount: i128) -> i128 {
        let (whole, rest) = self.parts(amount);
        let up = i128::from(rest.rem_euclid(PER_ONE) != 0);
        whole.saturating_add(rest.div_euclid(PER_ONE)).saturating_add(up)
    }

    /// `amount × share` in millions and in single millionths, so that no product leaves 128 bits.
    fn parts(self, amount: i128) -> (i128, i128) {
        let share = i128::from(self.0);
        (amount.div_euclid(PER_ONE).saturating_mul(share), amount.rem_euclid(PER_ONE).saturating_mul(share))
    }
}

/// Parts of one.
const PER_ONE: i128 = 1_000_000;

impl Budget {
    /// Does it kill, after a last turn that may pass its limits?
    #[must_use]
    pub fn grants_a_turn(&self) -> bool {
        self.on_hard_limit == Action::Terminate && self.policy.turn().is_some()
    }

    /// How it cuts time.
    #[must_use]
    pub fn calendar(&self) -> Calendar {
        Calendar {
            time_zone: Arc::clone(&self.time_zone),
            week_start: self.week_start,
            month_start_day: self.month_start_day,
        }
    }

    /// What is left of one for the agents that are not listed in `by_agent`.
    #[must_use]
    pub fn unlisted_share(&self) -> Fraction {
        self.by_agent.iter().fold(Fraction::ONE, |left, (_, share)| Fraction(left.0.saturating_sub(share.0)))
    }
}

impl Limit {
    /// The amount as money, for `Unit::Usd`.
    #[must_use]
    pub fn usd(&self) -> Option<Money> {
        if self.unit == Unit::Usd { Money::from_scaled(self.amount) } else { None }
    }
}
