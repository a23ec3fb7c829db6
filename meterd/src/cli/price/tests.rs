//! Real responses and computed cases, priced line by line with the built-in tables, against figures that others computed.
//!
//! The files lie beside the project, not in it; without them there is nothing to compare and the tests say so.

mod shapes;
mod truth;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rust_decimal::Decimal;
use serde_json::Value;

use super::*;

/// What the figures were rounded to: some prices an hour do not terminate.
const TOLERANCE: Decimal = Decimal::from_parts(1, 0, 0, false, 17);

/// A file of the data beside the project, seen from a folder above.
fn beside(name: &str) -> Option<PathBuf> {
    let above = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    let found = above.map(|folder| folder.join("shared/data").join(name)).find(|file| file.exists());
    if found.is_none() {
        println!("no shared/data/{name} beside the project: nothing compared");
    }
    found
}

fn seed() -> PriceBook {
    watch::load_prices(&[], true).unwrap_or_else(|problems| panic!("{}", problems[0])).0
}

fn answer_of(book: &PriceBook, line: &str) -> Value {
    let mut out = Vec::new();
    answer(book, line.as_bytes(), 1, Timestamp::from_millis(0), &mut out).unwrap();
    serde_json::from_slice(&out).unwrap()
}

/// The difference in id or cost from what a row expects, if any.
fn difference(book: &PriceBook, line: &str, row: &Value) -> Option<String> {
    let found = answer_of(book, line);
    let expected: Decimal = row["expected_usd"].as_str().unwrap().parse().unwrap();
    let cost = found["cost_usd"].as_str().and_then(|cost| cost.parse::<Decimal>().ok());
    let near = cost.is_some_and(|cost| (cost - expected).abs() <= TOLERANCE);
    (!near || found["id"] != row["id"]).then(|| format!("{}: expected {expected}, found {found}", row["id"]))
}

/// Names of a row's usage that say nothing of their own: the text that is left of a total, and whose prompt it was.
const LEFT_OVERS: &[&str] = &[
    "input_text_tokens",
    "output_text_tokens",
    "cache_text_read_tokens",
    "input_tool_tokens",
    "input_text_tool_tokens",
];

/// Usage by meaning: no zeros, no left-overs.
fn by_meaning(usage: &Value) -> BTreeMap<String, u64> {
    let pairs = usage.as_object().into_iter().flatten();
    pairs
        .map(|(name, count)| (name.clone(), count.as_u64().unwrap()))
        .filter(|(name, count)| *count > 0 && !LEFT_OVERS.contains(&name.as_str()))
        .collect()
}

/// The difference in usage from what a row expects, if any.
fn usage_difference(line: &str, row: &Value) -> Option<String> {
    let defaults = Defaults { execution: Some(EXECUTION), ..Defaults::default() };
    let batch = decode_line(line.as_bytes(), &defaults).unwrap();
    let event = batch.items[0].event.as_ref().unwrap_or_else(|rejection| panic!("{}: {rejection:?}", row["id"]));
    let mut found = by_meaning(&serde_json::to_value(&event.usage).unwrap());
    let expected = by_meaning(&row["usage"]);
    // The rows leave out what Claude thought on other clouds; it is within the output either way.
    if row["api"] == "anthropic.messages" && row["provider"] != "anthropic" {
        found.remove("output_reasoning_tokens");
    }
    (found != expected).then(|| format!("{}: expected {expected:?}, found {found:?}", row["id"]))
}

#[test]
fn every_provider_body_has_its_usage_and_its_cost() {
    let Some(file) = beside("provider-bodies-dev.jsonl") else { return };
    let (book, text) = (seed(), std::fs::read_to_string(file).unwrap());
    let mut wrong = Vec::new();
    for line in text.lines() {
        let row: Value = serde_json::from_str(line).unwrap();
        wrong.extend(difference(&book, line, &row).or_else(|| usage_difference(line, &row)));
    }
    let rows = text.lines().count();
    println!("{} of {rows}", rows - wrong.len());
    assert!(rows > 900, "only {rows} rows were read");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_case_is_priced_as_a_native_event() {
    let Some(file) = beside("pricing/cases-dev.jsonl") else { return };
    let (book, text) = (seed(), std::fs::read_to_string(file).unwrap());
    let (mut rows, mut wrong) = (0, Vec::new());
    for line in text.lines() {
        let row: Value = serde_json::from_str(line).unwrap();
        if row["oracle"] == "genai-prices" && row["oracle_defect"].is_null() {
            rows += 1;
            wrong.extend(difference(&book, line, &row));
        }
    }
    println!("{} of {rows}", rows - wrong.len());
    assert!(rows > 1_500, "only {rows} rows were read");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_line_needs_no_more_than_a_call_and_its_usage() {
    let book = seed();
    for (line, id, status, cost, reason) in [
        (
            r#"{"provider":"openai","model":"gpt-4o-mini","usage":{"input_tokens":1000000}}"#,
            "line-1",
            "priced",
            Some("0.15"),
            None,
        ),
        (
            r#"{"id":"n","provider":"openai","api":"openai.chat","body":{"model":"gpt-4o-mini","choices":[]}}"#,
            "n",
            "unpriced",
            None,
            Some("missing_usage"),
        ),
        (
            r#"{"provider":"openai","api":"openai.chat","body":{"id":"r","model":"gpt-4o-mini","usage":{"prompt_tokens":-1}}}"#,
            "line-1",
            "invalid",
            None,
            Some("invalid_usage"),
        ),
        (
            r#"{"id":"x","provider":"openai","api":"openai.chat","body":{"model":"gpt-4o-mini","usage":{"prompt_tokens":1,"completion_tokens":1,"prompt_tokens_details":{"cached_tokens":2}}}}"#,
            "x",
            "invalid",
            None,
            Some("invalid_usage"),
        ),
        (r#"{"id":"y","provider":"o","model":"m","usage":{},"time":"no"}"#, "y", "invalid", None, Some("invalid_time")),
    ] {
        let found = answer_of(&book, line);
        assert_eq!(found["id"], id, "{found}");
        assert_eq!(found["status"], status, "{found}");
        assert_eq!(found["cost_usd"].as_str(), cost, "{found}");
        assert_eq!(found["reason"].as_str(), reason, "{found}");
    }
    let garbage = answer_of(&book, "not json");
    assert_eq!((&garbage["status"], &garbage["reason"]), (&"invalid".into(), &"malformed_json".into()));
}

/// A compaction is billed beside the message: with its own tier, and in the total.
#[test]
fn calls_within_a_response_are_priced_apart() {
    let line =
        r#"{"id":"c","provider":"anthropic","api":"anthropic.messages","timestamp":"2026-11-18T12:00:00Z","body":
        {"id":"msg","model":"claude-sonnet-4-6","usage":{"input_tokens":180,"output_tokens":8,"iterations":[
        {"type":"compaction","input_tokens":100,"output_tokens":82,"cache_creation_input_tokens":55096,
         "cache_creation":{"ephemeral_5m_input_tokens":55096,"ephemeral_1h_input_tokens":0}},
        {"type":"message","input_tokens":180,"output_tokens":8}]}}}"#
            .replace('\n', "");
    let found = answer_of(&seed(), &line);
    // 180 × 3 + 8 × 15; 100 × 3 + 55,096 × 3.75 + 82 × 15; both per million.
    assert_eq!(found["cost_usd"], "0.00066", "{found}");
    assert_eq!(found["calls_within"][0]["id"], "c/compaction/0");
    assert_eq!(found["calls_within"][0]["cost_usd"], "0.20814");
    assert_eq!(found["total_usd"], "0.2088");
}

/// LiteLLM's file prices its own cases through the same way, also the calls of MCP servers that bring their prices.
#[test]
fn every_litellm_case_is_priced_with_litellms_prices() {
    let (Some(cases), Some(file)) = (beside("pricing/cases-dev.jsonl"), beside("pricing/litellm-1.109.1.json")) else {
        return;
    };
    let options = pricing::import::Options { source_version: "1.109.1".into(), table_version: "1".into() };
    let import = pricing::import::litellm::convert(&std::fs::read_to_string(file).unwrap(), &options).unwrap();
    let tables = import.tables.iter().flat_map(|(_, text)| pricing::PriceTable::parse(text).unwrap().0);
    let book = PriceBook::new(tables.map(std::sync::Arc::new).collect());
    let (mut rows, mut wrong) = (0, Vec::new());
    for line in std::fs::read_to_string(cases).unwrap().lines() {
        let row: Value = serde_json::from_str(line).unwrap();
        if row["oracle"] != "litellm" || !row["oracle_defect"].is_null() {
            continue;
        }
        rows += 1;
        let found = answer_of(&book, line);
        let decimal = |value: &Value| {
            let text = value.as_str().unwrap();
            text.parse::<Decimal>().or_else(|_| Decimal::from_scientific(text)).unwrap()
        };
        let expected = decimal(&row["expected_usd"]);
        let tolerance = expected * decimal(&row["tolerance_rel"]) + decimal(&row["tolerance_abs"]);
        let cost = found["cost_usd"].as_str().and_then(|cost| cost.parse::<Decimal>().ok());
        if cost.is_none_or(|cost| (cost - expected).abs() > tolerance) {
            wrong.push(format!("{}: expected {expected}, found {found}", row["id"]));
        }
    }
    println!("{} of {rows}", rows - wrong.len());
    assert!(wrong.is_empty() && rows > 1_000, "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn a_call_of_an_mcp_server_in_the_form_of_a_models_is_its_tools() {
    let table = r#"{"apiVersion": "joch.dev/v1alpha1", "kind": "PriceTable", "metadata": {"name": "t"}, "spec": {"version": "1",
        "tools": [{"match": {"mcpServer": "github", "tool": "search"}, "rates": [{"set": {"calls": "0.0025"}}]}]}}"#;
    let tables = pricing::PriceTable::parse(table).unwrap().0.into_iter().map(std::sync::Arc::new).collect();
    let book = PriceBook::new(tables);
    let cost = |usage: &str, more: &str| {
        let line = format!(
            r#"{{"provider": "mcp:github", "model": "search", "timestamp": "2026-11-18T12:00:00Z"{usage}{more}}}"#
        );
        answer_of(&book, &line)["cost_usd"].clone()
    };
    assert_eq!(cost(r#", "usage": {"tool_calls": 3}"#, ""), "0.0075");
    assert_eq!(cost("", ""), "0.0025", "one call, where nothing is said");
    let own = r#", "context": {"mcp_price_config": "{\"default_cost_per_query\": 0.1, \"tool_name_to_cost_per_query\": {}}"}"#;
    assert_eq!(cost(r#", "usage": {"tool_calls": 1}"#, own), "0.1");
}
