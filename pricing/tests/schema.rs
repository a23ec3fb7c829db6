//! The JSON Schema that editors use says the same as the strict reader: it takes every built-in table, knows every unit
//! and family, and refuses what the reader refuses.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    missing_docs
)]

use std::path::Path;

use pricing::PriceTable;
use pricing::document;
use pricing::usage::{Family, UsageKey};
use serde_json::Value;

const SCHEMA: &str = include_str!("../schema/pricetable.schema.json");
/// Keywords that only describe, or say more finely what a type says; the strict reader holds tables to those.
const NOT_CHECKED: [&str; 10] =
    ["$schema", "$defs", "title", "description", "pattern", "format", "minimum", "maximum", "minLength", "maxLength"];

/// The first thing wrong with `value`, if any. A keyword that is not known here fails the test.
fn problem(root: &Value, schema: &Value, value: &Value) -> Option<String> {
    let rules = schema.as_object().unwrap();
    let child = |schema: &Value, value: &Value, place: &str| {
        problem(root, schema, value).map(|problem| format!("{place}.{problem}"))
    };
    rules.iter().find_map(|(keyword, rule)| match keyword.as_str() {
        "$ref" => {
            let name = rule.as_str().unwrap().strip_prefix("#/$defs/").unwrap();
            problem(root, &root["$defs"][name], value)
        }
        "type" => {
            let types = rule.as_array().cloned().unwrap_or_else(|| vec![rule.clone()]);
            (!types.iter().any(|wanted| is_a(value, wanted.as_str().unwrap()))).then(|| format!(" is not {rule}"))
        }
        "const" => (value != rule).then(|| format!(" is not {rule}")),
        "enum" => (!rule.as_array().unwrap().contains(value)).then(|| format!(" {value} is not one of the values")),
        "anyOf" => {
            let fits = rule.as_array().unwrap().iter().any(|schema| problem(root, schema, value).is_none());
            (!fits).then(|| format!(" {value} fits nothing"))
        }
        "required" => {
            let missing = rule.as_array().unwrap().iter().find(|name| value.get(name.as_str().unwrap()).is_none());
            missing.map(|name| format!(" has no {name}"))
        }
        "properties" => rule
            .as_object()
            .unwrap()
            .iter()
            .find_map(|(name, schema)| value.get(name).and_then(|value| child(schema, value, name))),
        "additionalProperties" => value.as_object()?.iter().find_map(|(name, value)| {
            let known = rules.get("properties").is_some_and(|known| known.get(name).is_some());
            match rule {
                _ if known => None,
                Value::Bool(allowed) => (!allowed).then(|| format!(" unknown {name}")),
                schema => child(schema, value, name),
            }
        }),
        "propertyNames" => value.as_object()?.keys().find_map(|name| child(rule, &Value::from(name.as_str()), name)),
        "items" => value.as_array()?.iter().find_map(|item| child(rule, item, "[]")),
        "minItems" => (value.as_array()?.len() < size(rule)).then(|| " has too few items".to_owned()),
        "maxItems" => (value.as_array()?.len() > size(rule)).then(|| " has too many items".to_owned()),
        "minProperties" => (value.as_object()?.len() < size(rule)).then(|| " is empty".to_owned()),
        other if NOT_CHECKED.contains(&other) => None,
        other => panic!("the schema uses {other:?}, which this check does not know"),
    })
}

fn size(rule: &Value) -> usize {
    usize::try_from(rule.as_u64().unwrap()).unwrap()
}

fn is_a(value: &Value, wanted: &str) -> bool {
    match wanted {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "number" => value.is_number(),
        "integer" => value.is_u64() || value.is_i64(),
        other => panic!("unknown type {other}"),
    }
}

fn schema() -> Value {
    serde_json::from_str(SCHEMA).unwrap()
}

fn values(yaml: &str) -> Vec<Value> {
    let documents = document::parse(yaml).unwrap();
    documents.iter().map(|document| serde_json::from_str(&document.to_json()).unwrap()).collect()
}

#[test]
fn every_built_in_table_conforms() {
    let schema = schema();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files: Vec<_> =
        std::fs::read_dir(folder.join("tables")).unwrap().map(|file| file.unwrap().path()).collect();
    files.push(folder.join("tests/golden/tables.yaml"));
    assert!(files.len() > 40);
    for file in files {
        for table in values(&std::fs::read_to_string(&file).unwrap()) {
            assert_eq!(problem(&schema, &schema, &table), None, "{}", file.display());
        }
    }
}

#[test]
fn it_knows_currencies_and_their_rates() {
    let schema = schema();
    let is_good = |spec: &str| {
        let yaml = format!(
            "apiVersion: joch.dev/v1alpha1\nkind: PriceTable\nmetadata: {{ name: t }}\nspec: {{ version: \"1\", {spec} }}\n"
        );
        let found = problem(&schema, &schema, &values(&yaml)[0]).is_none();
        assert_eq!(PriceTable::parse(&yaml).is_ok(), found, "{spec}");
        found
    };
    assert!(is_good("currency: EUR, fx: [{ from: 2026-01-01, usd: \"1.08\" }]"));
    assert!(!is_good("currency: EUR, fx: [{ from: 2026-01-01, rate: \"1.08\" }]"));
}

#[test]
fn it_names_every_unit_and_family() {
    let schema = schema();
    let names =
        |pointer: &str| -> Vec<String> { serde_json::from_value(schema.pointer(pointer).unwrap().clone()).unwrap() };
    let units: Vec<&str> = UsageKey::ALL.iter().map(|unit| unit.as_str()).collect();
    let families: Vec<&str> = Family::ALL.iter().map(|family| family.as_str()).collect();
    assert_eq!(names("/$defs/unit/enum"), units);
    assert_eq!(names("/$defs/spec/properties/per/propertyNames/enum"), families);
    assert_eq!(names("/$defs/adjustment/properties/families/items/enum"), families);
}

/// Schema and strict reader agree on a model, whose fields these are.
fn check(fields: &str, is_good: bool) {
    let yaml = format!(
        "apiVersion: joch.dev/v1alpha1\nkind: PriceTable\nmetadata: {{ name: t }}\nspec:\n  version: \"1\"\n  models:\n    \
         - {{ provider: p, id: m, {fields} }}\n"
    );
    let schema = schema();
    let found = problem(&schema, &schema, &values(&yaml)[0]);
    assert_eq!(found.is_none(), is_good, "{fields}: {found:?}");
    assert_eq!(PriceTable::parse(&yaml).is_ok(), is_good, "{fields}");
}

#[test]
fn it_agrees_with_the_strict_reader() {
    let rule = |when: &str| format!("rates: [{{ when: {{ {when} }}, set: {{ input_tokens: \"1\" }} }}]");
    for when in [
        "from: 2026-01-01, until: 2027-01-01T00:00:00Z",
        "windows: [{ start: \"01:00\", end: \"04:00\", tz: UTC, weekdays: [Mon], weekdayTz: Asia/Shanghai }]",
        "attrs: { a: b, c: { in: [d] }, e: { notIn: [f] }, g: { gt: 1 }, h: { gte: \"1.5\" } }",
        "usage: { input_tokens: { gt: 1 } }",
    ] {
        check(&rule(when), true);
    }
    for when in
        ["form: 2026-01-01", "attrs: { a: { lt: 5 } }", "attrs: { a: { notIn: [] } }", "usage: { moons: { gt: 1 } }"]
    {
        check(&rule(when), false);
    }
    let rates = "rates: [{ set: { input_tokens: 0.5 } }]";
    check(
        &format!("{rates}, cap: {{ web_searches: 1 }}, match: {{ alias: [a, {{ name: b, from: 2026-01-01 }}] }}"),
        true,
    );
    check(&format!("{rates}, adjust: [{{ name: a, multiply: \"1.1\", families: [tokens] }}]"), true);
    check(&format!("{rates}, adjust: [{{ multiply: \"1.1\" }}]"), false);
    check(&format!("{rates}, adjust: [{{ name: a, multiply: \"1.1\", families: [moons] }}]"), false);
    check(&format!("{rates}, match: {{}}"), false);
    check(&format!("{rates}, match: {{ regex: ['a(b)?'] }}"), true);
    check(&format!("{rates}, match: {{ regexp: [a] }}"), false);
    check("rates: [{ appliesTo: base, set: { input_tokens: 1 } }]", true);
    check("rates: [{ appliesTo: tiers, set: { input_tokens: 1 } }]", false);
    let free = "allowances: [{ name: a, unit: input_tokens, free: 5, period: day, tz: UTC, group: g }]";
    check(&format!("{rates}, {free}"), true);
    check(&format!("{rates}, {}", free.replace("day", "week")), false);
    check("rates: [{ set: { moons: 1 } }]", false);
    check("rates: []", false);
}
