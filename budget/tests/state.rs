//! What the state tells beside balances, and that nothing in it grows without a bound (I11).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    unreachable_pub
)]
#![allow(dead_code)]

#[path = "support/world.rs"]
mod world;

use budget::adjust::{ADJUSTMENTS_KEPT_MAX, Beyond, QUARANTINE_LISTED_MAX, Standing};
use budget::decide::{Denial, KILLS_PER_DECISION_MAX};
use budget::entry::Phase;
use budget::reservation::{Estimate, Reserve};
use budget::signal::{ATTEMPTS_KEPT_MAX, Attempt, Channel, KillState};
use budget::state::DEPTH_MAX;
use budget::{
    Action, Adjust, Budget, Charge, Command, Fact, Limit, Ref, Scope, Source, State, Subject, Unit, Verdict, Window,
    allowance,
};
use pricing::cost::TableRef;
use pricing::{Money, Timestamp};
use world::{World, applied, model, opened, wish};

const HOUR: i64 = 3_600_000_000_000;

fn usd(text: &str) -> Money {
    text.parse().unwrap()
}

fn run_ref(number: usize) -> Ref {
    Ref::new("ns", &format!("r{number}"))
}

fn budget(name: &str, limits: &[(Window, &str)], action: Action) -> Budget {
    let limit =
        |(window, amount): &(Window, &str)| Limit { unit: Unit::Usd, window: *window, amount: usd(amount).scaled() };
    Budget {
        source: Source::Budget,
        id: Ref::new("ns", name),
        generation: 0,
        scope: Scope::default(),
        limits: limits.iter().map(limit).collect(),
        soft_levels: Vec::new(),
        on_hard_limit: action,
        time_zone: "UTC".into(),
        week_start: 1,
        month_start_day: 1,
        by_agent: Vec::new(),
        policy: budget::Policy::default(),
    }
}

fn pay(world: &mut World, run: usize, amount: &str) -> Vec<Fact> {
    let call = world.call(run_ref(run), Subject::default(), model(), Some(usd(amount)));
    let (verdict, facts) = world.run(Command::Charge(Box::new(call)));
    assert!(matches!(verdict, Verdict::Booked { .. }));
    facts
}

#[test]
fn one_decision_kills_a_bounded_number_of_runs_and_the_others_at_their_next_call() {
    let mut world = World::default();
    world.run(Command::Apply(applied("Budget", budget("day", &[(Window::Day, "1")], Action::Terminate))));
    let runs = KILLS_PER_DECISION_MAX + 5;
    for run in 0..runs {
        world.run(Command::Open(Box::new(opened(run_ref(run), Subject::default()))));
    }
    assert_eq!(world.state.live(), runs);
    let killed = |facts: &[Fact]| facts.iter().filter(|fact| matches!(fact, Fact::Killed { .. })).count();
    assert_eq!(killed(&pay(&mut world, runs - 1, "1")), KILLS_PER_DECISION_MAX);
    let left: Vec<usize> =
        (0..runs).filter(|run| world.state.execution(&run_ref(*run)).unwrap().kill.is_none()).collect();
    assert_eq!(left.len(), 5);
    for run in left {
        assert!(allowance(&world.state, world.now, &run_ref(run)).unwrap().denial.is_some(), "denied before its kill");
        assert_eq!(killed(&pay(&mut world, run, "0")), 1);
    }
    assert_eq!(world.state.kills().count(), runs);
    world.check_replay();
}

#[test]
fn closed_windows_are_forgotten() {
    let mut world = World { now: Timestamp::from_nanos(1_790_000_000_000_000_000), ..World::default() };
    let limits = [(Window::Hour, "5"), (Window::Rolling24h, "5"), (Window::Day, "5"), (Window::Week, "9")];
    world.run(Command::Apply(applied("Budget", budget("all", &limits, Action::Alert))));
    let mut sizes = Vec::new();
    for _ in 0..60 * 24 {
        world.now = world.now.saturating_add(HOUR);
        pay(&mut world, 0, "0.01");
        sizes.push(postcard::to_stdvec(&world.state).unwrap().len());
    }
    let (early, late) = (sizes[30 * 24], sizes[60 * 24 - 1]);
    assert!(late <= early + 64, "the state grew from {early} to {late} bytes in a month");
    let rolling = world.state.counters(world.now).into_iter().find(|at| at.window == Window::Rolling24h).unwrap();
    assert_eq!(rolling.spent, usd("0.24").scaled());
}

/// A rolling day has room again when enough has left it, which a denial says; a civil window at its end.
#[test]
fn a_rolling_window_resets_hour_by_hour() {
    // 10:00 UTC of some day.
    let start = Timestamp::from_nanos(1_795_341_600_000_000_000);
    let mut world = World { now: start, ..World::default() };
    let limits = [(Window::Rolling24h, "5"), (Window::Week, "9")];
    world.run(Command::Apply(applied("Budget", budget("all", &limits, Action::Deny))));
    let at = |hours: i64| start.saturating_add(hours * HOUR);
    for (hours, amount) in [(0, "1"), (3, "2"), (7, "1.5")] {
        world.now = at(hours).saturating_add(HOUR / 2);
        pay(&mut world, 0, amount);
    }
    let denied = |world: &mut World, id: &str, usd: &str| {
        let wish = Reserve {
            id: id.into(),
            body: 0,
            execution: run_ref(0),
            subject: Subject::default(),
            parent: None,
            estimate: Estimate { usd: usd.parse().ok(), model_calls: 1, ..Estimate::default() },
            ceiling: None,
            ttl_ms: 60_000,
        };
        let (Verdict::Refused { denial, .. }, _) = world.run(Command::Reserve(Box::new(wish))) else {
            panic!("granted")
        };
        let Denial::Limit(counter) = *denial else { panic!("{denial:?}") };
        (counter.window, counter.resets_at)
    };
    // 4.5 of 5 are spent: 1 leaves at 10:00 of the next day, 2 more at 13:00, the rest at 17:00.
    assert_eq!(denied(&mut world, "a", "0.6"), (Window::Rolling24h, Some(at(24))));
    assert_eq!(denied(&mut world, "b", "1.6"), (Window::Rolling24h, Some(at(27))));
    assert_eq!(denied(&mut world, "c", "4"), (Window::Rolling24h, Some(at(31))));
    let counters = allowance(&world.state, world.now, &run_ref(0)).unwrap().counters;
    let resets: Vec<_> = counters.iter().map(|at| (at.window, at.resets_at)).collect();
    let week = counters.iter().find(|at| at.window == Window::Week).unwrap().span.end;
    assert!(
        resets.contains(&(Window::Rolling24h, Some(at(24)))) && resets.contains(&(Window::Week, week)),
        "{resets:?}"
    );
    // It is true: then, and not an hour before.
    for (hours, verdict) in [(26, false), (27, true)] {
        world.now = at(hours);
        let wish = Estimate { usd: "1.6".parse().ok(), model_calls: 1, ..Estimate::default() };
        let reserve = Reserve {
            id: format!("d-{hours}").into(),
            body: 0,
            execution: run_ref(0),
            subject: Subject::default(),
            parent: None,
            estimate: wish,
            ceiling: None,
            ttl_ms: 60_000,
        };
        let granted = matches!(world.run(Command::Reserve(Box::new(reserve))).0, Verdict::Granted { .. });
        assert_eq!(granted, verdict, "after {hours} hours");
    }
}

#[test]
fn trees_have_a_depth() {
    let mut world = World::default();
    for run in 0..40 {
        let mut call = world.call(run_ref(run), Subject::default(), model(), Some(usd("1")));
        call.parent = run.checked_sub(1).map(run_ref);
        world.run(Command::Charge(Box::new(call)));
    }
    let depth = usize::try_from(DEPTH_MAX).unwrap();
    let tops: Vec<usize> =
        (0..40).filter(|run| world.state.execution(&run_ref(*run)).unwrap().parent.is_none()).collect();
    assert_eq!(tops, [0, depth]);
    assert_eq!(world.state.execution(&run_ref(0)).unwrap().subtree_cost, usd("32"));
    assert_eq!(world.state.execution(&run_ref(depth)).unwrap().subtree_cost, usd("8"));
}

#[test]
fn a_kill_remembers_a_bounded_number_of_attempts_and_never_goes_back() {
    let mut world = World::default();
    pay(&mut world, 0, "1");
    let kill = Command::Kill { execution: run_ref(0), reason: "test".into(), by: "me".into() };
    let (Verdict::Killed { kill }, _) = world.run(kill) else { panic!("not killed") };
    let sent = |attempt| Command::Sent { kill: kill.clone(), channel: Channel::Webhook, attempt, took_us: 7 };
    for _ in 0..ATTEMPTS_KEPT_MAX + 3 {
        world.run(sent(Attempt::Failed("refused".into())));
    }
    assert_eq!(world.state.kill(&kill).unwrap().state, KillState::Fenced);
    world.run(Command::Ack { execution: run_ref(0), kill: kill.clone(), channel: Channel::Stream });
    world.run(sent(Attempt::Delivered));
    let known = world.state.kill(&kill).unwrap();
    assert_eq!((known.attempts.len(), known.state), (ATTEMPTS_KEPT_MAX, KillState::Acked));
    assert_eq!(known.attempts.last().unwrap().attempt, Attempt::Delivered);
    world.run(Command::End { execution: run_ref(0), phase: Phase::Cancelled });
    assert_eq!(world.state.kill(&kill).unwrap().state, KillState::Confirmed);
    assert_eq!(world.state.live(), 0);
}

#[test]
fn utilization_is_the_highest_share_of_a_live_run() {
    let mut world = World::default();
    let limits = [(Window::Run, "3"), (Window::Day, "100")];
    world.run(Command::Apply(applied("Budget", budget("run", &limits, Action::Deny))));
    world.run(Command::Apply(applied("Budget", budget("day", &limits[1..], Action::Deny))));
    let of = |world: &World| -> Vec<(String, u64)> {
        world.state.run_utilization().into_iter().map(|(_, id, ppm)| (id.to_string(), ppm)).collect()
    };
    let is = |ppm: u64| vec![("ns/run".to_owned(), ppm)];
    assert_eq!(of(&world), is(0));
    pay(&mut world, 0, "1");
    pay(&mut world, 1, "2");
    assert_eq!(of(&world), is(666_666));
    world.run(Command::End { execution: run_ref(1), phase: Phase::Failed });
    assert_eq!(of(&world), is(333_333));
    let charged: Vec<Money> = world.state.charged_by_budget().map(|(_, _, sum)| sum).collect();
    assert_eq!(charged, [usd("3"), usd("3")]);
}

#[test]
fn a_price_table_is_pinned_when_it_changes() {
    let mut world = World::default();
    let table = |digest: &str| Command::Pin(TableRef::new("openai", "1", digest));
    assert_eq!(world.run(table("a")).0, Verdict::Done);
    assert_eq!(world.run(table("a")).0, Verdict::Unchanged);
    assert_eq!(world.run(table("b")).0, Verdict::Done);
    assert_eq!(world.run(table("a")).0, Verdict::Done);
    assert_eq!(world.state.pins().map(|table| &*table.digest).collect::<Vec<_>>(), ["a"]);
    world.check_replay();
}

/// Entries of the charges booked so far.
fn charges(world: &World) -> Vec<(u64, Timestamp, Charge)> {
    let charged = world.entries.iter().filter_map(|entry| match &entry.fact {
        Fact::Charged(charge) => Some((entry.seq, entry.at, (**charge).clone())),
        _ => None,
    });
    charged.collect()
}

/// Beyond the bound charges are counted, stay findable by their first entry, and settle all the same.
#[test]
fn the_quarantine_lists_a_bounded_number_of_charges_and_settles_the_others() {
    let mut world = World::default();
    let more = 3;
    for _ in 0..QUARANTINE_LISTED_MAX + more {
        let call = world.call(run_ref(0), Subject::default(), model(), None);
        world.run(Command::Charge(Box::new(call)));
    }
    assert_eq!(world.state.quarantine(0).count(), QUARANTINE_LISTED_MAX);
    assert_eq!(world.state.quarantined(), u64::try_from(QUARANTINE_LISTED_MAX + more).unwrap());
    let charges = charges(&world);
    let beyond = &charges[QUARANTINE_LISTED_MAX..];
    assert_eq!(world.state.quarantine_beyond(), Beyond { from: beyond[0].0, count: 3 });
    for (left, (seq, logged, charge)) in [2, 1, 0].into_iter().zip(beyond) {
        let wish = || wish(*seq, *logged, charge.clone(), usd("1"), "a", false);
        world.run(Command::Adjust(Box::new(wish())));
        assert_eq!(world.state.quarantine_beyond().count, left);
        assert_eq!(world.run(Command::Adjust(Box::new(wish()))).0, Verdict::Unchanged);
    }
    let (seq, logged, charge) = charges[7].clone();
    world.run(Command::Adjust(Box::new(wish(seq, logged, charge, usd("1"), "a", false))));
    assert_eq!(world.state.quarantine(0).count(), QUARANTINE_LISTED_MAX - 1);
    assert_eq!(world.state.execution(&run_ref(0)).unwrap().cost, usd("4"));
    let bytes = postcard::to_stdvec(&world.state).unwrap();
    assert!(postcard::from_bytes::<State>(&bytes).unwrap() == world.state);
}

/// The state forgets old adjustments; who has not read the ledger since is told to, and then books each once.
#[test]
fn an_adjustment_that_was_forgotten_is_not_booked_again() {
    let mut world = World::default();
    for _ in 0..ADJUSTMENTS_KEPT_MAX + 2 {
        pay(&mut world, 0, "1");
    }
    let charges = charges(&world);
    let read_to = world.state.seq();
    for (seq, logged, charge) in &charges {
        let wish = Adjust { read_to, ..wish(*seq, *logged, charge.clone(), usd("2"), "b", false) };
        let (verdict, _) = world.run(Command::Adjust(Box::new(Adjust { read_to: world.state.seq(), ..wish })));
        assert!(matches!(verdict, Verdict::Booked { .. }));
    }
    let (seq, logged, charge) = charges[0].clone();
    let blind = Adjust { read_to, ..wish(seq, logged, charge, usd("2"), "b", false) };
    assert_eq!(world.run(Command::Adjust(Box::new(blind.clone()))), (Verdict::Stale, Vec::new()));
    let standing = Some(Standing { total: usd("2"), digest: "b".into() });
    let informed = Adjust { read_to: world.state.seq(), standing, ..blind };
    assert_eq!(world.run(Command::Adjust(Box::new(informed))), (Verdict::Unchanged, Vec::new()));
    let total = usd(&(2 * charges.len()).to_string());
    assert_eq!(world.state.execution(&run_ref(0)).unwrap().cost, total);
    let bytes = postcard::to_stdvec(&world.state).unwrap();
    assert!(postcard::from_bytes::<State>(&bytes).unwrap() == world.state);
}

/// Where the sum would leave 38 digits, nothing is booked.
#[test]
fn an_adjustment_out_of_range_is_refused() {
    let mut world = World::default();
    pay(&mut world, 0, "99999999999999999999");
    pay(&mut world, 0, "0.5");
    let (seq, logged, charge) = charges(&world)[1].clone();
    let wish = wish(seq, logged, charge, usd("2"), "b", false);
    assert_eq!(world.run(Command::Adjust(Box::new(wish))), (Verdict::OutOfRange, Vec::new()));
    world.check_replay();
}

#[test]
fn runs_that_ended_long_ago_are_forgotten_unless_something_may_come_for_them() {
    let mut world = World::default();
    for run in 0..6 {
        pay(&mut world, run, "1");
    }
    let unpriced = world.call(run_ref(4), Subject::default(), model(), None);
    world.run(Command::Charge(Box::new(unpriced)));
    world.run(Command::Kill { execution: run_ref(5), reason: "test".into(), by: "me".into() });
    let mut child = world.call(run_ref(6), Subject::default(), model(), Some(usd("2")));
    child.parent = Some(run_ref(0));
    world.run(Command::Charge(Box::new(child)));
    // Killed, and not proven gone: it may still spend.
    pay(&mut world, 7, "1");
    world.run(Command::Kill { execution: run_ref(7), reason: "test".into(), by: "me".into() });
    let kill = world.state.execution(&run_ref(5)).unwrap().kill.clone().unwrap();
    for run in [0, 1, 2, 4, 5] {
        world.run(Command::End { execution: run_ref(run), phase: Phase::Succeeded });
    }
    let later = world.state.log_time().saturating_add(1);
    assert_eq!(world.run(Command::Forget { before: Timestamp::default() }), (Verdict::Unchanged, Vec::new()));
    let (verdict, facts) = world.run(Command::Forget { before: later });
    // Of those that are over: 4 has a call without a price, and below 0 is a run that goes on.
    let executions = [1, 2, 5].map(run_ref).to_vec();
    assert_eq!((verdict, facts), (Verdict::Done, vec![Fact::Forgotten { executions }]));
    let known: Vec<usize> = (0..8).filter(|run| world.state.execution(&run_ref(*run)).is_some()).collect();
    assert_eq!((known, world.state.forgotten(), world.state.live()), (vec![0, 3, 4, 6, 7], 3, 3));
    assert!(world.state.kill(&kill).is_none(), "a kill goes with its run");
    assert_eq!((world.state.kills().count(), world.state.open_kills().count()), (1, 1));
    assert_eq!(world.run(Command::Forget { before: later }).0, Verdict::Unchanged);
    // What the child spends still counts above it; a run of a forgotten name is a new one.
    pay(&mut world, 6, "1");
    pay(&mut world, 5, "5");
    assert!(world.state.execution(&run_ref(5)).unwrap().kill.is_none());
    assert_eq!(world.state.execution(&run_ref(0)).unwrap().subtree_cost, usd("4"));
    // Once nothing is below it, it goes as well; the leaves go first.
    world.run(Command::End { execution: run_ref(6), phase: Phase::Succeeded });
    let before = world.state.log_time().saturating_add(1);
    for run in [6, 0] {
        let executions = vec![run_ref(run)];
        assert_eq!(world.run(Command::Forget { before }).1, vec![Fact::Forgotten { executions }]);
    }
    pay(&mut world, 0, "5");
    assert_eq!(world.state.execution(&run_ref(0)).unwrap().cost, usd("5"));
    world.check_replay();
}

#[test]
fn forgotten_runs_leave_next_to_nothing() {
    let mut world = World::default();
    let mut sizes = Vec::new();
    for run in 0..3_000 {
        pay(&mut world, run, "1");
        if run % 2 == 0 {
            world.run(Command::Kill { execution: run_ref(run), reason: "test".into(), by: "me".into() });
        }
        world.run(Command::End { execution: run_ref(run), phase: Phase::Succeeded });
        let before = world.state.log_time().saturating_add(1);
        world.run(Command::Forget { before });
        sizes.push(postcard::to_stdvec(&world.state).unwrap().len());
    }
    let (early, late) = (sizes[999], sizes[2_999]);
    assert!(
        late <= early + 3_000 + 64,
        "the state grew from {early} to {late} bytes with 2000 forgotten runs and 1000 kills"
    );
}
