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
        Outcome::Unpriced(Unpriced::UnknownTool) if book.unmatched_tool("default", None) == Unmatched::ZeroWithFlag => {
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

/// One model, as the entry of a table: without its first three lines, which name it.
fn check_entry(key: &str, fields: &str, expected: &str) {
    let import = imported(&format!(r#"{{"{key}": {fields}}}"#));
    tables(&import);
    let (_, models) = import.tables[0].1.split_once("\n  models:\n").expect("the table has models");
    let lines: Vec<&str> = models.lines().skip(3).map(|line| line.strip_prefix("      ").unwrap()).collect();
    assert_eq!(lines.join("\n"), expected.trim_matches('\n'), "{key}");
    assert_eq!(import.left_out, []);
}

#[test]
fn the_later_rule_is_the_more_special_price() {
    check_entry(
        "gpt",
        r#"{"litellm_provider": "openai", "mode": "chat", "supports_vision": true,
            "input_cost_per_token": 5.0000000000000004e-08, "output_cost_per_token": 1e-06,
            "input_cost_per_token_priority": 1e-07, "output_cost_per_token_priority": 2e-06,
            "input_cost_per_token_above_200k_tokens": 2e-07,
            "input_cost_per_token_above_200k_tokens_priority": 4e-07}"#,
        r#"
rates:
  - set: { input_tokens: "0.05", output_tokens: "1" }
  - when: { attrs: { service_tier: priority } }
    set: { input_tokens: "0.1", output_tokens: "2" }
  - when: { usage: { input_tokens: { gt: 200000 } } }
    set: { input_tokens: "0.2" }
  - when: { attrs: { service_tier: priority }, usage: { input_tokens: { gt: 200000 } } }
    set: { input_tokens: "0.4" }"#,
    );
}

#[test]
fn some_thresholds_count_as_passed_when_they_are_reached() {
    check_entry(
        "xai/grok",
        r#"{"litellm_provider": "xai", "input_cost_per_token": 1e-06, "output_cost_per_token": 2e-06,
            "output_cost_per_token_above_200k_tokens": 4e-06}"#,
        r#"
rates:
  - set: { input_tokens: "1", output_tokens: "2" }
  - when: { usage: { input_tokens: { gte: 200000 } } }
    set: { output_tokens: "4" }"#,
    );
}

#[test]
fn batches_replace_token_prices_and_the_missing_direction_costs_half() {
    check_entry(
        "m",
        r#"{"litellm_provider": "p", "input_cost_per_token": 1e-06, "output_cost_per_token": 2e-05,
            "cache_read_input_token_cost": 1e-07, "input_cost_per_token_batches": 5e-07,
            "google_maps_grounding_cost_per_query": 0.014}"#,
        r#"
rates:
  - set: { input_tokens: "1", output_tokens: "20", cache_read_tokens: "0.1", maps_searches: "14" }
  - reset: true
    when: { attrs: { processing: batch } }
    set: { input_tokens: "0.5", output_tokens: "10", maps_searches: "14" }"#,
    );
}

#[test]
fn bands_replace_each_other() {
    check_entry(
        "dashscope/qwen",
        r#"{"litellm_provider": "dashscope", "tiered_pricing": [
            {"range": [256000.0, 1000000.0], "input_cost_per_token": 1.2e-06, "output_cost_per_token": 3.6e-06},
            {"range": [0, 256000.0], "input_cost_per_token": 4e-07, "output_cost_per_token": 1.2e-06,
             "output_cost_per_reasoning_token": 4e-06}]}"#,
        r#"
rates:
  - set: { input_tokens: "0.4", output_tokens: "1.2", output_reasoning_tokens: "4" }
  - reset: true
    when: { usage: { input_tokens: { gt: 256000 } } }
    set: { input_tokens: "1.2", output_tokens: "3.6" }"#,
    );
    check_entry(
        "exa/search",
        r#"{"litellm_provider": "exa", "mode": "search", "tiered_pricing": [
            {"input_cost_per_query": 0.005, "max_results_range": [0, 25]},
            {"input_cost_per_query": 0.025, "max_results_range": [26, 100]}]}"#,
        r#"
rates:
  - set: { search_queries: "5" }
  - when: { attrs: { max_results: { gte: 26 } } }
    set: { search_queries: "25" }"#,
    );
}

#[test]
fn off_peak_hours_come_last() {
    check_entry(
        "deepseek/flash",
        r#"{"litellm_provider": "deepseek", "input_cost_per_token": 3e-07, "output_cost_per_token": 1.2e-06,
            "off_peak_pricing": {"input_cost_per_token": 1.5e-07, "weekday_timezone": "Asia/Shanghai", "windows": [
                {"hours_utc": ["00:00-01:00", "10:00-00:00"], "weekdays": [1, 5]},
                {"hours_utc": "00:00-00:00", "weekdays": [6, 7]}]}}"#,
        r#"
rates:
  - set: { input_tokens: "0.3", output_tokens: "1.2" }
  - when: { windows: [{ start: "00:00", end: "01:00", tz: UTC, weekdays: [Mon, Fri], weekdayTz: Asia/Shanghai }, { start: "10:00", end: "24:00", tz: UTC, weekdays: [Mon, Fri], weekdayTz: Asia/Shanghai }, { tz: UTC, weekdays: [Sat, Sun], weekdayTz: Asia/Shanghai }] }
    set: { input_tokens: "0.15" }"#,
    );
}

#[test]
fn factors_sizes_and_searches_are_conditions() {
    check_entry(
        "vertex_ai/gemini",
        r#"{"litellm_provider": "vertex_ai-language-models", "input_cost_per_token": 1e-06,
            "output_cost_per_token": 2e-06, "regional_endpoint_uplift_multiplier": 1.1,
            "search_context_cost_per_query": {"search_context_size_low": 0.005, "search_context_size_medium": 0.008,
                "search_context_size_high": 0.014}}"#,
        r#"
rates:
  - set: { input_tokens: "1", output_tokens: "2", web_searches: "8" }
  - when: { attrs: { search_context_size: low } }
    set: { web_searches: "5" }
  - when: { attrs: { search_context_size: medium } }
    set: { web_searches: "8" }
  - when: { attrs: { search_context_size: high } }
    set: { web_searches: "14" }
adjust:
  - { name: regional-endpoint, when: { attrs: { vertex_location: { notIn: [global] } } }, multiply: "1.1", families: [tokens] }
cap: { web_searches: "1" }"#,
    );
    check_entry(
        "claude",
        r#"{"litellm_provider": "anthropic", "input_cost_per_token": 1e-06, "output_cost_per_token": 2e-06,
            "provider_specific_entry": {"us": 1.1, "fast": 2.0}}"#,
        r#"
rates:
  - set: { input_tokens: "1", output_tokens: "2" }
adjust:
  - { name: speed-fast, when: { attrs: { speed: fast } }, multiply: "2", families: [tokens] }
  - { name: inference-geo-us, when: { attrs: { inference_geo: us } }, multiply: "1.1", families: [tokens] }"#,
    );
    check_entry(
        "veo",
        r#"{"litellm_provider": "p", "mode": "video_generation", "output_cost_per_second": 0.4,
            "output_cost_per_second_4k": 0.6}"#,
        r#"
rates:
  - set: { output_video_seconds: "1440" }
  - when: { attrs: { resolution: "4k" } }
    set: { output_video_seconds: "2160" }"#,
    );
}

#[test]
fn a_unit_depends_on_what_the_model_is_for() {
    let second = r#""input_cost_per_second": 0.0001, "output_cost_per_second": 0.0001"#;
    for (mode, prices, expected) in [
        ("audio_transcription", second, r#"audio_seconds: "0.36""#),
        ("audio_speech", r#""output_cost_per_second": 0.0001"#, r#"output_audio_seconds: "0.36""#),
        ("chat", r#""cost_per_second": 0.01, "input_cost_per_second": 0.01"#, r#"provisioned_seconds: "36""#),
        ("rerank", r#""input_cost_per_query": 0.002"#, r#"rerank_searches: "2""#),
        ("search", r#""input_cost_per_query": 0.002"#, r#"search_queries: "2""#),
        ("image_generation", r#""input_cost_per_image": 0.04"#, r#"images_out: "0.04""#),
        ("embedding", r#""input_cost_per_image": 0.04"#, r#"input_images: "0.04""#),
        (
            "image_generation",
            r#""input_cost_per_pixel": 1e-08, "output_cost_per_pixel": 0.0"#,
            r#"output_pixels: "0.01""#,
        ),
        (
            "ocr",
            r#""ocr_cost_per_page": 0.004, "annotation_cost_per_page": 0.005"#,
            r#"input_document_pages: "4", input_annotated_document_pages: "5""#,
        ),
    ] {
        let fields = format!(r#"{{"litellm_provider": "p", "mode": "{mode}", {prices}}}"#);
        check_entry("m", &fields, &format!("rates:\n  - set: {{ {expected} }}"));
    }
    let sized = r#"{"litellm_provider": "azure", "mode": "image_generation", "input_cost_per_pixel": 1e-08}"#;
    check_entry("azure/hd/1024-x-1792/d", sized, "rates:\n  - set: { images_out: \"0.01835008\" }");
}

#[test]
fn providers_have_one_spelling_and_models_two() {
    let json = r#"{
        "sample_spec": {"litellm_provider": "one of many"},
        "bedrock/us-east-1/m": {"litellm_provider": "bedrock", "input_cost_per_token": 1e-06},
        "M": {"litellm_provider": "bedrock_converse", "input_cost_per_token": 2e-06},
        "m": {"litellm_provider": "bedrock", "input_cost_per_token": 3e-06},
        "bedrock/*/x": {"litellm_provider": "bedrock", "input_cost_per_token": 4e-06},
        "bedrock/m": {"litellm_provider": "bedrock", "input_cost_per_token": 5e-06},
        "free": {"litellm_provider": "bedrock", "mode": "chat"}}"#;
    let import = imported(json);
    let ids: Vec<&str> = import.tables.iter().map(|(provider, _)| provider.as_str()).collect();
    assert_eq!(ids, ["aws"]);
    let matches: Vec<&str> =
        import.tables[0].1.lines().filter_map(|line| line.trim().strip_prefix("match: ")).collect();
    let expected = [
        "{ exact: [bedrock/us-east-1/m, us-east-1/m] }",
        "{ exact: [m] }",
        "{ glob: [\"*/x\", \"bedrock/*/x\"] }",
        "{ exact: [bedrock/m] }",
    ];
    assert_eq!(matches, expected);
    let left: Vec<&str> = import.left_out.iter().map(|left| left.why.as_str()).collect();
    let why = [
        "an earlier key of the provider differs only in upper and lower case",
        "no price is stated, which may mean free or unknown",
    ];
    assert_eq!(left, why);
}

#[test]
fn what_no_table_can_say_is_named() {
    let json = r#"{"m": {"litellm_provider": "p", "input_cost_per_token": 1e-06, "input_cost_per_moon": 1,
        "output_cost_per_token": -1, "search_free_requests": {"count": 5}, "off_peak_pricing": {"windows": []},
        "input_dbu_cost_per_token": 1e-06, "provider_specific_entry": {"mars": 2}}}"#;
    let mut left: Vec<String> = imported(json).left_out.into_iter().map(|left| left.what).collect();
    left.sort();
    let expected = [
        "input_cost_per_moon",
        "input_dbu_cost_per_token",
        "off_peak_pricing",
        "output_cost_per_token",
        "provider_specific_entry.mars",
        "search_free_requests",
    ];
    assert_eq!(left, expected);
}

#[test]
fn the_tools_of_a_proxy_configuration_have_a_table() {
    let yaml = "mcp_servers:\n  github:\n    url: https://example.com\n    mcp_info:\n      mcp_server_cost_info:\n        \
                default_cost_per_query: 0.001\n        tool_name_to_cost_per_query: { search_issues: 0.0025, free: 0 }\n  \
                plain: {}\n";
    let import = litellm::convert_mcp(yaml, &options()).unwrap();
    assert_eq!(tables(&import)[0].entries(), 3);
    let (_, tools) = import.tables[0].1.split_once("\n  tools:\n").unwrap();
    let expected = r#"    - match: { mcpServer: github, tool: search_issues }
      rates: [{ set: { calls: "0.0025" } }]
    - match: { mcpServer: github, tool: free }
      rates: [{ set: { calls: "0" } }]
    - match: { mcpServer: github }
      rates: [{ set: { calls: "0.001" } }]
"#;
    assert_eq!(tools, expected);
    assert!(litellm::convert_mcp("model_list: []", &options()).is_err());
    assert!(litellm::convert("[]", &options()).is_err());
}
