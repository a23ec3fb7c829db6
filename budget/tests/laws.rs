//! Laws of the core, over random lives of a small fleet: every counter equals an independent sum (I13), a replay
//! equals the live state (I5), a fence denies for ever (I14), a denial names a counter without headroom (I15).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    unreachable_pub
)]
#![allow(dead_code)]

#[path = "support/oracle.rs"]
mod oracle;
#[path = "support/world.rs"]
mod world;

use std::collections::{BTreeMap, BTreeSet};

use budget::charge::Called;
use budget::decide::Denial;
use budget::entry::Phase;
use budget::signal::CounterAt;
use budget::{
    Action, Budget, Charge, Command, Fact, Fraction, Limit, Priced, Ref, Scope, Source, Subject, Unit, Verdict, Window,
    allowance,
};
use oracle::{Call, Expected, HOUR, Key, Oracle, Spec};
use pricing::{Money, Timestamp, UsageKey};
use proptest::prelude::*;
use world::{World, applied, model, set, tool, wish};

const START: i64 = 1_790_000_000_000_000_000;
const MINUTE: i64 = HOUR / 60;
const MICRO_USD: i128 = 1_000_000_000_000;

#[derive(Clone, Debug)]
enum Step {
    Charge(Paid),
    Wait { minutes: i64 },
    Apply { budget: usize, spec: Spec },
    Remove { budget: usize },
    Kill { run: usize },
    End { run: usize },
    Adjust { pick: usize, micro_usd: u32, table: u8, operator: bool },
}

#[derive(Clone, Debug)]
struct Paid {
    run: usize,
    team: Option<u8>,
    agent: Option<u8>,
    called: u8,
    micro_usd: Option<u32>,
    tokens: u16,
    late_minutes: i64,
}

fn spec(budget: usize) -> impl Strategy<Value = Spec> {
    let limit = (
        prop::sample::select(vec![Unit::Usd, Unit::Usd, Unit::Tokens, Unit::ToolCalls, Unit::ModelCalls]),
        prop::sample::select(vec![Window::Run, Window::Hour, Window::Day, Window::Rolling24h]),
        0..20_i128,
    );
    let limits = prop::collection::vec(limit, 1..4).prop_map(|limits| {
        let scale = |unit| match unit {
            Unit::Usd => 500_000 * MICRO_USD,
            Unit::Tokens => 100,
            _ => 1,
        };
        let unique: BTreeMap<(Unit, Window), i128> =
            limits.into_iter().map(|(unit, window, amount)| ((unit, window), amount * scale(unit))).collect();
        unique.into_iter().map(|((unit, window), amount)| (unit, window, amount)).collect()
    });
    let action = prop::sample::select(vec![Action::Alert, Action::Deny, Action::Terminate]);
    let levels = prop::sample::subsequence(vec![30, 50, 80, 100], 0..4);
    // Scope and zone belong to the budget's number, so that a change of it leaves its counters comparable.
    let scopes = [(None, None), (Some(0), None), (None, Some(1)), (Some(1), Some(0))];
    let (team, agent) = scopes[budget % 4];
    (limits, levels, action, any::<bool>()).prop_map(move |(limits, levels, action, shares)| {
        let offset_hours = if budget.is_multiple_of(2) { 0 } else { 3 };
        Spec { team, agent, limits, levels, action, shares, offset_hours }
    })
}

fn numbered_spec() -> impl Strategy<Value = (usize, Spec)> {
    (0..4_usize).prop_flat_map(|budget| (Just(budget), spec(budget)))
}

fn paid() -> impl Strategy<Value = Step> {
    let late = prop_oneof![4 => Just(0_i64), 1 => -90..2_000_i64, 1 => 2_000..9_000_i64];
    let who = (0..5_usize, prop::option::of(0..2_u8), prop::option::of(0..4_u8));
    let what = (0..4_u8, prop::option::weighted(0.9, 0..2_000_000_u32), 0..300_u16);
    (who, what, late).prop_map(|((run, team, agent), (called, micro_usd, tokens), late_minutes)| {
        Step::Charge(Paid { run, team, agent, called, micro_usd, tokens, late_minutes })
    })
}

fn adjust() -> impl Strategy<Value = Step> {
    let amount = prop_oneof![3 => 0..2_000_000_u32, 1 => Just(0_u32)];
    (any::<prop::sample::Index>(), amount, 0..3_u8, prop::bool::weighted(0.2)).prop_map(
        |(pick, micro_usd, table, operator)| Step::Adjust { pick: pick.index(1 << 16), micro_usd, table, operator },
    )
}

/// A life: budgets first, then calls, waits, kills and ends, and with `changes` budgets that change meanwhile.
fn life(changes: bool) -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        20 => paid(),
        4 => (1..1_000_i64).prop_map(|minutes| Step::Wait { minutes }),
        1 => (0..5_usize).prop_map(|run| Step::Kill { run }),
        1 => (0..5_usize).prop_map(|run| Step::End { run }),
        6 => adjust(),
        if changes { 3 } else { 0 } => numbered_spec().prop_map(|(budget, spec)| Step::Apply { budget, spec }),
        if changes { 1 } else { 0 } => (0..4_usize).prop_map(|budget| Step::Remove { budget }),
    ];
    let first = (spec(0), spec(1), spec(2), spec(3)).prop_map(|(a, b, c, d)| {
        [a, b, c, d].into_iter().enumerate().map(|(budget, spec)| Step::Apply { budget, spec }).collect::<Vec<_>>()
    });
    (first, prop::collection::vec(step, 1..60)).prop_map(|(mut first, rest)| {
        first.extend(rest);
        first
    })
}

fn run_ref(run: usize) -> Ref {
    Ref::new("ns", &format!("r{run}"))
}

fn subject(team: Option<u8>, agent: Option<u8>) -> Subject {
    let name = |kind: &str, number: Option<u8>| number.map(|number| format!("{kind}{number}").into());
    Subject { agent: name("a", agent), team: name("t", team), ..Subject::default() }
}

fn budget_of(number: usize, spec: &Spec) -> Budget {
    let scope = Scope {
        teams: spec.team.map(|team| format!("t{team}").into()).into_iter().collect(),
        agents: spec.agent.map(|agent| format!("a{agent}").into()).into_iter().collect(),
        ..Scope::default()
    };
    let limits =
        spec.limits.iter().map(|(unit, window, amount)| Limit { unit: *unit, window: *window, amount: *amount });
    let shares = [("a0".into(), Fraction(500_000)), ("a1".into(), Fraction(300_000))];
    Budget {
        source: Source::Budget,
        id: Ref::new("ns", &format!("b{number}")),
        generation: 0,
        scope,
        limits: limits.collect(),
        soft_levels: spec.levels.iter().map(|level| Fraction(level * 10_000)).collect(),
        on_hard_limit: spec.action,
        time_zone: if spec.offset_hours == 0 { "UTC".into() } else { "Etc/GMT-3".into() },
        week_start: 1,
        month_start_day: 1,
        by_agent: if spec.shares { shares.to_vec() } else { Vec::new() },
        policy: budget::Policy::default(),
    }
}

/// A call for the core and the same call for the oracle.
fn both(world: &mut World, paid: &Paid) -> (Charge, Call) {
    let called = match paid.called {
        0 | 1 => model(),
        2 => tool(),
        _ => Called::Approval,
    };
    let amount = paid.micro_usd.map(|micro| Money::from_scaled(i128::from(micro) * MICRO_USD).unwrap());
    let subject = subject(paid.team, paid.agent);
    let mut charge = world.call(run_ref(paid.run), subject, called, amount);
    charge.time = world.now.saturating_add(-paid.late_minutes * MINUTE);
    set(&mut charge.usage, UsageKey::InputTokens, u64::from(paid.tokens));
    let moved = BTreeMap::from([
        (Unit::Usd, amount.map_or(0, Money::scaled)),
        (Unit::Tokens, i128::from(paid.tokens)),
        (Unit::ModelCalls, i128::from(paid.called < 2)),
        (Unit::ToolCalls, i128::from(paid.called == 2)),
    ]);
    let (logged, time) = (world.now.nanos(), charge.time.nanos());
    (charge, Call { run: paid.run, team: paid.team, agent: paid.agent, logged, time, moved })
}

fn key(at: &CounterAt, execution: &Ref) -> Key {
    let number = |name: &Ref| name.name[1..].parse::<usize>().unwrap();
    let share = match at.agent.as_deref() {
        None => "",
        Some("a0") => "a0",
        Some("a1") => "a1",
        _ => "*",
    };
    (number(&at.budget), at.unit, at.window, share, (at.window == Window::Run).then(|| number(execution)))
}

/// What the facts of a charge say, in the oracle's words; `used_up` when the charge fenced its own run.
fn said(facts: &[Fact], execution: &Ref) -> Expected {
    let mut said = Expected::default();
    for fact in facts {
        match fact {
            Fact::Warned { counter, level, .. } => {
                assert!(said.warned.insert((key(counter, execution), level.0 / 10_000)), "warned twice: {facts:?}");
            }
            Fact::Reached { counter, .. } => {
                assert!(said.reached.insert(key(counter, execution)), "reached twice: {facts:?}");
            }
            Fact::Killed { execution: killed, .. } if killed == execution => said.used_up = true,
            _ => {}
        }
    }
    said
}

/// A charge as booked, with the price that it has now.
struct Paper {
    seq: u64,
    logged: Timestamp,
    charge: Charge,
    call: Call,
    price: Option<Money>,
    digest: Option<String>,
}

struct Life {
    world: World,
    oracle: Oracle,
    papers: Vec<Paper>,
    /// Reports are predictable only while no budget changes.
    reports: bool,
}

impl Life {
    fn new(reports: bool) -> Self {
        let world = World { now: Timestamp::from_nanos(START), ..World::default() };
        Self { world, oracle: Oracle::default(), papers: Vec::new(), reports }
    }

    fn step(&mut self, step: &Step) {
        let world = &mut self.world;
        match step {
            Step::Charge(paid) => self.charge(paid),
            Step::Adjust { pick, micro_usd, table, operator } => self.adjust(*pick, *micro_usd, *table, *operator),
            Step::Wait { minutes } => world.now = world.now.saturating_add(minutes * MINUTE),
            Step::Apply { budget, spec } => {
                let (verdict, _) = world.run(Command::Apply(applied("Budget", budget_of(*budget, spec))));
                assert!(matches!(verdict, Verdict::Done | Verdict::Unchanged));
                self.oracle.put(*budget, Some(spec.clone()));
                self.stopped(|at| at.budget.name[1..] == budget.to_string() && at.spent >= at.limit && at.spent > 0);
            }
            Step::Remove { budget } => {
                world.run(Command::Remove { kind: "Budget".into(), id: Ref::new("ns", &format!("b{budget}")) });
                self.oracle.put(*budget, None);
            }
            Step::Kill { run } => {
                let known = world.state.execution(&run_ref(*run)).is_some();
                let kill = Command::Kill { execution: run_ref(*run), reason: "law".into(), by: "test".into() };
                assert_eq!(world.run(kill).0 == Verdict::UnknownExecution, !known);
            }
            Step::End { run } => {
                world.run(Command::End { execution: run_ref(*run), phase: Phase::Succeeded });
            }
        }
        self.check();
    }

    fn charge(&mut self, paid: &Paid) {
        let execution = run_ref(paid.run);
        let before = self.world.state.execution(&execution);
        let stoppable = before.is_none_or(|run| run.kill.is_none() && !run.phase.is_terminal());
        let fenced = before.is_some_and(|run| run.kill.is_some());
        let (charge, mut call) = both(&mut self.world, paid);
        let mut expected = self.oracle.charge(&mut call);
        let cost = charge.amount();
        let priced = paid.micro_usd.is_some();
        let (verdict, facts) = self.world.run(Command::Charge(Box::new(charge)));
        self.file(call);
        for fact in &facts {
            if let Fact::Reached { counter, .. } = fact
                && counter.window != Window::Run
                && counter.span.contains(self.world.now)
            {
                self.stopped(|at| at == counter);
            }
        }
        let mut said = said(&facts, &execution);
        expected.used_up &= stoppable;
        let now_fenced = fenced || expected.used_up;
        assert_eq!(verdict, Verdict::Booked { cost: priced.then_some(cost), fenced: now_fenced });
        if !self.reports {
            (said.warned, said.reached) = Default::default();
            (expected.warned, expected.reached) = Default::default();
        }
        assert_eq!(said, expected, "of {execution} for {:?}", (paid.team, paid.agent));
    }

    /// Keeps the charge just booked.
    fn file(&mut self, mut call: Call) {
        let entry = self.world.entries.iter().rev().find(|entry| matches!(entry.fact, Fact::Charged(_))).unwrap();
        let Fact::Charged(charge) = &entry.fact else { unreachable!() };
        call.time = call.time.min(call.logged + HOUR);
        let digest = match &charge.priced {
            Priced::Cost(cost) => Some(cost.table.digest.to_string()),
            _ => None,
        };
        let (seq, logged, price) = (entry.seq, entry.at, charge.price());
        self.papers.push(Paper { seq, logged, charge: (**charge).clone(), call, price, digest });
    }

    /// Gives some charge another price, twice: the second time books nothing.
    fn adjust(&mut self, pick: usize, micro_usd: u32, table: u8, operator: bool) {
        let Some(at) = self.papers.len().checked_sub(1).map(|last| pick % (last + 1)) else { return };
        let paper = &mut self.papers[at];
        let total = Money::from_scaled(i128::from(micro_usd) * MICRO_USD).unwrap();
        let digest = if operator { String::new() } else { format!("0{table}") };
        let wish = wish(paper.seq, paper.logged, paper.charge.clone(), total, &digest, operator);
        let same = paper.price == Some(total) || !operator && paper.digest.as_ref() == Some(&digest);
        let delta = total.scaled() - paper.price.map_or(0, Money::scaled);
        let execution = paper.charge.execution.clone();
        let before = self.world.state.execution(&execution).unwrap().clone();
        let (verdict, facts) = self.world.run(Command::Adjust(Box::new(wish.clone())));
        assert_eq!(self.world.run(Command::Adjust(Box::new(wish))), (Verdict::Unchanged, Vec::new()));
        if same {
            assert_eq!((verdict, facts), (Verdict::Unchanged, Vec::new()));
            return;
        }
        let call = Call { logged: self.world.now.nanos(), moved: [(Unit::Usd, delta)].into(), ..paper.call.clone() };
        let mut expected = self.oracle.adjust(call);
        let live = before.kill.is_none() && !before.phase.is_terminal();
        expected.used_up &= live;
        let mut said = said(&facts, &execution);
        if !self.reports {
            (said.warned, said.reached) = Default::default();
            (expected.warned, expected.reached) = Default::default();
        }
        assert_eq!(said, expected, "of {execution} by {delta}");
        let fenced = before.kill.is_some() || expected.used_up;
        assert_eq!(verdict, Verdict::Booked { cost: Some(total), fenced });
        let after = self.world.state.execution(&execution).unwrap();
        assert_eq!(after.cost.scaled(), before.cost.scaled() + delta);
        assert_eq!(after.unpriced_calls, before.unpriced_calls - u64::from(paper.price.is_none()));
        assert_eq!((after.calls(), after.tokens), (before.calls(), before.tokens), "an adjustment is no call");
        assert!(before.completed_at.is_none() || after.revision > before.revision);
        (paper.price, paper.digest) = (Some(total), Some(digest));
    }

    /// No run goes on that is bound by a terminating counter of this kind.
    fn stopped(&self, kind: impl Fn(&CounterAt) -> bool) {
        for run in self.world.state.executions().filter(|run| !run.phase.is_terminal() && run.kill.is_none()) {
            for at in allowance(&self.world.state, self.world.now, &run.id).unwrap().counters {
                let (budget, ..) = key(&at, &run.id);
                let terminates = self.oracle.budgets[&budget].action == Action::Terminate;
                assert!(!(terminates && kind(&at)), "{} goes on at {at:?}", run.id);
            }
        }
    }

    /// After every step: each counter is its sum, a fence denies, a denial is true.
    fn check(&self) {
        let Self { world, oracle, .. } = self;
        let now = world.now.nanos();
        let unpriced: Vec<u64> =
            self.papers.iter().filter(|paper| paper.price.is_none()).map(|paper| paper.seq).collect();
        assert_eq!(world.state.quarantine(0).map(|(seq, _)| seq).collect::<Vec<_>>(), unpriced);
        for at in world.state.counters(world.now) {
            assert_eq!(at.spent, oracle.now(&key(&at, &run_ref(0)), now), "{at:?}");
        }
        for execution in world.state.executions() {
            let allowance = allowance(&world.state, world.now, &execution.id).unwrap();
            let mut seen = BTreeSet::new();
            for at in &allowance.counters {
                let key = key(at, &execution.id);
                assert!(seen.insert(key), "bound twice: {at:?}");
                assert_eq!(at.spent, oracle.now(&key, now), "{at:?} of {}", execution.id);
            }
            match (&execution.kill, &allowance.denial) {
                (Some(kill), denial) => assert_eq!(*denial, Some(Denial::Fenced(kill.clone()))),
                (None, Some(Denial::Limit(at))) => assert!(at.spent + at.held >= at.limit, "{at:?}"),
                (None, Some(denial)) => assert_eq!(*denial, Denial::Ended(execution.phase)),
                (None, None) => {
                    let deny = |at: &&CounterAt| oracle.budgets[&key(at, &execution.id).0].action >= Action::Deny;
                    assert!(allowance.counters.iter().filter(deny).all(|at| at.spent + at.held < at.limit));
                }
            }
        }
    }
}

fn config() -> ProptestConfig {
    ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn reports_and_kills_are_exactly_those_of_the_oracle(steps in life(false)) {
        let mut life = Life::new(true);
        steps.iter().for_each(|step| life.step(step));
        life.world.check_replay();
    }

    #[test]
    fn counters_equal_their_sums_while_limits_change(steps in life(true)) {
        let mut life = Life::new(false);
        steps.iter().for_each(|step| life.step(step));
        life.world.check_replay();
    }

    #[test]
    fn sums_do_not_depend_on_the_order(
        specs in (spec(0), spec(1), spec(3)),
        paid in prop::collection::vec(paid(), 1..30),
        keys in prop::collection::vec(any::<u32>(), 30),
    ) {
        let mut sorted: Vec<_> = keys.into_iter().zip(&paid).collect();
        sorted.sort_by_key(|(key, _)| *key);
        let orders = [paid.iter().collect::<Vec<_>>(), sorted.into_iter().map(|(_, paid)| paid).collect()];
        let [one, other] = orders.map(|order| {
            let mut world = World { now: Timestamp::from_nanos(START), ..World::default() };
            for (number, spec) in [&specs.0, &specs.1, &specs.2].into_iter().enumerate() {
                world.run(Command::Apply(applied("Budget", budget_of(number, spec))));
            }
            for step in order {
                let Step::Charge(paid) = step else { continue };
                // Every call says whom it is for; else the first one would decide for the others.
                let full = Paid { team: paid.team.or(Some(0)), agent: paid.agent.or(Some(0)), ..paid.clone() };
                let (charge, _) = both(&mut world, &full);
                world.run(Command::Charge(Box::new(charge)));
            }
            let runs: BTreeMap<_, _> = world.state.executions().map(|run| {
                (run.id.clone(), (run.cost, run.tokens, run.calls(), run.started_at, run.unpriced_calls))
            }).collect();
            let charged: Vec<_> = world.state.charged_by_budget().map(|(_, id, sum)| (id.clone(), sum)).collect();
            (runs, charged, world.state.counters(world.now))
        });
        prop_assert_eq!(one, other);
    }

    #[test]
    fn a_subtree_costs_what_its_runs_cost(
        links in prop::collection::vec((0..40_usize, prop::option::of(0..40_usize), 0..1_000_u32), 1..80),
    ) {
        let mut world = World::default();
        for (run, parent, micro) in links {
            let amount = Money::from_scaled(i128::from(micro) * MICRO_USD);
            let mut charge = world.call(run_ref(run), Subject::default(), model(), amount);
            charge.parent = parent.map(run_ref);
            world.run(Command::Charge(Box::new(charge)));
        }
        let parents: BTreeMap<_, _> = world.state.executions().map(|run| (&run.id, run.parent.as_ref())).collect();
        let mut subtree: BTreeMap<&Ref, i128> = BTreeMap::new();
        for run in world.state.executions() {
            let mut above = Some(&run.id);
            let mut steps = 0;
            while let Some(id) = above.filter(|id| parents.contains_key(id)) {
                *subtree.entry(id).or_default() += run.cost.scaled();
                above = parents[id];
                steps += 1;
                prop_assert!(steps <= budget::state::DEPTH_MAX, "a circle, or a tree that is too deep");
            }
        }
        for run in world.state.executions() {
            prop_assert_eq!(run.subtree_cost.scaled(), subtree[&run.id], "{}", run.id);
        }
        world.check_replay();
    }
}
