//! The law of last turns, against an oracle that keeps plain sums: where calls reserve what they may cost at most, a run whose kill is
//! decided spends no more than its allowance, or than was held for it at that moment, makes one call at a time, passes no limit of a
//! budget that grants no turn, and is granted nothing once its turn is over.
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

use budget::policy::WindDown;
use budget::reservation::{Estimate, Reserve};
use budget::{
    Action, Budget, Claim, Command, Denial, Fact, Found, Limit, Policy, Ref, Scope, Source, Subject, Unit, Verdict,
    Window, allowance,
};
use pricing::{Money, Timestamp};
use proptest::prelude::*;
use world::{World, applied, model};

const CENT: i128 = 10_000_000_000_000_000;
const MINUTE: i64 = 60_000_000_000;
const RUNS: u8 = 3;
const RUN_LIMIT: i128 = 60;
const TEAM_LIMIT: i128 = 150;
const GRACE_MINUTES: i64 = 10;

#[derive(Clone, Debug)]
enum Step {
    Reserve {
        run: u8,
        cents: i128,
    },
    /// Settles a live reservation with so many percent of its estimate.
    Settle {
        which: prop::sample::Index,
        percent: i128,
    },
    Release(prop::sample::Index),
    /// Time goes on; turns whose time is over are ended, unless the timer is late.
    Wait {
        minutes: i64,
        timer: bool,
    },
    /// Lowers the limit of each run to this, which may decide kills while calls are under way.
    Lower(i128),
}

struct Hold {
    id: String,
    run: u8,
    cents: i128,
}

/// A turn as the oracle knows it: what the run had cost, what it may cost beyond, until when, and whether it is over.
struct Turn {
    from: i128,
    most: i128,
    until: Timestamp,
    fenced: bool,
}

struct Life {
    world: World,
    allowance: i128,
    next: u32,
    /// In 10⁻¹⁸ USD, as all amounts but those named in cents.
    cost: BTreeMap<u8, i128>,
    holds: Vec<Hold>,
    turns: BTreeMap<u8, Turn>,
    calls_in_turns: u32,
}

fn name(run: u8) -> Ref {
    Ref::new("ns", &format!("r{run}"))
}

fn budget(id: &str, window: Window, cents: i128, action: Action, wind_down: Option<WindDown>) -> Budget {
    Budget {
        source: Source::Budget,
        id: Ref::new("ns", id),
        generation: 0,
        scope: Scope::default(),
        limits: vec![Limit { unit: Unit::Usd, window, amount: cents * CENT }],
        soft_levels: Vec::new(),
        on_hard_limit: action,
        time_zone: "UTC".into(),
        week_start: 1,
        month_start_day: 1,
        by_agent: Vec::new(),
        policy: Policy { wind_down, ..Policy::default() },
    }
}

impl Life {
    fn new(allowance: i128) -> Self {
        let mut world = World { now: Timestamp::from_nanos(1_795_341_600_000_000_000), ..World::default() };
        world.run(Command::Apply(applied("Budget", budget("team", Window::Month, TEAM_LIMIT, Action::Deny, None))));
        let (cost, turns) = (BTreeMap::new(), BTreeMap::new());
        let mut life = Self { world, allowance, next: 0, cost, holds: Vec::new(), turns, calls_in_turns: 0 };
        life.limit(RUN_LIMIT);
        life
    }

    fn limit(&mut self, cents: i128) {
        let allowance = Money::from_scaled(self.allowance * CENT).unwrap();
        let turn = WindDown { allowance, grace_ms: u64::try_from(GRACE_MINUTES).unwrap() * 60_000 };
        let budget = budget("cap", Window::Run, cents, Action::Terminate, Some(turn));
        let (_, facts) = self.world.run(Command::Apply(applied("Budget", budget)));
        self.note(&facts);
    }

    fn cost(&self, run: u8) -> i128 {
        self.cost.get(&run).copied().unwrap_or(0)
    }

    /// Log time never goes back, not even by what each entry takes.
    fn now(&self) -> Timestamp {
        self.world.now.max(self.world.state.log_time())
    }

    fn held(&self, run: u8) -> i128 {
        self.holds.iter().filter(|hold| hold.run == run).map(|hold| hold.cents * CENT).sum()
    }

    /// Kills that are decided, and fences.
    fn note(&mut self, facts: &[Fact]) {
        let number = |execution: &Ref| execution.name[1..].parse::<u8>().unwrap();
        for fact in facts {
            match fact {
                Fact::WindDown { execution, cost, turn, .. } => {
                    let run = number(execution);
                    assert_eq!(cost.scaled(), self.cost(run), "what it had cost");
                    let most = (self.allowance * CENT).max(self.held(run));
                    let turn = Turn { from: self.cost(run), most, until: turn.until, fenced: false };
                    assert!(self.turns.insert(run, turn).is_none(), "one turn, once");
                }
                Fact::Fenced { execution, .. } => {
                    let turn = self.turns.get_mut(&number(execution)).unwrap();
                    assert!(!turn.fenced, "fenced once");
                    turn.fenced = true;
                }
                Fact::Killed { .. } => panic!("every kill has its turn"),
                _ => {}
            }
        }
    }

    fn reserve(&mut self, run: u8, cents: i128) {
        self.next += 1;
        let id = format!("h{}", self.next);
        let estimate = Estimate { usd: Money::from_scaled(cents * CENT), model_calls: 1, ..Estimate::default() };
        let wish = Reserve {
            id: id.as_str().into(),
            body: 0,
            execution: name(run),
            subject: Subject::default(),
            parent: None,
            estimate,
            ceiling: None,
            ttl_ms: 86_400_000,
        };
        let now = self.now();
        let (verdict, facts) = self.world.run(Command::Reserve(Box::new(wish)));
        self.note(&facts);
        let spent: i128 = (0..RUNS).map(|run| self.cost(run) + self.held(run)).sum();
        let team_has_room = spent + cents * CENT <= TEAM_LIMIT * CENT;
        let turn = self.turns.get(&run).map(|turn| {
            let left = self.allowance * CENT - (self.cost(run) - turn.from);
            !turn.fenced && now < turn.until && cents * CENT <= left && self.held(run) == 0
        });
        match &verdict {
            Verdict::Granted { .. } => {
                assert!(team_has_room, "a budget that grants no turn is not passed");
                assert_ne!(turn, Some(false), "granted beyond the turn");
                self.calls_in_turns += u32::from(turn.is_some());
                self.holds.push(Hold { id, run, cents });
            }
            Verdict::Refused { denial, .. } => match (turn, &**denial) {
                (Some(false), Denial::Fenced(_)) => {}
                (Some(true), Denial::Limit(at)) => assert!(!team_has_room && &*at.budget.name == "team"),
                (None, Denial::Limit(at)) => assert!(&*at.budget.name == "cap" || !team_has_room),
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    }

    fn settle(&mut self, at: usize, percent: i128) {
        let Hold { id, run, cents } = self.holds.remove(at);
        let cost = cents * CENT * percent / 100;
        *self.cost.entry(run).or_default() += cost;
        let mut call = self.world.call(name(run), Subject::default(), model(), Money::from_scaled(cost));
        call.claim = Some(Claim { reservation: id.as_str().into(), last: true, found: Found::Nothing });
        let (_, facts) = self.world.run(Command::Charge(Box::new(call)));
        self.note(&facts);
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Reserve { run, cents } => self.reserve(*run, *cents),
            Step::Settle { which, percent } => {
                if !self.holds.is_empty() {
                    self.settle(which.index(self.holds.len()), *percent);
                }
            }
            Step::Release(which) => {
                if !self.holds.is_empty() {
                    let hold = self.holds.remove(which.index(self.holds.len()));
                    self.world.run(Command::Release { reservation: hold.id.as_str().into() });
                }
            }
            Step::Wait { minutes, timer } => {
                self.world.now = self.world.now.saturating_add(minutes * MINUTE);
                let due = |turn: &Turn| *timer && !turn.fenced && self.world.now >= turn.until;
                let due: Vec<u8> = self.turns.iter().filter(|(_, turn)| due(turn)).map(|(run, _)| *run).collect();
                for run in due {
                    let kill = self.world.state.execution(&name(run)).unwrap().winding.clone().unwrap();
                    let (_, facts) = self.world.run(Command::Fence { kill });
                    self.note(&facts);
                }
            }
            Step::Lower(cents) => self.limit(*cents),
        }
        self.check();
    }

    fn check(&self) {
        for (run, turn) in &self.turns {
            let beyond = self.cost(*run) - turn.from;
            assert!(beyond <= turn.most, "run {run} spent {beyond} in a turn of {}", turn.most);
            let used_up = beyond >= self.allowance * CENT && beyond > 0;
            assert!(turn.fenced || !used_up, "a turn that is used up is over");
            let allowed = allowance(&self.world.state, self.now(), &name(*run)).unwrap();
            let open = !turn.fenced && self.now() < turn.until && beyond < self.allowance * CENT;
            if !open {
                assert!(matches!(allowed.denial, Some(Denial::Fenced(_))), "{:?}", allowed.denial);
            }
            assert!(allowed.remaining.unwrap().scaled() <= (self.allowance * CENT - beyond).max(0));
        }
    }
}

fn step() -> impl Strategy<Value = Step> {
    let cents = prop_oneof![(1_i128..=6).prop_map(|fives| fives * 5), 1_i128..=30];
    prop_oneof![
        6 => (0..RUNS, cents).prop_map(|(run, cents)| Step::Reserve { run, cents }),
        6 => (any::<prop::sample::Index>(), prop_oneof![3 => Just(100_i128), 1 => 0_i128..=100])
            .prop_map(|(which, percent)| Step::Settle { which, percent }),
        1 => any::<prop::sample::Index>().prop_map(Step::Release),
        1 => (0_i64..=12, any::<bool>()).prop_map(|(minutes, timer)| Step::Wait { minutes, timer }),
        1 => (10_i128..=RUN_LIMIT).prop_map(Step::Lower),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn a_turn_costs_no_more_than_its_allowance(
        allowance in 1_i128..=40,
        steps in prop::collection::vec(step(), 1..120),
    ) {
        let mut life = Life::new(allowance);
        for step in &steps {
            life.step(step);
        }
        life.world.check_replay();
    }
}

/// The law is not empty: a run that reaches its limit makes its hand-back call and is fenced by it.
#[test]
fn one_call_of_the_whole_allowance_is_made_and_fences() {
    let mut life = Life::new(10);
    for cents in [30, 30, 11, 10] {
        life.step(&Step::Reserve { run: 0, cents });
        if cents != 11 {
            life.settle(0, 100);
            life.check();
        }
    }
    assert_eq!((life.cost(0), life.calls_in_turns), (70 * CENT, 1));
    assert!(life.turns[&0].fenced);
    life.step(&Step::Reserve { run: 0, cents: 1 });
    assert_eq!(life.calls_in_turns, 1);
}
