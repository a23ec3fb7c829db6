//! Runs that nobody ends are put to rest, wake with their sums, and leave the state in the end (I11).
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

use budget::{Command, Fact, Ref, State, Subject, Verdict};
use pricing::{Money, Timestamp};
use world::{World, model, wish};

fn usd(text: &str) -> Money {
    text.parse().unwrap()
}

fn run_ref(number: usize) -> Ref {
    Ref::new("ns", &format!("r{number}"))
}

fn pay(world: &mut World, run: usize, amount: Option<&str>) {
    let charge = world.call(run_ref(run), Subject::default(), model(), amount.map(usd));
    world.run(Command::Charge(Box::new(charge)));
}

fn after(world: &World) -> Timestamp {
    world.state.log_time().saturating_add(1)
}

#[test]
fn idle_runs_rest_wake_with_their_sums_and_leave_in_the_end() {
    let mut world = World::default();
    (0..3).for_each(|run| pay(&mut world, run, Some("1")));
    let since = after(&world);
    pay(&mut world, 2, Some("1"));
    pay(&mut world, 1, None);
    // 1 has a call without a price, 2 was named since.
    let (verdict, facts) = world.run(Command::Rest { before: since });
    assert_eq!((verdict, facts), (Verdict::Done, vec![Fact::Rested { executions: vec![run_ref(0)] }]));
    assert_eq!(world.run(Command::Rest { before: since }).0, Verdict::Unchanged, "once");
    let rested = |world: &World, run| world.state.execution(&run_ref(run)).unwrap().rested_at;
    assert!(rested(&world, 0).is_some() && rested(&world, 1).is_none() && rested(&world, 2).is_none());
    assert_eq!(world.run(Command::Forget { before: since }).0, Verdict::Unchanged, "not so long at rest");
    // What comes next wakes it, with everything it had.
    pay(&mut world, 0, Some("2"));
    let execution = world.state.execution(&run_ref(0)).unwrap();
    assert_eq!((execution.rested_at, execution.cost, execution.model_calls), (None, usd("3"), 2));
    let before = after(&world);
    world.run(Command::Rest { before });
    let before = after(&world);
    let executions = vec![run_ref(0), run_ref(2)];
    assert_eq!(world.run(Command::Forget { before }).1, vec![Fact::Forgotten { executions }]);
    assert_eq!(world.state.live(), 1);
    world.check_replay();
}

/// Nothing is held in memory for runs that nobody ended, so many as they were.
#[test]
fn runs_that_nobody_ends_leave_next_to_nothing() {
    let mut world = World::default();
    let mut sizes = Vec::new();
    for run in 0..3_000 {
        pay(&mut world, run, Some("1"));
        let before = after(&world);
        world.run(Command::Rest { before });
        let before = after(&world);
        world.run(Command::Forget { before });
        sizes.push(postcard::to_stdvec(&world.state).unwrap().len());
    }
    assert!(sizes[2_999] <= sizes[999] + 2_000 + 64, "{} to {} bytes", sizes[999], sizes[2_999]);
}

/// The price of an old call is no business of the run that has the name now.
#[test]
fn a_price_for_a_call_of_a_forgotten_run_moves_no_other_run() {
    let mut world = World::default();
    pay(&mut world, 0, Some("1"));
    let entry = world.entries.last().unwrap().clone();
    let Fact::Charged(charge) = entry.fact else { panic!("{:?}", entry.fact) };
    let before = after(&world);
    world.run(Command::Rest { before });
    let before = after(&world);
    world.run(Command::Forget { before });
    let price = || Box::new(wish(entry.seq, entry.at, *charge.clone(), usd("7"), "b", false));
    assert_eq!(world.run(Command::Adjust(price())), (Verdict::UnknownExecution, Vec::new()));
    pay(&mut world, 0, Some("2"));
    assert_eq!(world.run(Command::Adjust(price())), (Verdict::UnknownExecution, Vec::new()));
    assert_eq!(world.state.execution(&run_ref(0)).unwrap().cost, usd("2"));
    let bytes = postcard::to_stdvec(&world.state).unwrap();
    assert!(postcard::from_bytes::<State>(&bytes).unwrap() == world.state);
}
