//! The checks in which every decoder ends.

use std::sync::Arc;

use budget::charge::{CallOutcome, Called};
use pricing::{Attrs, Timestamp};

use super::{ATTRS_MAX, ID_BYTES_MAX, KEY_BYTES_MAX, LABELS_MAX, NAME_BYTES_MAX, UsageEvent, VALUE_BYTES_MAX};

fn event() -> UsageEvent {
    UsageEvent {
        id: "e1".into(),
        source: "api".into(),
        time: Timestamp::from_millis(1_795_374_801_272),
        namespace: "default".into(),
        execution: "run".into(),
        parent_execution: None,
        agent: None,
        team: None,
        environment: None,
        conversation: None,
        labels: Vec::new(),
        called: Called::Model { provider: "openai".into(), model: "m".into(), request_model: None, response_id: None },
        usage: None,
        attrs: Attrs::new(),
        outcome: CallOutcome::Ok,
        estimated: false,
        reservation: None,
        settles: false,
        reported_cost: None,
    }
}

fn check(change: impl FnOnce(&mut UsageEvent), expected: Result<(), (&str, &str)>) {
    let mut event = event();
    change(&mut event);
    let got = event.validate();
    assert_eq!(got.as_ref().map_err(|rejection| (rejection.code, &*rejection.pointer)).copied(), expected, "{got:?}");
}

fn long(bytes: usize) -> Arc<str> {
    "x".repeat(bytes).into()
}

#[test]
fn names_and_ids_have_bounds() {
    check(|_| {}, Ok(()));
    check(|event| event.id = "".into(), Err(("empty_value", "/id")));
    check(|event| event.id = long(ID_BYTES_MAX), Ok(()));
    check(|event| event.id = long(ID_BYTES_MAX + 1), Err(("too_long", "/id")));
    check(|event| event.source = "a\nb".into(), Err(("control_character", "/source")));
    check(|event| event.namespace = "".into(), Err(("empty_value", "/namespace")));
    check(|event| event.execution = long(NAME_BYTES_MAX + 1), Err(("too_long", "/execution")));
    check(|event| event.execution = "größer als 8 Zeichen".into(), Ok(()));
    check(|event| event.agent = Some("".into()), Err(("empty_value", "/agent")));
    check(|event| event.team = Some("\u{7f}".into()), Err(("control_character", "/team")));
    check(|event| event.conversation = Some(long(NAME_BYTES_MAX + 1)), Err(("too_long", "/conversation")));
    check(|event| event.reservation = Some("".into()), Err(("empty_value", "/reservation")));
    check(|event| event.parent_execution = Some("run".into()), Err(("invalid_value", "/parent_execution")));
}

#[test]
fn what_was_called_is_named() {
    let model = |provider: &str, model: &str, response_id: Option<Arc<str>>| Called::Model {
        provider: provider.into(),
        model: model.into(),
        request_model: None,
        response_id,
    };
    check(|event| event.called = model("", "m", None), Err(("empty_value", "/provider")));
    check(|event| event.called = model("p", "", None), Err(("empty_value", "/model")));
    check(|event| event.called = model("p", "m", Some(long(ID_BYTES_MAX + 1))), Err(("too_long", "/response_id")));
    let tool = |tool: &str| Called::Tool { tool: tool.into(), mcp_server: None };
    check(|event| event.called = tool(""), Err(("empty_value", "/tool")));
    check(|event| event.called = tool("zendesk.create_ticket"), Ok(()));
    check(|event| event.called = Called::Approval, Ok(()));
}

#[test]
fn labels_and_attributes_have_bounds() {
    let labels = |count: usize| (0..count).map(|n| (Arc::from(format!("k{n}")), Arc::from("v"))).collect::<Vec<_>>();
    check(|event| event.labels = labels(LABELS_MAX), Ok(()));
    check(|event| event.labels = labels(LABELS_MAX + 1), Err(("too_many", "/labels")));
    check(|event| event.labels = vec![(long(KEY_BYTES_MAX + 1), "v".into())], Err(("too_long", "/labels")));
    check(|event| event.labels = vec![("a/b".into(), long(VALUE_BYTES_MAX + 1))], Err(("too_long", "/labels/a~1b")));
    check(|event| event.attrs.set("tier", ""), Ok(()));
    check(|event| event.attrs.set("tier", "a\tb"), Err(("control_character", "/attrs/tier")));
    check(|event| (0..=ATTRS_MAX).for_each(|n| event.attrs.set(&format!("k{n}"), "v")), Err(("too_many", "/attrs")));
    check(|event| event.reported_cost = "-0.1".parse().ok(), Err(("negative_amount", "/reported_cost_usd")));
}
