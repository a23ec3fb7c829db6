//! A clock that jumps by a year, forward or back, ends no window and no reservation.

use budget::reservation::{Estimate, Reserve, Standing};
use budget::{Action, Budget, Command, Limit, Policy, Ref, Scope, Source, Subject, Unit, Verdict, Window};
use pricing::{Money, Timestamp};

use super::{HORIZON, Place};
use crate::clock::Clock;
use crate::event::charge::tests::sample::{START, call};
use crate::meter::{Answer, Ask, Core, Rules};

const YEAR: i64 = 365 * 86_400_000_000_000;
const SECOND: i64 = 1_000_000_000;

fn budget() -> Command {
    let budget = Budget {
        source: Source::Budget,
        id: Ref::new("ns", "cap"),
        generation: 0,
        scope: Scope::default(),
        // One call costs 0.006.
        limits: vec![Limit { unit: Unit::Usd, window: Window::Day, amount: 10_000_000_000_000_000 }],
        soft_levels: Vec::new(),
        on_hard_limit: Action::Deny,
        time_zone: "UTC".into(),
        week_start: 1,
        month_start_day: 1,
        by_agent: Vec::new(),
        policy: Policy::default(),
    };
    let id = budget.id.clone();
    let (kind, document, origin) = ("Budget".into(), "{}".into(), budget::entry::Origin::Api);
    Command::Apply(budget::entry::Applied {
        kind,
        id,
        generation: 0,
        origin,
        document,
        budgets: vec![budget],
        link: budget::Link::default(),
    })
}

fn wish(id: &str, usd: &str) -> Ask {
    let usd = usd.parse::<Money>().ok();
    Ask::Reserve(Box::new(Reserve {
        id: id.into(),
        body: 0,
        execution: Ref::new("ns", "run-1"),
        subject: Subject::default(),
        parent: None,
        estimate: Estimate { usd, model_calls: 1, ..Estimate::default() },
        ceiling: None,
        ttl_ms: 600_000,
    }))
}

fn granted(core: &mut Core, ask: Ask) -> bool {
    match core.batch(vec![ask]).unwrap().remove(0) {
        Answer::Reserve(held) => matches!(held.verdict, Verdict::Granted { .. }),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_jump_of_a_year_resets_nothing() {
    for jump in [YEAR, -YEAR] {
        let place = Place::new();
        let clock = Clock::hands(START, 0);
        let rules = Rules { queue_events_max: 64, dedup_horizon: HORIZON };
        let mut core = Core::new(place.dir.clone(), place.restore(), clock.clone(), &rules, Box::new(|_| {}), false);
        let at = |wall: i64, boot: i64| {
            clock.set(Timestamp::from_nanos(START.nanos() + wall));
            clock.set_boot(boot);
        };
        core.batch(vec![Ask::Command(Box::new(budget())), Ask::Charges(vec![call("e1", "run-1")])]).unwrap();
        assert!(granted(&mut core, wish("a", "0.003")), "0.009 of 0.01");
        at(jump + 60 * SECOND, 60 * SECOND);
        assert!(!granted(&mut core, wish("b", "0.002")), "by {jump}: the day goes on, and so does the hold");
        assert_eq!(core.state().reservation("a").unwrap().standing, Standing::Held);
        core.batch(vec![Ask::Command(Box::new(Command::Expire))]).unwrap();
        assert_eq!(core.state().reservation("a").unwrap().standing, Standing::Held);
        // Measured time goes on: after its ten minutes the reservation expires, by the clock that is believed.
        at(jump + 599 * SECOND, 599 * SECOND);
        assert!(!granted(&mut core, wish("c", "0.002")));
        at(601 * SECOND, 601 * SECOND);
        assert!(granted(&mut core, wish("d", "0.004")), "the clock is back, the hold has ended, 0.006 is spent");
        assert!(!granted(&mut core, wish("e", "0.001")));
    }
}
