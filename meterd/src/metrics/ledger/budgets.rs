//! Budgets in force, as far as the counters need them: what was charged to each, and how often a threshold was crossed.
//!
//! The windows and their figures are the state's; here nothing is ever reset.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use budget::entry::Applied;
use budget::signal::CounterAt;
use budget::{Action, Budget, Links, OfRun, Ref, Scope, Source, Subject};
use serde::{Deserialize, Serialize};

use super::LedgerMetrics;
use super::caps::Value;
use super::families::Families;
use super::kinds::Counter;
use super::series::Symbol;
use super::words;

/// The budgets of every resource in force.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Budgets {
    of_resource: BTreeMap<(Arc<str>, Ref), Vec<Bound>>,
    /// What teams and environments say of them.
    links: Links,
}

/// A budget with series, and whom it binds.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Bound {
    source: Source,
    id: Ref,
    scope: Scope,
    action: Action,
    /// Its labels, kept so that a charge looks nothing up.
    namespace: Symbol,
    label: Symbol,
}

impl Budgets {
    /// Adds a charge to every budget that binds it, once for each budget however many limits it has.
    pub(super) fn charged(&self, families: &mut Families, execution: &Ref, subject: &Subject, spent: i128) {
        // A route has no series, so it does not matter which one the run takes.
        let run = OfRun { execution, inherit: true, route: None };
        for budgets in self.of_resource.values() {
            for budget in budgets {
                if self.links.reach(budget.source, &budget.id, &budget.scope, run, subject) {
                    let values = [Value::of(budget.namespace), Value::of(budget.label)];
                    families.add(Counter::BudgetCharged, &values, spent, None);
                }
            }
        }
    }

    fn find(&self, source: Source, id: &Ref) -> Option<&Bound> {
        self.of_resource.values().flatten().find(|bound| bound.source == source && bound.id == *id)
    }

    fn remove(&mut self, families: &mut Families, kind: &Arc<str>, id: &Ref) {
        self.links.remove(kind, id);
        for bound in self.of_resource.remove(&(Arc::clone(kind), id.clone())).unwrap_or_default() {
            families.budget_in_force((bound.namespace, bound.label), false);
        }
    }
}

impl LedgerMetrics {
    pub(super) fn applied(&mut self, applied: &Applied) {
        self.budgets.links.put(&applied.kind, &applied.id, &applied.link);
        let mut seen = BTreeSet::new();
        let mut bounds = Vec::new();
        for budget in &applied.budgets {
            if let Some(bound) = self.bound(budget)
                && seen.insert((bound.source, bound.id.clone()))
            {
                bounds.push(bound);
            }
        }
        let labels: BTreeSet<_> = bounds.iter().map(|bound| (bound.namespace, bound.label)).collect();
        let place = (Arc::clone(&applied.kind), applied.id.clone());
        let before = if bounds.is_empty() {
            self.budgets.of_resource.remove(&place)
        } else {
            self.budgets.of_resource.insert(place, bounds)
        };
        for bound in before.unwrap_or_default() {
            if !labels.contains(&(bound.namespace, bound.label)) {
                self.families.budget_in_force((bound.namespace, bound.label), false);
            }
        }
    }

    pub(super) fn removed(&mut self, kind: &Arc<str>, id: &Ref) {
        self.budgets.remove(&mut self.families, kind, id);
    }

    fn bound(&mut self, budget: &Budget) -> Option<Bound> {
        let label = words::budget(budget.source, &budget.id.name)?;
        let families = &mut self.families;
        let namespace = families.admission.namespace(&mut families.symbols, &families.caps, &budget.id.namespace);
        let label = families.closed(&label);
        families.budget_in_force((namespace.symbol, label.symbol), true);
        families.zero(Counter::BudgetCharged, &[namespace, label]);
        for limit in &budget.limits {
            let window = families.closed(limit.window.as_str());
            if !budget.soft_levels.is_empty() {
                let (soft, alert) = (families.closed(words::SOFT), families.closed(words::action(Action::Alert)));
                families.zero(Counter::Thresholds, &[namespace, label, window, soft, alert]);
            }
            let (hard, action) = (families.closed(words::HARD), families.closed(words::action(budget.on_hard_limit)));
            families.zero(Counter::Thresholds, &[namespace, label, window, hard, action]);
        }
        Some(Bound {
            source: budget.source,
            id: budget.id.clone(),
            scope: budget.scope.clone(),
            action: budget.on_hard_limit,
            namespace: namespace.symbol,
            label: label.symbol,
        })
    }

    /// A soft level (`hard: false`) or the limit itself was reached. Soft levels only ever alert.
    pub(super) fn crossed(&mut self, counter: &CounterAt, hard: bool) {
        let Some(bound) = self.budgets.find(counter.source, &counter.budget) else { return };
        let (namespace, label, action) = (Value::of(bound.namespace), Value::of(bound.label), bound.action);
        let window = self.families.closed(counter.window.as_str());
        let (threshold, action) = if hard { (words::HARD, action) } else { (words::SOFT, Action::Alert) };
        let threshold = self.families.closed(threshold);
        let action = self.families.closed(words::action(action));
        self.families.add(Counter::Thresholds, &[namespace, label, window, threshold, action], 1, None);
    }
}
