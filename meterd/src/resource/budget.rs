//! Budget and `Agent.spec.budgets` → the core's budgets. Reads fields only; never counts, never decides.

use std::sync::Arc;

use budget::{Action, Budget, Fraction, Limit, Policy, Ref, Scope, Source, Unit, Window};
use pricing::document::{Node, Place, Value};

use super::fields::{Fields, Report, Unknown, WHOLE, fraction};
use super::nearest::nearest;
use super::policy;

/// Soft level of a budget that names none: four fifths.
pub const SOFT_LEVEL_DEFAULT: Fraction = Fraction(800_000);
/// Zone of a budget that names none.
pub const TIME_ZONE_DEFAULT: &str = "UTC";

/// Every limit of `Budget.spec.limits`.
pub(super) const LIMITS: [(&str, Unit, Window); 10] = [
    ("perRunUsd", Unit::Usd, Window::Run),
    ("hourlyUsd", Unit::Usd, Window::Hour),
    ("dailyUsd", Unit::Usd, Window::Day),
    ("weeklyUsd", Unit::Usd, Window::Week),
    ("monthlyUsd", Unit::Usd, Window::Month),
    ("rolling24hUsd", Unit::Usd, Window::Rolling24h),
    ("tokenLimitDaily", Unit::Tokens, Window::Day),
    ("tokenLimitPerRun", Unit::Tokens, Window::Run),
    ("toolCallLimitPerRun", Unit::ToolCalls, Window::Run),
    ("modelCallLimitPerRun", Unit::ModelCalls, Window::Run),
];
/// Every limit of `Agent.spec.budgets`.
const AGENT_LIMITS: [(&str, Unit, Window); 5] = [
    ("perRunUsd", Unit::Usd, Window::Run),
    ("costLimitUsdPerDay", Unit::Usd, Window::Day),
    ("tokenLimitPerRun", Unit::Tokens, Window::Run),
    ("toolCallLimitPerRun", Unit::ToolCalls, Window::Run),
    ("modelCallLimitPerRun", Unit::ModelCalls, Window::Run),
];
/// Every limit of an Execution's own `spec.budgets`.
pub(super) const RUN_LIMITS: [(&str, Unit, Window); 4] = [
    ("perRunUsd", Unit::Usd, Window::Run),
    ("tokenLimitPerRun", Unit::Tokens, Window::Run),
    ("toolCallLimitPerRun", Unit::ToolCalls, Window::Run),
    ("modelCallLimitPerRun", Unit::ModelCalls, Window::Run),
];
/// Budgets that another resource carries take these fields beside their limits.
pub(super) const CARRIED: [&str; 7] =
    ["onHardLimit", "softLimitPct", "onUnpriced", "estimateCeilingUsd", "windDown", "kill", "onPartition"];

/// What joch has in `enforcement`.
const ENFORCEMENT: [&str; 3] = ["onSoftLimit", "onHardLimit", "softLimitPct"];

const ACTIONS: [(&str, Action); 3] =
    [("alert", Action::Alert), ("deny", Action::Deny), ("terminate", Action::Terminate)];

/// Reads a `Budget`; its `spec` may be missing, which is said.
pub(super) fn budget(id: &Ref, place: Place, spec: Option<&Fields<'_>>, report: &mut Report) -> Option<Budget> {
    let Some(spec) = spec else {
        report.warn(place, "spec", "the budget has no spec, so it limits nothing", None);
        return Some(empty(Source::Budget, id, Action::Deny, own_namespace(id)));
    };
    const KNOWN: [&str; 8] =
        ["scope", "limits", "enforcement", "allocation", "attribution", "timeZone", "weekStart", "monthStartDay"];
    let known: Vec<&str> = KNOWN.iter().chain(&ENFORCEMENT).chain(&policy::KEYS).copied().collect();
    spec.known(&known, Unknown::Warn, report);
    let mut budget = empty(Source::Budget, id, Action::Deny, scope(id, spec, report));
    let table = spec.child("limits", report);
    if let Some(table) = &table {
        let known: Vec<&str> = LIMITS.iter().map(|(name, ..)| *name).collect();
        table.known(&known, Unknown::Warn, report);
        budget.limits = limits(table, &LIMITS, report);
    }
    // A limit that could not be read has been reported already.
    let given = |table: &Fields<'_>| LIMITS.iter().any(|(name, ..)| table.get(name).is_some());
    if !table.as_ref().is_some_and(given) {
        let hint = format!("limits are {}", LIMITS.map(|(name, ..)| name).join(", "));
        let place = table.map_or(spec.place, |table| table.place);
        report.warn(place, &spec.at("limits"), "the budget has no limit, so it limits nothing", Some(hint));
    }
    let enforcement = spec.child("enforcement", report);
    let at = Either { spec, enforcement: enforcement.as_ref() };
    at.enforce(&mut budget, report);
    budget.by_agent = allocation(spec, report);
    calendar(&mut budget, spec, report);
    budget.policy = policy::policy(|key| at.of(key), report);
    Some(budget)
}

/// Reads `Agent.spec.budgets`; `None` when the agent carries no limit.
pub(super) fn of_agent(id: &Ref, budgets: &Fields<'_>, report: &mut Report) -> Option<Budget> {
    let mut known: Vec<&str> = AGENT_LIMITS.iter().map(|(name, ..)| *name).collect();
    known.extend(CARRIED);
    budgets.known(&known, Unknown::Warn, report);
    let scope = Scope { agents: vec![id.name.clone()], namespaces: vec![id.namespace.clone()], ..Scope::default() };
    carried(Source::Agent, id, scope, &AGENT_LIMITS, budgets, report)
}

/// A budget that another resource carries: its limits, `onHardLimit` (default terminate) and `softLimitPct`.
pub(super) fn carried(
    source: Source,
    id: &Ref,
    scope: Scope,
    table: &[(&str, Unit, Window)],
    budgets: &Fields<'_>,
    report: &mut Report,
) -> Option<Budget> {
    let mut budget = empty(source, id, Action::Terminate, scope);
    budget.limits = limits(budgets, table, report);
    if let Some(action) = budgets.word("onHardLimit", &ACTIONS, report) {
        budget.on_hard_limit = action;
    }
    if let Some(levels) = soft_levels(budgets, report) {
        budget.soft_levels = levels;
    }
    budget.policy = policy::policy(|_| budgets, report);
    if source == Source::Execution {
        budget.policy.slice = policy::slice(budgets, &budget.limits, report);
    }
    (!budget.limits.is_empty() || budget.policy.slice.is_some()).then_some(budget)
}

pub(super) fn empty(source: Source, id: &Ref, on_hard_limit: Action, scope: Scope) -> Budget {
    Budget {
        source,
        id: id.clone(),
        generation: 0,
        scope,
        limits: Vec::new(),
        soft_levels: vec![SOFT_LEVEL_DEFAULT],
        on_hard_limit,
        time_zone: Arc::from(TIME_ZONE_DEFAULT),
        week_start: 1,
        month_start_day: 1,
        by_agent: Vec::new(),
        policy: Policy::default(),
    }
}

fn own_namespace(id: &Ref) -> Scope {
    Scope { namespaces: vec![id.namespace.clone()], implied: true, ..Scope::default() }
}

/// A scope that restricts nothing binds the budget's own namespace.
fn scope(id: &Ref, spec: &Fields<'_>, report: &mut Report) -> Scope {
    let Some(fields) = spec.child("scope", report) else { return own_namespace(id) };
    fields.known(&["teams", "namespaces", "agents", "environments", "labels"], Unknown::Warn, report);
    let scope = Scope {
        teams: fields.names("teams", report),
        namespaces: fields.names("namespaces", report),
        agents: fields.names("agents", report),
        environments: fields.names("environments", report),
        labels: fields.labels("labels", report),
        execution: None,
        implied: false,
    };
    if scope == Scope::default() {
        let is_empty = |node: &Node| match &node.value {
            Value::List(items) => items.is_empty(),
            Value::Map(entries) => entries.is_empty(),
            _ => false,
        };
        // What could not be read has been reported already.
        if fields.entries.iter().all(|(_, node)| is_empty(node)) {
            let message =
                format!("the scope selects nothing: the budget binds every run of namespace {:?}", id.namespace);
            let hint = "name teams, namespaces, agents, environments or labels, or leave scope out".to_owned();
            report.warn(fields.place, &fields.path, message, Some(hint));
        }
        return own_namespace(id);
    }
    scope
}

fn limits(fields: &Fields<'_>, table: &[(&str, Unit, Window)], report: &mut Report) -> Vec<Limit> {
    let mut limits = Vec::new();
    for (name, unit, window) in table {
        let amount = match unit {
            Unit::Usd => fields.usd(name, report).map(|amount| amount.scaled()),
            Unit::Tokens | Unit::ToolCalls | Unit::ModelCalls => fields.count(name, report).map(i128::from),
        };
        limits.extend(amount.map(|amount| Limit { unit: *unit, window: *window, amount }));
    }
    limits
}

/// What a budget does may stand in its `enforcement`, as joch has it, or in its `spec`.
struct Either<'f, 'n> {
    spec: &'f Fields<'n>,
    enforcement: Option<&'f Fields<'n>>,
}

impl<'f, 'n> Either<'f, 'n> {
    /// Where a key stands.
    fn of(&self, key: &str) -> &'f Fields<'n> {
        self.enforcement.filter(|fields| fields.get(key).is_some()).unwrap_or(self.spec)
    }

    fn enforce(&self, budget: &mut Budget, report: &mut Report) {
        if let Some(fields) = self.enforcement {
            let known: Vec<&str> = ENFORCEMENT.iter().chain(&policy::KEYS).copied().collect();
            fields.known(&known, Unknown::Warn, report);
            for key in known.iter().filter(|key| fields.get(key).is_some()) {
                if let Some(twice) = self.spec.get(key) {
                    let message = "stands in enforcement as well; write it once";
                    report.error(twice.place, &self.spec.at(key), message, None);
                }
            }
        }
        self.of("onSoftLimit").word("onSoftLimit", &[("alert", ())], report);
        if let Some(action) = self.of("onHardLimit").word("onHardLimit", &ACTIONS, report) {
            budget.on_hard_limit = action;
        }
        if let Some(levels) = soft_levels(self.of("softLimitPct"), report) {
            budget.soft_levels = levels;
        }
    }
}

/// `softLimitPct`: one level or a list, ascending and without repeats.
fn soft_levels(fields: &Fields<'_>, report: &mut Report) -> Option<Vec<Fraction>> {
    let node = fields.get("softLimitPct")?;
    let path = fields.at("softLimitPct");
    let items = match &node.value {
        Value::List(items) => items.as_slice(),
        _ => std::slice::from_ref(node),
    };
    let mut levels = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let path = if items.len() == 1 { path.clone() } else { format!("{path}[{index}]") };
        match fraction(item, &path, report) {
            Some(Fraction(0)) => {
                report.error(item.place, &path, "a soft level of 0 is passed before anything is spent", None);
            }
            Some(level) => levels.push(level),
            None => {}
        }
    }
    levels.sort_unstable();
    levels.dedup();
    Some(levels)
}

/// `allocation.byAgent`: shares that sum to no more than the whole.
fn allocation(spec: &Fields<'_>, report: &mut Report) -> Vec<(Arc<str>, Fraction)> {
    let Some(fields) = spec.child("allocation", report) else { return Vec::new() };
    fields.known(&["byAgent"], Unknown::Warn, report);
    let Some(by_agent) = fields.child("byAgent", report) else { return Vec::new() };
    let mut shares = Vec::with_capacity(by_agent.entries.len());
    let mut sum: u64 = 0;
    for (key, node) in by_agent.entries {
        if let Some(share) = fraction(node, &by_agent.at(&key.name), report) {
            sum = sum.saturating_add(u64::from(share.0));
            shares.push((Arc::from(key.name.as_str()), share));
        }
    }
    if sum > u64::from(WHOLE) {
        let total = format!("{}.{:06}", sum / u64::from(WHOLE), sum % u64::from(WHOLE));
        let message = format!("the shares sum to {}, more than 1", total.trim_end_matches('0').trim_end_matches('.'));
        let hint = "agents that are not listed share what is left".to_owned();
        report.error(by_agent.place, &by_agent.path, message, Some(hint));
    }
    shares.sort();
    shares
}

fn calendar(budget: &mut Budget, spec: &Fields<'_>, report: &mut Report) {
    if let Some(zone) = spec.text("timeZone", report) {
        match jiff::tz::TimeZone::get(zone) {
            // The database matches without regard to case; its own spelling is what counts from here on.
            Ok(found) => budget.time_zone = Arc::from(found.iana_name().unwrap_or(zone)),
            Err(_) => unknown_zone(zone, spec, report),
        }
    }
    if let Some(day) = spec.get("weekStart").and_then(|_| week_start(spec, report)) {
        budget.week_start = day;
    }
    if spec.get("monthStartDay").is_some() {
        match spec.count("monthStartDay", report) {
            Some(day @ 1..=28) => budget.month_start_day = u8::try_from(day).unwrap_or(1),
            Some(day) => {
                let place = spec.get("monthStartDay").map_or(spec.place, |node| node.place);
                let hint = "days 29 to 31 are missing in some months".to_owned();
                let message = format!("{day} is not a day from 1 to 28");
                report.error(place, &spec.at("monthStartDay"), message, Some(hint));
            }
            None => {}
        }
    }
}

fn unknown_zone(zone: &str, spec: &Fields<'_>, report: &mut Report) {
    let names: Vec<String> = jiff::tz::db().available().map(|name| name.as_str().to_owned()).collect();
    let hint = match nearest(zone, names.iter().map(String::as_str)) {
        Some(name) => format!("did you mean {name:?}?"),
        None => "write an IANA name such as Europe/Berlin or UTC".to_owned(),
    };
    let place = spec.get("timeZone").map_or(spec.place, |node| node.place);
    report.error(place, &spec.at("timeZone"), format!("{zone:?} is no IANA time zone"), Some(hint));
}

fn week_start(spec: &Fields<'_>, report: &mut Report) -> Option<u8> {
    const DAYS: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];
    let given = spec.text("weekStart", report)?.to_ascii_lowercase();
    let found = (1u8..).zip(DAYS).find(|(number, day)| {
        given == *day || day.get(..3).is_some_and(|short| given == short) || given == number.to_string()
    });
    if found.is_none() {
        let place = spec.get("weekStart").map_or(spec.place, |node| node.place);
        let hint = "write monday … sunday, or 1 (Monday) … 7 (Sunday)".to_owned();
        report.error(place, &spec.at("weekStart"), format!("{given:?} is no weekday"), Some(hint));
    }
    found.map(|(number, _)| number)
}
