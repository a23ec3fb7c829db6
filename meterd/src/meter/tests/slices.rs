//! Slices of a budget that many runs have: all of them follow a change, page by page, also over a restart in between.

use std::sync::Arc;

use budget::decide::unfollowed;
use budget::entry::Opened;
use budget::policy::Slice;
use budget::{Budget, Command, Entry, Fact, Fraction, Ref};

use super::{HORIZON, Place};
use crate::event::charge::tests::sample::{opened, own_budget, pin, usd};
use crate::meter::{Ask, Core, Rules};

const CHILDREN: usize = 2_300;

fn core_of(place: &Place) -> Core {
    let rules = Rules { queue_events_max: 64, dedup_horizon: HORIZON };
    Core::new(place.dir.clone(), place.restore(), place.clock.clone(), &rules, Box::new(|_| {}), false)
}

fn open(core: &mut Core, all: Vec<Opened>) {
    let asks = all.into_iter().map(|opened| Ask::Command(Box::new(Command::Open(Box::new(opened))))).collect();
    core.batch(asks).unwrap();
}

/// A tenth of its parent's budget.
fn sliced(execution: &str, parent: &str) -> Opened {
    let mut budget: Budget = own_budget(execution, "1");
    budget.limits = Vec::new();
    budget.policy.slice = Some(Slice { share: Fraction(100_000), stated: Vec::new() });
    Opened { parent: Some(Ref::new("ns", parent)), ..opened(execution, Some(budget)) }
}

/// Runs with a limit of so many USD.
fn with_limit(core: &Core, limit: &str) -> usize {
    let amount = usd(limit).scaled();
    let state = core.state();
    let limits = state.executions().filter_map(|run| budget::allowance(state, run.started_at, &run.id));
    let owns = |allowance: budget::decide::Allowance| allowance.counters.into_iter().any(|at| at.limit == amount);
    limits.map(owns).filter(|owns| *owns).count()
}

#[test]
fn all_slices_follow_also_over_a_restart() {
    let place = Place::new();
    let mut core = core_of(&place);
    pin(&place.dir, &crate::event::charge::tests::sample::book());
    open(&mut core, vec![opened("root", Some(own_budget("root", "10")))]);
    open(&mut core, (0..CHILDREN).map(|n| sliced(&format!("c-{n}"), "root")).collect());
    open(&mut core, vec![sliced("below", &format!("c-{}", CHILDREN - 1))]);
    assert_eq!(with_limit(&core, "1"), CHILDREN + 1, "each child's own, and that above the one below");
    open(&mut core, vec![opened("root", Some(own_budget("root", "20")))]);
    assert!(core.is_behind());
    assert_eq!(with_limit(&core, "2"), 1_000);
    // The daemon ends between two pages.
    core.keep_house().unwrap();
    assert_eq!(with_limit(&core, "2"), 2_000);
    drop(core);
    let mut core = core_of(&place);
    assert_eq!(unfollowed(core.state()), [Ref::new("ns", "root")]);
    while core.is_behind() {
        core.keep_house().unwrap();
    }
    assert_eq!((with_limit(&core, "2"), with_limit(&core, "0.2")), (CHILDREN + 1, 1), "grandchildren as well");
    assert!(unfollowed(core.state()).is_empty());
    let mut pages: Vec<usize> = Vec::new();
    core.writer()
        .reader()
        .scan(1, |entry: &Entry| {
            if let Fact::Opened(opened) = &entry.fact {
                let name: &Arc<str> = &opened.execution.name;
                pages.push(usize::from(name.starts_with("c-")));
            }
            true
        })
        .unwrap();
    assert_eq!(pages.iter().sum::<usize>(), 2 * CHILDREN, "each once");
    let state = core.state().clone();
    drop(core);
    assert!(place.restore().state == state);
}
