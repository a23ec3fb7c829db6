//! The law of slices, against an oracle that keeps plain sums: no run's own spending and holds, with all below it, pass the slice that
//! it has of its parent's budget at that moment, and nothing passes the parent's own.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    missing_docs,
    unreachable_pub,
    dead_code
)]

#[path = "support/world.rs"]
mod world;

use budget::policy::Slice;
use budget::reservation::{Estimate, Reserve};
use budget::{
    Action, Budget, Claim, Command, Denial, Found, Fraction, Limit, Policy, Ref, Scope, Source, Subject, Unit, Verdict,
    Window,
};
use pricing::{Money, Timestamp};
use proptest::prelude::*;
use world::{World, model, opened};

const CENT: i128 = 10_000_000_000_000_000;
/// Each run's parent; the first has none.
const PARENT: [Option<usize>; 5] = [None, Some(0), Some(0), Some(1), Some(3)];

#[derive(Clone, Debug)]
enum Step {
    /// The root's own limit, in cents.
    Limit(i128),
    /// The slice of another run, in parts per million.
    Share(usize, u32),
    Reserve(usize, i128),
    /// Settles a live reservation with so many percent of its estimate.
    Settle(prop::sample::Index, i128),
    Release(prop::sample::Index),
}

fn name(run: usize) -> Ref {
    Ref::new("ns", &format!("r{run}"))
}

fn own(run: usize, limits: Vec<Limit>, slice: Option<Slice>) -> Budget {
    Budget {
        source: Source::Execution,
        id: name(run),
        generation: 0,
        scope: Scope { execution: Some(name(run)), ..Scope::default() },
        limits,
        soft_levels: Vec::new(),
        on_hard_limit: Action::Deny,
        time_zone: "UTC".into(),
        week_start: 1,
        month_start_day: 1,
        by_agent: Vec::new(),
        policy: Policy { slice, ..Policy::default() },
    }
}

/// What the oracle knows: limits made from the shares, and what each run has used itself.
struct Oracle {
    root: i128,
    shares: [u32; 5],
    spent: [i128; 5],
    held: Vec<(usize, String, i128)>,
}

impl Oracle {
    /// Floor of the parent's limit times the share, from the root down, in 10⁻¹⁸ USD.
    fn limit(&self, run: usize) -> i128 {
        match PARENT[run] {
            None => self.root * CENT,
            Some(parent) => self.limit(parent) * i128::from(self.shares[run]) / 1_000_000,
        }
    }

    fn is_in(mut run: usize, root: usize) -> bool {
        while run != root {
            match PARENT[run] {
                Some(parent) => run = parent,
                None => return false,
            }
        }
        true
    }

    /// What a run and all below it have spent and hold.
    fn used(&self, root: usize) -> i128 {
        let spent: i128 = (0..5).filter(|run| Self::is_in(*run, root)).map(|run| self.spent[run]).sum();
        spent + self.held.iter().filter(|(run, ..)| Self::is_in(*run, root)).map(|(.., held)| held).sum::<i128>()
    }
}

fn open(world: &mut World, run: usize, limits: Vec<Limit>, slice: Option<Slice>) -> Verdict {
    let mut description = opened(name(run), Subject::default());
    description.parent = PARENT[run].map(name);
    description.budget = Some(own(run, limits, slice));
    world.run(Command::Open(Box::new(description))).0
}

fn put(world: &mut World, oracle: &Oracle, run: usize) {
    let limit = Limit { unit: Unit::Usd, window: Window::Run, amount: oracle.root * CENT };
    let verdict = match PARENT[run] {
        None => open(world, run, vec![limit], None),
        Some(_) => open(world, run, vec![], Some(Slice { share: Fraction(oracle.shares[run]), stated: vec![] })),
    };
    assert!(matches!(verdict, Verdict::Done | Verdict::Unchanged), "{verdict:?}");
}

fn reserve(world: &mut World, oracle: &mut Oracle, run: usize, cents: i128) {
    let id = format!("res-{}", world.entries.len());
    let wish = Reserve {
        id: id.as_str().into(),
        body: 1,
        execution: name(run),
        subject: Subject::default(),
        parent: None,
        estimate: Estimate { usd: Money::from_scaled(cents * CENT), model_calls: 1, ..Estimate::default() },
        ceiling: None,
        ttl_ms: 3_600_000,
    };
    let bound: Vec<usize> = (0..5).filter(|above| Oracle::is_in(run, *above)).collect();
    let fits = bound.iter().all(|above| oracle.used(*above) + cents * CENT <= oracle.limit(*above));
    match world.run(Command::Reserve(Box::new(wish))).0 {
        Verdict::Granted { .. } => {
            assert!(fits, "granted {cents} to r{run}");
            oracle.held.push((run, id, cents * CENT));
            for above in bound {
                assert!(oracle.used(above) <= oracle.limit(above), "r{above} is over its slice");
            }
        }
        Verdict::Refused { denial, .. } => {
            assert!(!fits, "refused {cents} to r{run}: {denial:?}");
            let Denial::Limit(at) = *denial else { panic!("{denial:?}") };
            let lacking = bound.into_iter().find(|above| name(*above) == at.budget).expect("a run above");
            assert_eq!((at.limit, at.spent + at.held), (oracle.limit(lacking), oracle.used(lacking)), "{at:?}");
        }
        other => panic!("{other:?}"),
    }
}

fn perform(world: &mut World, oracle: &mut Oracle, step: &Step) {
    match step {
        Step::Limit(cents) => {
            oracle.root = *cents;
            put(world, oracle, 0);
        }
        Step::Share(run, share) => {
            oracle.shares[*run] = *share;
            put(world, oracle, *run);
        }
        Step::Reserve(run, cents) => reserve(world, oracle, *run, *cents),
        Step::Settle(which, percent) if !oracle.held.is_empty() => {
            let (run, id, held) = oracle.held.swap_remove(which.index(oracle.held.len()));
            let cost = held * percent / 100;
            let mut charge = world.call(name(run), Subject::default(), model(), Money::from_scaled(cost));
            charge.claim = Some(Claim { reservation: id.into(), last: true, found: Found::Nothing });
            world.run(Command::Charge(Box::new(charge)));
            oracle.spent[run] += cost;
        }
        Step::Release(which) if !oracle.held.is_empty() => {
            let (_, id, _) = oracle.held.swap_remove(which.index(oracle.held.len()));
            world.run(Command::Release { reservation: id.into() });
        }
        Step::Settle(..) | Step::Release(_) => {}
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let index = any::<prop::sample::Index>;
    let step = prop_oneof![
        1 => (0..400_i128).prop_map(Step::Limit),
        2 => (1..5_usize, 0..=1_000_000_u32).prop_map(|(run, share)| Step::Share(run, share)),
        8 => (0..5_usize, 1..60_i128).prop_map(|(run, cents)| Step::Reserve(run, cents)),
        4 => (index(), 0..=100_i128).prop_map(|(which, percent)| Step::Settle(which, percent)),
        1 => index().prop_map(Step::Release),
    ];
    prop::collection::vec(step, 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_run_passes_its_slice(steps in steps()) {
        let mut world = World { now: "2026-11-22T20:00:00Z".parse::<Timestamp>().unwrap(), ..World::default() };
        let mut oracle = Oracle { root: 200, shares: [0, 500_000, 250_000, 800_000, 333_333], spent: [0; 5], held: Vec::new() };
        for run in 0..5 {
            put(&mut world, &oracle, run);
        }
        for step in &steps {
            perform(&mut world, &mut oracle, step);
        }
        for run in 0..5 {
            let allowance = budget::allowance(&world.state, world.now, &name(run)).unwrap();
            let at = allowance.counters.iter().find(|at| at.budget == name(run)).unwrap();
            prop_assert_eq!((at.limit, at.spent + at.held), (oracle.limit(run), oracle.used(run)), "r{}", run);
        }
        world.check_replay();
    }
}
