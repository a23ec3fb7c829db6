//! I3: the end of a meter, wanted or not. What was answered is on disk; who was not answered hears why.

use std::io::ErrorKind;

use budget::Command;

use super::super::{Booked, Refused};
use super::Place;
use crate::event::charge::tests::sample::{call, opened};
use crate::ledger::{Call, Fault};

#[tokio::test]
async fn a_stop_works_off_what_is_queued_and_refuses_the_rest() {
    let place = Place::new();
    let (meter, gate) = place.start_gated(place.restore(), 8);
    let queued: Vec<_> = (0..4)
        .map(|id| {
            let handle = meter.handle.clone();
            tokio::spawn(async move { handle.book(vec![call(&format!("e-{id}"), "run")]).await })
        })
        .collect();
    meter.filled(4).await;
    let handle = meter.handle.clone();
    handle.stop();
    assert_eq!(handle.stopped(), Some(Refused::Stopped));
    assert_eq!(handle.book(vec![call("late", "run")]).await, Err(Refused::Stopped));
    assert_eq!(handle.command_when_room(Command::Open(Box::new(opened("late", None)))).await, Err(Refused::Stopped));
    drop(gate);
    for booked in queued {
        assert!(matches!(booked.await.unwrap().unwrap()[..], [Booked::Accepted { .. }]));
    }
    meter.ended.await.unwrap().unwrap();
    assert_eq!(handle.book(vec![call("later", "run")]).await, Err(Refused::Stopped));
    assert_eq!(place.booked_ids(), ["e-0", "e-1", "e-2", "e-3"]);
    assert_eq!(place.restore().snapshot_seq, 5, "a clean stop leaves a snapshot of everything");
}

/// Many threads send while the meter stops: each of them gets an answer, and those who hear `Accepted` are in the ledger.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_who_sends_during_a_stop_is_left_waiting() {
    for round in 0..20 {
        let place = Place::new();
        let meter = place.start();
        let senders: Vec<_> = (0..8)
            .map(|sender| {
                let handle = meter.handle.clone();
                tokio::spawn(async move {
                    let mut accepted = Vec::new();
                    for n in 0.. {
                        let id = format!("{sender}-{n}");
                        match handle.book(vec![call(&id, "run")]).await {
                            Ok(_) => accepted.push(id),
                            Err(Refused::Stopped) => return accepted,
                            Err(other) => panic!("{other}"),
                        }
                    }
                    accepted
                })
            })
            .collect();
        meter.handle.book(vec![call(&format!("round-{round}"), "run")]).await.unwrap();
        meter.stop().await.unwrap();
        let mut accepted = vec![format!("round-{round}")];
        for sender in senders {
            accepted.extend(sender.await.unwrap());
        }
        let mut booked = place.booked_ids();
        accepted.sort();
        booked.sort();
        assert_eq!(booked, accepted);
    }
}

/// The first batch succeeds; the second, with everybody who waits in it or behind it, fails.
async fn check(call_to_disk: Call, kind: ErrorKind, expected: Refused) {
    let place = Place::new();
    let restored = place.restore();
    // Two calls of each kind make the first batch durable: one for the segment, one for the batch.
    restored.writer.fail(Fault { call: call_to_disk, after: 2, kind });
    let reader = restored.writer.reader();
    let (meter, gate) = place.start_gated(restored, 8);
    let send = |id: &str| {
        let (handle, call) = (meter.handle.clone(), call(id, "run"));
        tokio::spawn(async move { handle.book(vec![call]).await })
    };
    let first = send("first");
    while reader.committed() < 2 {
        tokio::task::yield_now().await;
    }
    let failing: Vec<_> = ["a", "b", "c"].into_iter().map(send).collect();
    meter.filled(4).await;
    drop(gate);
    assert!(matches!(first.await.unwrap().unwrap()[..], [Booked::Accepted { seq: 2, .. }]));
    for booked in failing {
        assert_eq!(booked.await.unwrap(), Err(expected));
    }
    let error = meter.ended.await.unwrap().unwrap_err();
    assert_eq!(error.is_disk_full(), expected == Refused::DiskFull, "{error}");
    assert_eq!(meter.handle.stopped(), Some(expected));
    assert!(!meter.handle.is_up());
    assert_eq!(meter.handle.book(vec![call("late", "run")]).await, Err(expected));
    assert_eq!(reader.committed(), 2, "nothing of it is shown");
    assert_eq!(std::fs::read_dir(place.dir.snapshots()).unwrap().count(), 0, "nor kept in a snapshot");
    // The next start goes on from what is on disk: what was never answered may be sent again and counts once.
    let meter = place.start();
    for id in ["first", "a", "b", "c"] {
        meter.handle.book(vec![call(id, "run")]).await.unwrap();
    }
    meter.stop().await.unwrap();
    assert_eq!(place.booked_ids(), ["first", "a", "b", "c"]);
}

#[tokio::test]
async fn a_failed_append_answers_nobody_and_stops() {
    check(Call::Write(0), ErrorKind::Other, Refused::Stopped).await;
    check(Call::Write(30), ErrorKind::Other, Refused::Stopped).await;
    check(Call::Sync, ErrorKind::Other, Refused::Stopped).await;
}

#[tokio::test]
async fn a_full_disk_is_told_to_everybody_who_waits() {
    check(Call::Write(0), ErrorKind::StorageFull, Refused::DiskFull).await;
    check(Call::Write(100), ErrorKind::QuotaExceeded, Refused::DiskFull).await;
}
