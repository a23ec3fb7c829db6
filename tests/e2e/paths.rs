//! One question, every path: the embedded roll-ups, ClickHouse, and the ledger's own lines added up here give the same digits,
//! whatever is asked: by what, in which buckets of which time zone, of whom, own cost and that of the runs below.

use std::collections::BTreeMap;
use std::time::Duration;

use rust_decimal::Decimal;
use serde_json::{Value, json};

use crate::events::model_call;
use crate::harness::cli;
use crate::harness::clickhouse::ClickHouse;
use crate::harness::daemon::Daemon;
use crate::harness::wait::until;

const CAUGHT_UP_MAX: Duration = Duration::from_secs(40);
const CALLS: usize = 400;
/// Whole hours, a half and three quarters of one; with and without a change of the clock in the last weeks.
const ZONES: [&str; 6] =
    ["UTC", "America/New_York", "Europe/Berlin", "Asia/Kolkata", "Asia/Kathmandu", "Australia/Lord_Howe"];
const BY: [&str; 9] =
    ["team", "agent", "model", "provider", "tool", "namespace", "environment", "execution", "label:tier"];
const BUCKETS: [&str; 4] = ["", "&bucket=hour", "&bucket=day", "&bucket=month"];
const FILTERS: [&str; 12] = [
    "",
    "&team=research",
    "&agent=writer",
    "&model=gpt-4o-mini",
    "&model=acme:later",
    "&tool=github.search",
    "&environment=prod",
    "&label=tier%3Dgold",
    "&label=tier%3Dgold,region%3Deu",
    "&namespace=lab",
    "&execution=lab/run-3",
    "&namespace=lab&team=research&environment=prod",
];
/// A tool with a price, and a model whose price comes only after it was called.
const LATER: &str = "apiVersion: joch.dev/v1alpha1\nkind: PriceTable\nmetadata: { name: later }\nspec:\n  version: \"1\"\n  models:\n    \
    - { provider: acme, id: later, rates: [{ set: { input_tokens: \"0.7\", output_tokens: \"1.3\" } }] }\n";
const TOOLS: &str = "apiVersion: joch.dev/v1alpha1\nkind: PriceTable\nmetadata: { name: house-tools }\nspec:\n  version: \"1\"\n  tools:\n    \
    - { match: { tool: github.search }, rates: [{ set: { calls: \"2.5\" } }] }\n";

/// Calls of the last thirty days, at all minutes of all hours.
fn call(number: usize) -> Value {
    let pick = |from: &[&str], step: usize| from[(number / step) % from.len()].to_owned();
    let mut event = model_call(&format!("c-{number}"), &format!("run-{}", number % 9));
    let age = jiff::SignedDuration::from_secs(i64::try_from(number * 6_473 % (30 * 86_400)).unwrap());
    event["time"] = json!((jiff::Timestamp::now() - age).to_string());
    event["namespace"] = json!(pick(&["lab", "shop"], 3));
    event["team"] = json!(pick(&["research", "support", "sales"], 5));
    event["agent"] = json!(pick(&["writer", "reader", "planner"], 2));
    event["environment"] = json!(pick(&["prod", "test"], 7));
    event["labels"] = json!({"tier": pick(&["gold", "tin"], 1), "region": pick(&["eu", "us"], 4)});
    if number % 9 > 4 {
        event["parent_execution"] = json!(format!("run-{}", number % 9 - 4));
    }
    match number % 10 {
        0 => {
            event["kind"] = json!("tool");
            event["tool"] = json!("github.search");
            event["quantities"] = json!({"calls": 1});
            for field in ["provider", "model", "usage"] {
                event.as_object_mut().unwrap().remove(field);
            }
        }
        1 | 2 => {
            event["provider"] = json!("acme");
            event["model"] = json!("later");
        }
        3 | 4 => event["model"] = json!("gpt-4.1"),
        _ => {}
    }
    event
}

/// What ledger lines sum to by one of their fields, kept by hand.
fn by_hand(lines: &[Value], field: &str) -> BTreeMap<String, Decimal> {
    let mut sums = BTreeMap::new();
    for line in lines {
        let cost: Decimal = line["cost_usd"].as_str().map_or(Decimal::ZERO, |cost| cost.parse().unwrap());
        *sums.entry(line[field].as_str().unwrap_or("-").to_owned()).or_default() += cost;
    }
    sums
}

#[test]
fn the_same_question_through_every_path_has_the_same_digits() {
    let server = ClickHouse::start();
    let url = server.url();
    let daemon = Daemon::start_with(|_| format!("sinks: {{ clickhouse: {{ url: {url}, flushInterval: 20ms }} }}\n"));
    daemon.apply(TOOLS);
    for first in (0..CALLS).step_by(100) {
        let calls: Vec<Value> = (first..first + 100).map(call).collect();
        let results = daemon.usage(&json!(calls));
        assert!(results.iter().all(|result| matches!(result["status"].as_str(), Some("accepted" | "quarantined"))));
    }
    daemon.apply(LATER);
    let unpriced = || daemon.get("/v1/quarantine?limit=1").expect(200).json();
    until("the late price to settle", CAUGHT_UP_MAX, || (unpriced()["items"] == json!([])).then_some(()));
    until("ClickHouse to catch up", CAUGHT_UP_MAX, || {
        let sinks = daemon.get("/v1/sinks").expect(200).json();
        (sinks["sinks"][0]["delivered"] == sinks["sinks"][0]["committed"]).then_some(())
    });

    let mut questions: Vec<String> = Vec::new();
    for (number, by) in BY.iter().enumerate() {
        for (step, bucket) in BUCKETS.iter().enumerate() {
            let place = number * BUCKETS.len() + step;
            let (zone, filter) = (ZONES[place % ZONES.len()], FILTERS[place % FILTERS.len()]);
            questions.push(format!("by={by}{bucket}&tz={zone}{filter}"));
        }
    }
    questions.extend(FILTERS.map(|filter| format!("by=team{filter}")));
    questions.extend(ZONES.map(|zone| format!("by=agent&bucket=day&tz={zone}")));
    questions.extend(["", "&namespace=lab"].map(|filter| format!("by=execution&tree=true{filter}")));
    questions.extend(["cost", "tokens", "calls"].map(|order| format!("by=model&order={order}&limit=2")));
    let mut answered = 0;
    for question in &questions {
        let limit = if question.contains("limit=") { "" } else { "&limit=10000" };
        let ask = |source: &str| {
            daemon.get(&format!("/v1/cost?{question}&since=31d{limit}&source={source}")).expect(200).json()
        };
        let (rollups, clickhouse) = (ask("ledger"), ask("clickhouse"));
        assert_eq!((&rollups["source"], &clickhouse["source"]), (&json!("ledger"), &json!("clickhouse")));
        assert_eq!(rollups["rows"], clickhouse["rows"], "{question}");
        assert_eq!(rollups["total"], clickhouse["total"], "{question}");
        answered += rollups["rows"].as_array().map_or(0, Vec::len);
    }
    assert!(answered > 1_000, "only {answered} rows were compared");

    // The lines themselves, added up here.
    let data_dir = daemon.data_dir().display().to_string();
    let text = cli::run(&["export", "ndjson", "--data-dir", &data_dir], daemon.folder()).expect_code(0).stdout;
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines.len() > CALLS, "calls and the adjustments that settled some");
    for (by, field) in [("team", "team"), ("namespace", "namespace"), ("agent", "agent")] {
        let answer = daemon.get(&format!("/v1/cost?by={by}&since=31d")).expect(200).json();
        let mut found: BTreeMap<String, Decimal> = BTreeMap::new();
        for row in answer["rows"].as_array().unwrap() {
            let cost: Decimal = row["cost_usd"].as_str().unwrap().parse().unwrap();
            *found.entry(row[by].as_str().unwrap().to_owned()).or_default() += cost;
        }
        assert_eq!(found, by_hand(&lines, field), "{by}");
    }
    eprintln!("paths: {} questions, {answered} rows, the same from roll-ups and ClickHouse", questions.len());
}
