//! How long one call takes to price with the seed tables in force, alone and over the price corpus, and how long a table
//! takes to read. The corpus lies beside the project, not in it; without it that figure is left out.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    missing_docs
)]

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use pricing::{Attrs, Call, Outcome, PriceBook, PriceTable, Target, Timestamp, Usage, UsageKey, price};
use serde_json::Value;

/// Where the corpus lies, seen from a folder above.
const CORPUS: &str = "shared/data/pricing/cases-dev.jsonl";

/// One priced case of the corpus.
struct Case {
    provider: String,
    model: String,
    at: Timestamp,
    usage: Usage,
    attrs: Attrs,
}

impl Case {
    fn read(line: &str) -> Option<Self> {
        let case: Value = serde_json::from_str(line).unwrap();
        if case["oracle"] != "genai-prices" || !case["oracle_defect"].is_null() {
            return None;
        }
        let text = |field: &str| case[field].as_str().unwrap().to_owned();
        let mut attrs = Attrs::new();
        for (name, value) in case["context"].as_object().into_iter().flatten() {
            attrs.set(name, value.as_str().unwrap());
        }
        let usage = serde_json::from_value(case["usage"].clone()).unwrap();
        let at = text("timestamp").parse().unwrap();
        Some(Self { provider: text("provider"), model: text("model"), at, usage, attrs })
    }

    fn call(&self) -> Call<'_> {
        let target = Target::Model { provider: &self.provider, model: &self.model, request_model: None };
        Call { target, at: self.at, usage: &self.usage, attrs: &self.attrs, namespace: "", team: None }
    }
}

fn corpus() -> Vec<Case> {
    let above = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    let file = above.map(|folder| folder.join(CORPUS)).find(|file| file.exists());
    let text = file.map(|file| std::fs::read_to_string(file).unwrap()).unwrap_or_default();
    text.lines().filter_map(Case::read).collect()
}

fn texts() -> Vec<String> {
    let tables = Path::new(env!("CARGO_MANIFEST_DIR")).join("tables");
    let mut files: Vec<_> = std::fs::read_dir(tables).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.iter().map(|file| std::fs::read_to_string(file).unwrap()).collect()
}

fn usage(pairs: &[(UsageKey, &str)]) -> Usage {
    let mut usage = Usage::new();
    for (key, quantity) in pairs {
        usage.set(*key, quantity.parse().unwrap()).unwrap();
    }
    usage
}

fn pricing(criterion: &mut Criterion) {
    let texts = texts();
    let tables: Vec<_> = texts.iter().flat_map(|text| PriceTable::parse(text).unwrap().0).map(Arc::new).collect();
    let book = PriceBook::new(tables);
    let two = usage(&[(UsageKey::InputTokens, "2600"), (UsageKey::OutputTokens, "1200")]);
    let six = usage(&[
        (UsageKey::InputTokens, "102600"),
        (UsageKey::OutputTokens, "1200"),
        (UsageKey::CacheReadTokens, "2000"),
        (UsageKey::CacheWriteTokens, "400"),
        (UsageKey::CacheWrite1hTokens, "400"),
        (UsageKey::OutputReasoningTokens, "900"),
        (UsageKey::WebSearches, "2"),
    ]);
    let (none, mut batch) = (Attrs::new(), Attrs::new());
    batch.set("processing", "batch");
    let cases = [
        ("exact name, two leaves", "openai", "gpt-4o", &two, &none),
        ("tier, batch, six leaves", "anthropic", "claude-haiku-5-5", &six, &batch),
        ("alias of the provider, dated name", "xai", "grok-4-2026-01-01", &two, &none),
        ("nobody's model", "openai", "gpt-nothing-at-all", &two, &none),
    ];
    let mut group = criterion.benchmark_group("price");
    for (name, provider, model, usage, attrs) in cases {
        let target = Target::Model { provider, model, request_model: None };
        let at = "2026-11-18T12:00:00Z".parse().unwrap();
        let call = Call { target, at, usage, attrs, namespace: "", team: None };
        assert_eq!(matches!(price(&book, &call), Outcome::Priced(_)), name != "nobody's model", "{name}");
        group.bench_function(name, |bencher| bencher.iter(|| price(black_box(&book), black_box(&call))));
    }
    let cases = corpus();
    if !cases.is_empty() {
        let calls: Vec<_> = cases.iter().map(Case::call).collect();
        group.throughput(Throughput::Elements(calls.len() as u64));
        group.bench_function("the corpus", |bencher| {
            bencher.iter(|| {
                for call in &calls {
                    black_box(price(black_box(&book), black_box(call)));
                }
            });
        });
    }
    group.finish();
    let all = texts.join("\n---\n");
    let mut group = criterion.benchmark_group("read");
    group.sample_size(10);
    group.bench_function("all seed tables", |bencher| bencher.iter(|| PriceTable::parse(black_box(&all)).unwrap()));
    group.finish();
}

criterion_group!(benches, pricing);
criterion_main!(benches);
