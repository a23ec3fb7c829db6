//! Tables: what is refused and how it is said, the canonical form and its digest, conditions.

mod rates;

use std::sync::Arc;

use super::*;
use crate::PriceBook;
use crate::cost::{Call, Outcome, Target, price};
use crate::usage::{Attrs, Usage, UsageKey};

/// A table around one spec.
fn around(spec: &str) -> String {
    let indented: String = spec.lines().map(|line| format!("  {line}\n")).collect();
    format!(
        "apiVersion: joch.dev/v1alpha1\nkind: PriceTable\nmetadata: {{ name: t }}\nspec:\n  version: \"1\"\n{indented}"
    )
}

/// A spec in (its first line is line 6); the problems, one a line, out.
fn check(spec: &str, expected: &[&str]) {
    let problems = match PriceTable::parse(&around(spec)) {
        Ok((_, warnings)) => warnings,
        Err(problems) => problems,
    };
    let told: Vec<String> = problems.iter().map(Problem::to_string).collect();
    assert_eq!(told, expected, "reading {spec}");
}

/// One model with these rates.
fn rates(rates: &str) -> String {
    format!("models:\n  - provider: p\n    id: m\n    rates: {rates}\n")
}

/// As `check`, for one model; rates start at 9:12.
fn check_rates(text: &str, expected: &[&str]) {
    check(&rates(text), expected);
}

#[test]
fn unknown_fields_and_units_are_named_with_what_was_meant() {
    check(
        "model: []\nmodels:\n  - provider: p\n    id: m\n    rate: []\n    rates: [{ set: { input_token: 1, zzz: 1 }, wen: {} }]",
        &[
            "6:3: error: spec.model: unknown field (did you mean models?)",
            "10:7: error: spec.models[0].rate: unknown field (did you mean rates?)",
            "11:24: error: spec.models[0].rates[0].set.input_token: unknown unit \"input_token\" (did you mean input_tokens?)",
            "11:40: error: spec.models[0].rates[0].set.zzz: unknown unit \"zzz\" (units are named as in usage, such as \
             input_tokens)",
            "11:50: error: spec.models[0].rates[0].wen: unknown field (did you mean when?)",
        ],
    );
    check(
        "per: { token: 1000000, durations: 0 }\ncurrency: eur\nrounding: { mode: half_up }\nunmatched: { tool: zero }",
        &[
            "6:10: error: spec.per.token: unknown unit family \"token\" (did you mean tokens?)",
            "6:37: error: spec.per.durations: not a block: 0 (a whole number from 1 to 10^9)",
            "7:13: error: spec.currency: not a currency: \"eur\" (write it in capitals, such as USD, EUR or DBU)",
            "8:21: error: spec.rounding.mode: this rounding is not offered (write mode: half_even, or leave it out)",
            "9:22: error: spec.unmatched.tool: unknown word \"zero\" (one of quarantine, zero_with_flag)",
        ],
    );
}

#[test]
fn rates_are_exact_bounded_and_never_negative() {
    let at = "spec.models[0].rates[0].set.input_tokens";
    for (rate, expected) in [
        ("-1", "\"-1\" is negative (write 0 for free; credits are booked, not priced)"),
        ("free", "\"free\" is not a decimal number (write a decimal such as \"0.25\")"),
        ("1e-19", "\"1e-19\" has more than 18 digits after the point (give the rate for a larger block, or round it)"),
        ("1e10", "\"1e10\" is larger than 1000000000 (give the rate for a smaller block)"),
        ("1e300", "\"1e300\" is larger than 1000000000 (give the rate for a smaller block)"),
    ] {
        check_rates(&format!("[{{ set: {{ input_tokens: {rate} }} }}]"), &[&format!("9:38: error: {at}: {expected}")]);
    }
    check_rates(
        "[{ set: { input_tokens: [1] } }]",
        &[&format!("9:38: error: {at}: expected text, found a list (write a word, in quotes if in doubt)")],
    );
    check_rates("[{ set: { input_tokens: 1e-18, output_tokens: \"1000000000\" } }]", &[]);
}

#[test]
fn rules_say_something_or_are_refused() {
    let hint = "(give at least one rule: rates: [{ set: { input_tokens: \"0.1\" } }])";
    check("models: [{ provider: p, id: m }]", &[&format!("6:12: error: spec.models[0].rates: missing {hint}")]);
    check_rates("[]", &[&format!("9:14: error: spec.models[0].rates: no rule at all {hint}")]);
    check_rates(
        "[{ when: {} }]",
        &["9:15: error: spec.models[0].rates[0]: the rule does nothing (add set: { … }, or reset: true)"],
    );
    check_rates(
        "[{ reset: yes, set: { input_tokens: 1 } }]",
        &[
            "9:24: error: spec.models[0].rates[0].reset: expected true or false, found text (write true or false without quotes)",
        ],
    );
    check_rates(
        "[{ set: { cache_read_tokens: 1 } }]",
        &[
            "7:7: warning: spec.models[0]: cache_read_tokens has a rate but input_tokens, which contains it, never has (set \
           input_tokens too, to 0 if it is free)",
        ],
    );
}

/// A condition, where the problem stands, and the problem.
fn check_condition((when, place, expected): (&str, &str, &str)) {
    let path = if expected.starts_with(':') { "spec.models[0].rates[0].when" } else { "spec.models[0].rates[0].when." };
    let expected = format!("{place}: error: {path}{expected}");
    let text = rates(&format!("[{{ when: {{ {when} }}, set: {{ input_tokens: 1 }} }}]"));
    let problems = PriceTable::parse(&around(&text)).unwrap_err();
    assert_eq!(problems[0].to_string(), expected, "{when}");
}

#[test]
fn conditions_on_time_are_checked() {
    [
        (
            "from: yesterday",
            "9:31",
            "from: \"yesterday\" is not an instant (write 2026-11-22T10:00:00Z, or 2026-11-22 for midnight in UTC)",
        ),
        (
            "from: 2026-02-01, until: 2026-01-01",
            "9:23",
            ": from 2026-02-01T00:00:00Z is not before until 2026-01-01T00:00:00Z (swap or change them)",
        ),
        (
            "windows: [{ start: 25:00, end: \"08:00\" }]",
            "9:44",
            "windows[0].start: \"25:00\" is not a time of day (write \"16:30\", at most \"24:00\")",
        ),
        (
            "windows: [{ start: \"24:01\" }]",
            "9:44",
            "windows[0].start: \"24:01\" is not a time of day (write \"16:30\", at most \"24:00\")",
        ),
        (
            "windows: [{ start: \"08:00\", end: \"08:00\" }]",
            "9:35",
            "windows[0]: the window is empty (leave start and end out to mean all day)",
        ),
        (
            "windows: [{ tz: Mars/Base }]",
            "9:41",
            "windows[0].tz: unknown time zone \"Mars/Base\" (write UTC or Asia/Shanghai)",
        ),
        (
            "windows: [{ weekdays: [Mo] }]",
            "9:48",
            "windows[0].weekdays[0]: unknown weekday \"Mo\" (write Mon, Tue … Sun)",
        ),
        (
            "windows: [{ exceptCalendar: cn }]",
            "9:53",
            "windows[0].exceptCalendar: unknown calendar \"cn\" (declare it under spec.calendars)",
        ),
    ]
    .into_iter()
    .for_each(check_condition);
}

#[test]
fn conditions_on_the_call_are_checked() {
    [
        (
            "usage: { input_tokens: 5 }",
            "9:48",
            "usage.input_tokens: expected a mapping, found a number (its fields are gt, gte)",
        ),
        (
            "usage: { input_tokens: {} }",
            "9:48",
            "usage.input_tokens: no bound (write { gt: 200000 } or { gte: 200000 })",
        ),
        (
            "attrs: { speed: { in: [] } }",
            "9:47",
            "attrs.speed.in: no value at all (list the values, such as [batch, flex])",
        ),
        (
            "attrs: { speed: { lt: 5 } }",
            "9:43",
            "attrs.speed.lt: unknown field (the fields here are in, notIn, gt, gte)",
        ),
    ]
    .into_iter()
    .for_each(check_condition);
}

#[test]
fn names_that_two_entries_claim_are_refused() {
    let models = |first: &str, second: &str| {
        format!(
            "models:\n  - {{ provider: p, id: a, match: {first}, rates: [{{ set: {{ input_tokens: 1 }} }}] }}\n  \
             - {{ provider: p, id: b, match: {second}, rates: [{{ set: {{ input_tokens: 1 }} }}] }}"
        )
    };
    let hint = "(every name must lead to one entry; remove one of the two)";
    check(
        &models("{ exact: [X] }", "{ exact: [x] }"),
        &[&format!("8:46: error: spec.models[1].match.exact[0]: a answers to \"x\" too {hint}")],
    );
    check(
        &models("{ prefix: [x-] }", "{ prefix: [x-] }"),
        &[&format!("8:47: error: spec.models[1].match.prefix[0]: a answers to \"x-\" too {hint}")],
    );
    check(
        &models("{ glob: [\"*foo\"] }", "{ glob: [\"bar*\"] }"),
        &[&format!(
            "8:45: error: spec.models[1].match.glob[0]: \"bar*\" and \"*foo\" of a can match the same name {hint}"
        )],
    );
    check(
        &models("{ alias: [x] }", "{ alias: [{ name: x, from: 2026-01-01 }] }"),
        &[&format!("8:46: error: spec.models[1].match.alias[0]: a answers to \"x\" too {hint}")],
    );
    check(
        &models("{ exact: [a] }", "{ exact: [b] }").replace("id: b", "id: a"),
        &["8:7: error: spec.models[1]: p:a is given twice, first on line 7 (put all its rates into one entry)"],
    );
    check(
        &models("{ exact: [a], prefix: [a-], glob: [\"*a\"] }", "{ exact: [a-b], prefix: [a-b], glob: [\"*aa\"] }"),
        &[],
    );
    check(
        "tools:\n  - { match: { tool: t }, rates: [{ set: { calls: 1 } }] }\n  - { match: { name: t }, rates: [{ set: { calls: 1 } }] }\n  \
         - { match: {}, rates: [{ set: { calls: 1 } }] }\n  - { match: { tool: u }, billOn: [Success], rates: [{ set: { calls: 1 } }] }",
        &[
            "8:16: error: spec.tools[1].match: an entry for \"t\" matches the same tools (every tool must lead to one entry; \
             remove one of the two)",
            "9:16: error: spec.tools[2].match: nothing to match (say which tools: match: { mcpServer: github, tool: search_issues })",
            "10:38: error: spec.tools[3].billOn[0]: unknown word \"Success\" (one of Succeeded, Failed, Cancelled, Aborted, ok, \
             error, aborted)",
        ],
    );
}

#[test]
fn the_resource_itself_is_checked() {
    let told = |text: &str| {
        let problems = PriceTable::parse(text).unwrap_err();
        problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n")
    };
    assert_eq!(
        told("apiVersion: v1\nkind: Budget\nmetadata: {}\nspec: {}"),
        "1:13: error: apiVersion: unknown API version \"v1\" (write apiVersion: joch.dev/v1alpha1)\n\
         2:7: error: kind: not a PriceTable but Budget (write kind: PriceTable)\n\
         3:11: error: metadata.name: missing (give the table a name, such as list-2026-11-18)\n\
         4:7: error: spec.version: missing (give the table a version, such as \"2026.11.18+1\")"
    );
    assert_eq!(
        told("- 1"),
        "1:1: error: expected a mapping, found a list (its fields are apiVersion, kind, metadata, spec, status)"
    );
    assert_eq!(told("a: [").lines().count(), 1);
    assert!(
        PriceTable::parse(
            "apiVersion: model.joch.dev/v1alpha1\nkind: PriceTable\nmetadata: {name: x}\nspec: {version: '1'}"
        )
        .is_ok()
    );
}

fn table(spec: &str) -> PriceTable {
    PriceTable::parse(&around(spec)).unwrap().0.remove(0)
}

#[test]
fn the_digest_is_of_the_meaning_and_the_canonical_form_reads_back() {
    let block = "currency: USD\nmodels:\n  - provider: p\n    id: m\n    rates:\n      - set: { input_tokens: \"0.10\", output_tokens: 1e-1 }\n      \
                 - when: { usage: { input_tokens: { gt: 100000 } } }\n        reset: true\n        set:\n          input_tokens: 2.0\n";
    let flow = "{ \"models\": [ {\"rates\": [{\"set\": {\"output_tokens\": 0.1, \"input_tokens\": 0.1}}, {\"set\": {\"input_tokens\": \"2\"}, \
                \"reset\": true, \"when\": {\"usage\": {\"input_tokens\": {\"gt\": \"100000\"}}}}], \"id\": \"m\", \"provider\": \"p\"}], \
                \"currency\": \"USD\", \"version\": \"1\" }";
    let one = table(block);
    let json = format!(
        "{{\"apiVersion\":\"joch.dev/v1alpha1\",\"kind\":\"PriceTable\",\"metadata\":{{\"name\":\"t\"}},\"spec\":{flow}}}"
    );
    let two = PriceTable::parse(&json).unwrap().0.remove(0);
    assert_eq!(one.reference(), two.reference());
    assert_eq!(one.canonical_json(), two.canonical_json());
    assert_eq!(
        &*one.canonical_json(),
        r#"{"apiVersion":"joch.dev/v1alpha1","kind":"PriceTable","metadata":{"name":"t"},"spec":{"currency":"USD","models":[{"id":"m","provider":"p","rates":[{"set":{"input_tokens":"0.1","output_tokens":"0.1"}},{"reset":true,"set":{"input_tokens":"2"},"when":{"usage":{"input_tokens":{"gt":"100000"}}}}]}],"version":"1"}}"#
    );
    // Computed with sha256sum over the text of spec above.
    assert_eq!(&*one.reference().digest, "3e3caf72dcef595af52df2f5ae888c2779e3d16dc44332238e6890eda4803847");
    let again = PriceTable::parse(&one.canonical_json()).unwrap().0.remove(0);
    assert_eq!(again.reference(), one.reference());
    assert_eq!(again.canonical_json(), one.canonical_json());
    assert_ne!(table(&block.replace("2.0", "2.1")).reference().digest, one.reference().digest);
}

/// Which of the model's rules set the input rate for such a call? The rate tells: rule n sets n.
fn rate_at(when: &str, at: &str, pairs: &str) -> String {
    let calendars = "calendars: { cn: { tz: Asia/Shanghai, dates: [2026-10-01, \"2026-10-02\"] } }";
    let rates = format!("[{{ set: {{ input_tokens: 0 }} }}, {{ when: {{ {when} }}, set: {{ input_tokens: 1 }} }}]");
    let table = table(&format!("{calendars}\nmodels:\n  - {{ provider: p, id: m, rates: {rates} }}"));
    let (mut usage, mut attrs) = (Usage::new(), Attrs::new());
    usage.set(UsageKey::InputTokens, "1000000".parse().unwrap()).unwrap();
    for pair in pairs.split_whitespace() {
        let (name, value) = pair.split_once('=').unwrap();
        match UsageKey::parse(name) {
            Some(key) => usage.set(key, value.parse().unwrap()).unwrap(),
            None => attrs.set(name, value),
        }
    }
    let target = Target::Model { provider: "p", model: "m", request_model: None };
    let call = Call { target, at: at.parse().unwrap(), usage: &usage, attrs: &attrs, namespace: "", team: None };
    match price(&PriceBook::new(vec![Arc::new(table)]), &call) {
        Outcome::Priced(cost) => cost.lines[0].rate.to_string(),
        Outcome::Unpriced(reason) => reason.to_string(),
    }
}

#[test]
fn conditions_hold_when_they_say() {
    let noon = "2026-11-18T12:00:00Z"; // a Wednesday
    let off_peak = "windows: [{ start: \"16:30\", end: \"00:30\", tz: UTC }]";
    let peak = "windows: [{ start: \"01:00\", end: \"04:00\", weekdays: [Mon, Tue, Wed, Thu, Fri], weekdayTz: Asia/Shanghai, exceptCalendar: cn }, \
                { start: \"06:00\", end: \"10:00\", weekdays: [Mon, Tue, Wed, Thu, Fri], weekdayTz: Asia/Shanghai, exceptCalendar: cn }]";
    for (when, at, pairs, expected) in [
        ("from: 2026-11-18T12:00:00Z", noon, "", "1"),
        ("from: 2026-11-18T12:00:00.000000001Z", noon, "", "0"),
        ("until: 2026-11-18T12:00:00Z", noon, "", "0"),
        ("until: 2026-11-18T13:00:00+00:59", noon, "", "1"),
        (off_peak, "2026-11-18T16:29:59.999Z", "", "0"),
        (off_peak, "2026-11-18T16:30:00Z", "", "1"),
        (off_peak, "2026-11-18T00:29:59Z", "", "1"),
        (off_peak, "2026-11-18T00:30:00Z", "", "0"),
        (peak, "2026-11-18T03:59:59Z", "", "1"),
        (peak, "2026-11-18T04:00:00Z", "", "0"),
        (peak, "2026-11-18T06:00:00Z", "", "1"),
        (peak, "2026-11-21T02:00:00Z", "", "0"),
        (peak, "2026-10-01T02:00:00Z", "", "0"),
        ("windows: [{ weekdays: [mon], weekdayTz: Asia/Shanghai }]", "2026-11-22T15:59:59Z", "", "0"),
        ("windows: [{ weekdays: [Monday], weekdayTz: Asia/Shanghai }]", "2026-11-22T16:00:00Z", "", "1"),
        ("windows: [{ start: \"22:00\", end: \"24:00\", tz: America/New_York }]", "2026-07-01T02:00:00Z", "", "1"),
        ("windows: [{ start: \"22:00\", end: \"24:00\", tz: America/New_York }]", "2026-12-01T02:00:00Z", "", "0"),
        ("attrs: { processing: batch }", noon, "processing=batch", "1"),
        ("attrs: { processing: batch }", noon, "processing=flex", "0"),
        ("attrs: { processing: batch }", noon, "", "0"),
        ("attrs: { processing: { in: [batch, flex] } }", noon, "processing=flex", "1"),
        ("attrs: { vertex_location: { notIn: [global, us] } }", noon, "vertex_location=europe-west4", "1"),
        ("attrs: { vertex_location: { notIn: [global, us] } }", noon, "vertex_location=us", "0"),
        ("attrs: { vertex_location: { notIn: [global, us] } }", noon, "", "0"),
        ("attrs: { max_results: { gt: 25 } }", noon, "max_results=25", "0"),
        ("attrs: { max_results: { gt: 25 } }", noon, "max_results=25.5", "1"),
        ("attrs: { max_results: { gte: 25 } }", noon, "max_results=many", "0"),
        ("attrs: { hd: true }", noon, "hd=true", "1"),
        ("usage: { input_tokens: { gt: 1000000 } }", noon, "", "0"),
        ("usage: { input_tokens: { gte: 1000000 } }", noon, "", "1"),
        ("usage: { input_tokens: { gt: 1 }, web_searches: { gt: 0 } }", noon, "", "0"),
        ("attrs: { a: b }, usage: { input_tokens: { gt: 1 } }, until: 2027-01-01", noon, "a=b", "1"),
    ] {
        assert_eq!(rate_at(when, at, pairs), expected, "{when} at {at} with {pairs:?}");
    }
}
