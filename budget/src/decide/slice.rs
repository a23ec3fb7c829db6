//! Slices: the own budget of a run as a share of its parent's own. Its limits are made here and written out, so that an entry says
//! what holds; when the parent's change, those of the runs below it follow in the same decision.

use pricing::Timestamp;

use super::State;
use super::kill::Kills;
use crate::budget::{Budget, Limit};
use crate::entry::{Fact, Opened};
use crate::limits::OWN;
use crate::state::Run;

/// Runs whose slices follow one change. What is beyond keeps its old slice; the budget above it holds for all.
const FOLLOWING_MAX: usize = 1_000;

/// A budget with the limits that its slice of `above` gives; unchanged when it is no slice, `None` when there is nothing to
/// slice.
pub(super) fn sliced(mut budget: Budget, above: Option<&Budget>) -> Option<Budget> {
    let Some(slice) = &budget.policy.slice else { return Some(budget) };
    let above = above.filter(|above| !above.limits.is_empty())?;
    let share = |limit: &Limit| Limit { amount: slice.share.of(limit.amount), ..*limit };
    budget.limits = slice.stated.iter().copied().chain(above.limits.iter().map(share)).collect();
    Some(budget)
}

/// Lets the slices below a run follow its new budget.
pub(super) fn follow(state: &State, now: Timestamp, root: u32, budget: &Budget, facts: &mut Vec<Fact>) {
    let mut changed: Vec<(u32, Budget)> = vec![(root, budget.clone())];
    let mut kills = Kills::of(state, now);
    let mut next = 0;
    while let Some((above, budget)) = changed.get(next).cloned() {
        next = next.saturating_add(1);
        if state.run(above).is_none_or(|run| run.height == 0) {
            continue;
        }
        for (number, run) in state.live_runs().filter(|(_, run)| run.parent == Some(above)) {
            if changed.len() > FOLLOWING_MAX {
                return;
            }
            let Some(own) = &run.own else { continue };
            let Some(mut after) = sliced(own.budget.clone(), Some(&budget)).filter(|after| *after != own.budget) else {
                continue;
            };
            after.generation = after.generation.saturating_add(1);
            facts.push(Fact::Opened(Box::new(described(run, after.clone()))));
            let mut slot = own.clone();
            slot.replace(after.clone(), now);
            kills.over(now, &slot, OWN, [(number, run)], facts);
            changed.push((number, after));
        }
    }
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
