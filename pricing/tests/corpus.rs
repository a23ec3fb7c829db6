//! Every case of the price corpus that the seed tables must answer, against figures that genai-prices computed.
//!
//! The corpus lies beside the project, not in it; without it there is nothing to compare and the test says so.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::disallowed_methods,
    missing_docs
)]

use std::path::Path;
use std::sync::Arc;

use pricing::{Attrs, Call, Outcome, PriceBook, PriceTable, Target, Usage, price};
use rust_decimal::Decimal;
use serde_json::Value;

/// Providers whose every case must come out equal. The others are counted and printed, and may not get worse.
const PROVIDERS: [&str; 7] = ["openai", "anthropic", "google", "mistral", "deepseek", "x-ai", "groq"];
/// Where the corpus lies, seen from a folder above.
const CORPUS: &str = "shared/data/pricing/cases-dev.jsonl";
/// What the corpus was rounded to: some prices an hour do not terminate.
const TOLERANCE: &str = "0.00000000000000001";

fn seed_book() -> PriceBook {
    let tables = Path::new(env!("CARGO_MANIFEST_DIR")).join("tables");
    let mut files: Vec<_> = std::fs::read_dir(tables).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let read = |file: &Path| {
        let (tables, warnings) = PriceTable::parse(&std::fs::read_to_string(file).unwrap())
            .unwrap_or_else(|problems| panic!("{}: {}", file.display(), problems.first().unwrap()));
        assert!(warnings.is_empty(), "{}: {}", file.display(), warnings[0]);
        tables
    };
    PriceBook::new(files.iter().flat_map(|file| read(file)).map(Arc::new).collect())
}

/// The difference from what was expected, if any.
fn difference(book: &PriceBook, case: &Value) -> Option<String> {
    let usage: Usage = serde_json::from_value(case["usage"].clone()).unwrap();
    let mut attrs = Attrs::new();
    for (name, value) in case["context"].as_object().into_iter().flatten() {
        attrs.set(name, value.as_str().unwrap());
    }
    let text = |field: &str| case[field].as_str().unwrap();
    let target = Target::Model { provider: text("provider"), model: text("model"), request_model: None };
    let at = text("timestamp").parse().unwrap();
    let call = Call { target, at, usage: &usage, attrs: &attrs, namespace: "", team: None };
    let found = match price(book, &call) {
        Outcome::Priced(cost) => cost.total.to_string(),
        Outcome::Unpriced(reason) => reason.to_string(),
    };
    let expected: Decimal = text("expected_usd").parse().unwrap();
    let tolerance: Decimal = TOLERANCE.parse().unwrap();
    let near = found.parse::<Decimal>().is_ok_and(|found| (found - expected).abs() <= tolerance);
    (!near).then(|| format!("{} {}:{} expected {expected}, found {found}", text("id"), text("provider"), text("model")))
}

#[test]
fn the_seed_tables_price_the_corpus() {
    let above = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    let Some(corpus) = above.map(|folder| folder.join(CORPUS)).find(|file| file.exists()) else {
        println!("no {CORPUS} beside the project: nothing compared");
        return;
    };
    let text = std::fs::read_to_string(corpus).unwrap();
    let book = seed_book();
    let (mut listed, mut others) = ((0, Vec::new()), (0, Vec::new()));
    for line in text.lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        if case["oracle"] != "genai-prices" || !case["oracle_defect"].is_null() {
            continue;
        }
        let side = if PROVIDERS.contains(&case["provider"].as_str().unwrap()) { &mut listed } else { &mut others };
        side.0 += 1;
        side.1.extend(difference(&book, &case));
    }
    println!("{} of {} for {}", listed.0 - listed.1.len(), listed.0, PROVIDERS.join(", "));
    println!("{} of {} for the other providers", others.0 - others.1.len(), others.0);
    assert!(listed.0 > 500, "only {} cases were read", listed.0);
    assert!(listed.1.is_empty(), "{}", listed.1.join("\n"));
    assert!(others.1.is_empty(), "{}", others.1.join("\n"));
}
