//! The limits in force: a slot for each budget with its counters, and which of them bind whom. Never a decision.
//!
//! Slots and rows are numbered in the order of their first appearance and never renumbered, so a run can keep numbers.

use std::collections::BTreeMap;
use std::sync::Arc;

use pricing::{Money, Timestamp};
use serde::{Deserialize, Serialize};

use crate::budget::{Budget, Limit, Source, Unit};
use crate::charge::Subject;
use crate::counter::{Cap, Row, Share, Tally};
use crate::entry::Applied;
use crate::link::{Links, OfRun};
use crate::scope::Ref;
use crate::signal::CounterAt;
use crate::window::{Calendar, Span, Window};

/// The slot number that stands for a run's own budget.
pub(crate) const OWN: u32 = u32::MAX;

/// One row of one slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct RowRef {
    pub(crate) slot: u32,
    pub(crate) row: u32,
}

/// A budget and its counters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Slot {
    pub(crate) budget: Budget,
    pub(crate) calendar: Calendar,
    pub(crate) rows: Vec<Row>,
    /// Money charged to it since it was created, all windows together.
    pub(crate) charged: Money,
    /// What of it nothing was held for.
    pub(crate) overshoot: Money,
}

/// Every budget that a resource carries.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Limits {
    /// Rises whenever a budget comes, changes or goes: bindings of another generation are stale.
    pub(crate) generation: u64,
    slots: Vec<Option<Box<Slot>>>,
    by_id: BTreeMap<(Source, Ref), u32>,
    /// Some budget names executions, so what binds a run depends on its name.
    named: bool,
    /// What teams, environments and agents say of budgets and routes.
    pub(crate) links: Links,
}

/// What binds the calls of one kind of subject.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Class {
    /// Budgets that match.
    pub(crate) slots: Vec<u32>,
    /// Rows that count for each run, the shares of all agents among them: a run may hand over to another agent.
    pub(crate) run: Vec<RowRef>,
    /// Rows that count over runs.
    pub(crate) shared: Vec<RowRef>,
}

/// Whom a class is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ClassKey {
    pub(crate) namespace: Arc<str>,
    pub(crate) subject: Subject,
    pub(crate) inherit: bool,
    /// The route that the run takes instead of its agent's.
    pub(crate) route: Option<Ref>,
    /// Set only while some budget names executions.
    pub(crate) only: Option<Ref>,
}

impl Slot {
    pub(crate) fn new(budget: Budget, now: Timestamp) -> Self {
        let calendar = budget.calendar();
        let mut slot =
            Self { budget: budget.clone(), calendar, rows: Vec::new(), charged: Money::ZERO, overshoot: Money::ZERO };
        slot.replace(budget, now);
        slot
    }

    /// Takes a changed budget. Counters of limits that stay keep their sums; new ones start at zero.
    pub(crate) fn replace(&mut self, budget: Budget, now: Timestamp) {
        let calendar = budget.calendar();
        if calendar != self.calendar {
            for row in &mut self.rows {
                row.recut(&self.calendar, &calendar, now);
            }
            self.calendar = calendar;
        }
        let mut wanted = wanted(&budget);
        for row in &mut self.rows {
            let at = wanted.iter().position(|(unit, window, share, _)| row.is(*unit, *window, share));
            let cap = at.map(|at| Cap::new(wanted.remove(at).3, &budget.soft_levels));
            row.put_cap(&self.calendar, now, cap);
        }
        for (unit, window, share, amount) in wanted {
            let mut row = Row::new(unit, window, share);
            row.put_cap(&self.calendar, now, Some(Cap::new(amount, &budget.soft_levels)));
            self.rows.push(row);
        }
        self.budget = budget;
    }

    /// Rows in force that count calls of `agent`, with their numbers.
    pub(crate) fn bound(&self, agent: Option<&Arc<str>>) -> impl Iterator<Item = (u32, &Row)> {
        let listed = &self.budget.by_agent;
        let numbered = (0_u32..).zip(&self.rows);
        numbered.filter(move |(_, row)| row.cap.is_some() && row.share.binds(agent, listed))
    }

    pub(crate) fn row(&self, row: u32) -> Option<&Row> {
        self.rows.get(usize::try_from(row).ok()?)
    }

    /// Books a charge to a row of a shared window.
    pub(crate) fn book(&mut self, row: u32, now: Timestamp, time: Timestamp, delta: i128) {
        if let Some(row) = usize::try_from(row).ok().and_then(|row| self.rows.get_mut(row)) {
            row.book(&self.calendar, now, time, delta);
        }
    }

    /// Changes what is held of the shared window of `at`.
    pub(crate) fn hold(&mut self, row: u32, at: Timestamp, delta: i128) {
        if let Some(row) = usize::try_from(row).ok().and_then(|row| self.rows.get_mut(row)) {
            row.hold(&self.calendar, at, delta);
        }
    }

    /// Notes what was reported about a shared window.
    pub(crate) fn mark(&mut self, row: u32, window: Span, note: impl FnOnce(&mut Tally)) {
        if let Some(row) = usize::try_from(row).ok().and_then(|row| self.rows.get_mut(row)) {
            row.mark(&self.calendar, window, note);
        }
    }

    /// The number of the row that a counter names.
    pub(crate) fn find(&self, counter: &CounterAt) -> Option<u32> {
        let same =
            |row: &Row| row.unit == counter.unit && row.window == counter.window && row.share.label() == counter.agent;
        (0_u32..).zip(&self.rows).find(|(_, row)| same(row)).map(|(at, _)| at)
    }

    /// A row's figures at one moment; `None` when it is out of force.
    pub(crate) fn counter_at(&self, row: &Row, span: Span, tally: Tally) -> Option<CounterAt> {
        Some(CounterAt {
            source: self.budget.source,
            budget: self.budget.id.clone(),
            generation: self.budget.generation,
            unit: row.unit,
            window: row.window,
            span,
            agent: row.share.label(),
            limit: row.cap.as_ref()?.amount,
            spent: tally.spent,
            held: tally.held,
            resets_at: row.resets_at(span, 1),
        })
    }
}

impl Limits {
    pub(crate) fn slot(&self, slot: u32) -> Option<&Slot> {
        self.slots.get(usize::try_from(slot).ok()?)?.as_deref()
    }

    pub(crate) fn slot_mut(&mut self, slot: u32) -> Option<&mut Slot> {
        self.slots.get_mut(usize::try_from(slot).ok()?)?.as_deref_mut()
    }

    pub(crate) fn find(&self, source: Source, id: &Ref) -> Option<u32> {
        self.by_id.get(&(source, id.clone())).copied()
    }

    /// Slots in force with their numbers, in the order of creation.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &Slot)> {
        (0_u32..).zip(&self.slots).filter_map(|(at, slot)| Some((at, slot.as_deref()?)))
    }

    pub(crate) fn put(&mut self, budget: Budget, now: Timestamp) {
        self.generation = self.generation.saturating_add(1);
        self.named |= budget.scope.execution.is_some();
        let id = (budget.source, budget.id.clone());
        if let Some(slot) = self.by_id.get(&id).copied().and_then(|slot| self.slot_mut(slot)) {
            slot.replace(budget, now);
            return;
        }
        // More slots than 32 bits can number will not come: a ledger would need that many budgets.
        self.by_id.insert(id, u32::try_from(self.slots.len()).unwrap_or(OWN));
        self.slots.push(Some(Box::new(Slot::new(budget, now))));
    }

    pub(crate) fn remove(&mut self, source: Source, id: &Ref) {
        self.generation = self.generation.saturating_add(1);
        let slot = self.by_id.remove(&(source, id.clone())).and_then(|slot| usize::try_from(slot).ok());
        if let Some(slot) = slot.and_then(|slot| self.slots.get_mut(slot)) {
            *slot = None;
        }
    }

    /// Takes what a resource says about whom budgets bind.
    pub(crate) fn link(&mut self, applied: &Applied) {
        if self.links.put(&applied.kind, &applied.id, &applied.link) {
            self.generation = self.generation.saturating_add(1);
        }
    }

    pub(crate) fn unlink(&mut self, kind: &Arc<str>, id: &Ref) {
        if self.links.remove(kind, id) {
            self.generation = self.generation.saturating_add(1);
        }
    }

    /// The key under which a class can be shared between runs.
    pub(crate) fn class_key(&self, run: OfRun<'_>, subject: &Subject) -> ClassKey {
        ClassKey {
            namespace: Arc::clone(&run.execution.namespace),
            subject: subject.clone(),
            inherit: run.inherit,
            route: run.route.cloned(),
            only: self.named.then(|| run.execution.clone()),
        }
    }

    /// What binds calls of `subject` in a run.
    pub(crate) fn class(&self, run: OfRun<'_>, subject: &Subject) -> Class {
        let mut class = Class::default();
        for (at, slot) in self.iter().filter(|(_, slot)| self.links.bind(&slot.budget, run, subject)) {
            class.slots.push(at);
            let inherited = run.inherit || slot.budget.source != Source::Agent;
            for (number, row) in (0_u32..).zip(&slot.rows).filter(|(_, row)| row.cap.is_some()) {
                let row_ref = RowRef { slot: at, row: number };
                if row.window == Window::Run && inherited {
                    class.run.push(row_ref);
                } else if row.window != Window::Run && row.share.binds(subject.agent.as_ref(), &slot.budget.by_agent) {
                    class.shared.push(row_ref);
                }
            }
        }
        class
    }
}

/// Every counter that a budget needs: for each limit the whole, each listed agent's share and the rest's.
fn wanted(budget: &Budget) -> Vec<(Unit, Window, Share, i128)> {
    let mut wanted: Vec<(Unit, Window, Share, i128)> = Vec::new();
    let mut want = |limit: &Limit, share: Share, amount: i128| {
        let same = |(unit, window, other, _): &&mut (Unit, Window, Share, i128)| {
            *unit == limit.unit && *window == limit.window && *other == share
        };
        // Two limits of one kind: the tighter one holds.
        match wanted.iter_mut().find(same) {
            Some((.., held)) => *held = amount.min(*held),
            None => wanted.push((limit.unit, limit.window, share, amount)),
        }
    };
    for limit in &budget.limits {
        want(limit, Share::Whole, limit.amount);
        for (agent, fraction) in &budget.by_agent {
            want(limit, Share::Agent(Arc::clone(agent)), fraction.of(limit.amount));
        }
        if !budget.by_agent.is_empty() {
            want(limit, Share::Rest, budget.unlisted_share().of(limit.amount));
        }
    }
    wanted
}
