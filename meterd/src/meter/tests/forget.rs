//! Runs leave the state by an entry, so that replay forgets them too, and the ledger proves what they cost.

use std::time::Duration;

use budget::entry::Phase;
use budget::{Charge, Command, Fact, Ref};

use super::{HORIZON, Place};
use crate::event::charge::tests::sample::{book, call, later, pin};
use crate::ledger::verify::verify;
use crate::meter::{Ask, Core, Rules};

#[test]
fn runs_are_forgotten_in_the_ledger_and_stay_provable() {
    let place = Place::new();
    let mut restored = place.restore();
    pin(&place.dir, &book());
    restored.upkeep.forget_after = Some(Duration::from_secs(3_600));
    let rules = Rules { queue_events_max: 64, dedup_horizon: HORIZON };
    let mut core = Core::new(place.dir.clone(), restored, place.clock.clone(), &rules, Box::new(|_| {}), false);
    core.batch(vec![Ask::Charges(vec![call("e-1", "old"), call("e-2", "live")])]).unwrap();
    let old = Ref::new("ns", "old");
    let end = Command::End { execution: old.clone(), phase: Phase::Succeeded };
    core.batch(vec![Ask::Command(Box::new(end))]).unwrap();
    core.keep_house().unwrap();
    assert!(core.state().execution(&old).is_some(), "not yet");
    place.clock.set(later(3_700_000_000_000));
    core.keep_house().unwrap();
    assert!(core.state().execution(&old).is_none());
    // The name again, as a new run.
    core.batch(vec![Ask::Charges(vec![call("e-3", "old")])]).unwrap();
    let state = core.state().clone();
    drop(core);
    let forgotten = |fact: &Fact| matches!(fact, Fact::Forgotten { executions } if executions[..] == [old.clone()]);
    assert_eq!(place.entries().iter().filter(|entry| forgotten(&entry.fact)).count(), 1);
    assert!(place.restore().state == state, "replay forgets as well");
    let proof = verify(&place.dir, None, |_, _| {}).unwrap();
    // The forgotten run, the one that lives, and the new one: three calls of 0.006.
    assert_eq!((proof.executions, proof.total.to_string()), (3, "0.018".to_owned()));
    assert_eq!(verify(&place.dir, Some(&old), |_, _| {}).unwrap().executions, 2);
}

#[test]
fn runs_that_nobody_ends_are_put_to_rest_and_wake_with_their_sums() {
    let place = Place::new();
    let mut restored = place.restore();
    pin(&place.dir, &book());
    restored.upkeep.rest_after = Some(Duration::from_secs(3_600));
    restored.upkeep.forget_after = Some(Duration::from_secs(7_200));
    let mut core = place.core_from(restored);
    let (idle, other) = (Ref::new("ns", "idle"), Ref::new("ns", "other"));
    core.batch(vec![Ask::Charges(vec![call("e-1", "idle"), call("e-2", "other")])]).unwrap();
    let rested = |core: &Core, run: &Ref| core.state().execution(run).unwrap().rested_at.is_some();
    place.clock.set(later(3_700_000_000_000));
    core.keep_house().unwrap();
    assert!(rested(&core, &idle) && rested(&core, &other));
    let again = Charge { time: later(3_700_000_000_000), ..call("e-3", "idle") };
    core.batch(vec![Ask::Charges(vec![again])]).unwrap();
    let execution = core.state().execution(&idle).unwrap();
    assert_eq!((execution.rested_at, execution.model_calls, execution.cost.to_string()), (None, 2, "0.012".to_owned()));
    place.clock.set(later(11_000_000_000_000));
    core.keep_house().unwrap();
    assert!(rested(&core, &idle), "again");
    assert!(core.state().execution(&other).is_none(), "at rest for two hours");
    let state = core.state().clone();
    drop(core);
    assert!(place.restore().state == state, "replay forgets as well");
    assert_eq!(verify(&place.dir, None, |_, _| {}).unwrap().total.to_string(), "0.018");
}
