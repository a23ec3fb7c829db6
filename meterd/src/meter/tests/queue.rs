//! The queue's bound, and callers that come too late, ask too much, or go away.

use std::time::Duration;

use budget::{Command, Fact, Ref, Verdict};

use super::super::{Booked, Refused};
use super::Place;
use crate::event::charge::tests::sample::{call, opened};

fn calls(ids: std::ops::Range<usize>) -> Vec<budget::Charge> {
    ids.map(|id| call(&format!("e-{id}"), "run")).collect()
}

#[tokio::test]
async fn a_full_queue_refuses_at_once_and_books_nothing_of_it() {
    let place = Place::new();
    let (meter, gate) = place.start_gated(place.restore(), 4);
    let handle = meter.handle.clone();
    let first = tokio::spawn({
        let handle = handle.clone();
        async move { handle.book(calls(0..1)).await }
    });
    let second = tokio::spawn({
        let handle = handle.clone();
        async move { handle.book(calls(1..3)).await }
    });
    meter.filled(3).await;
    assert_eq!(handle.book(calls(3..5)).await, Err(Refused::Full));
    let third = tokio::spawn({
        let handle = handle.clone();
        async move { handle.book(calls(5..6)).await }
    });
    meter.filled(4).await;
    assert_eq!(handle.depth(), (4, 4));
    assert_eq!(handle.book(calls(6..7)).await, Err(Refused::Full));
    assert_eq!(handle.command(Command::Open(Box::new(opened("other", None)))).await, Err(Refused::Full));
    assert_eq!(handle.book(calls(0..5)).await, Err(Refused::TooMany));
    drop(gate);
    for (booked, events) in [(first, 1), (second, 2), (third, 1)] {
        let booked = booked.await.unwrap().unwrap();
        assert_eq!(booked.len(), events);
        assert!(booked.iter().all(|booked| matches!(booked, Booked::Accepted { .. })), "{booked:?}");
    }
    assert_eq!(handle.depth(), (0, 4));
    assert!(matches!(handle.book(calls(3..5)).await.unwrap()[..], [Booked::Accepted { .. }, Booked::Accepted { .. }]));
    meter.stop().await.unwrap();
    assert_eq!(place.booked_ids(), ["e-0", "e-1", "e-2", "e-5", "e-3", "e-4"]);
}

#[tokio::test]
async fn the_daemons_own_commands_wait_for_room() {
    let place = Place::new();
    let (meter, gate) = place.start_gated(place.restore(), 1);
    let handle = meter.handle.clone();
    let first = tokio::spawn({
        let handle = handle.clone();
        async move { handle.book(calls(0..1)).await }
    });
    meter.filled(1).await;
    let waits = tokio::spawn({
        let handle = handle.clone();
        async move { handle.command_when_room(Command::Open(Box::new(opened("other", None)))).await }
    });
    tokio::task::yield_now().await;
    assert!(!waits.is_finished());
    drop(gate);
    first.await.unwrap().unwrap();
    assert_eq!(waits.await.unwrap(), Ok(Verdict::Done));
    meter.stop().await.unwrap();
    assert!(matches!(&place.entries()[2].fact, Fact::Opened(opened) if opened.execution == Ref::new("ns", "other")));
}

/// What a caller has sent is booked though nobody waits for the answer any more; the repetition says so.
#[tokio::test]
async fn a_caller_that_goes_away_loses_nothing() {
    let place = Place::new();
    let (meter, gate) = place.start_gated(place.restore(), 8);
    let gone = tokio::time::timeout(Duration::ZERO, meter.handle.book(calls(0..2))).await;
    assert!(gone.is_err());
    drop(gate);
    assert_eq!(
        meter.handle.book(calls(0..2)).await.unwrap(),
        [Booked::Duplicate { seq: 2 }, Booked::Duplicate { seq: 3 }]
    );
    meter.stop().await.unwrap();
    assert_eq!(place.booked_ids(), ["e-0", "e-1"]);
}
