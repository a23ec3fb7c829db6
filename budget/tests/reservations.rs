//! Laws of reservations, against an oracle that keeps plain lists: no granted reservation takes a counter past its limit,
//! what is held is the sum of the live holds, ids have one outcome, and a denial names a counter that lacked headroom.
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

use std::collections::BTreeMap;

use budget::reservation::{Estimate, Found, Reserve, Standing};
use budget::signal::CounterAt;
use budget::{
    Action, Budget, Claim, Command, Denial, Limit, Policy, Ref, Scope, Source, Subject, Unit, Verdict, Window,
};
use pricing::{Money, Timestamp};
use proptest::prelude::*;
use world::{World, applied, model};

const CENT: i128 = 10_000_000_000_000_000;
const MINUTE: i64 = 60_000_000_000;
const RUN_LIMIT: i128 = 100;
const DAY_LIMIT: i128 = 150;
const TTL_MINUTES: i64 = 10;

#[derive(Clone, Debug)]
enum Step {
    Reserve {
        run: u8,
        cents: u8,
        child: bool,
    },
    Retry(prop::sample::Index),
    /// Settles with so many percent of the estimate.
    Settle {
        which: prop::sample::Index,
        percent: u8,
        last: bool,
    },
    Release(prop::sample::Index),
    Extend(prop::sample::Index),
    Wait {
        minutes: i64,
    },
}

/// One reservation as the oracle knows it.
struct Known {
    run: u8,
    held: i128,
    until: i64,
    reserved_at: i64,
    standing: Standing,
    wish: Reserve,
}

#[derive(Default)]
struct Oracle {
    known: Vec<Known>,
    /// Spent by run, and by day.
    by_run: BTreeMap<u8, i128>,
    by_day: BTreeMap<i64, i128>,
}

fn day(nanos: i64) -> i64 {
    nanos.div_euclid(86_400_000_000_000)
}

impl Oracle {
    fn held_of_run(&self, run: u8) -> i128 {
        self.known.iter().filter(|known| known.run == run).map(|known| known.held).sum()
    }

    fn held_of_day(&self, of: i64) -> i128 {
        self.known.iter().filter(|known| day(known.reserved_at) == of).map(|known| known.held).sum()
    }

    fn expire(&mut self, now: i64) {
        for known in self.known.iter_mut().filter(|known| known.standing == Standing::Held && known.until <= now) {
            known.standing = Standing::Expired;
            known.held = 0;
        }
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let index = any::<prop::sample::Index>;
    let step = prop_oneof![
        8 => (0..3_u8, 1..60_u8, any::<bool>()).prop_map(|(run, cents, child)| Step::Reserve { run, cents, child }),
        2 => index().prop_map(Step::Retry),
        6 => (index(), 0..=100_u8, any::<bool>()).prop_map(|(which, percent, last)| Step::Settle { which, percent, last }),
        2 => index().prop_map(Step::Release),
        1 => index().prop_map(Step::Extend),
        2 => (1..400_i64).prop_map(|minutes| Step::Wait { minutes }),
    ];
    prop::collection::vec(step, 1..80)
}

fn cap() -> Budget {
    let limit = |window, cents| Limit { unit: Unit::Usd, window, amount: cents * CENT };
    Budget {
        source: Source::Budget,
        id: Ref::new("ns", "cap"),
        generation: 0,
        scope: Scope::default(),
        limits: vec![limit(Window::Run, RUN_LIMIT), limit(Window::Day, DAY_LIMIT)],
        soft_levels: Vec::new(),
        on_hard_limit: Action::Deny,
        time_zone: "UTC".into(),
        week_start: 1,
        month_start_day: 1,
        by_agent: Vec::new(),
        policy: Policy::default(),
    }
}

fn run_ref(run: u8) -> Ref {
    Ref::new("ns", &format!("r{run}"))
}

/// Every counter holds what the oracle's lists sum up to, and none stands above its limit.
fn check(world: &World, oracle: &Oracle, now: i64) {
    let assert = |at: &CounterAt, spent: i128, held: i128| {
        assert_eq!((at.spent, at.held), (spent * CENT, held * CENT), "{at:?}");
        assert!(at.spent + at.held <= at.limit, "I6: {at:?}");
    };
    for run in 0..3 {
        let Some(allowance) = budget::allowance(&world.state, world.now, &run_ref(run)) else { continue };
        for at in &allowance.counters {
            if at.window == Window::Run {
                assert(at, oracle.by_run.get(&run).copied().unwrap_or(0), oracle.held_of_run(run));
            } else {
                let today = day(now);
                assert(at, oracle.by_day.get(&today).copied().unwrap_or(0), oracle.held_of_day(today));
            }
        }
    }
    let live = oracle.known.iter().filter(|known| known.standing == Standing::Held).count();
    assert_eq!(world.state.held_reservations(), live as u64);
    for known in &oracle.known {
        assert_eq!(world.state.reservation(&known.wish.id).unwrap().standing, known.standing, "{}", known.wish.id);
    }
}

fn reserve(world: &mut World, oracle: &mut Oracle, run: u8, cents: u8, child: bool) {
    let wish = Reserve {
        id: format!("res-{}", oracle.known.len()).into(),
        body: oracle.known.len() as u64,
        execution: run_ref(run),
        subject: Subject::default(),
        parent: (child && run > 0).then(|| run_ref(run - 1)),
        estimate: Estimate { usd: Money::from_scaled(i128::from(cents) * CENT), model_calls: 1, ..Estimate::default() },
        ceiling: None,
        ttl_ms: u64::try_from(TTL_MINUTES).unwrap() * 60_000,
    };
    let (verdict, _) = world.run(Command::Reserve(Box::new(wish.clone())));
    let today = day(world.now.nanos());
    let left_of_run = RUN_LIMIT - oracle.by_run.get(&run).copied().unwrap_or(0) - oracle.held_of_run(run);
    let left_of_day = DAY_LIMIT - oracle.by_day.get(&today).copied().unwrap_or(0) - oracle.held_of_day(today);
    let cents = i128::from(cents);
    let fits = cents <= left_of_run && cents <= left_of_day;
    let found = world.state.reservation(&wish.id).unwrap();
    let (reserved_at, until) = (found.reserved_at.nanos(), found.until.nanos());
    match verdict {
        Verdict::Granted { again: false, .. } => assert!(fits, "granted {cents} of {left_of_run} and {left_of_day}"),
        Verdict::Refused { denial, again: false, .. } => {
            assert!(!fits, "refused {cents} of {left_of_run} and {left_of_day}");
            let Denial::Limit(at) = *denial else { panic!("{denial:?}") };
            assert!(at.spent + at.held + cents * CENT > at.limit, "{at:?} had room for {cents}");
        }
        other => panic!("{other:?}"),
    }
    let (held, standing) = if fits { (cents, Standing::Held) } else { (0, Standing::Denied) };
    oracle.known.push(Known { run, held, until, reserved_at, standing, wish });
}

fn settle(world: &mut World, oracle: &mut Oracle, which: usize, percent: u8, last: bool) {
    let Known { run, held, standing, reserved_at, ref wish, .. } = oracle.known[which];
    if standing != Standing::Held {
        return;
    }
    // Estimates are upper bounds here: whole cents of what is still held.
    let cents = held * i128::from(percent) / 100;
    let amount = Money::from_scaled(cents * CENT);
    let mut charge = world.call(run_ref(run), Subject::default(), model(), amount);
    charge.claim = Some(Claim { reservation: wish.id.clone(), last, found: Found::Nothing });
    world.run(Command::Charge(Box::new(charge)));
    *oracle.by_run.entry(run).or_default() += cents;
    *oracle.by_day.entry(day(reserved_at)).or_default() += cents;
    let known = &mut oracle.known[which];
    known.held -= cents;
    if last {
        known.held = 0;
        known.standing = Standing::Settled;
    }
}

fn perform(world: &mut World, oracle: &mut Oracle, step: &Step) {
    let count = oracle.known.len();
    match step {
        Step::Reserve { run, cents, child } => reserve(world, oracle, *run, *cents, *child),
        Step::Wait { minutes } => world.now = world.now.saturating_add(minutes * MINUTE),
        _ if count == 0 => {}
        Step::Retry(which) => {
            let known = &oracle.known[which.index(count)];
            let (verdict, facts) = world.run(Command::Reserve(Box::new(known.wish.clone())));
            assert!(facts.is_empty(), "a retry wrote {facts:?}");
            match verdict {
                Verdict::Granted { again: true, standing, .. } => assert_eq!(standing, known.standing),
                Verdict::Refused { again: true, .. } => assert_eq!(known.standing, Standing::Denied),
                other => panic!("{other:?}"),
            }
        }
        Step::Settle { which, percent, last } => settle(world, oracle, which.index(count), *percent, *last),
        Step::Release(which) => {
            let known = &mut oracle.known[which.index(count)];
            world.run(Command::Release { reservation: known.wish.id.clone() });
            if known.standing == Standing::Held {
                known.standing = Standing::Released;
                known.held = 0;
            }
        }
        Step::Extend(which) => {
            let id = oracle.known[which.index(count)].wish.id.clone();
            world.run(Command::Extend { reservation: id.clone(), ttl_ms: 60_000 });
            oracle.known[which.index(count)].until = world.state.reservation(&id).unwrap().until.nanos();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn spent_and_held_stay_within_every_limit(steps in steps()) {
        let mut world = World { now: "2026-11-22T20:00:00Z".parse::<Timestamp>().unwrap(), ..World::default() };
        let mut oracle = Oracle::default();
        world.run(Command::Apply(applied("Budget", cap())));
        for step in &steps {
            while world.run(Command::Expire).0 == Verdict::Done {}
            oracle.expire(world.now.max(world.state.log_time()).nanos());
            perform(&mut world, &mut oracle, step);
            check(&world, &oracle, world.now.max(world.state.log_time()).nanos());
        }
        world.check_replay();
    }
}
