//! Laws of free allowances, over random orders of calls that are priced at once or settle late: what a group draws in a
//! period is never more than its quota, the booked order decides who draws, and nobody is credited more than he paid.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    unreachable_pub
)]
#![allow(dead_code)]

#[path = "support/world.rs"]
mod world;

use std::collections::BTreeMap;
use std::sync::Arc;

use budget::{Adjust, AdjustReason, Command, Fact, Priced, Ref, Subject, Verdict};
use pricing::cost::{Call, Cost, Outcome, Target, price};
use pricing::{Attrs, Money, PriceBook, PriceTable, Timestamp, Usage, UsageKey};
use proptest::prelude::*;
use world::{World, model, set};

const START: i64 = 1_790_000_000_000_000_000;
const HOUR: i64 = 3_600_000_000_000;
const DAY: i64 = 24 * HOUR;
/// Searches cost 10 USD a thousand; seven a day are free for both models together, and five pages a day.
const TABLE: &str = r#"
apiVersion: joch.dev/v1alpha1
kind: PriceTable
metadata: { name: free }
spec:
  version: "1"
  models:
    - provider: acme
      id: one
      rates: [{ set: { web_searches: "10", input_document_pages: "3" } }]
      allowances:
        - { name: grounding, unit: web_searches, free: 7, period: day, tz: UTC, group: searches }
        - { name: pages, unit: input_document_pages, free: 5, period: day, tz: UTC, group: pages }
    - provider: acme
      id: two
      rates: [{ set: { web_searches: "20" } }]
      allowances: [{ name: grounding, unit: web_searches, free: 7, period: day, tz: UTC, group: searches }]
"#;

#[derive(Clone, Debug)]
struct Use {
    run: usize,
    two: bool,
    searches: u64,
    pages: u64,
    /// Hours after the start: the calls are of three days.
    hour: i64,
    /// Booked without a price, and settled when its turn comes.
    late: bool,
}

fn uses() -> impl Strategy<Value = Vec<Use>> {
    let one = (0..3_usize, any::<bool>(), 0..6_u64, 0..4_u64, 0..72_i64, any::<bool>());
    let one = one.prop_map(|(run, two, searches, pages, hour, late)| {
        let pages = if two { 0 } else { pages };
        Use { run, two, searches, pages, hour, late }
    });
    prop::collection::vec(one, 1..40)
}

fn book() -> PriceBook {
    let (tables, _) = PriceTable::parse(TABLE).unwrap();
    PriceBook::new(tables.into_iter().map(Arc::new).collect())
}

fn cost(book: &PriceBook, used: &Use) -> Cost {
    let mut usage = Usage::new();
    set(&mut usage, UsageKey::WebSearches, used.searches);
    set(&mut usage, UsageKey::InputDocumentPages, used.pages);
    let target = Target::Model { provider: "acme", model: if used.two { "two" } else { "one" }, request_model: None };
    let (at, attrs) = (Timestamp::from_nanos(START + used.hour * HOUR), Attrs::new());
    let call = Call { target, at, usage: &usage, attrs: &attrs, namespace: "ns", team: None };
    match price(book, &call) {
        Outcome::Priced(cost) => cost,
        Outcome::Unpriced(reason) => panic!("{reason}"),
    }
}

/// What is left to draw, kept by hand: by day and kind.
#[derive(Default)]
struct Hand(BTreeMap<(i64, bool), u64>);

impl Hand {
    /// What this call pays in the end, in 10⁻⁶ USD.
    fn pays(&mut self, used: &Use) -> i128 {
        let day = (START + used.hour * HOUR) / DAY;
        let mut draw = |pages: bool, wanted: u64, quota: u64| {
            let drawn = self.0.entry((day, pages)).or_default();
            let free = wanted.min(quota - *drawn);
            *drawn += free;
            i128::from(wanted - free)
        };
        let searches = draw(false, used.searches, 7) * if used.two { 20_000 } else { 10_000 };
        searches + draw(true, used.pages, 5) * 3_000
    }
}

/// One life: calls are booked as they come, late ones settle after all in the ledger's order.
fn live(uses: &[Use]) -> (World, i128) {
    let (book, mut hand, mut paid) = (book(), Hand::default(), 0);
    let mut world = World { now: Timestamp::from_nanos(START + 3 * DAY), ..World::default() };
    let mut waiting = Vec::new();
    for used in uses {
        let mut call = world.call(Ref::new("ns", &format!("r{}", used.run)), Subject::default(), model(), None);
        call.time = Timestamp::from_nanos(START + used.hour * HOUR);
        if used.late {
            world.run(Command::Charge(Box::new(call.clone())));
            let of = world.entries.iter().rev().find(|entry| matches!(&entry.fact, Fact::Charged(_))).unwrap();
            waiting.push((of.seq, of.at, call, used));
        } else {
            call.priced = Priced::Cost(cost(&book, used));
            world.run(Command::Charge(Box::new(call)));
            paid += hand.pays(used);
        }
    }
    for (of, logged, charge, used) in waiting {
        let (priced, reason) = (Priced::Cost(cost(&book, used)), AdjustReason::Settled);
        let wish = Adjust { of, logged, charge, standing: None, read_to: of, priced, reason, run: None };
        let (verdict, _) = world.run(Command::Adjust(Box::new(wish.clone())));
        assert!(matches!(verdict, Verdict::Booked { .. }), "{verdict:?}");
        paid += hand.pays(used);
        let (again, facts) = world.run(Command::Adjust(Box::new(wish)));
        assert_eq!((again, facts.len()), (Verdict::Unchanged, 0), "settled twice");
    }
    (world, paid)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_group_draws_its_quota_in_the_order_of_booking_and_no_more(uses in uses()) {
        let (world, paid) = live(&uses);
        let spent: i128 = world.state.executions().map(|run| run.cost.scaled()).sum();
        prop_assert_eq!(spent, paid * 1_000_000_000_000);

        let mut drawn: BTreeMap<(String, Timestamp), u64> = BTreeMap::new();
        for entry in &world.entries {
            let Fact::Adjusted(adjustment) = &entry.fact else { continue };
            let AdjustReason::Allowance(credit) = &adjustment.reason else { continue };
            prop_assert!(adjustment.delta < Money::ZERO, "a credit takes away");
            prop_assert!(adjustment.priced.total().unwrap() >= Money::ZERO, "never below nothing");
            *drawn.entry((credit.group.to_string(), credit.start)).or_default() += credit.quantity.as_u64().unwrap();
        }
        for ((group, start), count) in drawn {
            let quota = if group == "searches" { 7 } else { 5 };
            prop_assert!(count <= quota, "{group} of {start}: {count}");
        }
        world.check_replay();
    }
}
