//! `meterd simulate` on calls that were really made: sums worked out by hand, the same from a daemon and from its folder.

use std::fs;

use serde_json::{Value, json};

use crate::events::{NS, model_call, tool_call};
use crate::harness::cli;
use crate::harness::daemon::Daemon;

fn budget(limits: &str, action: &str) -> String {
    format!(
        "apiVersion: joch.dev/v1alpha1\nkind: Budget\nmetadata: {{ name: tried, namespace: {NS} }}\nspec:\n  limits: {{ {limits} }}\n  \
         enforcement: {{ onHardLimit: {action}, softLimitPct: 0.5 }}\n"
    )
}

/// What `simulate` says of a proposal, asked of the daemon while it runs and of its folder beside it.
fn tried(daemon: &Daemon, text: &str) -> Value {
    fs::write(daemon.folder().join("tried.yaml"), text).unwrap();
    let url = daemon.api().to_owned();
    let data_dir = daemon.data_dir().display().to_string();
    let asked = |from: &[&str]| {
        let words = [&["simulate", "-f", "tried.yaml", "--since", "2000-01-01T00:00:00Z", "-o", "json"], from].concat();
        let ended = cli::run(&words, daemon.folder()).expect_code(0);
        serde_json::from_str::<Value>(&ended.stdout).unwrap_or_else(|error| panic!("{error}: {}", ended.stdout))
    };
    let (live, rest) = (asked(&["--url", &url]), asked(&["--data-dir", &data_dir]));
    assert_eq!(live, rest, "the daemon and its folder say the same");
    live
}

fn check(report: &Value, expected: Value) {
    for (key, value) in expected.as_object().expect("an object") {
        assert_eq!(&report[key], value, "{key} of {report}");
    }
}

/// Each call costs 0.000423 USD. `long` makes four, `short` one, `tools` two free ones.
#[test]
fn a_proposed_budget_is_tried_on_the_calls_that_were_made() {
    let daemon = Daemon::start();
    let calls: Vec<Value> = (0..4).map(|n| model_call(&format!("l-{n}"), "long")).collect();
    daemon.usage(&json!(calls));
    daemon.usage(&json!([model_call("s-1", "short"), tool_call("t-1", "tools"), tool_call("t-2", "tools")]));
    let before = daemon.entries(NS, "long").len();

    // 0.001 holds two calls (0.000846); a third and a fourth would pass it.
    let deny = tried(&daemon, &budget("perRunUsd: 0.001", "deny"));
    check(
        &deny,
        json!({
            "calls": 7, "runs": 3, "runs_alerted": 1, "runs_denied": 1, "runs_killed": 0, "calls_denied": 2, "calls_avoided": 0,
            "spent_usd": "0.002115", "would_have_spent_usd": "0.001269", "saved_usd": "0.000846",
        }),
    );
    let row = &deny["rows"][0];
    check(row, json!({ "execution": "long", "calls_denied": 2, "saved_usd": "0.000846", "agent": "support-triage" }));
    assert!(row["reason"].as_str().is_some_and(|why| why.ends_with("tried run: 0.000846 of 0.001 USD")), "{row}");
    check(&deny["budgets"][0], json!({ "name": "tried", "alerts": 1, "calls_denied": 2, "saved_usd": "0.000846" }));

    // The third call reaches 0.001 and is made; the fourth is not.
    let kill = tried(&daemon, &budget("perRunUsd: 0.001", "terminate"));
    check(
        &kill,
        json!({
            "runs_killed": 1, "calls_denied": 0, "calls_avoided": 1, "would_have_spent_usd": "0.001692", "saved_usd": "0.000423",
        }),
    );
    check(&kill["rows"][0], json!({ "execution": "long", "calls_avoided": 1 }));
    assert!(kill["rows"][0]["killed_at"].is_string(), "{kill}");
    check(&kill["budgets"][0], json!({ "runs_killed": 1, "saved_usd": "0.000423" }));

    // What only alerts saves nothing. A soft level and the limit, each once.
    let alert = tried(&daemon, &budget("perRunUsd: 0.001", "alert"));
    check(&alert, json!({ "runs_alerted": 1, "calls_denied": 0, "calls_avoided": 0, "saved_usd": "0" }));
    check(&alert["budgets"][0], json!({ "alerts": 2 }));

    // Calls of tools are counted though they cost nothing.
    let tools = tried(&daemon, &budget("toolCallLimitPerRun: 1", "deny"));
    check(&tools, json!({ "calls_denied": 1, "runs_denied": 1, "saved_usd": "0" }));
    assert_eq!(tools["rows"][0]["execution"], "tools", "{tools}");
    assert_eq!(daemon.entries(NS, "long").len(), before, "nothing was written");
}

/// A correction counts as what the call costs now, a limit of the run itself not at all, and a table is for people.
#[test]
fn the_report_is_for_people_and_knows_corrections() {
    let daemon = Daemon::start();
    let own = json!({ "budgets": { "perRunUsd": "0.0005", "onHardLimit": "deny" } });
    daemon.put(&format!("/v1/namespaces/{NS}/executions/long"), &own).expect(200);
    let calls: Vec<Value> = (0..3).map(|n| model_call(&format!("l-{n}"), "long")).collect();
    daemon.usage(&json!(calls));
    let of = daemon.entries(NS, "long")[0]["seq"].clone();
    daemon.post("/v1/adjustments", &json!({ "of": of, "cost_usd": "0.0001", "reason": "credit" })).expect(200);
    // 0.0001 + 0.000423 + 0.000423 = 0.000946 stays below 0.001.
    let report = tried(&daemon, &budget("perRunUsd: 0.001", "deny"));
    check(&report, json!({ "calls_denied": 0, "spent_usd": "0.000946", "saved_usd": "0", "runs_alerted": 1 }));

    fs::write(daemon.folder().join("tried.yaml"), budget("perRunUsd: 0.0006", "deny")).unwrap();
    let url = daemon.api().to_owned();
    let table = ["simulate", "-f", "tried.yaml", "--since", "1h", "--url", &url];
    let ended = cli::run(&table, daemon.folder()).expect_code(0);
    assert!(ended.stdout.contains("tried run: 0.000523 of 0.0006 USD"), "{}", ended.stdout);
    assert!(
        ended.stderr.contains("of 1 runs 1 would have been alerted, 1 denied a call, 0 killed"),
        "{}",
        ended.stderr
    );
    fs::write(daemon.folder().join("tried.yaml"), budget("perRunUsd: much", "deny")).unwrap();
    let wrong = cli::run(&table, daemon.folder()).expect_code(78);
    assert!(wrong.stderr.contains("spec.limits.perRunUsd"), "{}", wrong.stderr);
    let none = json!({ "documents": "{apiVersion: joch.dev/v1alpha1, kind: Team, metadata: {name: t}}", "since": "2000-01-01T00:00:00Z" });
    daemon.post("/v1/simulate", &none).problem(400, "no_budget");
}
