//! Every case of the price corpus that LiteLLM computed, priced with the tables imported from its file.
//!
//! File and corpus lie beside the project, not in it; without them there is nothing to compare and the test says so.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::disallowed_methods,
    missing_docs
)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pricing::cost::Unpriced;
use pricing::import::{Import, Options, litellm};
use pricing::table::Unmatched;
use pricing::{Attrs, Call, Outcome, PriceBook, PriceTable, Target, Usage, price};
use rust_decimal::Decimal;
use serde_json::{Value, json};

/// Where they lie, seen from a folder above.
const FILE: &str = "shared/data/pricing/litellm-1.109.1.json";
const CORPUS: &str = "shared/data/pricing/cases-dev.jsonl";

fn beside(path: &str) -> Option<PathBuf> {
    let above = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    above.map(|folder| folder.join(path)).find(|file| file.exists())
}

fn options() -> Options {
    Options { source_version: "1.109.1".to_owned(), table_version: "1.109.1+1".to_owned() }
}

/// The strict reader takes every table without a word.
fn tables(import: &Import) -> Vec<Arc<PriceTable>> {
    let read = |(provider, text): &(String, String)| {
        let (tables, warnings) = PriceTable::parse(text).unwrap_or_else(|problems| panic!("{provider}: {problems:#?}"));
        assert_eq!(warnings, [], "{provider}");
        tables
    };
    import.tables.iter().flat_map(read).map(Arc::new).collect()
}

fn imported(json: &str) -> Import {
    litellm::convert(json, &options()).unwrap()
}

/// A server's prices as the proxy configuration has them.
fn tools(server: &str, prices: &str) -> PriceBook {
    let prices: Value = serde_json::from_str(prices).unwrap();
    let configuration = json!({"mcp_servers": {server: {"mcp_info": {"mcp_server_cost_info": prices}}}});
    PriceBook::new(tables(&litellm::convert_mcp(&configuration.to_string(), &options()).unwrap()))
}

fn cost(book: &PriceBook, case: &Value) -> Result<Decimal, Unpriced> {
    let text = |field: &str| case[field].as_str().unwrap();
    let mut attrs = Attrs::new();
    for (name, value) in case["context"].as_object().into_iter().flatten() {
        attrs.set(name, value.as_str().unwrap());
    }
    let mut usage: Usage = serde_json::from_value(case["usage"].clone()).unwrap();
    let own;
    let (book, target) = if let Some(server) = text("provider").strip_prefix("mcp:") {
        usage = serde_json::from_value(json!({"calls": case["usage"]["tool_calls"]})).unwrap();
        own = attrs.get("mcp_price_config").map_or_else(PriceBook::default, |prices| tools(server, prices));
        (&own, Target::Tool { tool: text("model"), mcp_server: Some(server), outcome: "ok" })
    } else {
        (book, Target::Model { provider: text("provider"), model: text("model"), request_model: None })
    };
    let at = text("timestamp").parse().unwrap();
    match price(book, &Call { target, at, usage: &usage, attrs: &attrs, namespace: "", team: None }) {
        Outcome::Priced(cost) => Ok(cost.total.to_string().parse().unwrap()),
        // The policy of a book without another: nothing is booked for an unknown tool.
        Outcome::Unpriced(Unpriced::UnknownTool) if book.unmatched_tool() == Unmatched::ZeroWithFlag => {
            Ok(Decimal::ZERO)
        }
        Outcome::Unpriced(reason) => Err(reason),
    }
}

/// The difference from what was expected, if any.
fn difference(book: &PriceBook, case: &Value) -> Option<String> {
    let decimal = |field: &str| Decimal::from_scientific(case[field].as_str().unwrap());
    let number = |field: &str| {
        let text = case[field].as_str().unwrap();
        decimal(field).unwrap_or_else(|_| text.parse().unwrap())
    };
    let expected = number("expected_usd");
    let tolerance = expected * number("tolerance_rel") + number("tolerance_abs");
    let found = cost(book, case);
    let near = found.as_ref().is_ok_and(|found| (found - expected).abs() <= tolerance);
    let found = found.map_or_else(|reason| reason.to_string(), |cost| cost.to_string());
    (!near).then(|| {
        format!(
            "{} {} {}:{} expected {expected}, found {found}",
            case["id"], case["tag"], case["provider"], case["model"]
        )
    })
}

#[test]
fn the_imported_tables_price_the_corpus() {
    let (Some(file), Some(corpus)) = (beside(FILE), beside(CORPUS)) else {
        println!("no {FILE} beside the project: nothing compared");
        return;
    };
    let import = imported(&std::fs::read_to_string(file).unwrap());
    let book = PriceBook::new(tables(&import));
    let mut tags: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    let mut differences = Vec::new();
    for line in std::fs::read_to_string(corpus).unwrap().lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        if case["oracle"] != "litellm" || !case["oracle_defect"].is_null() {
            continue;
        }
        let (right, all) = tags.entry(case["tag"].as_str().unwrap().to_owned()).or_default();
        *all += 1;
        match difference(&book, &case) {
            None => *right += 1,
            Some(difference) => differences.push(difference),
        }
    }
    for (tag, (right, all)) in &tags {
        println!("{tag}: {right} of {all}");
    }
    let (right, all) = tags.values().fold((0, 0), |sum, tag| (sum.0 + tag.0, sum.1 + tag.1));
    println!("{right} of {all}");
    assert!(all > 1_000, "only {all} cases were read");
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}
