//! Pricing an event: its identity, its body, and the same price again.

pub(crate) mod sample;

use budget::charge::{CallOutcome, Called, Priced, Zero};
use pricing::cost::Unpriced;
use pricing::{Outcome, PriceBook, UsageKey};

use super::{charge, price_again};
use crate::event::UsageEvent;
use sample::{CALL_USD, book, event, later, usage, usd};

fn key_and_body(event: UsageEvent) -> (u128, u64) {
    let charge = charge(&book(), event, "local", "api");
    (charge.key, charge.body)
}

/// A change of the event, and what it must change: the key, the body.
fn check(what: &str, change: impl FnOnce(&mut UsageEvent), expected: (bool, bool)) {
    let mut changed = event("e", "run");
    change(&mut changed);
    assert_ne!(changed, event("e", "run"), "{what}: nothing changed");
    let (before, after) = (key_and_body(event("e", "run")), key_and_body(changed));
    assert_eq!((before.0 != after.0, before.1 != after.1), expected, "{what}");
}

#[test]
fn the_body_changes_with_every_field_and_the_key_with_none_of_them() {
    const BODY: (bool, bool) = (false, true);
    check("time", |event| event.time = later(1), BODY);
    check("namespace", |event| event.namespace = "other".into(), BODY);
    check("execution", |event| event.execution = "other".into(), BODY);
    check("parent", |event| event.parent_execution = Some("above".into()), BODY);
    check("agent", |event| event.agent = None, BODY);
    check("team", |event| event.team = Some("red".into()), BODY);
    check("environment", |event| event.environment = None, BODY);
    check("conversation", |event| event.conversation = Some("other".into()), BODY);
    check("labels", |event| event.labels.push(("zone".into(), "a".into())), BODY);
    check("called", |event| event.called = Called::Approval, BODY);
    check("usage", |event| event.usage = Some(usage(&[(UsageKey::InputTokens, 1_001)])), BODY);
    check("no usage", |event| event.usage = None, BODY);
    check("attrs", |event| event.attrs.set("service_tier", "flex"), BODY);
    check("outcome", |event| event.outcome = CallOutcome::Error, BODY);
    check("estimated", |event| event.estimated = true, BODY);
    check("reservation", |event| event.reservation = Some("r-1".into()), BODY);
    check("settles", |event| event.settles = true, BODY);
    check("reported cost", |event| event.reported_cost = Some(usd("0.1")), BODY);
    for (change, what) in [("provider", 0), ("model", 1), ("request model", 2), ("response id", 3)] {
        let change_called = |event: &mut UsageEvent| {
            let Called::Model { provider, model, request_model, response_id } = &mut event.called else { panic!() };
            match what {
                0 => *provider = "other".into(),
                1 => *model = "other".into(),
                2 => *request_model = Some("other".into()),
                _ => *response_id = None,
            }
        };
        check(change, change_called, BODY);
    }
}

#[test]
fn the_key_changes_with_id_and_source_and_the_body_does_not() {
    check("id", |event| event.id = "f".into(), (true, false));
    check("source", |event| event.source = "other".into(), (true, false));
}

/// Names that move from one field to the next are another body, and parts of a key cannot flow into each other.
#[test]
fn neighbouring_fields_are_told_apart() {
    let with = |agent: Option<&str>, team: Option<&str>| {
        let mut event = event("e", "run");
        (event.agent, event.team) = (agent.map(Into::into), team.map(Into::into));
        key_and_body(event).1
    };
    assert_ne!(with(Some("x"), None), with(None, Some("x")));
    let key = |source: &str, id: &str| {
        let mut event = event(id, "run");
        event.source = source.into();
        key_and_body(event).0
    };
    assert_ne!(key("ab", "c"), key("a", "bc"));
}

#[test]
fn tenants_have_keys_of_their_own() {
    let charge = |tenant| charge(&book(), event("e", "run"), tenant, "api");
    let (ours, theirs) = (charge("ours"), charge("theirs"));
    assert_ne!(ours.key, theirs.key);
    assert_ne!(ours.response_key, theirs.response_key);
    assert_eq!(ours.body, theirs.body);
}

#[test]
fn the_response_id_joins_the_same_call_of_two_sources() {
    let of_source = |source: &str| {
        let mut event = event("e", "run");
        event.source = source.into();
        charge(&book(), event, "local", "api").response_key
    };
    assert!(of_source("a").is_some());
    assert_eq!(of_source("a"), of_source("b"));
    let mut without = event("e", "run");
    without.called = Called::Approval;
    assert_eq!(charge(&book(), without, "local", "api").response_key, None);
}

#[test]
fn a_charge_is_priced_and_its_price_can_be_asked_again() {
    let charge = charge(&book(), event("e", "run"), "local", "api");
    let Priced::Cost(cost) = &charge.priced else { panic!("{:?}", charge.priced) };
    assert_eq!(cost.total, usd(CALL_USD));
    assert_eq!(price_again(&book(), &charge), Outcome::Priced(cost.clone()));
    let other = PriceBook::default();
    assert!(matches!(price_again(&other, &charge), Outcome::Unpriced(_)));
}

#[test]
fn no_price_is_a_state_and_never_a_guess() {
    let priced = |change: &dyn Fn(&mut UsageEvent)| {
        let mut event = event("e", "run");
        change(&mut event);
        charge(&book(), event, "local", "api").priced
    };
    let unknown = |event: &mut UsageEvent| {
        event.called =
            Called::Model { provider: "acme".into(), model: "new".into(), request_model: None, response_id: None };
    };
    assert_eq!(priced(&unknown), Priced::Unpriced(Unpriced::UnknownModel));
    assert_eq!(priced(&|event| event.usage = None), Priced::Unpriced(Unpriced::MissingUsage));
    let failed = |event: &mut UsageEvent| {
        event.usage = None;
        event.outcome = CallOutcome::Error;
    };
    assert_eq!(priced(&failed), Priced::Zero(Zero::FailedWithoutUsage));
    let tool = |event: &mut UsageEvent| event.called = Called::Tool { tool: "search".into(), mcp_server: None };
    assert_eq!(priced(&tool), Priced::Zero(Zero::UnlistedTool));
}
