//! What it cost: the same digits from a running daemon and from its data directory, in every form.

use std::path::Path;

use serde_json::{Value, json};

use crate::events::{NS, cost_of, model_call, tool_call};
use crate::harness::cli;
use crate::harness::daemon::Daemon;

/// Three calls of team `support` in two runs, one of them the child of the other, two of team `sales`, one tool call.
fn load(daemon: &Daemon) {
    let of = |id: &str, execution: &str, team: &str, parent: Option<&str>| {
        let mut event = model_call(id, execution);
        event["team"] = json!(team);
        event["parent_execution"] = json!(parent);
        event["labels"] = json!({ "tier": team.len().to_string() });
        event
    };
    daemon.usage(&json!([
        of("a", "parent", "support", None),
        of("b", "child", "support", Some("parent")),
        of("c", "child", "support", Some("parent")),
        of("d", "other", "sales", None),
        of("e", "other", "sales", None),
        tool_call("f", "parent"),
    ]));
}

fn rows(answer: &Value, keys: &[&str]) -> Vec<Vec<Value>> {
    let list = answer["rows"].as_array().unwrap_or_else(|| panic!("no rows in {answer}"));
    list.iter().map(|row| keys.iter().map(|key| row[*key].clone()).collect()).collect()
}

#[test]
fn the_same_question_has_the_same_answer_live_and_at_rest() {
    let mut daemon = Daemon::start();
    load(&daemon);
    let answer = daemon.get("/v1/cost?by=team&since=1h").expect(200).json();
    let expected = json!([["support", cost_of(3), 4], ["sales", cost_of(2), 2]]);
    assert_eq!(json!(rows(&answer, &["team", "cost_usd", "calls"])), expected, "{answer}");
    assert_eq!(answer["total"]["cost_usd"], json!(cost_of(5)));
    assert_eq!((&answer["source"], &answer["total"]["tokens"]["total"]), (&json!("ledger"), &json!(5 * 2369)));
    let tree = daemon.get("/v1/cost?by=execution&since=1h&tree=true").expect(200).json();
    let expected = json!([
        ["parent", cost_of(1), cost_of(3)],
        ["child", cost_of(2), cost_of(2)],
        ["other", cost_of(2), cost_of(2)]
    ]);
    assert_eq!(json!(rows(&tree, &["execution", "cost_usd", "subtree_cost_usd"])), expected, "{tree}");
    let tools = daemon.get("/v1/cost?by=tool&since=1h").expect(200).json();
    assert_eq!(json!(rows(&tools, &["tool", "cost_usd", "calls"])), json!([["zendesk.create_ticket", "0", 1]]));
    for (filter, cost) in [
        ("team=sales", cost_of(2)),
        ("label=tier%3D7", cost_of(3)),
        ("execution=child", cost_of(2)),
        ("model=openai:gpt-4o-mini", cost_of(5)),
        ("environment=prod", "0".to_owned()),
        ("namespace=elsewhere", "0".to_owned()),
    ] {
        let answer = daemon.get(&format!("/v1/cost?by=agent&since=1h&{filter}")).expect(200).json();
        assert_eq!(answer["total"]["cost_usd"], json!(cost), "{filter}: {answer}");
    }
    daemon.get("/v1/cost?by=colour").problem(400, "invalid_parameter");
    daemon.get("/v1/cost?color=red").problem(400, "invalid_parameter");

    let asked: [&[&str]; 4] = [
        &["cost", "by-team", "--since", "1h"],
        &["cost", "by-execution", "--since", "1h", "--tree"],
        &["cost", "by-model", "--since", "1h", "--bucket", "day", "--tz", "Asia/Kolkata"],
        &["top", "agents", "--since", "1h", "--by", "calls"],
    ];
    let ask = |folder: &Path, source: [&str; 2]| -> Vec<String> {
        let answers = asked.iter().flat_map(|words| ["table", "csv", "yaml"].map(|form| (words, form)));
        let answer = |(words, form): (&&[&str], &str)| {
            let arguments = [*words, &["-o", form], &source].concat();
            cli::run(&arguments, folder).expect_code(0).stdout
        };
        answers.map(answer).collect()
    };
    let live = ask(daemon.folder(), ["--url", daemon.api()]);
    assert!(live[0].contains("support") && live[0].lines().last().unwrap().starts_with("TOTAL"), "{}", live[0]);
    let data_dir = daemon.data_dir().display().to_string();
    assert_same(&live, &ask(daemon.folder(), ["--data-dir", &data_dir]), "beside the daemon");
    assert!(daemon.stop().success());
    assert_same(&live, &ask(daemon.folder(), ["--data-dir", &data_dir]), "at rest");
    let over = ["get", "executions", "--over-usd", "0.0005", "-o", "csv", "--data-dir", &data_dir];
    let over = cli::run(&over, daemon.folder()).expect_code(0).stdout;
    let names: Vec<&str> = over.lines().skip(1).filter_map(|line| line.split(',').nth(1)).collect();
    assert_eq!(names, ["child", "other"], "{over}");
    daemon.start_again();
    assert_eq!(daemon.get("/v1/cost?by=team&since=1h").expect(200).json()["rows"], answer["rows"], "after a restart");
    let listed = cli::run(
        &["get", "executions", "--over-usd", "0.0005", "--since", "1h", "-n", NS, "-o", "csv", "--url", daemon.api()],
        daemon.folder(),
    );
    assert_eq!(listed.expect_code(0).stdout, over);
}

/// Answers are the same but for the span, which moves on with the clock.
#[track_caller]
fn assert_same(left: &[String], right: &[String], what: &str) {
    let still = |text: &String| -> String {
        text.lines().filter(|line| !line.starts_with("since:") && !line.starts_with("until:")).collect()
    };
    assert_eq!(left.iter().map(still).collect::<Vec<_>>(), right.iter().map(still).collect::<Vec<_>>(), "{what}");
}

/// The FOCUS columns that may not be empty, and those that hold amounts or times (FOCUS 1.0, column requirements).
const NEVER_EMPTY: [&str; 17] = [
    "BilledCost",
    "BillingAccountId",
    "BillingCurrency",
    "BillingPeriodEnd",
    "BillingPeriodStart",
    "ChargeCategory",
    "ChargeDescription",
    "ChargePeriodEnd",
    "ChargePeriodStart",
    "ContractedCost",
    "EffectiveCost",
    "InvoiceIssuerName",
    "ListCost",
    "ProviderName",
    "PublisherName",
    "ServiceCategory",
    "ServiceName",
];

#[test]
fn focus_rows_keep_the_rules_of_their_columns() {
    let daemon = Daemon::start();
    load(&daemon);
    let text =
        cli::run(&["export", "focus", "--since", "1d", "--account", "4711", "--url", daemon.api()], daemon.folder());
    let text = text.expect_code(0).stdout;
    let lines: Vec<&str> = text.lines().collect();
    let header: Vec<&str> = lines[0].split(',').collect();
    let sorted: Vec<&str> = header.iter().copied().filter(|name| !name.starts_with("x_")).collect();
    assert!(sorted.is_sorted() && sorted.len() == 43, "{sorted:?}");
    // Two teams with models and labels, and a tool call without labels.
    assert_eq!(lines.len(), 4, "{text}");
    let mut cost = rust_decimal::Decimal::ZERO;
    for line in &lines[1..] {
        let cells = csv_cells(line);
        assert_eq!(cells.len(), header.len(), "{line}");
        let cell = |name: &str| cells[header.iter().position(|column| *column == name).unwrap()].as_str();
        for name in NEVER_EMPTY {
            assert!(!cell(name).is_empty(), "{name} in {line}");
        }
        for name in ["BilledCost", "EffectiveCost", "ListCost", "ContractedCost", "ConsumedQuantity", "PricingQuantity"]
        {
            assert!(cell(name).parse::<rust_decimal::Decimal>().is_ok(), "{name} in {line}");
        }
        for name in ["BillingPeriodStart", "BillingPeriodEnd", "ChargePeriodStart", "ChargePeriodEnd"] {
            assert!(
                cell(name).parse::<jiff::Timestamp>().is_ok() && cell(name).ends_with("T00:00:00Z"),
                "{name} in {line}"
            );
        }
        assert!(cell("ChargePeriodStart") < cell("ChargePeriodEnd"), "{line}");
        assert!(cell("BillingPeriodStart") <= cell("ChargePeriodStart"), "{line}");
        assert!(cell("ChargePeriodEnd") <= cell("BillingPeriodEnd"), "{line}");
        assert_eq!((cell("BillingCurrency"), cell("ChargeCategory"), cell("ChargeClass")), ("USD", "Usage", ""));
        assert!(["AI and Machine Learning", "Other"].contains(&cell("ServiceCategory")), "{line}");
        assert_eq!((cell("BillingAccountId"), cell("SubAccountId")), ("4711", NS));
        assert!(serde_json::from_str::<Value>(cell("Tags")).is_ok_and(|tags| tags.is_object()), "{line}");
        cost += cell("BilledCost").parse::<rust_decimal::Decimal>().unwrap();
    }
    assert_eq!(cost.normalize().to_string(), cost_of(5));
}

/// The cells of one line of CSV.
fn csv_cells(line: &str) -> Vec<String> {
    let (mut cells, mut cell, mut quoted) = (Vec::new(), String::new(), false);
    let mut chars = line.chars().peekable();
    while let Some(char) = chars.next() {
        match char {
            '"' if quoted && chars.peek() == Some(&'"') => cell.extend(chars.next()),
            '"' => quoted = !quoted,
            ',' if !quoted => cells.push(std::mem::take(&mut cell)),
            _ => cell.push(char),
        }
    }
    cells.push(cell);
    cells
}

/// Five calls at 0.000423 = 0.002115 metered; the bill says 0.003: 0.000885 more, booked once.
#[test]
fn a_bill_is_compared_and_booked_once() {
    let daemon = Daemon::start();
    load(&daemon);
    let today = &crate::events::now()[..10];
    let bill = format!("date,model,cost_usd\n{today},gpt-4o-mini-2024-07-18,0.003\n{today},whisper-1,0.5\n");
    std::fs::write(daemon.folder().join("bill.csv"), bill).unwrap();
    let run = |more: &[&str]| -> Value {
        let url = daemon.api().to_owned();
        let arguments =
            [&["reconcile", "--provider", "generic", "bill.csv", "-o", "json", "--url", &url], more].concat();
        let ended = cli::run(&arguments, daemon.folder()).expect_code(0);
        serde_json::from_str(&ended.stdout).expect("JSON")
    };
    let report = run(&[]);
    let keys = ["model", "metered_usd", "difference_usd", "cause"];
    // 1024 of 2369 tokens are cached.
    let expected = json!([
        ["gpt-4o-mini-2024-07-18", "0.002115", "0.000885", "cache_convention"],
        ["whisper-1", "0", "0.5", "unmetered_traffic"]
    ]);
    let found: Vec<Value> =
        report["rows"].as_array().unwrap().iter().map(|row| json!(keys.map(|key| row[key].clone()))).collect();
    assert_eq!(json!(found), expected, "{report}");
    daemon.wait_for_metric("meterd_reconcile_captured_ratio", &[("provider", "generic")], "0.004204");
    let booked = run(&["--book"]);
    assert_eq!((&booked["booked"], &booked["not_booked"]), (&json!(5), &json!(1)), "{booked}");
    assert_eq!(booked["rows"][0]["difference_usd"], "0");
    assert_eq!(run(&["--book"])["booked"], 0, "a bill is booked once");
    let cost = daemon.get("/v1/cost?by=model&since=1h").expect(200).json();
    assert_eq!(cost["total"]["cost_usd"], "0.003");
    daemon.wait_for_metric("meterd_reconcile_adjustments_usd_total", &[("direction", "up")], "0.000885");
    let data_dir = daemon.data_dir().display().to_string();
    cli::run(&["verify", "--data-dir", &data_dir], daemon.folder()).expect_code(0);
}
