//! Gauges read off one state at the moment of the scrape: budgets and their windows, open runs, open kills.
//!
//! One state, so the figures of one scrape belong together; kept as rows, so that a scrape can show what the last one saw. A budget without a limit has no limit series, and nothing
//! here has a series for each execution.

use std::collections::BTreeMap;

use budget::signal::{Attempt, CounterAt, Kill, Tried};
use budget::{Budget, Ref, Source, State, Unit};
use pricing::Timestamp;

use super::catalog::{
    BUDGET_INFO, BUDGET_LIMIT_TOKENS, BUDGET_LIMIT_USD, BUDGET_RESERVED_USD, BUDGET_RUN_MAX, BUDGET_SOFT_LIMIT,
    BUDGET_SPENT_TOKENS, BUDGET_SPENT_USD, BUDGET_WINDOW_END, BUDGET_WINDOW_START, EXECUTIONS_ACTIVE, Family,
    KILL_OLDEST_PENDING, KILLS_PENDING,
};
use super::ledger::{LedgerMetrics, words};
use super::text::Writer;

/// Decimal places of a timestamp in nanoseconds.
const NANOS: u32 = 9;
/// Decimal places of a share in parts per million.
const PARTS_PER_MILLION: u32 = 6;

/// Every gauge of the state. `ledger` says which namespaces and teams have series of their own.
#[must_use]
pub fn gauges(state: &State, now: Timestamp, ledger: &LedgerMetrics) -> Gauges {
    let mut gauges = Gauges::default();
    executions(state, ledger, &mut gauges);
    let figures = Figures {
        budgets: state.budgets().collect(),
        counters: state.counters(now),
        run_utilization: state.run_utilization(),
    };
    budgets(&figures, &mut gauges);
    kills(state.kills(), &mut gauges);
    gauges
}

/// Families with their samples: label values in the catalogue's order, and a figure in the family's scale.
#[derive(Clone, Debug, Default)]
pub struct Gauges(Vec<Rows>);

#[derive(Clone, Debug)]
struct Rows {
    family: &'static Family,
    scale: u32,
    samples: Vec<(Vec<Box<str>>, i128)>,
}

impl Gauges {
    fn family(&mut self, family: &'static Family, scale: u32) {
        self.0.push(Rows { family, scale, samples: Vec::new() });
    }

    /// A sample of the newest family.
    fn sample(&mut self, labels: &[&str], value: i128) {
        if let Some(rows) = self.0.last_mut() {
            rows.samples.push((labels.iter().map(|label| Box::from(*label)).collect(), value));
        }
    }

    /// Writes them all.
    pub fn write(&self, writer: &mut Writer) {
        for Rows { family, scale, samples } in &self.0 {
            writer.family(family);
            for (labels, value) in samples {
                let sample = writer.sample(family, "");
                let pairs = family.labels.iter().zip(labels);
                pairs.fold(sample, |sample, (name, label)| sample.label(name, label)).decimal(*value, *scale);
            }
        }
    }
}

fn executions(state: &State, ledger: &LedgerMetrics, gauges: &mut Gauges) {
    let mut open: BTreeMap<(&str, &str), i128> = BTreeMap::new();
    for execution in state.executions() {
        let team = execution.subject.team.as_deref().unwrap_or_default();
        // A team whose runs are all over stays, at 0.
        let count = open.entry(ledger.labels(&execution.id.namespace, team)).or_default();
        *count = count.saturating_add(i128::from(!execution.phase.is_terminal()));
    }
    gauges.family(&EXECUTIONS_ACTIVE, 0);
    for ((namespace, team), count) in open {
        gauges.sample(&[namespace, team], count);
    }
}

/// What the state says about budgets at one moment.
struct Figures<'a> {
    budgets: Vec<&'a Budget>,
    counters: Vec<CounterAt>,
    /// Highest share of a per-run limit that an open run has used, in parts per million.
    run_utilization: Vec<(Source, Ref, u64)>,
}

/// The labels of a budget's series.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Labels<'a> {
    namespace: &'a str,
    budget: String,
    team: &'a str,
    window: &'static str,
}

/// The samples of one family, sorted, and never two with the same labels.
type Sorted<'a> = BTreeMap<Labels<'a>, i128>;

fn budgets(figures: &Figures<'_>, gauges: &mut Gauges) {
    infos(figures, gauges);
    let limits = |unit| limits(figures, unit);
    let counters = |unit: Option<Unit>, value: fn(&CounterAt) -> Option<i128>| counters(figures, unit, value);
    let usd = pricing::money::SCALE;
    rows(&BUDGET_LIMIT_USD, &limits(Unit::Usd), usd, gauges);
    rows(&BUDGET_SPENT_USD, &counters(Some(Unit::Usd), |at| Some(at.spent)), usd, gauges);
    rows(&BUDGET_RESERVED_USD, &counters(Some(Unit::Usd), |at| Some(at.held)), usd, gauges);
    rows(&BUDGET_LIMIT_TOKENS, &limits(Unit::Tokens), 0, gauges);
    rows(&BUDGET_SPENT_TOKENS, &counters(Some(Unit::Tokens), |at| Some(at.spent)), 0, gauges);
    rows(&BUDGET_SOFT_LIMIT, &soft_limits(figures), PARTS_PER_MILLION, gauges);
    rows(&BUDGET_WINDOW_START, &counters(None, |at| Some(i128::from(at.span.start.nanos()))), NANOS, gauges);
    rows(&BUDGET_WINDOW_END, &counters(None, |at| at.span.end.map(|end| i128::from(end.nanos()))), NANOS, gauges);
    rows(&BUDGET_RUN_MAX, &run_utilization(figures), PARTS_PER_MILLION, gauges);
}

fn rows(family: &'static Family, rows: &Sorted<'_>, scale: u32, gauges: &mut Gauges) {
    gauges.family(family, scale);
    for (labels, value) in rows {
        let text = |label: &&'static str| match *label {
            "agent_namespace" => labels.namespace,
            "budget" => &labels.budget,
            "team" => labels.team,
            _ => labels.window,
        };
        gauges.sample(&family.labels.iter().map(text).collect::<Vec<&str>>(), *value);
    }
}

fn labels<'a>(budget: &'a Budget, window: &'static str) -> Option<Labels<'a>> {
    let name = words::budget(budget.source, &budget.id.name)?;
    let team = match budget.scope.teams.as_slice() {
        [team] => team,
        _ => "",
    };
    Some(Labels { namespace: &budget.id.namespace, budget: name, team, window })
}

fn infos(figures: &Figures<'_>, gauges: &mut Gauges) {
    let infos: BTreeMap<_, _> = figures
        .budgets
        .iter()
        .filter_map(|budget| Some((labels(budget, "")?, words::action(budget.on_hard_limit))))
        .collect();
    gauges.family(&BUDGET_INFO, 0);
    for (labels, action) in infos {
        gauges.sample(&[labels.namespace, &labels.budget, labels.team, action], 1);
    }
}

fn limits<'a>(figures: &Figures<'a>, unit: Unit) -> Sorted<'a> {
    let mut rows = Sorted::new();
    for budget in &figures.budgets {
        for limit in budget.limits.iter().filter(|limit| limit.unit == unit) {
            if let Some(labels) = labels(budget, limit.window.as_str()) {
                // Two limits on the same thing: the tighter one binds.
                let tightest = rows.entry(labels).or_insert(limit.amount);
                *tightest = limit.amount.min(*tightest);
            }
        }
    }
    rows
}

fn soft_limits<'a>(figures: &Figures<'a>) -> Sorted<'a> {
    let mut rows = Sorted::new();
    for budget in &figures.budgets {
        let Some(level) = budget.soft_levels.first() else { continue };
        for limit in &budget.limits {
            if let Some(labels) = labels(budget, limit.window.as_str()) {
                // The family has no team: two rows must not differ by it.
                rows.insert(Labels { team: "", ..labels }, i128::from(level.0));
            }
        }
    }
    rows
}

/// A figure of every shared counter, by budget and window. An agent's allocated share is part of the whole, not a
/// series beside it.
fn counters<'a>(figures: &Figures<'a>, unit: Option<Unit>, value: fn(&CounterAt) -> Option<i128>) -> Sorted<'a> {
    let budgets: BTreeMap<_, _> = figures.budgets.iter().map(|budget| ((budget.source, &budget.id), *budget)).collect();
    let mut rows = Sorted::new();
    for at in figures.counters.iter().filter(|at| at.agent.is_none() && unit.is_none_or(|unit| at.unit == unit)) {
        let budget = budgets.get(&(at.source, &at.budget));
        if let Some(labels) = budget.and_then(|budget| labels(budget, at.window.as_str()))
            && let Some(value) = value(at)
        {
            rows.insert(labels, value);
        }
    }
    rows
}

fn run_utilization<'a>(figures: &Figures<'a>) -> Sorted<'a> {
    let shares: BTreeMap<_, _> =
        figures.run_utilization.iter().map(|(source, id, share)| ((*source, id), *share)).collect();
    let mut rows = Sorted::new();
    for budget in &figures.budgets {
        if let Some(share) = shares.get(&(budget.source, &budget.id))
            && let Some(labels) = labels(budget, "")
        {
            rows.insert(Labels { team: "", ..labels }, i128::from(*share));
        }
    }
    rows
}

/// A kill that nobody answered counts for every channel that took it, and for `none` while no channel has.
fn kills<'a>(kills: impl Iterator<Item = &'a Kill>, gauges: &mut Gauges) {
    let mut pending: BTreeMap<&str, (u64, Option<Timestamp>)> = BTreeMap::new();
    for channel in words::CHANNELS.into_iter().chain([words::NO_CHANNEL]) {
        pending.insert(channel, (0, None));
    }
    for kill in kills.filter(|kill| kill.state.is_unanswered()) {
        for (channel, since) in taken(kill) {
            let (count, oldest) = pending.entry(channel).or_default();
            *count = count.saturating_add(1);
            *oldest = Some(oldest.map_or(since, |oldest| oldest.min(since)));
        }
    }
    gauges.family(&KILLS_PENDING, 0);
    for (channel, (count, _)) in &pending {
        gauges.sample(&[channel], i128::from(*count));
    }
    gauges.family(&KILL_OLDEST_PENDING, NANOS);
    for (channel, (_, oldest)) in &pending {
        gauges.sample(&[channel], oldest.map_or(0, |oldest| i128::from(oldest.nanos())));
    }
}

/// The channels that took a kill and when each did first; before that, `none` and the decision.
fn taken(kill: &Kill) -> BTreeMap<&'static str, Timestamp> {
    let mut taken = BTreeMap::new();
    for Tried { at, channel, attempt, .. } in &kill.attempts {
        if *attempt == Attempt::Delivered {
            let first = taken.entry(channel.as_str()).or_insert(*at);
            *first = (*at).min(*first);
        }
    }
    if taken.is_empty() {
        taken.insert(words::NO_CHANNEL, kill.decided_at);
    }
    taken
}

#[cfg(test)]
mod tests;
