//! What is remembered, from where one may go on, and what is forgotten first.

use budget::entry::Phase;
use budget::{Entry, Fact, Ref};
use pricing::Timestamp;

use super::{CHANGES_MAX, Pulse, WATCHERS_MAX};
use crate::follow::Handler;

fn ended(seq: u64, run: &str) -> Entry {
    let fact = Fact::Ended { execution: Ref::new("ns", run), phase: Phase::Succeeded };
    Entry { seq, at: Timestamp::default(), fact }
}

fn names(pulse: &Pulse, after: u64) -> Option<Vec<String>> {
    pulse.since(after).map(|moved| moved.runs.iter().map(|run| run.name.to_string()).collect())
}

#[test]
fn a_run_that_moves_often_is_one_change() {
    let (pulse, mut beat) = Pulse::new(10, Timestamp::default());
    beat.take(&[ended(11, "a"), ended(12, "b"), ended(13, "a")]).unwrap();
    assert_eq!(pulse.reached(), 13);
    assert_eq!(names(&pulse, 10).unwrap(), ["a", "b"]);
    assert_eq!(names(&pulse, 12).unwrap(), ["a"]);
    assert!(names(&pulse, 13).unwrap().is_empty());
    assert_eq!(pulse.since(11).unwrap().facts.len(), 2);
}

#[test]
fn who_is_too_far_behind_or_ahead_starts_over() {
    let (pulse, mut beat) = Pulse::new(10, Timestamp::default());
    assert!(pulse.since(9).is_none(), "before the memory begins");
    assert!(pulse.since(11).is_none(), "the id of another ledger");
    let most = u64::try_from(CHANGES_MAX).unwrap();
    for seq in 11..=10 + most + 5 {
        beat.take(&[ended(seq, "a")]).unwrap();
    }
    assert!(pulse.since(14).is_none(), "entries 11 to 15 are forgotten");
    assert!(pulse.since(15).is_some());
}

#[test]
fn watchers_are_bounded() {
    let (pulse, _beat) = Pulse::new(0, Timestamp::default());
    let places: Vec<_> = (0..WATCHERS_MAX).map(|_| pulse.place().unwrap()).collect();
    assert!(pulse.place().is_none());
    drop(places);
    assert!(pulse.place().is_some());
}
