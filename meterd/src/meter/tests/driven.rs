//! A core without a thread: what it answers is durable when `commit` has returned, and a clean end leaves nothing to replay.

use budget::Command;

use super::{HORIZON, Place};
use crate::event::charge::tests::sample::call;
use crate::meter::{Answer, Ask, Booked, Core, Restored, Rules};

impl Place {
    pub(super) fn core(&self) -> Core {
        self.core_from(self.restore())
    }

    pub(super) fn core_from(&self, restored: Restored) -> Core {
        let rules = Rules { queue_events_max: 64, dedup_horizon: HORIZON };
        Core::new(self.dir.clone(), restored, self.clock.clone(), &rules, Box::new(|_| {}), false)
    }
}

#[test]
fn a_core_is_driven_by_hand() {
    let place = Place::new();
    let mut core = place.core();
    let asks = vec![
        Ask::Charges(vec![call("e1", "run-1"), call("e2", "run-1"), call("e1", "run-1")]),
        Ask::Charges(vec![call("e2", "run-1")]),
    ];
    let answers = core.batch(asks).unwrap();
    let [Answer::Charges(first), Answer::Charges(second)] = &answers[..] else { panic!("{answers:?}") };
    let seqs: Vec<u64> = first
        .iter()
        .map(|booked| match booked {
            Booked::Accepted { seq, .. } | Booked::Duplicate { seq } => *seq,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(seqs[0], seqs[2]);
    assert_eq!(second[..], [Booked::Duplicate { seq: seqs[1] }]);
    assert_eq!(core.writer().reader().committed(), core.state().seq());
    let state = core.state().clone();
    core.close().unwrap();
    drop(core);
    let restored = place.restore();
    assert_eq!((restored.replayed, restored.state == state), (0, true));
}

#[test]
fn what_was_decided_and_not_committed_did_not_happen() {
    let place = Place::new();
    let mut core = place.core();
    core.batch(vec![Ask::Charges(vec![call("e1", "run-1")])]).unwrap();
    let committed = core.state().seq();
    core.decide(Ask::Charges(vec![call("e2", "run-1")]));
    let answer = core.decide(Ask::Command(Box::new(Command::Charge(Box::new(call("e3", "run-1"))))));
    assert!(matches!(answer, Answer::Command(_)));
    drop(core);
    assert_eq!(place.restore().state.seq(), committed);
}
