//! Team, Environment, ModelRoute, and an Agent's route → which budgets bind whom. Reads fields only; whether what they refer to is
//! there is for whoever sees all resources.

use std::sync::Arc;

use ::budget::{Action, Budget, Limit, Link, Ref, Scope, Source, Unit, Window};
use pricing::document::Value;

use super::Meta;
use super::budget::empty;
use super::fields::{Fields, Report, Unknown};

/// References of one resource.
const REFS_MAX: usize = 64;

/// An Agent's `modelRoute.routeRef`.
pub(super) fn of_agent(id: &Ref, spec: &Fields<'_>, report: &mut Report) -> Link {
    let route = spec.child("modelRoute", report).and_then(|route| refer(id, &route, "routeRef", report));
    Link { route, ..Link::default() }
}

/// `budgetRefs` of a Team or an Environment, and a Team's `namespaces`.
pub(super) fn budget_refs(meta: &Meta, spec: &Fields<'_>, report: &mut Report) -> Link {
    let namespaces = if &*meta.kind == "Team" { spec.names("namespaces", report) } else { Vec::new() };
    let budgets = refs(&meta.id, spec, report);
    // Without a budget it binds nobody, and nothing is to be remembered of it.
    if budgets.is_empty() { Link::default() } else { Link { budgets, namespaces, route: None } }
}

/// A ModelRoute's `constraints`: what a run and a call on it may cost. A hit denies.
pub(super) fn constraints(id: &Ref, spec: &Fields<'_>, report: &mut Report) -> Option<Budget> {
    let fields = spec.child("constraints", report)?;
    fields.known(&["maxCostUsdPerExecution", "maxCostUsdPerCall", "dataResidency"], Unknown::Warn, report);
    let mut budget = empty(Source::ModelRoute, id, Action::Deny, Scope::default());
    budget.limits.extend(fields.usd("maxCostUsdPerExecution", report).map(|amount| Limit {
        unit: Unit::Usd,
        window: Window::Run,
        amount: amount.scaled(),
    }));
    budget.policy.per_call = fields.usd("maxCostUsdPerCall", report);
    (!budget.limits.is_empty() || budget.policy.per_call.is_some()).then_some(budget)
}

/// `{ name, namespace }` under a key; in the namespace of the one that refers unless it says otherwise.
pub(super) fn refer(id: &Ref, fields: &Fields<'_>, key: &str, report: &mut Report) -> Option<Ref> {
    let name = fields.reference(key, report)?;
    let namespace = fields.child(key, report).and_then(|inner| inner.name("namespace", report));
    Some(Ref { namespace: namespace.unwrap_or_else(|| Arc::clone(&id.namespace)), name })
}

/// A list of references: `{ name, namespace }`, or bare names.
fn refs(id: &Ref, spec: &Fields<'_>, report: &mut Report) -> Vec<Ref> {
    let Some(node) = spec.get("budgetRefs") else { return Vec::new() };
    let path = spec.at("budgetRefs");
    let Value::List(items) = &node.value else {
        let hint = "write a list: budgetRefs: [{ name: monthly }]".to_owned();
        report.error(node.place, &path, format!("must be a list of budgets, not {}", node.kind_name()), Some(hint));
        return Vec::new();
    };
    if items.len() > REFS_MAX {
        report.error(node.place, &path, format!("{} budgets; at most {REFS_MAX} are kept", items.len()), None);
        return Vec::new();
    }
    let mut found = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let path = format!("{path}[{index}]");
        let namespace = || Arc::clone(&id.namespace);
        let budget = if matches!(item.value, Value::Map(_)) {
            Fields::of(item, &path, report).and_then(|fields| {
                if fields.get("name").is_none() {
                    report.error(item.place, &fields.at("name"), "the reference names nothing", None);
                }
                let name = fields.name("name", report)?;
                Some(Ref { namespace: fields.name("namespace", report).unwrap_or_else(namespace), name })
            })
        } else {
            super::fields::name(item, &path, report).map(|name| Ref { namespace: namespace(), name })
        };
        found.extend(budget.filter(|budget| !found.contains(budget)));
    }
    found
}
