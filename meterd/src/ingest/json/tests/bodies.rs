//! Whole bodies: layouts, content types, and what cannot be read at all.

use super::super::{BodyKind, EVENTS_MAX, decode};
use super::{minimal, model};

fn ids(body: &str, kind: BodyKind) -> Vec<Option<String>> {
    let batch = decode(body.as_bytes(), kind).unwrap_or_else(|error| panic!("{error}: {body}"));
    for (place, item) in batch.items.iter().enumerate() {
        assert_eq!(item.index, place);
    }
    batch.items.into_iter().map(|item| item.event.ok().map(|event| event.id.to_string())).collect()
}

fn unreadable(body: &[u8], kind: BodyKind, code: &str, status: u16, mentions: &str) {
    let error = decode(body, kind).expect_err("an error");
    assert_eq!((error.code, error.status), (code, status), "{error}");
    assert!(error.message.contains(mentions), "{error}");
}

fn named(id: &str) -> String {
    model("").replacen(r#""id":"1""#, &format!(r#""id":"{id}""#), 1)
}

#[test]
fn content_types() {
    let check = |text: Option<&str>, expected| assert_eq!(BodyKind::from_content_type(text), expected, "{text:?}");
    check(Some("application/json"), BodyKind::Json);
    check(Some("Application/JSON; charset=utf-8"), BodyKind::Json);
    check(Some("application/x-ndjson"), BodyKind::Ndjson);
    check(Some("application/x-www-form-urlencoded"), BodyKind::Sniff);
    check(None, BodyKind::Sniff);
}

#[test]
fn layouts() {
    let (a, b) = (named("a"), named("b"));
    let some = |id: &str| Some(id.to_owned());
    assert_eq!(ids(&a, BodyKind::Json), [some("a")]);
    assert_eq!(ids(&format!("\u{feff} {a}\n"), BodyKind::Json), [some("a")]);
    assert_eq!(ids(&format!("[{a},\n {b}]"), BodyKind::Json), [some("a"), some("b")]);
    assert_eq!(ids(&format!("[{a},{b}]"), BodyKind::Sniff), [some("a"), some("b")]);
    assert_eq!(ids("[]", BodyKind::Json), [None; 0]);
    assert_eq!(ids(&format!("{a}\n\n{b}\r\n"), BodyKind::Ndjson), [some("a"), some("b")]);
    assert_eq!(ids(&format!("{a}\n{b}"), BodyKind::Sniff), [some("a"), some("b")]);
    assert_eq!(ids(&a.replace(',', ",\n"), BodyKind::Sniff), [some("a")]);
    assert_eq!(ids(&format!("[{a},5,null,\"x\",[[]],true,-1,1.5,{b}]"), BodyKind::Json).len(), 9);
    assert_eq!(ids(&format!("{a}\n{{broken\n{b}"), BodyKind::Ndjson), [some("a"), None, some("b")]);
    assert_eq!(ids("7", BodyKind::Json), [None]);
}

#[test]
fn one_bad_event_refuses_itself_alone() {
    let body = format!("[{},{},{}]", named("a"), minimal(r#","kind":"nonsense""#), named("c"));
    assert_eq!(ids(&body, BodyKind::Json), [Some("a".into()), None, Some("c".into())]);
    let batch = decode(b"[5]", BodyKind::Json).unwrap();
    let rejection = batch.items[0].event.as_ref().unwrap_err();
    assert_eq!((rejection.code, &*rejection.message), ("invalid_type", "a usage event is a JSON object, not a number"));
}

#[test]
fn what_cannot_be_read_at_all() {
    for kind in [BodyKind::Json, BodyKind::Ndjson, BodyKind::Sniff] {
        unreadable(b"", kind, "empty_body", 400, "empty");
        unreadable(b" \n\t ", kind, "empty_body", 400, "empty");
        unreadable(b"\xff\xfe", kind, "invalid_utf8", 400, "offset 0");
        unreadable(b"{\"id\":", kind, "malformed_json", 400, "line 1, column 6");
        unreadable(b"hello", kind, "malformed_json", 400, "line 1, column 1");
    }
    unreadable(b"[\n  {\"id\": \"secret\" \"x\"}\n]", BodyKind::Json, "malformed_json", 400, "line 2");
    unreadable(b"[{},", BodyKind::Json, "malformed_json", 400, "line 1");
    unreadable(b"[{}] x", BodyKind::Json, "malformed_json", 400, "trailing");
    unreadable(b"x\ny\nz", BodyKind::Ndjson, "malformed_json", 400, "line 1");
    unreadable(b"{}\n{}", BodyKind::Json, "malformed_json", 400, "application/x-ndjson");
    unreadable("[".repeat(1_000_000).as_bytes(), BodyKind::Json, "malformed_json", 400, "line 1");
}

#[test]
fn messages_do_not_repeat_what_was_sent() {
    let error = decode(b"{\"prompt\": \"my password is hunter2\" oops}", BodyKind::Json).unwrap_err();
    assert!(!error.message.contains("hunter2") && !error.message.contains("oops"), "{error}");
}

#[test]
fn the_number_of_events_has_a_bound() {
    let most = format!("[{}]", vec!["{}"; EVENTS_MAX].join(","));
    assert_eq!(decode(most.as_bytes(), BodyKind::Json).unwrap().items.len(), EVENTS_MAX);
    let array = format!("[{}]", vec!["{}"; EVENTS_MAX + 1].join(","));
    unreadable(array.as_bytes(), BodyKind::Json, "too_many_events", 413, "smaller batches");
    unreadable("{}\n".repeat(EVENTS_MAX + 1).as_bytes(), BodyKind::Ndjson, "too_many_events", 413, "smaller batches");
}
