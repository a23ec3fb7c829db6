//! Cost: the arithmetic, the fallback of leaves, tiers, shapes, adjustments, tools, and every reason for no price.

use std::sync::Arc;

use super::exact::{Factors, Rounding};
use super::*;
use crate::table::PriceTable;

const TABLE: &str = r#"
apiVersion: joch.dev/v1alpha1
kind: PriceTable
metadata: { name: test }
spec:
  version: "1"
  models:
    - provider: p
      id: tiered
      rates:
        - set: { input_tokens: "0.1", output_tokens: "0.5", cache_read_tokens: "0.01", cache_write_tokens: "0.125", cache_write_1h_tokens: "0.2", web_searches: "10" }
        - when: { usage: { input_tokens: { gt: 100000 } } }
          set: { input_tokens: "0.5", output_tokens: "2.5" }
        - when: { attrs: { processing: batch } }
          set: { input_tokens: "0.05" }
      adjust:
        - { name: geo-us, when: { attrs: { inference_geo: us } }, multiply: "1.1", families: [tokens] }
        - { name: fast, when: { attrs: { speed: { in: [fast, ultrafast] } } }, multiply: "6" }
    - { provider: p, id: plain, rates: [{ set: { input_tokens: 1, output_tokens: 2 } }] }
    - { provider: p, id: audio, rates: [{ set: { input_tokens: 4, input_audio_tokens: 32 } }] }
    - { provider: p, id: free, rates: [{ set: { input_tokens: 0, output_tokens: 0 } }] }
    - { provider: p, id: fee, rates: [{ set: { input_tokens: 1, requests: 12 } }] }
    - { provider: p, id: future, rates: [{ when: { from: 2030-01-01 }, set: { input_tokens: 1 } }] }
    - { provider: p, id: whisper, rates: [{ set: { audio_seconds: "0.111" } }], minimum: { audio_seconds: 10 } }
    - { provider: p, id: search, rates: [{ set: { search_queries: 1000 } }], increment: { search_queries: 25 }, cap: { search_queries: 100 } }
  tools:
    - { match: { mcpServer: github, tool: search_issues }, billOn: [Succeeded], rates: [{ set: { calls: "0.0025" } }] }
    - { match: { mcpServer: github }, rates: [{ set: { calls: "0.001" } }] }
    - { match: { glob: "slow_*" }, rates: [{ set: { calls: 0, duration_seconds: "3.6" } }] }
  approvals: [{ rates: [{ set: { minutes: "1.25" } }] }]
"#;

fn book() -> PriceBook {
    PriceBook::new(PriceTable::parse(TABLE).unwrap().0.into_iter().map(Arc::new).collect())
}

fn usage(pairs: &str) -> (Usage, Attrs) {
    let (mut usage, mut attrs) = (Usage::new(), Attrs::new());
    for pair in pairs.split_whitespace() {
        let (name, value) = pair.split_once('=').unwrap();
        match UsageKey::parse(name) {
            Some(key) => usage.set(key, value.parse().unwrap()).unwrap(),
            None => attrs.set(name, value),
        }
    }
    (usage, attrs)
}

fn outcome(target: Target<'_>, pairs: &str) -> Outcome {
    let (usage, attrs) = usage(pairs);
    let at = "2026-11-18T12:00:00Z".parse().unwrap();
    price(&book(), &Call { target, at, usage: &usage, attrs: &attrs, namespace: "n", team: None })
}

/// `total = unit:quantity*rate[*multiplier]…`, or the reason.
fn told(outcome: Outcome) -> String {
    match outcome {
        Outcome::Unpriced(reason) => reason.to_string(),
        Outcome::Priced(cost) => {
            let mut text = cost.total.to_string();
            for line in &cost.lines {
                assert_eq!(recompute(line), Some(line.amount), "{line:?}");
                let factor = line.multiplier.as_deref().map(|factor| format!("*{factor}")).unwrap_or_default();
                let from = if line.unit == line.rate_unit { String::new() } else { format!("@{}", line.rate_unit) };
                text.push_str(&format!(" {}{from}:{}*{}{factor}#{}", line.unit, line.quantity, line.rate, line.rule));
            }
            text
        }
    }
}

fn check(model: &str, pairs: &str, expected: &str) {
    let target = Target::Model { provider: "p", model, request_model: None };
    assert_eq!(told(outcome(target, pairs)), expected, "{model} {pairs}");
}

#[test]
fn every_leaf_is_priced_once_by_its_own_or_a_wider_rate() {
    check(
        "tiered",
        "input_tokens=2600 cache_read_tokens=2000 cache_write_tokens=400 cache_write_1h_tokens=300 output_tokens=1200 \
         output_reasoning_tokens=900 web_searches=2",
        "0.0207125 input_tokens:200*0.1#0 output_tokens:300*0.5#0 cache_read_tokens:2000*0.01#0 \
         cache_write_tokens:100*0.125#0 cache_write_1h_tokens:300*0.2#0 \
         output_reasoning_tokens@output_tokens:900*0.5#0 web_searches:2*10#0",
    );
    check(
        "plain",
        "input_tokens=10 cache_read_tokens=4 cache_write_1h_tokens=3 output_tokens=0",
        "0.00001 input_tokens:3*1#0 cache_read_tokens@input_tokens:4*1#0 cache_write_1h_tokens@input_tokens:3*1#0",
    );
    check(
        "audio",
        "input_tokens=10 cache_read_tokens=4 input_audio_tokens=4 cache_audio_read_tokens=4",
        "0.000152 input_tokens:6*4#0 cache_audio_read_tokens@input_audio_tokens:4*32#0",
    );
}

#[test]
fn the_request_decides_its_tier_and_later_rules_win_unit_by_unit() {
    check(
        "tiered",
        "input_tokens=100000 cache_read_tokens=99999 output_tokens=1",
        "0.00100059 input_tokens:1*0.1#0 output_tokens:1*0.5#0 cache_read_tokens:99999*0.01#0",
    );
    check(
        "tiered",
        "input_tokens=100001 cache_read_tokens=100000 output_tokens=1",
        "0.001003 input_tokens:1*0.5#1 output_tokens:1*2.5#1 cache_read_tokens:100000*0.01#0",
    );
    check(
        "tiered",
        "input_tokens=100001 output_tokens=1 processing=batch",
        "0.00500255 input_tokens:100001*0.05#2 output_tokens:1*2.5#1",
    );
}

#[test]
fn adjustments_multiply_in_order_and_by_family() {
    check(
        "tiered",
        "input_tokens=10 web_searches=1 inference_geo=us",
        "0.0100011 input_tokens:10*0.1*1.1#0 web_searches:1*10#0",
    );
    check(
        "tiered",
        "input_tokens=10 web_searches=1 inference_geo=us speed=fast",
        "0.0600066 input_tokens:10*0.1*6.6#0 web_searches:1*10*6#0",
    );
}

#[test]
fn quantities_are_shaped_before_pricing() {
    check("whisper", "audio_seconds=3", "0.000308333333333333 audio_seconds:10*0.111#0");
    check(
        "whisper",
        "audio_seconds=3 input_audio_seconds=1.5",
        "0.000308333333333333 audio_seconds:8.5*0.111#0 input_audio_seconds@audio_seconds:1.5*0.111#0",
    );
    check("whisper", "audio_seconds=0", "0");
    check("search", "search_queries=26", "50 search_queries:50*1000#0");
    check("search", "search_queries=125", "100 search_queries:100*1000#0");
    check("fee", "input_tokens=1000000", "1.012 input_tokens:1000000*1#0 requests:1*12#0");
    check("fee", "input_tokens=1000000 requests=0", "1 input_tokens:1000000*1#0");
}

#[test]
fn no_price_is_a_reason_and_free_is_a_price() {
    check("free", "input_tokens=10 output_tokens=1", "0 input_tokens:10*0#0 output_tokens:1*0#0");
    check("plain", "input_tokens=0 output_tokens=0", "0");
    check("plain", "", "missing_usage");
    check("plain", "input_tokens=1 web_searches=1", "no_rate_for_unit: web_searches");
    check(
        "plain",
        "input_tokens=1 cache_read_tokens=2",
        "invalid_usage: cache_read_tokens = 2 is more than input_tokens (1)",
    );
    check("future", "input_tokens=1", "no_rate_at_time");
    check("nobody", "input_tokens=1", "unknown_model");
    let elsewhere = Target::Model { provider: "q", model: "plain", request_model: None };
    assert_eq!(told(outcome(elsewhere, "input_tokens=1")), "unknown_provider");
    let asked = Target::Model { provider: "P", model: "nobody", request_model: Some("Plain-2026-01-01") };
    assert_eq!(told(outcome(asked, "input_tokens=1")), "0.000001 input_tokens:1*1#0");
}

#[test]
fn tools_and_approvals_have_prices() {
    let tool = |tool, mcp_server, outcome| Target::Tool { tool, mcp_server, outcome };
    for (target, pairs, expected) in [
        (tool("search_issues", Some("github"), "ok"), "calls=1", "0.0025 calls:1*0.0025#0"),
        (tool("search_issues", Some("github"), "error"), "calls=1", "0"),
        (tool("get_file", Some("github"), "error"), "calls=2", "0.002 calls:2*0.001#0"),
        (
            tool("slow_build", None, "ok"),
            "calls=1 duration_seconds=1.5",
            "0.0015 duration_seconds:1.5*3.6#0 calls:1*0#0",
        ),
        (tool("get_file", Some("github"), "ok"), "calls=1 duration_seconds=2", "0.001 calls:1*0.001#0"),
        (tool("get_file", Some("github"), "ok"), "duration_seconds=2", "no_rate_for_unit: duration_seconds"),
        (tool("search_issues", None, "ok"), "calls=1", "unknown_tool"),
        (tool("other", Some("gitlab"), "ok"), "calls=1", "unknown_tool"),
        (Target::Approval, "minutes=4", "5 minutes:4*1.25#0"),
        (Target::Approval, "minutes=0.5", "0.625 minutes:0.5*1.25#0"),
    ] {
        assert_eq!(told(outcome(target, pairs)), expected, "{target:?} {pairs}");
    }
}

#[test]
fn estimates_round_up() {
    let (usage, attrs) = usage("audio_seconds=11");
    let target = Target::Model { provider: "p", model: "whisper", request_model: None };
    let at = Timestamp::from_nanos(0);
    let call = Call { target, at, usage: &usage, attrs: &attrs, namespace: "", team: None };
    let Outcome::Priced(cost) = estimate(&book(), &call) else { panic!("unpriced") };
    assert_eq!(cost.total.to_string(), "0.000339166666666667");
}

fn amount(quantity: &str, rate: &str, multiplier: Option<&str>, fx: Option<&str>, per: u32) -> Option<Money> {
    let decimal = |text: &str| Decimal::from_str_exact(text).unwrap();
    let (multiplier, fx) = (multiplier.map(decimal), fx.map(decimal));
    let factors = Factors { quantity: decimal(quantity), rate: decimal(rate), multiplier, fx };
    super::exact::amount(&factors, per, Rounding::HalfEven)
}

#[test]
fn amounts_round_half_even_once() {
    for (quantity, rate, factor, per, expected) in [
        ("1", "0.000000000000000001", None, 1, "0.000000000000000001"),
        ("0.5", "0.000000000000000001", None, 1, "0"),
        ("1.5", "0.000000000000000001", None, 1, "0.000000000000000002"),
        ("2.5", "0.000000000000000001", None, 1, "0.000000000000000002"),
        ("2.500000000001", "0.000000000000000001", None, 1, "0.000000000000000003"),
        ("1", "1", None, 3600, "0.000277777777777778"),
        ("1", "1", None, 7, "0.142857142857142857"),
        ("1000000000000000", "1000000000", None, 1_000_000, "1000000000000000000"),
        ("1", "0.3", Some("1.1"), 1_000_000, "0.00000033"),
        // Beyond 128 bits on the way, and back within 38 digits.
        (
            "999999999999999.999999999999",
            "0.123456789012345678",
            Some("1.000000000000000001"),
            3_600,
            "34293552503.429355034293552469",
        ),
        ("0.000000000001", "0.000000000000000001", Some("0.000000000001"), 1, "0"),
    ] {
        let found = amount(quantity, rate, factor, None, per);
        assert_eq!(found.map(|money| money.to_string()).as_deref(), Some(expected), "{quantity} × {rate} ÷ {per}");
    }
    // An exchange rate is one more factor of the same one rounding; worked out with Python's integers.
    let foreign =
        |quantity, rate, factor, fx| amount(quantity, rate, factor, Some(fx), 3_600).map(|money| money.to_string());
    assert_eq!(foreign("3601", "1.5", Some("1.1"), "1.0837").as_deref(), Some("1.788601695833333333"));
    let widest = foreign(
        "999999999999999.999999999999",
        "0.123456789012345678",
        Some("1.000000000000000001"),
        "1.083712345678901234",
    );
    assert_eq!(widest.as_deref(), Some("37164346225.153981998873799529"));
    assert_eq!(amount("1000000000000000", "1000000000", Some("1000000"), None, 1), None);
    assert_eq!(amount("-1", "1", None, None, 1), None);
    assert_eq!(amount("1", "1", None, None, 0), None);
}

#[test]
fn lines_serialise_exactly_in_both_forms() {
    let target = Target::Model { provider: "p", model: "tiered", request_model: None };
    let Outcome::Priced(cost) = outcome(target, "input_tokens=10 web_searches=1 inference_geo=us") else { panic!() };
    let bytes = postcard::to_stdvec(&cost).unwrap();
    assert_eq!(postcard::from_bytes::<Cost>(&bytes).unwrap(), cost);
    let json = serde_json::to_string(&cost).unwrap();
    assert_eq!(serde_json::from_str::<Cost>(&json).unwrap(), cost);
    assert!(json.contains(r#"{"unit":"input_tokens","quantity":10,"rate_unit":"input_tokens","rate":"0.1","per":1000000,"layer":0,"rule":0,"multiplier":"1.1","fx":null,"free":null,"amount":"0.0000011"}"#), "{json}");
}
