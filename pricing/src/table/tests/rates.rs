//! Foreign units, regular expressions, allowances, `appliesTo`, and the warnings about entries.

use super::*;
use crate::cost::{Cost, without_free};

fn cost(spec: &str, model: &str, at: &str, pairs: &str) -> Result<Cost, String> {
    let (mut usage, mut attrs) = (Usage::new(), Attrs::new());
    for pair in pairs.split_whitespace() {
        let (name, value) = pair.split_once('=').unwrap();
        match UsageKey::parse(name) {
            Some(key) => usage.set(key, value.parse().unwrap()).unwrap(),
            None => attrs.set(name, value),
        }
    }
    let target = Target::Model { provider: "p", model, request_model: None };
    let call = Call { target, at: at.parse().unwrap(), usage: &usage, attrs: &attrs, namespace: "", team: None };
    match price(&PriceBook::new(vec![Arc::new(table(spec))]), &call) {
        Outcome::Priced(cost) => Ok(cost),
        Outcome::Unpriced(reason) => Err(reason.to_string()),
    }
}

#[test]
fn another_currency_is_exchanged_at_the_rate_of_the_day() {
    let spec = "currency: EUR\nfx: [{ from: 2026-01-01, usd: \"1.08\" }, { from: 2026-07-01, usd: \"1.1037\" }]\nmodels: [{ provider: p, id: m, rates: [{ set: { input_tokens: 3 } }] }]";
    let total = |at: &str| cost(spec, "m", at, "input_tokens=1000000").map(|cost| cost.total.to_string());
    assert_eq!(total("2026-06-30T23:59:59Z").unwrap(), "3.24");
    assert_eq!(total("2026-07-01T00:00:00Z").unwrap(), "3.3111");
    assert_eq!(total("2025-12-31T00:00:00Z").unwrap_err(), "no_rate_at_time");
    let cost = cost(spec, "m", "2026-08-01T00:00:00Z", "input_tokens=1").unwrap();
    let fx = cost.lines[0].fx.as_deref().unwrap();
    assert_eq!((&*fx.currency, fx.usd.to_string().as_str()), ("EUR", "1.1037"));
    assert_eq!(crate::recompute(&cost.lines[0]), Some(cost.total));
}

#[test]
fn a_unit_of_account_has_its_rate_by_region() {
    let spec = "currency: DBU\nfx: [{ usd: \"0.07\" }, { when: { attrs: { region: eu } }, usd: \"0.199\" }]\nmodels: [{ provider: p, id: m, rates: [{ set: { input_tokens: 10 } }] }]";
    let total = |pairs: &str| cost(spec, "m", "2026-11-01T00:00:00Z", pairs).unwrap().total.to_string();
    assert_eq!(total("input_tokens=1000000"), "0.7");
    assert_eq!(total("input_tokens=1000000 region=eu"), "1.99");
}

#[test]
fn currencies_without_rates_and_rates_without_a_currency_are_refused() {
    check(
        "currency: DBU\nmodels: []",
        &[
            "6:13: error: spec.fx: no exchange rates for DBU (write fx: [{ from: \"2026-01-01\", usd: \"1.08\" }]: US dollars for one unit of the currency)",
        ],
    );
    check(
        "fx: [{ usd: 1 }]",
        &["6:7: error: spec.fx: exchange rates for US dollars (name the currency, such as currency: EUR)"],
    );
    check(
        "currency: EUR\nfx: [{ from: 2026-02-01, until: 2026-01-01, usd: 0 }, { usd: 1 }]",
        &[
            "7:8: error: spec.fx[0]: from 2026-02-01T00:00:00Z is not before until 2026-01-01T00:00:00Z (swap or change them)",
            "7:8: error: spec.fx[0].usd: a currency that is worth nothing (give a rate above 0)",
            "7:57: warning: spec.fx[1]: this rate holds at any time, so the ones before it never do (put it first, or give it a date)",
        ],
    );
}

fn answers(matches: &[(&str, &str)], model: &str) -> Result<String, String> {
    let entry = |(number, (id, matching)): (u32, &(&str, &str))| {
        format!(
            "{{ provider: p, id: {id}, match: {{ {matching} }}, rates: [{{ set: {{ input_tokens: {} }} }}] }}",
            number
        )
    };
    let entries: Vec<String> = (1u32..).zip(matches).map(entry).collect();
    let cost =
        cost(&format!("models: [{}]", entries.join(", ")), model, "2026-11-01T00:00:00Z", "input_tokens=1000000")?;
    Ok(cost.total.to_string())
}

#[test]
fn a_regular_expression_answers_last_and_for_whole_names() {
    let all = [
        ("a", "regex: ['gpt-\\d+(-mini)?', 'x']"),
        ("b", "glob: ['gpt-5-*']"),
        ("c", "prefix: ['gpt-5-pro']"),
        ("d", "alias: [gpt-6]"),
        ("e", "exact: [gpt-5]"),
        ("f", "regex: ['gpt-.*']"),
    ];
    for (model, expected) in [
        ("gpt-5", "5"),
        ("gpt-6", "4"),
        ("gpt-5-pro-1", "3"),
        ("gpt-5-max", "2"),
        ("GPT-7-Mini", "1"),
        ("gpt-oss", "6"),
        ("xx", "unknown_model"),
    ] {
        let found = answers(&all, model).unwrap_or_else(|reason| reason);
        assert_eq!(found, expected, "{model}");
    }
}

#[test]
fn regular_expressions_that_cannot_be_told_apart_are_refused() {
    let spec = |one: &str, other: &str| {
        format!(
            "models:\n  - {{ provider: p, id: a, match: {{ regex: ['{one}'] }}, rates: [{{ set: {{ input_tokens: 1 }} }}] }}\n  - {{ provider: p, id: b, match: {{ regex: ['{other}'] }}, rates: [{{ set: {{ input_tokens: 1 }} }}] }}"
        )
    };
    check(
        &spec("a.c", "ab."),
        &[
            "8:46: error: spec.models[1].match.regex[0]: \"ab.\" and \"a.c\" of a can match the same name (every name must lead to one entry; remove one of the two)",
        ],
    );
    check(&spec("a.c", "b.c"), &[]);
    check(&spec("a.c", "a.cd?"), &[]);
    check(
        &spec("a(", "b.c"),
        &[
            "7:46: error: spec.models[0].match.regex[0]: \"a(\" is not a pattern: found open group without closing ')' (write it as for the whole name, such as gpt-5(-mini)?)",
        ],
    );
    let long = "a".repeat(257);
    let found = PriceTable::parse(&around(&spec(&long, "b.c"))).unwrap_err();
    assert!(found[0].message.ends_with("it has more than 256 bytes"), "{found:?}");
    let large = "(a{1000}){1000}";
    assert!(PriceTable::parse(&around(&spec(large, "b.c"))).is_err());
}

#[test]
fn a_line_says_which_allowance_it_may_draw_on() {
    let spec = "models: [{ provider: p, id: m, rates: [{ set: { input_tokens: 1, web_searches: 14 } }], allowances: [{ name: grounding, unit: web_searches, free: 1500, period: day, tz: America/Los_Angeles, group: gemini-3 }] }]";
    let cost = cost(spec, "m", "2026-11-22T07:30:00Z", "input_tokens=1000 web_searches=3").unwrap();
    // The price is the price; what is free is booked beside it.
    assert_eq!(cost.total.to_string(), "0.043");
    assert_eq!(cost.lines[0].free, None);
    let free = cost.lines[1].free.as_deref().unwrap();
    assert_eq!((&*free.name, &*free.group, free.quota.as_u64()), ("grounding", "gemini-3", Some(1500)));
    assert_eq!(
        (free.start.to_string(), free.end.to_string()),
        ("2026-11-21T08:00:00Z".into(), "2026-11-22T08:00:00Z".into())
    );
    let two = "2".parse().unwrap();
    assert_eq!(without_free(&cost.lines[1], two).map(|rest| rest.to_string()).as_deref(), Some("0.014"));
    assert_eq!(without_free(&cost.lines[1], "4".parse().unwrap()), None);
}

#[test]
fn entries_that_can_hardly_be_meant_are_warned_of() {
    check_rates(
        "[{ set: { input_tokens: 1 } }, { set: { input_tokens: 2, output_tokens: 3 } }]",
        &[
            "9:15: warning: spec.models[0].rates[0]: this rule never counts: a later one replaces all that it sets (remove it, or put it after the other)",
        ],
    );
    check_rates(
        "[{ set: { input_tokens: 1 } }, { when: { from: 2026-01-01 }, reset: true, set: { input_tokens: 2 } }]",
        &[],
    );
    check_rates(
        "[{ set: { input_tokens: 1, output_tokens: 1 } }, { when: { attrs: { a: b } }, set: { input_tokens: 2 } }, { when: { attrs: { a: b } }, set: { input_tokens: 3 } }]",
        &[
            "9:63: warning: spec.models[0].rates[1]: this rule never counts: a later one replaces all that it sets (remove it, or put it after the other)",
        ],
    );
    check_rates(
        "[{ set: { input_tokens: 1, cache_read_tokens: 2, input_audio_tokens: 3 } }]",
        &[
            "7:7: warning: spec.models[0]: cache_audio_read_tokens lies within cache_read_tokens and input_audio_tokens, which have a rate each; cache_read_tokens's is taken (set cache_audio_read_tokens to say what it costs)",
        ],
    );
    check_rates(
        "[{ when: { from: 2026-01-01, until: 2026-03-01 }, set: { input_tokens: 1 } }, { when: { from: 2026-02-01, until: 2026-04-01 }, set: { input_tokens: 2 } }]",
        &[
            "9:92: warning: spec.models[0].rates[1]: its dates overlap those of rates[0]; where both hold, this one counts (let one end where the other begins)",
        ],
    );
    check(
        &format!(
            "{}    minimum: {{ audio_seconds: 10 }}\n    adjust: [{{ name: a, multiply: 2, families: [images] }}]",
            rates("[{ set: { input_tokens: 1 } }]")
        ),
        &[
            "10:16: warning: spec.models[0].minimum: audio_seconds never has a rate (give it a rate here, or leave this out)",
            "11:15: warning: spec.models[0].adjust: no unit of the families that it multiplies ever has a rate (give it a rate here, or leave this out)",
        ],
    );
    check_rates(
        "[{ appliesTo: base, when: { attrs: { a: b } }, set: { input_tokens: 1 } }]",
        &[
            "9:28: error: spec.models[0].rates[0].appliesTo: a base rate has no conditions but dates, and forgets nothing (remove appliesTo, or the conditions)",
        ],
    );
}
