//! Slices: the own budget of a run as a share of its parent's own. Its limits are made here and written out, so that an entry says
//! what holds; when the parent's change, those of the runs below it follow in the same decision, or when they are many in those after it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use pricing::Timestamp;

use super::kill::Kills;
use super::{State, Verdict};
use crate::budget::{Budget, Limit};
use crate::entry::{Fact, Opened};
use crate::limits::{OWN, Slot};
use crate::scope::Ref;
use crate::state::Run;

/// Runs whose slices follow in one decision. What is beyond follows in further ones; meanwhile the budget above it holds for all.
pub const FOLLOWING_MAX: usize = 1_000;

/// A budget with the limits that its slice of `above` gives; unchanged when it is no slice, `None` when there is nothing to
/// slice.
pub(super) fn sliced(mut budget: Budget, above: Option<&Budget>) -> Option<Budget> {
    let Some(slice) = &budget.policy.slice else { return Some(budget) };
    let above = above.filter(|above| !above.limits.is_empty())?;
    let share = |limit: &Limit| Limit { amount: slice.share.of(limit.amount), ..*limit };
    budget.limits = slice.stated.iter().copied().chain(above.limits.iter().map(share)).collect();
    Some(budget)
}

/// Lets the slices below a run follow its new budget, as many as one decision takes.
pub(super) fn follow(state: &State, now: Timestamp, root: u32, budget: &Budget, facts: &mut Vec<Fact>) {
    walk(state, now, (root, budget.clone()), facts);
}

/// Lets go on following what was too much for one decision. `Unchanged` once every slice below the run is what it should be.
pub(super) fn follow_on(state: &State, now: Timestamp, execution: &Ref, facts: &mut Vec<Fact>) -> Verdict {
    let Some((root, run)) = state.find(execution) else { return Verdict::UnknownExecution };
    let Some(own) = &run.own else { return Verdict::Unchanged };
    let before = facts.len();
    walk(state, now, (root, own.budget.clone()), facts);
    if facts.len() == before { Verdict::Unchanged } else { Verdict::Done }
}

/// From a run downwards: each slice that is not what its parent's budget makes of it is made anew.
fn walk(state: &State, now: Timestamp, root: (u32, Budget), facts: &mut Vec<Fact>) {
    let mut below: BTreeMap<u32, Vec<(u32, &Run, &Slot)>> = BTreeMap::new();
    for (number, run, own) in slices(state) {
        if let Some(parent) = run.parent {
            below.entry(parent).or_default().push((number, run, own));
        }
    }
    let mut kills = Kills::of(state, now);
    let (mut next, mut changed) = (VecDeque::from([root]), 0_usize);
    while let Some((above, budget)) = next.pop_front() {
        for (number, run, own) in below.get(&above).into_iter().flatten() {
            let Some(mut after) = sliced(own.budget.clone(), Some(&budget)) else { continue };
            if after == own.budget {
                next.push_back((*number, after));
                continue;
            }
            if changed >= FOLLOWING_MAX {
                return;
            }
            changed = changed.saturating_add(1);
            after.generation = after.generation.saturating_add(1);
            facts.push(Fact::Opened(Box::new(described(run, after.clone()))));
            let mut slot = (*own).clone();
            slot.replace(after.clone(), now);
            kills.over(now, &slot, OWN, [(*number, *run)], facts);
            next.push_back((*number, after));
        }
    }
}

/// Live runs whose own budget is a slice.
fn slices(state: &State) -> impl Iterator<Item = (u32, &Run, &Slot)> {
    let owns = state.live_runs().filter_map(|(number, run)| Some((number, run, run.own.as_deref()?)));
    owns.filter(|(.., own)| own.budget.policy.slice.is_some())
}

/// Runs that have a slice below them which does not follow yet, each once.
#[must_use]
pub fn unfollowed(state: &State) -> Vec<Ref> {
    let mut found = BTreeSet::new();
    for (_, run, own) in slices(state) {
        let Some(above) = run.parent.and_then(|above| state.run(above)) else { continue };
        let after = sliced(own.budget.clone(), above.own.as_ref().map(|above| &above.budget));
        if after.is_some_and(|after| after != own.budget) {
            found.insert(above.execution.id.clone());
        }
    }
    found.into_iter().collect()
}

/// The run as it is, with another budget.
fn described(run: &Run, budget: Budget) -> Opened {
    Opened {
        execution: run.execution.id.clone(),
        subject: run.execution.subject.clone(),
        parent: None,
        conversation: None,
        inherit_from_agent: run.inherit,
        budget: Some(budget),
        route: None,
        document: None,
    }
}
