//! What `price()` asks of the allocator: the same for one line as for many, whatever the lines need.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods, missing_docs)]

use std::hint::black_box;
use std::sync::Arc;

use allocation_counter::measure;
use pricing::{Attrs, Call, Outcome, PriceBook, PriceTable, Quantity, Target, Usage, UsageKey, price};

/// A tier, two factors that stack, an exchange rate, a shape and a free quota: everything that a line may need.
const FULL: &str = r#"
apiVersion: joch.dev/v1alpha1
kind: PriceTable
metadata: { name: full }
spec:
  version: "1"
  currency: EUR
  fx: [{ usd: "1.08" }]
  models:
    - provider: p
      id: m
      match: { exact: [m] }
      rates:
        - set: { input_tokens: "3", output_tokens: "15", cache_read_tokens: "0.3", cache_write_tokens: "3.75",
                 cache_write_1h_tokens: "6", output_reasoning_tokens: "16" }
        - when: { usage: { input_tokens: { gt: 1000 } } }
          set: { input_tokens: "6", output_tokens: "22.5" }
      adjust:
        - { name: geo, when: { attrs: { inference_geo: us } }, multiply: "1.1" }
        - { name: fast, when: { attrs: { speed: fast } }, multiply: "1.7" }
      minimum: { output_tokens: 10 }
      allowances:
        - { name: start, unit: input_tokens, free: 100000, period: month, tz: UTC }
"#;

fn allocations(book: &PriceBook, usage: &Usage, attrs: &Attrs) -> (usize, u64) {
    let target = Target::Model { provider: "p", model: "m", request_model: None };
    let at = "2026-11-18T10:00:00Z".parse().unwrap();
    let call = Call { target, at, usage, attrs, namespace: "default", team: Some("t") };
    let Outcome::Priced(cost) = price(book, &call) else { panic!("no price: {:?}", price(book, &call)) };
    let measured = measure(|| {
        black_box(price(black_box(book), black_box(&call)));
    });
    (cost.lines.len(), measured.count_total)
}

fn usage(pairs: &[(UsageKey, u64)]) -> Usage {
    let mut usage = Usage::new();
    for (key, count) in pairs {
        usage.set(*key, Quantity::from_u64(*count).unwrap()).unwrap();
    }
    usage
}

fn book(text: &str) -> PriceBook {
    let (tables, warnings) = PriceTable::parse(text).unwrap();
    assert!(warnings.is_empty(), "{warnings:?}");
    PriceBook::new(tables.into_iter().map(Arc::new).collect())
}

/// One line and six lines of the same call.
fn few_and_many() -> (Usage, Usage) {
    let few = usage(&[(UsageKey::InputTokens, 5_000)]);
    let many = usage(&[
        (UsageKey::InputTokens, 50_000),
        (UsageKey::CacheReadTokens, 20_000),
        (UsageKey::CacheWriteTokens, 10_000),
        (UsageKey::CacheWrite1hTokens, 1_000),
        (UsageKey::OutputTokens, 900),
        (UsageKey::OutputReasoningTokens, 400),
    ]);
    (few, many)
}

#[test]
fn a_line_costs_no_allocation() {
    let (few, many) = few_and_many();
    let plain: String =
        FULL.lines().filter(|line| !line.contains("currency") && !line.contains("fx:")).collect::<Vec<_>>().join("\n");
    let plain = plain.split("      adjust:").next().unwrap().to_owned();
    let book = book(&plain);
    assert_eq!(allocations(&book, &few, &Attrs::new()), (1, 1), "the lines are all that is allocated");
    assert_eq!(allocations(&book, &many, &Attrs::new()), (6, 1), "the lines are all that is allocated");
}

#[test]
fn factors_free_quotas_and_exchange_rates_cost_the_same_for_one_line_as_for_many() {
    let (few, many) = few_and_many();
    let mut attrs = Attrs::new();
    attrs.set("inference_geo", "us");
    attrs.set("speed", "fast");
    let book = book(FULL);
    let (one, six) = (allocations(&book, &few, &attrs), allocations(&book, &many, &attrs));
    assert_eq!((one.0, six.0), (1, 6));
    assert_eq!(one.1, six.1, "{one:?} {six:?}");
}
