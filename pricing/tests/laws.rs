//! Laws that hold for every table, call and text, tried on random ones.
//!
//! The independent evaluator works on `i128` rationals straight from the generated figures: it shares no arithmetic, no
//! leaf code and no table code with the crate.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    missing_docs
)]

use std::sync::Arc;

use pricing::document::{Node, Value, parse};
use pricing::{
    Attrs, Call, Cost, Money, Outcome, PriceBook, PriceTable, Quantity, Target, Usage, UsageKey, price, recompute,
};
use proptest::prelude::*;

/// Rates in millionths of a dollar per million tokens, so that a token costs a whole count of 10⁻¹².
#[derive(Clone, Debug)]
struct Card {
    input: u32,
    cache_read: Option<u32>,
    cache_write: Option<u32>,
    cache_write_1h: Option<u32>,
    output: u32,
    reasoning: Option<u32>,
    /// Above so many input tokens, these two instead.
    tier: u32,
    tier_input: u32,
    tier_output: u32,
    /// In thousandths.
    factor: u16,
}

/// Disjoint by construction; the declared totals are their sums.
#[derive(Clone, Copy, Debug)]
struct Parts {
    fresh: u32,
    read: u32,
    write: u32,
    write_1h: u32,
    answer: u32,
    reasoning: u32,
}

fn card() -> impl Strategy<Value = Card> {
    let rate = 0..100_000_000u32;
    let some = proptest::option::of(0..100_000_000u32);
    (
        (rate.clone(), some.clone(), some.clone(), some.clone(), rate.clone(), some),
        (0..3_000_000u32, rate.clone(), rate, 0..3_000u16),
    )
        .prop_map(
            |(
                (input, cache_read, cache_write, cache_write_1h, output, reasoning),
                (tier, tier_input, tier_output, factor),
            )| {
                Card {
                    input,
                    cache_read,
                    cache_write,
                    cache_write_1h,
                    output,
                    reasoning,
                    tier,
                    tier_input,
                    tier_output,
                    factor,
                }
            },
        )
}

fn parts() -> impl Strategy<Value = Parts> {
    let count = 0..1_000_000u32;
    (count.clone(), count.clone(), count.clone(), count.clone(), count.clone(), count).prop_map(
        |(fresh, read, write, write_1h, answer, reasoning)| Parts { fresh, read, write, write_1h, answer, reasoning },
    )
}

/// Millionths as a decimal.
fn millionths(rate: u32) -> String {
    format!("{}.{:06}", rate / 1_000_000, rate % 1_000_000)
}

fn book(card: &Card) -> PriceBook {
    let mut set =
        format!("input_tokens: \"{}\", output_tokens: \"{}\"", millionths(card.input), millionths(card.output));
    for (unit, rate) in [
        ("cache_read_tokens", card.cache_read),
        ("cache_write_tokens", card.cache_write),
        ("cache_write_1h_tokens", card.cache_write_1h),
        ("output_reasoning_tokens", card.reasoning),
    ] {
        if let Some(rate) = rate {
            set.push_str(&format!(", {unit}: \"{}\"", millionths(rate)));
        }
    }
    let text = format!(
        "{{ apiVersion: joch.dev/v1alpha1, kind: PriceTable, metadata: {{ name: t }}, spec: {{ version: '1', models: [{{ provider: p, \
         id: m, rates: [{{ set: {{ {set} }} }}, {{ when: {{ usage: {{ input_tokens: {{ gt: {} }} }} }}, set: {{ input_tokens: \
         \"{}\", output_tokens: \"{}\" }} }}], adjust: [{{ name: f, multiply: \"{}.{:03}\" }}] }}] }} }}",
        card.tier,
        millionths(card.tier_input),
        millionths(card.tier_output),
        card.factor / 1_000,
        card.factor % 1_000
    );
    PriceBook::new(PriceTable::parse(&text).unwrap().0.into_iter().map(Arc::new).collect())
}

fn usage(parts: &Parts) -> Usage {
    let mut usage = Usage::new();
    for (key, count) in [
        (UsageKey::InputTokens, parts.fresh + parts.read + parts.write + parts.write_1h),
        (UsageKey::CacheReadTokens, parts.read),
        (UsageKey::CacheWriteTokens, parts.write + parts.write_1h),
        (UsageKey::CacheWrite1hTokens, parts.write_1h),
        (UsageKey::OutputTokens, parts.answer + parts.reasoning),
        (UsageKey::OutputReasoningTokens, parts.reasoning),
    ] {
        usage.set(key, Quantity::from_u64(u64::from(count)).unwrap()).unwrap();
    }
    usage
}

fn cost(book: &PriceBook, usage: &Usage) -> Cost {
    let target = Target::Model { provider: "p", model: "m", request_model: None };
    let (at, attrs) = ("2026-11-18T12:00:00Z".parse().unwrap(), Attrs::new());
    match price(book, &Call { target, at, usage, attrs: &attrs, namespace: "", team: None }) {
        Outcome::Priced(cost) => cost,
        Outcome::Unpriced(reason) => panic!("{reason}"),
    }
}

/// The same cost in counts of 10⁻¹⁸: a rate is millionths per million (10⁻¹² a token), the factor thousandths (10⁻³).
fn independent(card: &Card, parts: &Parts) -> i128 {
    let total_input = parts.fresh + parts.read + parts.write + parts.write_1h;
    let is_upper = total_input > card.tier;
    let (input, output) = if is_upper { (card.tier_input, card.tier_output) } else { (card.input, card.output) };
    let write = card.cache_write.unwrap_or(input);
    let sum: i128 = [
        (parts.fresh, input),
        (parts.read, card.cache_read.unwrap_or(input)),
        (parts.write, write),
        (parts.write_1h, card.cache_write_1h.unwrap_or(write)),
        (parts.answer, output),
        (parts.reasoning, card.reasoning.unwrap_or(output)),
    ]
    .iter()
    .map(|(count, rate)| i128::from(*count) * i128::from(*rate))
    .sum();
    sum * i128::from(card.factor) * 1_000
}

/// Some YAML-like tree, as JSON text.
fn tree() -> impl Strategy<Value = Node> {
    let place = pricing::document::Place { line: 1, column: 1 };
    let node = move |value: Value| Node { place, value };
    let leaf = prop_oneof![
        Just(node(Value::Null)),
        any::<bool>().prop_map(move |flag| node(Value::Scalar { text: flag.to_string(), quoted: false })),
        "-?(0|[1-9][0-9]{0,30})(\\.[0-9]{0,29}[1-9])?"
            .prop_filter("minus zero prints as zero", |text| text != "-0")
            .prop_map(move |text| node(Value::Scalar { text, quoted: false })),
        any::<String>().prop_map(move |text| node(Value::Scalar { text, quoted: true })),
    ];
    leaf.prop_recursive(4, 40, 6, move |inner| {
        let pairs = proptest::collection::btree_map("[a-zé\u{1F600}]{0,6}", inner.clone(), 0..6);
        prop_oneof![
            proptest::collection::vec(inner, 0..6).prop_map(move |items| node(Value::List(items))),
            pairs.prop_map(move |pairs| {
                let key = |name| pricing::document::Key { place, name };
                node(Value::Map(pairs.into_iter().map(|(name, value)| (key(name), value)).collect()))
            }),
        ]
    })
}

proptest! {
    #[test]
    fn the_whole_is_the_sum_of_its_lines_and_of_an_independent_evaluator(card in card(), parts in parts()) {
        let cost = cost(&book(&card), &usage(&parts));
        prop_assert_eq!(cost.total.scaled(), independent(&card, &parts));
        prop_assert_eq!(Money::checked_sum(cost.lines.iter().map(|line| line.amount)), Some(cost.total));
        for line in &cost.lines {
            prop_assert_eq!(recompute(line), Some(line.amount));
        }
    }

    #[test]
    fn more_usage_within_a_tier_never_costs_less(card in card(), parts in parts(), more in 1..1_000u32, which in 0..6usize) {
        let mut bigger = parts;
        let slots = [
            &mut bigger.fresh, &mut bigger.read, &mut bigger.write, &mut bigger.write_1h, &mut bigger.answer,
            &mut bigger.reasoning,
        ];
        *slots[which] += more;
        let input = |parts: &Parts| parts.fresh + parts.read + parts.write + parts.write_1h;
        prop_assume!((input(&parts) > card.tier) == (input(&bigger) > card.tier));
        let book = book(&card);
        prop_assert!(cost(&book, &usage(&parts)).total <= cost(&book, &usage(&bigger)).total);
    }

    #[test]
    fn money_reads_what_it_prints(scaled in -99_999_999_999_999_999_999_999_999_999_999_999_999i128..=99_999_999_999_999_999_999_999_999_999_999_999_999) {
        let money = Money::from_scaled(scaled).unwrap();
        prop_assert_eq!(money.to_string().parse::<Money>().unwrap(), money);
        let bytes = postcard::to_stdvec(&money).unwrap();
        prop_assert_eq!(postcard::from_bytes::<Money>(&bytes).unwrap(), money);
    }

    #[test]
    fn quantities_read_what_they_print(whole in 0..10_000_000_000_000_000u64, fraction in 0..1_000_000_000_000u64) {
        let quantity: Quantity = format!("{whole}.{fraction:012}").parse().unwrap();
        prop_assert_eq!(quantity.to_string().parse::<Quantity>().unwrap(), quantity);
        let bytes = postcard::to_stdvec(&quantity).unwrap();
        prop_assert_eq!(postcard::from_bytes::<Quantity>(&bytes).unwrap(), quantity);
        let json = serde_json::to_string(&quantity).unwrap();
        prop_assert_eq!(serde_json::from_str::<Quantity>(&json).unwrap(), quantity);
    }

    #[test]
    fn canonical_json_reads_back_to_itself(tree in tree()) {
        let json = tree.to_json();
        // A JSON reader of another make agrees that it is JSON.
        prop_assert!(serde_json::from_str::<serde_json::Value>(&json).is_ok(), "{}", json);
        if !tree.is_null() {
            prop_assert_eq!(parse(&json).unwrap()[0].to_json(), json);
        }
    }

    #[test]
    fn no_text_makes_a_reader_panic(text in any::<String>(), yaml in "([a-c:\\-\\[\\]{}&*!|>'\"#, \n]|set|rates|models|spec){0,60}") {
        for text in [text, yaml] {
            let _ = parse(&text);
            let _ = PriceTable::parse(&text);
            let _ = text.parse::<Money>();
            let _ = text.parse::<Quantity>();
            let _ = UsageKey::parse(&text);
            let spec = format!("apiVersion: joch.dev/v1alpha1\nkind: PriceTable\nmetadata: {{name: x}}\nspec: {text}");
            let _ = PriceTable::parse(&spec);
        }
    }

    #[test]
    fn no_bytes_make_the_binary_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
        let _ = postcard::from_bytes::<Usage>(&bytes);
        let _ = postcard::from_bytes::<Cost>(&bytes).map(|cost| cost.lines.iter().map(recompute).count());
    }

    #[test]
    fn the_digest_ignores_key_order_and_formatting(card in card(), flip in any::<bool>()) {
        let book = book(&card);
        let table = &book.tables()[0];
        let json = table.canonical_json();
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        let mut text = serde_json::to_string_pretty(&value).unwrap();
        if flip {
            text = reversed(&value);
        }
        let again = PriceTable::parse(&text).unwrap().0.remove(0);
        prop_assert_eq!(again.reference(), table.reference());
        prop_assert_eq!(again.canonical_json(), json);
    }
}

/// The same JSON with every object's keys in reverse.
fn reversed(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::Object(map) => {
            let pairs: Vec<String> =
                map.iter().rev().map(|(key, value)| format!("{:?} :  {}", key, reversed(value))).collect();
            format!("{{ {} }}", pairs.join(" ,\n"))
        }
        serde_json::Value::Array(items) => {
            format!("[ {} ]", items.iter().map(reversed).collect::<Vec<_>>().join(" , "))
        }
        other => other.to_string(),
    }
}
