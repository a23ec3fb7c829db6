//! I5: replay of the ledger equals live state, with a snapshot, with an older one, and with none.

use std::fs;
use std::sync::Arc;

use budget::entry::{Applied, Origin, Phase};
use budget::signal::{Attempt, Channel, Proof};
use budget::{Action, Budget, Command, Fact, Limit, Ref, Scope, Source, Unit, Verdict, Window};
use proptest::prelude::*;

use super::super::{Booked, Meter};
use super::Place;
use crate::event::charge::tests::sample::{book, call, later, opened, own_budget, pin};
use crate::ledger::verify::verify;

/// One thing that somebody wants.
#[derive(Clone, Debug)]
enum Step {
    Open(u8, Option<u8>),
    Call(u8, u8),
    Kill(u8),
    End(u8, Phase),
    Apply(u8, bool),
    Remove,
    Pin(u8),
    Deliver(u8),
    Ack(u8, u8),
    Confirm(u8),
    Clock(i64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => (0u8..4, prop::option::of(1u8..40)).prop_map(|(run, limit)| Step::Open(run, limit)),
        8 => (0u8..4, 0u8..60).prop_map(|(run, id)| Step::Call(run, id)),
        1 => (0u8..4).prop_map(Step::Kill),
        1 => (0u8..4, prop::sample::select(vec![Phase::Succeeded, Phase::Failed, Phase::Cancelled]))
            .prop_map(|(run, phase)| Step::End(run, phase)),
        1 => (1u8..60, any::<bool>()).prop_map(|(limit, terminate)| Step::Apply(limit, terminate)),
        1 => Just(Step::Remove),
        1 => (0u8..3).prop_map(Step::Pin),
        1 => (0u8..80).prop_map(Step::Deliver),
        1 => (0u8..4, 0u8..80).prop_map(|(run, kill)| Step::Ack(run, kill)),
        1 => (0u8..80).prop_map(Step::Confirm),
        1 => (-100_000_000_000i64..100_000_000_000).prop_map(Step::Clock),
    ]
}

fn run(number: u8) -> Ref {
    Ref::new("ns", &name(number))
}

fn name(number: u8) -> String {
    format!("run-{number}")
}

fn kill(number: u8) -> Arc<str> {
    format!("kill-{number}").into()
}

/// A daily budget of so many thousandths of a dollar over the namespace.
fn applied(limit: u8, terminate: bool) -> Applied {
    let id = Ref::new("ns", "team");
    let limits =
        vec![Limit { unit: Unit::Usd, window: Window::Day, amount: i128::from(limit) * 1_000_000_000_000_000 }];
    let on_hard_limit = if terminate { Action::Terminate } else { Action::Deny };
    let scope = Scope { namespaces: vec!["ns".into()], ..Scope::default() };
    let budget = Budget { source: Source::Budget, scope, limits, on_hard_limit, ..own_budget("team", "1") };
    let document = format!("{limit} {terminate}").into();
    Applied {
        kind: "Budget".into(),
        id,
        generation: 0,
        origin: Origin::Api,
        document,
        budgets: vec![budget],
        link: budget::Link::default(),
    }
}

async fn take(meter: &Meter, place: &Place, step: Step) {
    let command = match step {
        Step::Open(number, limit) => {
            let limit = limit.map(|limit| own_budget(&name(number), &format!("0.{limit:03}")));
            Command::Open(Box::new(opened(&name(number), limit)))
        }
        Step::Call(number, id) => {
            let booked = meter.book_one(call(&format!("e-{id}"), &name(number))).await;
            assert!(!matches!(booked, Booked::OutOfRange | Booked::TooOld), "{booked:?}");
            return;
        }
        Step::Kill(number) => Command::Kill { execution: run(number), reason: "test".into(), by: "me".into() },
        Step::End(number, phase) => Command::End { execution: run(number), phase },
        Step::Apply(limit, terminate) => Command::Apply(applied(limit, terminate)),
        Step::Remove => Command::Remove { kind: "Budget".into(), id: Ref::new("ns", "team") },
        Step::Pin(version) => {
            let Fact::Pinned(table) = crate::event::charge::tests::sample::small(version.into()) else { panic!() };
            Command::Pin(table)
        }
        Step::Deliver(number) => {
            Command::Sent { kill: kill(number), channel: Channel::Stream, attempt: Attempt::Delivered, took_us: 1 }
        }
        Step::Ack(number, id) => Command::Ack { execution: run(number), kill: kill(id), channel: Channel::Stream },
        Step::Confirm(number) => Command::Confirm { kill: kill(number), proof: Proof::ProcessGone },
        Step::Clock(nanos) => return place.clock.set(later(nanos)),
    };
    let verdict = meter.handle.command(command).await.unwrap();
    assert_ne!(verdict, Verdict::OutOfRange);
}

async fn check(sessions: [Vec<Step>; 2]) {
    let place = Place::new();
    drop(place.restore());
    pin(&place.dir, &book());
    let mut ends = Vec::new();
    for steps in sessions {
        let meter = place.start();
        for step in steps {
            take(&meter, &place, step).await;
        }
        meter.stop().await.unwrap();
        ends.push(place.restore().state.seq());
    }
    // The newest snapshot is the live state as it was at the stop.
    let restored = place.restore();
    assert_eq!((restored.snapshot_seq, restored.replayed), (ends[1], 0));
    let (live, remembered) = (restored.state, restored.dedup.ids());
    drop(restored.writer);
    let proof = verify(&place.dir, None, |_, _| {}).unwrap();
    assert_eq!(proof.entries, live.seq());
    if ends[1] > ends[0] {
        fs::remove_file(place.dir.snapshots().join(format!("{:020}.snap", ends[1]))).unwrap();
        let restored = place.restore();
        assert_eq!((restored.snapshot_seq, restored.replayed), (ends[0], ends[1] - ends[0]));
        assert_eq!(restored.state, live);
        assert_eq!(restored.dedup.ids(), remembered);
        drop(restored);
        // From a run on disk as from memory.
        place.spill();
        assert_eq!(place.restore().dedup.ids(), remembered);
    }
    place.forget_snapshots();
    let (replayed, from_the_start) = place.found();
    assert_eq!(replayed, live);
    assert_eq!(from_the_start, remembered);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn replay_equals_live_state(
        first in prop::collection::vec(step(), 0..40),
        second in prop::collection::vec(step(), 0..40),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(check([first, second]));
    }
}
