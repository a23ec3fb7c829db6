//! `meterd export`: every line of the ledger, beside a daemon and at rest; the amounts sum to the runs' costs.

use std::fs;

use rust_decimal::Decimal;
use serde_json::{Value, json};

use crate::events::{CALL_USD, NS, cost_of, model_call, tool_call};
use crate::harness::cli;
use crate::harness::daemon::Daemon;

#[test]
fn the_ledgers_lines_are_written_out_and_sum_to_the_cost() {
    let mut daemon = Daemon::start();
    let calls: Vec<Value> = (0..5).map(|number| model_call(&format!("m-{number}"), "exec-1")).collect();
    daemon.usage(&json!(calls));
    daemon.usage(&tool_call("t-1", "exec-1"));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let data_dir = daemon.data_dir().display().to_string();
    let export = |arguments: &[&str]| {
        cli::run(&[&["export"], arguments, &["--data-dir", data_dir.as_str()]].concat(), folder.path()).expect_code(0)
    };
    let beside = export(&["ndjson"]).stdout;
    let lines: Vec<Value> = beside.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 6);
    assert_eq!((&lines[0]["event_id"], &lines[0]["namespace"]), (&json!("m-0"), &json!(NS)));
    assert_eq!((&lines[0]["execution"], &lines[0]["cost_usd"]), (&json!("exec-1"), &json!(CALL_USD)));
    assert_eq!(export(&["ndjson", "--since", "1h"]).stdout, beside);
    assert_eq!(export(&["ndjson", "--until", "1h"]).stdout, "");
    assert!(daemon.stop().success());
    let said = export(&["csv", "-o", "lines.csv"]);
    assert_eq!(said.stdout, "");
    assert!(said.stderr.contains("6 line(s)"), "{}", said.stderr);
    let text = fs::read_to_string(folder.path().join("lines.csv")).unwrap();
    let mut rows = text.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let head = rows.next().unwrap();
    let column = |name: &str| head.iter().position(|found| *found == name).unwrap_or_else(|| panic!("no {name}"));
    let rows: Vec<_> = rows.collect();
    let cell = |row: usize, name: &str| rows[row][column(name)];
    assert_eq!(rows.len(), 6);
    assert_eq!((cell(0, "model"), cell(0, "input_tokens"), cell(0, "output_tokens")), ("gpt-4o-mini", "2048", "321"));
    assert_eq!((cell(5, "kind"), cell(5, "tool")), ("tool", "zendesk.create_ticket"));
    let sum: Decimal = (0..6).map(|row| cell(row, "cost_usd").parse::<Decimal>().unwrap()).sum();
    assert_eq!(sum.normalize().to_string(), cost_of(5));
    assert!(!folder.path().join("lines.tmp").exists());
}
