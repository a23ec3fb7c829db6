//! One call told of twice: estimates give way to the call's own event, once; a second source of a reservation counts for nothing.

use budget::charge::CallOutcome;
use budget::reservation::{Estimate, Reserve, Standing};
use budget::{Charge, Ref, Subject};
use pricing::{Money, UsageKey};

use super::{HORIZON, Place};
use crate::event::UsageEvent;
use crate::event::charge::charge;
use crate::event::charge::tests::sample::{book, event, later, pin, usage};
use crate::ledger::verify::verify;
use crate::meter::{Answer, Ask, Booked, Core, Rules};

/// 2 USD a million tokens.
fn told(id: &str, source: &str, tokens: u64, more: impl FnOnce(&mut UsageEvent)) -> Charge {
    let mut event = event(id, "run-1");
    event.source = source.into();
    event.usage = Some(usage(&[(UsageKey::InputTokens, tokens)]));
    let budget::charge::Called::Model { response_id, .. } = &mut event.called else { unreachable!() };
    *response_id = None;
    more(&mut event);
    charge(&book(), event, "local", "api")
}

fn estimated(event: &mut UsageEvent) {
    event.estimated = true;
}

fn answer_to(event: &mut UsageEvent, response: &str) {
    let budget::charge::Called::Model { response_id, .. } = &mut event.called else { unreachable!() };
    *response_id = Some(response.into());
}

fn settles(event: &mut UsageEvent) {
    (event.reservation, event.settles) = (Some("r-1".into()), true);
}

struct Told {
    place: Place,
    core: Core,
}

impl Told {
    fn new() -> Self {
        let place = Place::new();
        let restored = place.restore();
        pin(&place.dir, &book());
        let rules = Rules { queue_events_max: 64, dedup_horizon: HORIZON };
        let core = Core::new(place.dir.clone(), restored, place.clock.clone(), &rules, Box::new(|_| {}), false);
        Self { place, core }
    }

    fn book(&mut self, charge: Charge) -> Booked {
        match self.core.batch(vec![Ask::Charges(vec![charge])]).unwrap().remove(0) {
            Answer::Charges(mut booked) => booked.remove(0),
            other => panic!("{other:?}"),
        }
    }

    fn accepted(&mut self, charge: Charge) -> u64 {
        match self.book(charge) {
            Booked::Accepted { seq, .. } => seq,
            other => panic!("{other:?}"),
        }
    }

    /// Cost, tokens and calls of the run.
    fn check(&self, usd: &str, tokens: i128, calls: u64) {
        let run = self.core.state().execution(&Ref::new("ns", "run-1")).unwrap();
        assert_eq!((run.cost.to_string().as_str(), run.tokens.total(), run.model_calls), (usd, tokens, calls));
    }

    /// The ledger proves it, and a start finds the same.
    fn proved(self, usd: &str) {
        let state = self.core.state().clone();
        drop(self.core);
        assert!(self.place.restore().state == state);
        assert_eq!(verify(&self.place.dir, None, |_, _| {}).unwrap().total.to_string(), usd);
    }
}

#[test]
fn an_authoritative_event_supersedes_its_estimate_once() {
    let mut it = Told::new();
    let of = it.accepted(told("e1", "a", 1_000, estimated));
    it.check("0.002", 1_000, 1);
    let known = told("e1", "a", 4_000, |_| {});
    assert!(it.accepted(known.clone()) > of);
    it.check("0.008", 4_000, 1);
    assert_eq!(it.book(known), Booked::Duplicate { seq: of }, "sent again");
    assert_eq!(it.book(told("e1", "a", 1_000, estimated)), Booked::Conflict { seq: of }, "the estimate again");
    assert_eq!(it.book(told("e1", "a", 5_000, |_| {})), Booked::Conflict { seq: of }, "once");
    it.check("0.008", 4_000, 1);
    it.proved("0.008");
}

/// The call itself is of a model that no table lists: it counts what it used at once, the money of its estimate stands for
/// its price, and the price that comes is the difference to that.
#[test]
fn a_call_without_a_price_supersedes_its_estimate_and_settles_once() {
    let mut it = Told::new();
    let of = it.accepted(told("e1", "a", 1_000, estimated));
    let unknown = |event: &mut UsageEvent| {
        let budget::charge::Called::Model { model, .. } = &mut event.called else { unreachable!() };
        *model = "nobody-knows".into();
    };
    let truth = told("e1", "a", 4_000, unknown);
    assert!(truth.price().is_none());
    assert!(it.accepted(truth.clone()) > of);
    it.check("0.002", 4_000, 1);
    let state = it.core.state();
    let listed: Vec<u64> = state.quarantine(0).map(|(seq, _)| seq).collect();
    assert_eq!((listed, state.quarantined()), (vec![of], 1));
    assert_eq!(state.execution(&Ref::new("ns", "run-1")).unwrap().unpriced_calls, 1);
    assert_eq!(it.book(truth), Booked::Duplicate { seq: of });
    let entry = it.core.writer().reader().entry(of).unwrap().unwrap();
    let budget::Fact::Charged(estimate) = entry.fact else { unreachable!() };
    let priced = budget::Priced::Reported("0.01".parse().unwrap());
    let reason = budget::AdjustReason::Operator { reason: "agreed".into(), by: "me".into() };
    let (logged, charge, read_to) = (entry.at, *estimate, it.core.state().seq());
    let wish = budget::Adjust { of, logged, charge, standing: None, read_to, priced, reason, run: None };
    let settle = Ask::Command(Box::new(budget::Command::Adjust(Box::new(wish))));
    it.core.batch(vec![settle.clone()]).unwrap();
    it.check("0.01", 4_000, 1);
    assert_eq!(it.core.state().quarantined(), 0);
    assert_eq!(it.core.state().execution(&Ref::new("ns", "run-1")).unwrap().unpriced_calls, 0);
    it.core.batch(vec![settle]).unwrap();
    it.check("0.01", 4_000, 1);
    it.proved("0.01");
}

/// What states no usage knows less of the call than its estimate does.
#[test]
fn an_event_without_usage_supersedes_nothing() {
    let mut it = Told::new();
    let of = it.accepted(told("e1", "a", 1_000, estimated));
    let silent = |outcome: CallOutcome| {
        told("e1", "a", 0, move |event| {
            event.usage = None;
            event.outcome = outcome;
        })
    };
    assert_eq!(it.book(silent(CallOutcome::Ok)), Booked::Conflict { seq: of });
    assert_eq!(it.book(silent(CallOutcome::Error)), Booked::Conflict { seq: of });
    it.check("0.002", 1_000, 1);
    it.proved("0.002");
}

#[test]
fn a_lower_truth_takes_back_and_a_restart_remembers_it() {
    let mut it = Told::new();
    let of = it.accepted(told("e1", "a", 4_000, |event| event.outcome = CallOutcome::Aborted));
    let known = told("e1", "a", 1_000, |_| {});
    it.accepted(known.clone());
    it.check("0.002", 1_000, 1);
    let Told { place, core } = it;
    drop(core);
    place.spill();
    let rules = Rules { queue_events_max: 64, dedup_horizon: HORIZON };
    let core = Core::new(place.dir.clone(), place.restore(), place.clock.clone(), &rules, Box::new(|_| {}), false);
    let mut it = Told { place, core };
    assert_eq!(it.book(known), Booked::Duplicate { seq: of });
    it.proved("0.002");
}

#[test]
fn another_source_supersedes_by_the_response_and_by_the_reservation() {
    let mut it = Told::new();
    it.accepted(told("e1", "a", 1_000, |event| {
        estimated(event);
        answer_to(event, "resp-1");
    }));
    it.accepted(told("span-9", "b", 2_000, |event| answer_to(event, "resp-1")));
    it.check("0.004", 2_000, 1);
    let wish = Reserve {
        id: "r-1".into(),
        body: 0,
        execution: Ref::new("ns", "run-1"),
        subject: Subject::default(),
        parent: None,
        estimate: Estimate { usd: "0.01".parse::<Money>().ok(), model_calls: 1, ..Estimate::default() },
        ceiling: None,
        ttl_ms: 60_000,
    };
    it.core.batch(vec![Ask::Reserve(Box::new(wish))]).unwrap();
    let of = it.accepted(told("e2", "a", 1_000, |event| {
        estimated(event);
        settles(event);
    }));
    assert_eq!(it.core.state().reservation("r-1").unwrap().standing, Standing::Settled);
    it.accepted(told("span-10", "b", 3_000, settles));
    it.check("0.01", 5_000, 2);
    // A third teller of the same reservation, and the second once more: it counts once.
    assert_eq!(it.book(told("line-1", "c", 3_000, settles)), Booked::Duplicate { seq: of });
    assert_eq!(it.book(told("span-10", "b", 3_000, settles)), Booked::Duplicate { seq: of });
    // The first source has one more call for it: late, and booked.
    it.accepted(told("e3", "a", 500, settles));
    it.check("0.011", 5_500, 3);
    it.proved("0.011");
}

#[test]
fn what_comes_after_a_reservation_expired_is_late_and_counts_once() {
    let mut it = Told::new();
    let wish = Reserve {
        id: "r-1".into(),
        body: 0,
        execution: Ref::new("ns", "run-1"),
        subject: Subject::default(),
        parent: None,
        estimate: Estimate { usd: "0.01".parse::<Money>().ok(), model_calls: 1, ..Estimate::default() },
        ceiling: None,
        ttl_ms: 1_000,
    };
    it.core.batch(vec![Ask::Reserve(Box::new(wish))]).unwrap();
    it.place.clock.set(later(2_000_000_000));
    it.core.batch(vec![Ask::Command(Box::new(budget::Command::Expire))]).unwrap();
    assert_eq!(it.core.state().reservation("r-1").unwrap().standing, Standing::Expired);
    let of = it.accepted(told("e1", "a", 1_000, settles));
    assert_eq!(it.book(told("span-1", "b", 1_000, settles)), Booked::Duplicate { seq: of });
    it.check("0.002", 1_000, 1);
    let late = it.core.state().execution(&Ref::new("ns", "run-1")).unwrap().overshoot.late;
    assert_eq!(late.to_string(), "0.002");
    it.proved("0.002");
}

/// Its id is forgotten and so is its response; another source tells of the response again as an estimate. What was booked long
/// ago may not be booked a second time as that estimate's truth.
#[tokio::test]
async fn a_call_whose_id_is_forgotten_supersedes_nothing() {
    let (place, response) = (Place::new(), "resp-1");
    let (hour, old) = (3_600_000_000_000, told("e1", "a", 1_000, |event| answer_to(event, response)));
    let at = |hours: i64, mut charge: Charge| {
        place.clock.set(later(hours * hour));
        charge.time = later(hours * hour);
        charge
    };
    let meter = place.start();
    pin(&place.dir, &book());
    meter.book_one(old.clone()).await;
    meter.stop().await.unwrap();
    place.spill();
    let meter = place.start();
    meter.book_one(at(3, told("e2", "a", 1_000, |_| {}))).await;
    meter.stop().await.unwrap();
    let meter = place.start();
    let again = told("span-1", "b", 500, |event| {
        estimated(event);
        answer_to(event, response);
    });
    let Booked::Accepted { seq: of, .. } = meter.book_one(at(3, again)).await else { panic!("a new call") };
    assert_eq!(meter.book_one(old).await, Booked::Duplicate { seq: of });
    meter.stop().await.unwrap();
    // 1,000 tokens, 1,000 tokens, and the estimate as it was told.
    assert_eq!(verify(&place.dir, None, |_, _| {}).unwrap().total.to_string(), "0.005");
}
