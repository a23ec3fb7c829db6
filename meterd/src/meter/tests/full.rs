//! A disk that is full: new work is refused before anything is written, what ends something goes on, and new work is taken
//! again once there is room, without a restart.

use budget::entry::Phase;
use budget::{Command, Ref, Verdict};

use super::super::{Booked, Refused};
use super::Place;
use crate::event::charge::tests::sample::call;

#[tokio::test]
async fn a_full_disk_refuses_new_work_and_still_ends_runs() {
    let place = Place::new();
    let meter = place.start();
    let accepted = |seq| Booked::Accepted { seq, fenced: false };
    assert_eq!(meter.book_one(call("e-1", "run")).await, accepted(2));
    meter.stop().await.unwrap();
    let many = || (0..50).map(|number| call(&format!("many-{number}"), "run")).collect::<Vec<_>>();
    // A start has set nothing aside yet.
    place.dir.disk().fill(true);
    let meter = place.start();
    assert_eq!(meter.handle.book(many()).await, Err(Refused::DiskFull));
    assert!(!meter.handle.has_room());
    assert!(meter.handle.is_up(), "it has not stopped");
    let id = Ref::new("ns", "run");
    let kill = Command::Kill { execution: id.clone(), reason: "loop".into(), by: "me".into() };
    assert!(matches!(meter.handle.command(kill).await, Ok(Verdict::Killed { .. })));
    let end = Command::End { execution: id, phase: Phase::Cancelled };
    assert_eq!(meter.handle.command(end).await, Ok(Verdict::Done));
    assert_eq!(meter.handle.book(many()).await, Err(Refused::DiskFull));
    place.dir.disk().fill(false);
    let booked = meter.handle.book(many()).await.unwrap();
    assert!(booked.iter().all(|booked| matches!(booked, Booked::Accepted { .. })));
    assert!(meter.handle.has_room());
    meter.stop().await.unwrap();
}
