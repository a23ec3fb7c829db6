//! Printing is exact and reads back as the same tree, through the project's own parser.

use pricing::Money;
use proptest::prelude::*;

use super::Json;

const ONE: i128 = 1_000_000_000_000_000_000;

fn sample() -> Json {
    Json::map([
        ("apiVersion", Json::text("joch.dev/v1alpha1")),
        ("costUsd", Json::Number("0.620000000000000001".to_owned())),
        ("startedAt", Json::text("2026-05-10T10:34:50Z")),
        ("empty", Json::Map(Vec::new())),
        ("none", Json::List(Vec::new())),
        ("null", Json::Null),
        (
            "conditions",
            Json::List(vec![
                Json::map([("type", Json::text("CostFinal")), ("status", Json::text("True"))]),
                Json::List(vec![Json::count(1), Json::List(vec![Json::Bool(true)])]),
            ]),
        ),
        ("deep", Json::map([("list", Json::List(vec![Json::text("a: b"), Json::text("")]))])),
    ])
}

#[test]
fn prints_json_in_order() {
    let expected = concat!(
        r#"{"apiVersion":"joch.dev/v1alpha1","costUsd":0.620000000000000001,"startedAt":"2026-05-10T10:34:50Z","#,
        r#""empty":{},"none":[],"null":null,"conditions":[{"type":"CostFinal","status":"True"},[1,[true]]],"#,
        r#""deep":{"list":["a: b",""]}}"#
    );
    assert_eq!(sample().to_json(), expected);
    assert_eq!(serde_json::to_string(&sample()).unwrap(), expected, "serde's way gives the same bytes");
}

#[test]
fn prints_block_yaml() {
    let expected = r#"apiVersion: joch.dev/v1alpha1
costUsd: 0.620000000000000001
startedAt: "2026-05-10T10:34:50Z"
empty: {}
none: []
"null": null
conditions:
- type: CostFinal
  status: "True"
- - 1
  - - true
deep:
  list:
  - "a: b"
  - ""
"#;
    assert_eq!(sample().to_yaml(), expected);
}

#[test]
fn canonical_json_ignores_the_order_of_keys() {
    let a = Json::parse(r#"{"b": 1, "a": {"y": 0.10, "x": "1"}}"#).unwrap();
    let b = Json::parse("a: { x: '1', y: 0.10 }\nb: 1\n").unwrap();
    assert_eq!(a.to_canonical_json(), r#"{"a":{"x":"1","y":0.1},"b":1}"#);
    assert_eq!(a.to_canonical_json(), b.to_canonical_json());
}

fn check_scalar(yaml: &str, json: &str) {
    assert_eq!(Json::parse(yaml).unwrap().to_json(), json, "{yaml}");
}

#[test]
fn scalars_follow_the_core_schema() {
    check_scalar("0.10", "0.1");
    check_scalar("+5", "5");
    check_scalar("007", "7");
    check_scalar(".5", "0.5");
    check_scalar("5.", "5");
    check_scalar("-.5e-3", "-0.0005");
    check_scalar("0x1F", "\"0x1F\"");
    check_scalar("1e", "\"1e\"");
    check_scalar("1_000", "\"1_000\"");
    check_scalar("yes", "\"yes\"");
    check_scalar("True", "true");
    check_scalar("'5'", "\"5\"");
    check_scalar("2026-01-01", "\"2026-01-01\"");
}

#[test]
fn ambiguous_strings_are_quoted() {
    let quoted =
        ["", "true", "No", "NULL", "~", "1", "-1", ".5", "a: b", "a #b", "- a", "x:", " x", "x ", "[a]", "é", "a\nb"];
    for text in quoted {
        assert!(Json::text(text).to_yaml().starts_with('"'), "{text:?}");
    }
    for text in ["support-triage", "gpt-4o", "a:b", "zendesk.create_ticket", "/var/lib", "x y"] {
        assert_eq!(Json::text(text).to_yaml(), format!("{text}\n"));
    }
}

fn trees() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::Bool),
        any::<i64>().prop_map(Json::count),
        (any::<u32>(), 0u32..1_000_000).prop_map(|(whole, part)| Json::Number(
            Money::from_scaled(i128::from(whole) * ONE + i128::from(part) * ONE / 1_000_000).unwrap().to_string()
        )),
        any::<String>().prop_map(Json::String),
        "[ -~]{0,12}".prop_map(Json::String),
    ];
    leaf.prop_recursive(4, 40, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Json::List),
            prop::collection::btree_map("[ -~]{1,8}", inner, 0..5).prop_map(Json::map),
        ]
    })
}

proptest! {
    #[test]
    fn yaml_and_json_read_back_as_the_same_tree(tree in trees()) {
        let wrapped = Json::map([("value", tree)]);
        prop_assert_eq!(Json::parse(&wrapped.to_yaml()), Some(wrapped.clone()), "{}", wrapped.to_yaml());
        prop_assert_eq!(Json::parse(&wrapped.to_json()), Some(wrapped.clone()), "{}", wrapped.to_json());
        let canonical = Json::parse(&wrapped.to_canonical_json()).map(|tree| tree.to_canonical_json());
        prop_assert_eq!(canonical, Some(wrapped.to_canonical_json()));
    }
}
