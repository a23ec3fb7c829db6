//! A table that went through its compiled form prices and explains as the one that was read from its text.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::arithmetic_side_effects,
    missing_docs
)]

use std::path::Path;
use std::sync::Arc;

use pricing::{Attrs, Call, Outcome, PriceBook, PriceTable, Quantity, Target, Timestamp, Usage, UsageKey, price};

const TIMES: [&str; 3] = ["2025-03-01T02:30:00Z", "2026-11-18T10:00:00Z", "2027-02-01T20:00:00Z"];

/// Everything that a table can say, in one.
const FULL: &str = r#"
apiVersion: joch.dev/v1alpha1
kind: PriceTable
metadata: { name: full }
spec:
  version: "1"
  currency: DBU
  fx: [{ usd: "0.07" }, { from: "2026-01-01T00:00:00Z", when: { attrs: { region: eu } }, usd: "0.08" }]
  calendars: { holidays: { tz: Asia/Shanghai, dates: ["2026-10-01", "2026-11-18"] } }
  unmatched: { model: zero_with_flag, tool: quarantine }
  models:
    - provider: p
      id: m
      match: { exact: [m], prefix: [m-], glob: ["*-m-*"], regex: ["m[0-9]+"] }
      rates:
        - set: { input_tokens: "3", output_tokens: "15.123456789012", cache_read_tokens: "0", web_searches: "10" }
        - when: { windows: [{ start: "22:00", end: "04:00", tz: Asia/Shanghai, weekdays: [mon, wed], exceptCalendar: holidays }] }
          set: { input_tokens: "1.5" }
        - when: { usage: { input_tokens: { gte: 1000 } }, attrs: { service_tier: { in: [flex, batch] }, size: { gt: 3 } } }
          set: { input_tokens: "6", output_tokens: "22.5" }
        - { appliesTo: base, when: { from: "2026-12-01T00:00:00Z" }, set: { input_tokens: "2" } }
      adjust: [{ name: geo, when: { attrs: { inference_geo: { notIn: [eu] } } }, multiply: "1.1", families: [tokens] }]
      minimum: { output_tokens: 10 }
      increment: { output_tokens: 4 }
      cap: { web_searches: 3 }
      allowances: [{ name: start, unit: web_searches, free: 100, period: day, tz: Europe/Berlin }]
    - provider: p
      id: n
      match: { exact: [n], alias: [{ name: latest, from: "2026-01-01T00:00:00Z" }] }
      rates: [{ set: { input_tokens: "1", output_tokens: "2" } }]
  tools:
    - { match: { mcpServer: github, tool: search_issues }, billOn: [Succeeded], rates: [{ set: { calls: "0.0025" } }] }
    - { match: { glob: "search_*" }, rates: [{ set: { calls: "0.1" } }] }
  approvals: { rates: [{ set: { minutes: "1.25" } }] }
"#;

fn seeds() -> Vec<PriceTable> {
    let tables = Path::new(env!("CARGO_MANIFEST_DIR")).join("tables");
    let files = ["anthropic", "deepseek", "groq", "perplexity", "x-ai"].map(|name| tables.join(format!("{name}.yaml")));
    let read = |file: &std::path::PathBuf| PriceTable::parse(&std::fs::read_to_string(file).unwrap()).unwrap().0;
    files.iter().flat_map(read).collect()
}

fn through(table: &PriceTable) -> PriceTable {
    let bytes = postcard::to_allocvec(table).unwrap();
    let (back, rest) = postcard::take_from_bytes(&bytes).unwrap();
    assert!(rest.is_empty());
    back
}

fn book(tables: Vec<PriceTable>) -> PriceBook {
    PriceBook::new(tables.into_iter().map(Arc::new).collect())
}

fn usages() -> Vec<Usage> {
    let of = |pairs: &[(UsageKey, u64)]| {
        let mut usage = Usage::new();
        for (key, count) in pairs {
            usage.set(*key, Quantity::from_u64(*count).unwrap()).unwrap();
        }
        usage
    };
    use UsageKey::{CacheReadTokens, InputTokens, OutputTokens, WebSearches};
    vec![
        of(&[(InputTokens, 900), (OutputTokens, 3)]),
        of(&[(InputTokens, 300_001), (CacheReadTokens, 200_000), (OutputTokens, 7_777), (WebSearches, 5)]),
    ]
}

/// Of the seeds' models, one in so many: which fields there are does not depend on the model.
const STEP: usize = 3;

/// Compares explanations and prices of both books for every model; how many outcomes were compared and priced.
fn compare(read: &PriceBook, compiled: &PriceBook, names: &[(String, String)]) -> (usize, usize) {
    let (mut compared, mut priced) = (0, 0);
    let mut attrs = Attrs::new();
    for (name, value) in [("service_tier", "flex"), ("size", "4"), ("inference_geo", "us"), ("region", "eu")] {
        attrs.set(name, value);
    }
    for (provider, model) in names {
        for at in TIMES.map(|at| at.parse::<Timestamp>().unwrap()) {
            let explain = |book: &PriceBook| book.explain(provider, model, at, "default", None);
            assert_eq!(explain(read), explain(compiled), "{provider}:{model}");
            for (usage, attrs) in usages().iter().flat_map(|usage| [(usage, Attrs::new()), (usage, attrs.clone())]) {
                let target = Target::Model { provider, model, request_model: None };
                let call = Call { target, at, usage, attrs: &attrs, namespace: "default", team: None };
                let outcome = price(read, &call);
                assert_eq!(outcome, price(compiled, &call), "{provider}:{model}");
                compared += 1;
                priced += usize::from(matches!(outcome, Outcome::Priced(_)));
            }
        }
    }
    (compared, priced)
}

#[test]
fn seed_tables_are_the_same_after_their_compiled_form() {
    let (read, compiled): (Vec<_>, Vec<_>) = seeds()
        .into_iter()
        .map(|table| {
            let back = through(&table);
            (table, back)
        })
        .unzip();
    let models = read.iter().flat_map(PriceTable::models).step_by(STEP);
    let names: Vec<_> = models.map(|(provider, id)| (provider.to_owned(), id.to_owned())).collect();
    for (one, other) in read.iter().zip(&compiled) {
        assert_eq!((one.reference(), one.canonical_json()), (other.reference(), other.canonical_json()));
        assert_eq!((one.entries(), one.unmatched()), (other.entries(), other.unmatched()));
    }
    let (compared, priced) = compare(&book(read), &book(compiled), &names);
    println!("{compared} outcomes equal, {priced} of them priced, {} models", names.len());
    assert!(priced > names.len());
}

#[test]
fn a_table_that_says_everything_is_the_same_after_its_compiled_form() {
    let read = || PriceTable::parse(FULL).unwrap().0;
    let names = ["m", "m-5", "x-m-y", "m77", "n", "latest", "none"].map(|model| ("p".to_owned(), model.to_owned()));
    let compiled = read().iter().map(through).collect();
    let (read, compiled) = (book(read()), book(compiled));
    let (compared, priced) = compare(&read, &compiled, &names);
    assert_eq!((compared, priced), (84, 58));
    let mut usage = Usage::new();
    usage.set(UsageKey::Calls, Quantity::from_u64(3).unwrap()).unwrap();
    let attrs = Attrs::new();
    for (tool, mcp_server) in
        [("search_issues", Some("github")), ("search_issues", None), ("search_code", None), ("none", None)]
    {
        let target = Target::Tool { tool, mcp_server, outcome: "Succeeded" };
        let at = "2026-11-18T10:00:00Z".parse().unwrap();
        let call = Call { target, at, usage: &usage, attrs: &attrs, namespace: "", team: None };
        assert_eq!(price(&read, &call), price(&compiled, &call));
    }
    for model in [true, false] {
        let said =
            |book: &PriceBook| if model { book.unmatched_model("", None) } else { book.unmatched_tool("", None) };
        assert_eq!(said(&read), said(&compiled));
    }
}

#[test]
fn a_compiled_form_that_is_cut_or_changed_is_refused_or_read_but_never_panics() {
    let table = PriceTable::parse(FULL).unwrap().0.remove(0);
    let bytes = postcard::to_allocvec(&table).unwrap();
    for end in (0..bytes.len()).step_by(7) {
        assert!(postcard::from_bytes::<PriceTable>(bytes.get(..end).unwrap()).is_err(), "cut at {end}");
    }
    for (index, flip) in (0..bytes.len()).step_by(5).flat_map(|index| [1u8, 0x80, 0xff].map(|flip| (index, flip))) {
        let mut changed = bytes.clone();
        *changed.get_mut(index).unwrap() ^= flip;
        if let Ok(table) = postcard::from_bytes::<PriceTable>(&changed) {
            let (book, usage, attrs) = (book(vec![table]), usages().remove(1), Attrs::new());
            let target = Target::Model { provider: "p", model: "m", request_model: None };
            let at = Timestamp::from_nanos(1_763_460_000_000_000_000);
            let _ = price(&book, &Call { target, at, usage: &usage, attrs: &attrs, namespace: "", team: None });
        }
    }
}
