//! Cells: sums by quarter-hour and dimensions, at most so many; the oldest quarter-hours go first.

use std::collections::BTreeMap;
use std::hash::Hash;
use std::sync::Arc;

use budget::charge::Called;
use budget::{Entry, Ref, Subject};
use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

use super::answer::{Groups, names_of};
use super::{Line, Question, Sums, quarter_of};

/// After an overflow so much of the bound stays in use.
const KEPT_OF_FOUR: usize = 3;

/// Sums of everything folded so far.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Cube {
    /// Newest entry in it.
    seq: u64,
    /// Does it tell runs apart?
    runs: bool,
    cells_max: usize,
    cells: usize,
    /// Quarter-hours before this one are given up.
    kept_from: i64,
    quarters: BTreeMap<i64, FxHashMap<Cell, Sums>>,
    subjects: Interned<(Arc<str>, Subject)>,
    called: Interned<Called>,
    executions: Interned<Ref>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct Cell {
    subject: u32,
    called: u32,
    run: u32,
}

/// Values by small numbers, given in order of first use.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(bound(serialize = "T: Serialize", deserialize = "T: Deserialize<'de>"))]
struct Interned<T> {
    values: Vec<T>,
    #[serde(skip, default)]
    numbers: FxHashMap<T, u32>,
}

impl<T> Default for Interned<T> {
    fn default() -> Self {
        Self { values: Vec::new(), numbers: FxHashMap::default() }
    }
}

impl<T: Clone + Eq + Hash> Interned<T> {
    fn number(&mut self, value: &T) -> u32 {
        if let Some(number) = self.numbers.get(value) {
            return *number;
        }
        let number = u32::try_from(self.values.len()).unwrap_or(u32::MAX);
        self.values.push(value.clone());
        self.numbers.insert(value.clone(), number);
        number
    }

    fn get(&self, number: u32) -> Option<&T> {
        self.values.get(usize::try_from(number).ok()?)
    }

    fn index(&mut self) {
        let numbered = self.values.iter().zip(0_u32..);
        self.numbers = numbered.map(|(value, number)| (value.clone(), number)).collect();
    }
}

impl Cube {
    pub(super) fn new(runs: bool, cells_max: usize) -> Self {
        Self {
            seq: 0,
            runs,
            cells_max,
            cells: 0,
            kept_from: i64::MIN,
            quarters: BTreeMap::new(),
            subjects: Interned::default(),
            called: Interned::default(),
            executions: Interned::default(),
        }
    }

    pub(super) const fn seq(&self) -> u64 {
        self.seq
    }

    /// Makes what is not stored with it.
    pub(super) fn indexed(mut self, cells_max: usize) -> Self {
        self.cells_max = cells_max;
        self.subjects.index();
        self.called.index();
        self.executions.index();
        self
    }

    /// Does it hold everything that this question asks for?
    pub(super) fn reaches(&self, question: &Question) -> bool {
        quarter_of(question.since) >= self.kept_from
    }

    /// Folds the next entry.
    pub(super) fn apply(&mut self, entry: &Entry) {
        if entry.seq <= self.seq {
            return;
        }
        self.seq = entry.seq;
        let Some(line) = Line::of(entry) else { return };
        let quarter = quarter_of(line.at);
        if quarter < self.kept_from {
            return;
        }
        let cell = Cell {
            subject: self.subjects.number(&(line.execution.namespace.clone(), line.subject.clone())),
            called: self.called.number(&kind_of(line.called)),
            run: if self.runs { self.executions.number(line.execution) } else { 0 },
        };
        let before = self.quarters.entry(quarter).or_default();
        let known = before.len();
        before.entry(cell).or_default().add(&line.sums);
        self.cells += before.len() - known;
        if self.cells > self.cells_max {
            self.give_up();
        }
    }

    /// Adds the cells of the question's span to `groups`.
    pub(super) fn fill(&self, question: &Question, groups: &mut Groups<'_>) {
        let filter = &question.filter;
        let subjects: Vec<bool> =
            self.subjects.values.iter().map(|(namespace, subject)| filter.takes_subject(namespace, subject)).collect();
        let called: Vec<bool> = self.called.values.iter().map(|called| filter.takes_called(called)).collect();
        let runs: Vec<bool> = self.executions.values.iter().map(|run| filter.takes_run(run)).collect();
        let is = |flags: &[bool], number: u32| flags.get(number as usize).copied().unwrap_or(false);
        for (quarter, cells) in self.quarters.range(quarter_of(question.since)..quarter_of(question.until)) {
            for (cell, sums) in cells {
                if !is(&subjects, cell.subject) || !is(&called, cell.called) || (self.runs && !is(&runs, cell.run)) {
                    continue;
                }
                let run = if self.runs { self.executions.get(cell.run) } else { None };
                if let (Some((namespace, subject)), Some(called)) =
                    (self.subjects.get(cell.subject), self.called.get(cell.called))
                    && let Some(names) = names_of(&question.by, namespace, subject, called, run)
                {
                    groups.add(*quarter, names, sums);
                }
            }
        }
    }

    /// Every cell of the question's span that its filter takes.
    pub(super) fn details(&self, question: &Question, mut visit: impl FnMut(i64, &Arc<str>, &Subject, &Called, &Sums)) {
        for (quarter, cells) in self.quarters.range(quarter_of(question.since)..quarter_of(question.until)) {
            for (cell, sums) in cells {
                if let (Some((namespace, subject)), Some(called)) =
                    (self.subjects.get(cell.subject), self.called.get(cell.called))
                    && question.filter.takes_subject(namespace, subject)
                    && question.filter.takes_called(called)
                {
                    visit(*quarter, namespace, subject, called, sums);
                }
            }
        }
    }

    /// Gives up the oldest quarter-hours, and the names that nothing uses any more.
    fn give_up(&mut self) {
        while self.cells > self.cells_max / 4 * KEPT_OF_FOUR {
            let Some((quarter, cells)) = self.quarters.pop_first() else { break };
            self.cells -= cells.len();
            self.kept_from = quarter.saturating_add(1);
        }
        let mut fresh = Self { cells: self.cells, kept_from: self.kept_from, ..Self::new(self.runs, self.cells_max) };
        for (quarter, cells) in std::mem::take(&mut self.quarters) {
            let cells = cells.into_iter().filter_map(|(cell, sums)| {
                let subject = fresh.subjects.number(self.subjects.get(cell.subject)?);
                let called = fresh.called.number(self.called.get(cell.called)?);
                let run = if self.runs { fresh.executions.number(self.executions.get(cell.run)?) } else { 0 };
                Some((Cell { subject, called, run }, sums))
            });
            let cells: FxHashMap<Cell, Sums> = cells.collect();
            fresh.quarters.insert(quarter, cells);
        }
        fresh.seq = self.seq;
        *self = fresh;
    }
}

/// What was called, without what tells single calls apart.
fn kind_of(called: &Called) -> Called {
    match called {
        Called::Model { provider, model, .. } => {
            Called::Model { provider: provider.clone(), model: model.clone(), request_model: None, response_id: None }
        }
        Called::Tool { tool, .. } => Called::Tool { tool: tool.clone(), mcp_server: None },
        Called::Approval => Called::Approval,
    }
}
