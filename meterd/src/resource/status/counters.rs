//! Budgets as joch resources with what their counters hold now.
//!
//! Reads the state; never changes it, never decides.

use budget::budget::Limit;
use budget::decide::allowance;
use budget::entry::Applied;
use budget::signal::CounterAt;
use budget::state::State;
use budget::{Budget, Unit, Window};
use pricing::Timestamp;

use super::{Json, ordered, shown, unit_word};

/// Runs looked at for a budget's counters, newest first.
const RUNS_READ_MAX: usize = 1_000;

/// Keys of a Budget's status that are written here.
pub(in crate::resource) const BUDGET_OWNED: [&str; 6] =
    ["phase", "observedGeneration", "monthSpentUsd", "daySpentUsd", "recentRuns", "counters"];

/// The resource as applied, and for what carries budgets the live status of them.
#[must_use]
pub fn budget_document(applied: &Applied, state: &State, now: Timestamp) -> Json {
    let parsed = Json::parse(&applied.document).unwrap_or(Json::Map(Vec::new()));
    let mut document = ordered(&parsed, &applied.kind, &applied.id);
    if applied.budgets.is_empty() && applied.kind.as_ref() != "Budget" {
        return document;
    }
    let counters = counters_of(&applied.budgets, state, now);
    let mut status = document.remove("status").unwrap_or(Json::Map(Vec::new()));
    for (key, value) in budget_status(applied, &counters) {
        status.set(key, value);
    }
    document.set("status", status);
    document
}

/// Every counter of these budgets: the shared ones, and those of the newest runs that they bind.
fn counters_of(budgets: &[Budget], state: &State, now: Timestamp) -> Vec<CounterAt> {
    let ours = |counter: &CounterAt| {
        budgets.iter().any(|budget| budget.source == counter.source && budget.id == counter.budget)
    };
    let mut counters: Vec<CounterAt> = state.counters(now).into_iter().filter(ours).collect();
    let per_run = |budget: &&Budget| budget.limits.iter().any(|limit| limit.window == Window::Run);
    if !budgets.iter().any(|budget| per_run(&budget)) {
        return counters;
    }
    for execution in state.executions().rev().take(RUNS_READ_MAX) {
        if !budgets.iter().any(|budget| budget.scope.matches(&execution.id, &execution.subject)) {
            continue;
        }
        let bound = allowance(state, now, &execution.id).map(|allowance| allowance.counters).unwrap_or_default();
        counters.extend(bound.into_iter().filter(|counter| counter.window == Window::Run && ours(counter)));
    }
    counters
}

pub(super) fn budget_status(applied: &Applied, counters: &[CounterAt]) -> Vec<(&'static str, Json)> {
    let soft: u64 = applied
        .budgets
        .iter()
        .filter_map(|budget| budget.soft_levels.first())
        .map(|level| u64::from(level.0))
        .min()
        .unwrap_or(u64::MAX);
    let over_hard = |counter: &CounterAt| counter.spent >= counter.limit;
    let over_soft =
        |counter: &CounterAt| counter.spent.saturating_mul(1_000_000) >= counter.limit.saturating_mul(i128::from(soft));
    let shared = |counter: &&CounterAt| counter.window != Window::Run;
    let runs = |over: &dyn Fn(&CounterAt) -> bool| {
        let over = counters.iter().filter(|counter| counter.window == Window::Run && over(counter)).count();
        Json::count(i128::try_from(over).unwrap_or(i128::MAX))
    };
    let phase = if counters.iter().filter(shared).any(over_hard) {
        "Exceeded"
    } else if counters.iter().filter(shared).any(over_soft) {
        "SoftLimitReached"
    } else {
        "Active"
    };
    let mut status = vec![("phase", Json::text(phase)), ("observedGeneration", Json::count(applied.generation))];
    for (key, window) in [("monthSpentUsd", Window::Month), ("daySpentUsd", Window::Day)] {
        let limited = |limit: &Limit| limit.unit == Unit::Usd && limit.window == window;
        if applied.budgets.iter().flat_map(|budget| &budget.limits).any(limited) {
            let of =
                |counter: &&CounterAt| counter.unit == Unit::Usd && counter.window == window && counter.agent.is_none();
            let spent = counters.iter().find(of).map_or(0, |counter| counter.spent);
            status.push((key, amount(Unit::Usd, spent)));
        }
    }
    let recent = Json::map([("overSoftLimit", runs(&over_soft)), ("overHardLimit", runs(&over_hard))]);
    status.push(("recentRuns", recent));
    status.push(("counters", Json::List(counters.iter().filter(shared).map(counter_document).collect())));
    status
}

fn counter_document(counter: &CounterAt) -> Json {
    let remaining = counter.limit.saturating_sub(counter.spent).saturating_sub(counter.held).max(0);
    let mut document = Json::map([
        ("unit", Json::text(unit_word(counter.unit))),
        ("window", Json::text(window_word(counter.window))),
        ("limit", amount(counter.unit, counter.limit)),
        ("spent", amount(counter.unit, counter.spent)),
        ("held", amount(counter.unit, counter.held)),
        ("remaining", amount(counter.unit, remaining)),
    ]);
    if let Some(agent) = &counter.agent {
        document.set("agent", Json::text(agent));
    }
    if let Some(end) = counter.span.end {
        document.set("resetsAt", Json::text(end));
    }
    document
}

fn amount(unit: Unit, amount: i128) -> Json {
    Json::Number(shown(unit, amount))
}

const fn window_word(window: Window) -> &'static str {
    match window {
        Window::Run => "run",
        Window::Hour => "hour",
        Window::Day => "day",
        Window::Week => "week",
        Window::Month => "month",
        Window::Rolling24h => "rolling24h",
    }
}
