//! Parent links: a run's cost counts in the subtree of every run above it.
//!
//! A link is made once and never moved. A parent that would close a circle, or a chain longer than `DEPTH_MAX`, is
//! ignored: the child has no parent then. So the subtree cost of a run is exactly its own and that of all below it.

use super::lift::Concerns;
use super::run::{Below, plus};
use super::{Run, State};
use crate::charge::Moved;
use crate::scope::Ref;

/// Generations that a tree of runs may have.
pub const DEPTH_MAX: u32 = 32;

impl State {
    /// Would this parent be taken? A parent that is not known yet would be, until it is known to close a circle.
    pub(crate) fn accepts_parent(&self, child: &Ref, parent: &Ref) -> bool {
        if child == parent {
            return false;
        }
        match (self.number(child), self.number(parent)) {
            (_, None) => true,
            (Some(child), Some(parent)) => self.fits(child, parent),
            (None, Some(parent)) => self.ancestry(parent).count() < generations(DEPTH_MAX),
        }
    }

    /// The run above another: the one that it has, else the one that a call names, if that would be taken.
    pub(crate) fn above_of(&self, run: &Run, child: &Ref, named: Option<&Ref>) -> Option<u32> {
        if run.execution.parent.is_some() {
            return run.parent;
        }
        named.filter(|parent| self.accepts_parent(child, parent)).and_then(|parent| self.number(parent))
    }

    /// The runs from this one upwards, itself first.
    pub(crate) fn ancestry(&self, from: u32) -> impl Iterator<Item = (u32, &Run)> {
        let mut next = Some(from);
        (0..DEPTH_MAX).map_while(move |_| {
            let at = next?;
            let run = self.run(at)?;
            next = run.parent;
            Some((at, run))
        })
    }

    /// Names a run's parent, unless it has one.
    pub(super) fn link(&mut self, child: u32, parent: &Ref) {
        let Some(run) = self.run(child) else { return };
        if run.execution.parent.is_some() || run.execution.id == *parent {
            return;
        }
        if let Some(run) = self.run_mut(child) {
            run.execution.parent = Some(parent.clone());
        }
        match self.number(parent) {
            Some(parent) => self.attach(child, parent),
            None => self.index.orphans.entry(parent.clone()).or_default().push(child),
        }
    }

    /// Attaches the runs that have waited for this one, in the order of their numbers.
    pub(super) fn adopt(&mut self, parent: u32, id: &Ref) {
        let mut waiting = self.index.orphans.remove(id).unwrap_or_default();
        waiting.sort_unstable();
        for child in waiting {
            let lifted = self.lift(&Concerns::run(self, child));
            self.attach(child, parent);
            self.hold_again(lifted);
        }
    }

    /// The run so many steps above another.
    pub(crate) fn above(&self, run: u32, steps: u8) -> Option<u32> {
        self.ancestry(run).nth(usize::from(steps)).map(|(number, _)| number)
    }

    /// Adds to the subtree of a run and of every run above it.
    pub(super) fn add_to_tree(&mut self, from: u32, moved: &Moved) {
        #[cfg(feature = "mistakes")]
        if crate::mistakes::made(crate::mistakes::Mistake::SubtreeWithoutChild) {
            let Some(run) = self.run_mut(from) else { return };
            run.execution.subtree_cost = plus(run.execution.subtree_cost, moved.cost);
            return;
        }
        let below = Below::of(moved);
        self.climb(Some(from), |run, step| {
            run.execution.subtree_cost = plus(run.execution.subtree_cost, moved.cost);
            if step > 1 {
                run.below.add(&below);
            }
        });
    }

    fn attach(&mut self, child: u32, parent: u32) {
        let fits = self.fits(child, parent);
        let Some(run) = self.run_mut(child) else { return };
        if !fits {
            run.execution.parent = None;
            return;
        }
        run.parent = Some(parent);
        let (cost, height, below) = (run.execution.subtree_cost, run.height, run.whole());
        self.climb(Some(parent), |run, steps| {
            run.execution.subtree_cost = plus(run.execution.subtree_cost, cost);
            run.below.add(&below);
            run.height = run.height.max(height.saturating_add(steps));
        });
    }

    fn fits(&self, child: u32, parent: u32) -> bool {
        let below = self.run(child).map_or(0, |run| run.height.saturating_add(1));
        let mut above: usize = 0;
        for (at, _) in self.ancestry(parent) {
            if at == child {
                return false;
            }
            above = above.saturating_add(1);
        }
        above.saturating_add(generations(below)) <= generations(DEPTH_MAX)
    }

    fn climb(&mut self, mut next: Option<u32>, mut change: impl FnMut(&mut Run, u32)) {
        for step in 1..=DEPTH_MAX {
            let Some(run) = next.and_then(|at| self.run_mut(at)) else { return };
            change(run, step);
            next = run.parent;
        }
    }
}

fn generations(count: u32) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}
