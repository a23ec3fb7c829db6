//! Budgets as joch resources with what their counters hold now.
//!
//! Reads the state; never changes it, never decides.

use budget::decide::allowance;
use budget::entry::Applied;
use budget::signal::CounterAt;
use budget::state::State;
use budget::{Budget, Unit, Window};
use pricing::Timestamp;

use super::{Json, condition, ordered, shown, unit_word};

/// Runs looked at for a budget's counters, newest first.
const RUNS_READ_MAX: usize = 1_000;

/// Keys of a Budget's status that are written here.
pub(in crate::resource) const BUDGET_OWNED: [&str; 8] = [
    "phase",
    "observedGeneration",
    "monthSpentUsd",
    "daySpentUsd",
    "recentRuns",
    "counters",
    "overshootUsd",
    "conditions",
];

/// The resource as applied, and for what carries budgets the live status of them.
#[must_use]
pub fn budget_document(applied: &Applied, state: &State, now: Timestamp) -> Json {
    let parsed = Json::parse(&applied.document).unwrap_or(Json::Map(Vec::new()));
    let mut document = ordered(&parsed, &applied.kind, &applied.id);
    if applied.budgets.is_empty() && applied.kind.as_ref() != "Budget" {
        return document;
    }
    let held = held_by(&applied.budgets, state, now);
    let mut status = document.remove("status").unwrap_or(Json::Map(Vec::new()));
    for (key, value) in budget_status(applied, &held) {
        status.set(key, value);
    }
    let over = |budget: &Budget| state.overshoot_of_budget(budget.source, &budget.id);
    if let Some(over) = applied.budgets.iter().filter_map(over).reduce(|sum, over| sum.checked_add(over).unwrap_or(sum))
    {
        status.set("overshootUsd", Json::usd(over));
    }
    status.set("conditions", Json::List(applied.budgets.iter().filter_map(|budget| idle(budget, state)).collect()));
    document.set("status", status);
    document
}

/// A budget that binds no run: as good as none, which nobody would notice.
fn idle(budget: &Budget, state: &State) -> Option<Json> {
    if budget.limits.is_empty() {
        let message = format!("budget {} has no limit, so it limits nothing", budget.id);
        return Some(condition("LimitsNothing", true, "NoLimit", &message, state.log_time()));
    }
    if state.binds_some_run(budget, RUNS_READ_MAX) {
        return None;
    }
    let message = format!("no run is bound by budget {}: check its scope", budget.id);
    Some(condition("MatchesNothing", true, "SelectorMatchesNothing", &message, state.log_time()))
}

/// What the counters of some budgets hold.
pub(super) struct Held {
    /// Those that runs share.
    pub(super) shared: Vec<CounterAt>,
    /// Those of each run, newest run first.
    pub(super) runs: Vec<Vec<CounterAt>>,
}

fn held_by(budgets: &[Budget], state: &State, now: Timestamp) -> Held {
    let ours = |counter: &CounterAt| {
        budgets.iter().any(|budget| budget.source == counter.source && budget.id == counter.budget)
    };
    let shared = state.counters(now).into_iter().filter(ours).collect();
    let mut runs = Vec::new();
    let limits_runs = |budget: &Budget| budget.limits.iter().any(|limit| limit.window == Window::Run);
    if budgets.iter().any(limits_runs) {
        for execution in state.executions().rev().take(RUNS_READ_MAX) {
            if budgets.iter().any(|budget| state.binds(budget, &execution.id)) {
                let bound =
                    allowance(state, now, &execution.id).map(|allowance| allowance.counters).unwrap_or_default();
                runs.push(bound.into_iter().filter(|at| at.window == Window::Run && ours(at)).collect());
            }
        }
    }
    Held { shared, runs }
}

pub(super) fn budget_status(applied: &Applied, held: &Held) -> Vec<(&'static str, Json)> {
    let levels = applied.budgets.iter().filter_map(|budget| budget.soft_levels.first());
    let soft = levels.map(|level| i128::from(level.0)).min();
    let over_hard = |counter: &CounterAt| counter.spent >= counter.limit;
    let over_soft = |counter: &CounterAt| {
        soft.is_some_and(|soft| counter.spent.saturating_mul(1_000_000) >= counter.limit.saturating_mul(soft))
    };
    // An agent's share that is used up is not yet the budget.
    let whole = || held.shared.iter().filter(|counter| counter.agent.is_none());
    let phase = if whole().any(over_hard) {
        "Exceeded"
    } else if whole().any(over_soft) {
        "SoftLimitReached"
    } else {
        "Active"
    };
    let mut status = vec![("phase", Json::text(phase)), ("observedGeneration", Json::count(applied.generation))];
    for (key, window) in [("monthSpentUsd", Window::Month), ("daySpentUsd", Window::Day)] {
        let of = |counter: &&CounterAt| counter.unit == Unit::Usd && counter.window == window;
        if let Some(spent) = whole().find(of).map(|counter| counter.spent) {
            status.push((key, amount(Unit::Usd, spent)));
        }
    }
    let runs_over = |over: &dyn Fn(&CounterAt) -> bool| {
        let runs = held.runs.iter().filter(|counters| counters.iter().any(over)).count();
        Json::count(i128::try_from(runs).unwrap_or(i128::MAX))
    };
    let recent = Json::map([("overSoftLimit", runs_over(&over_soft)), ("overHardLimit", runs_over(&over_hard))]);
    status.push(("recentRuns", recent));
    status.push(("counters", Json::List(held.shared.iter().map(counter_document).collect())));
    status
}

fn counter_document(counter: &CounterAt) -> Json {
    let remaining = counter.limit.saturating_sub(counter.spent).saturating_sub(counter.held).max(0);
    let mut document = Json::map([
        ("unit", Json::text(unit_word(counter.unit))),
        ("window", Json::text(counter.window.as_str())),
        ("limit", amount(counter.unit, counter.limit)),
        ("spent", amount(counter.unit, counter.spent)),
        ("held", amount(counter.unit, counter.held)),
        ("remaining", amount(counter.unit, remaining)),
    ]);
    if let Some(agent) = &counter.agent {
        document.set("agent", Json::text(agent));
    }
    if let Some(end) = counter.resets_at.or(counter.span.end) {
        document.set("resetsAt", Json::text(end));
    }
    document
}

fn amount(unit: Unit, amount: i128) -> Json {
    Json::Number(shown(unit, amount))
}
