//! I4: an event is charged at most once, through batches, sources, restarts and clocks.

use budget::charge::Called;
use budget::{Charge, Command};
use pricing::Timestamp;

use super::{super::Booked, Place};
use crate::event::charge::charge;
use crate::event::charge::tests::sample::{START, book, call, event, later};

const MINUTE: i64 = 60_000_000_000;

/// The first call opens its run, so the first charge is the second entry.
fn accepted(charge: u64) -> Booked {
    Booked::Accepted { seq: charge + 1, fenced: false }
}

fn duplicate(charge: u64) -> Booked {
    Booked::Duplicate { seq: charge + 1 }
}

fn conflict(charge: u64) -> Booked {
    Booked::Conflict { seq: charge + 1 }
}

fn at(id: &str, time: Timestamp) -> Charge {
    let mut event = event(id, "run");
    event.time = time;
    charge(&book(), event, "local", "api")
}

fn with_other_body(id: &str) -> Charge {
    let mut event = event(id, "run");
    event.agent = None;
    charge(&book(), event, "local", "api")
}

#[tokio::test]
async fn the_same_event_is_a_duplicate_and_another_body_a_conflict() {
    let place = Place::new();
    let meter = place.start();
    assert_eq!(meter.book_one(call("e-1", "run")).await, accepted(1));
    assert_eq!(meter.book_one(call("e-2", "run")).await, accepted(2));
    assert_eq!(meter.book_one(call("e-1", "run")).await, duplicate(1));
    assert_eq!(meter.book_one(with_other_body("e-1")).await, conflict(1));
    meter.stop().await.unwrap();
    assert_eq!(place.booked_ids(), ["e-1", "e-2"]);
}

#[tokio::test]
async fn an_event_twice_in_one_request_counts_once() {
    let place = Place::new();
    let meter = place.start();
    let charges = vec![call("e-1", "run"), call("e-1", "run"), with_other_body("e-1"), call("e-2", "run")];
    let booked = meter.handle.book(charges).await.unwrap();
    assert_eq!(booked, [accepted(1), duplicate(1), conflict(1), accepted(2)]);
    meter.stop().await.unwrap();
    assert_eq!(place.booked_ids(), ["e-1", "e-2"]);
}

#[tokio::test]
async fn the_same_response_through_another_source_counts_once() {
    let place = Place::new();
    let meter = place.start();
    assert_eq!(meter.book_one(call("e-1", "run")).await, accepted(1));
    let mut other = event("span-9", "run");
    (other.source, other.agent) = ("otel".into(), None);
    let Called::Model { response_id, .. } = &mut other.called else { panic!() };
    *response_id = Some("response-e-1".into());
    let other = charge(&book(), other, "local", "otlp");
    assert_eq!(meter.book_one(other).await, duplicate(1));
    meter.stop().await.unwrap();
    assert_eq!(place.booked_ids(), ["e-1"]);
}

#[tokio::test]
async fn a_restart_remembers_with_and_without_a_snapshot() {
    let place = Place::new();
    let meter = place.start();
    assert_eq!(meter.book_one(call("e-1", "run")).await, accepted(1));
    meter.stop().await.unwrap();
    assert_eq!(place.restore().snapshot_seq, 2);
    for restart in 0..2 {
        let meter = place.start();
        assert_eq!(meter.book_one(call("e-1", "run")).await, duplicate(1));
        assert_eq!(meter.book_one(with_other_body("e-1")).await, conflict(1));
        meter.stop().await.unwrap();
        if restart == 0 {
            place.forget_snapshots();
        }
    }
    assert_eq!(place.booked_ids(), ["e-1"]);
}

/// A run is forgotten when everything in it is older than the horizon. Whatever the clock did meanwhile, an event that could still be taken
/// is remembered, and one that is forgotten is refused.
#[tokio::test]
async fn what_is_forgotten_is_refused_whatever_the_clock_does() {
    let place = Place::new();
    // A clock ahead of ours: dated four minutes from now.
    let ahead = at("ahead", later(4 * MINUTE));
    let meter = place.start();
    assert_eq!(meter.book_one(ahead.clone()).await, accepted(1));
    meter.stop().await.unwrap();
    place.spill();
    // Booked longer ago than the horizon, but its own time is not yet.
    place.clock.set(later(61 * MINUTE));
    let meter = place.start();
    assert_eq!(meter.book_one(at("e-2", later(61 * MINUTE))).await, accepted(2));
    meter.stop().await.unwrap();
    place.spill();
    let meter = place.start();
    assert_eq!(meter.book_one(ahead.clone()).await, duplicate(1));
    // Now it is, and it is forgotten.
    place.clock.set(later(70 * MINUTE));
    assert_eq!(meter.book_one(at("e-3", later(70 * MINUTE))).await, accepted(3));
    meter.stop().await.unwrap();
    // Each has a response id besides.
    assert_eq!(place.restore().dedup.len(), 4);
    // The clock jumps back to where that event would be young.
    place.clock.set(START);
    let meter = place.start();
    assert_eq!(meter.book_one(ahead).await, Booked::TooOld);
    assert_eq!(meter.book_one(at("e-3", later(70 * MINUTE))).await, duplicate(3));
    assert_eq!(meter.book_one(at("e-4", later(11 * MINUTE))).await, accepted(4));
    meter.stop().await.unwrap();
    assert_eq!(place.booked_ids(), ["ahead", "e-2", "e-3", "e-4"]);
}

#[tokio::test]
async fn log_time_strictly_increases_under_a_clock_that_jumps_back() {
    let place = Place::new();
    let meter = place.start();
    for (n, nanos) in [0, 5, -3_600_000_000_000, 0, 7, 6, i64::MIN / 2].into_iter().enumerate() {
        place.clock.set(later(nanos));
        meter.book_one(call(&format!("e-{n}"), "run")).await;
        let open = crate::event::charge::tests::sample::opened(&format!("run-{n}"), None);
        meter.handle.command(Command::Open(Box::new(open))).await.unwrap();
    }
    meter.stop().await.unwrap();
    let times: Vec<Timestamp> = place.entries().iter().map(|entry| entry.at).collect();
    assert_eq!(times.len(), 15);
    assert!(times.windows(2).all(|pair| pair[0] < pair[1]), "{times:?}");
}
