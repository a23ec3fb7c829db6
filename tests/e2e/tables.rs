//! `meterd import` and `meterd tables`: files in, tables out, and what they say.

use std::fs;

use serde_json::{Value, json};

use crate::harness::cli;

/// One model at $1 and $2 a million tokens, half of it in batches, and one thing that no table can say.
fn price_file() -> String {
    json!({"acme/rocket": {
        "litellm_provider": "acme", "mode": "chat", "input_cost_per_token": 1e-06, "output_cost_per_token": 2e-06,
        "input_cost_per_token_batches": 5e-07, "output_cost_per_token_batches": 1e-06,
        "search_free_requests": {"count": 5},
    }})
    .to_string()
}

#[test]
fn a_price_file_becomes_tables_that_price() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("prices-1.2.3.json"), price_file()).unwrap();
    let ended = cli::run(&["import", "litellm", "prices-1.2.3.json", "-o", "out"], folder.path()).expect_code(0);
    assert!(ended.stdout.contains("search_free_requests  1"), "{}", ended.stdout);
    assert!(ended.stderr.contains("1 entries of 1 tables are in out; 1 things are left out"), "{}", ended.stderr);
    let report = fs::read_to_string(path("out/left-out.tsv")).unwrap();
    assert!(report.starts_with("provider\tmodel\twhat\twhy\nacme\tacme/rocket\tsearch_free_requests\t"), "{report}");
    cli::run(&["check", "out"], folder.path()).expect_code(0);
    // 1,000 × $0.5 and 10 × $1 a million.
    let event = json!({"id": "1", "source": "s", "time": "2026-11-22T10:00:00Z", "execution": "e", "agent": "a",
        "kind": "model", "provider": "acme", "model": "rocket", "usage": {"input_tokens": 1_000, "output_tokens": 10},
        "attrs": {"processing": "batch"}});
    let priced = cli::run_with_input(&["price", "--tables", "out"], folder.path(), event.to_string().as_bytes());
    let priced: Value = serde_json::from_str(&priced.expect_code(0).stdout).unwrap();
    assert_eq!((&priced["cost_usd"], &priced["price_table"]["version"]), (&json!("0.00051"), &json!("1.2.3+1")));
    cli::run(&["import", "genai-prices", "prices-1.2.3.json", "-o", "out"], folder.path()).expect_code(1);
    cli::run(&["import", "litellm", "missing.json", "-o", "out"], folder.path()).expect_code(1);
}

#[test]
fn tables_are_listed_shown_and_compared() {
    let folder = tempfile::tempdir().unwrap();
    for (name, input) in [("old.yaml", "1"), ("new.yaml", "1.5")] {
        let text = format!(
            "apiVersion: joch.dev/v1alpha1\nkind: PriceTable\nmetadata: {{ name: mine }}\nspec:\n  version: \"1\"\n  models:\n    \
             - {{ provider: acme, id: rocket, match: {{ prefix: [rocket] }}, rates: [{{ set: {{ input_tokens: \"{input}\" }} }}] }}\n"
        );
        fs::write(folder.path().join(name), text).unwrap();
    }
    fs::create_dir(folder.path().join("tables")).unwrap();
    fs::copy(folder.path().join("old.yaml"), folder.path().join("tables/mine.yaml")).unwrap();
    let run = |arguments: &[&str]| cli::run(arguments, folder.path()).expect_code(0).stdout;
    let listed = run(&["tables", "list", "--tables", "tables", "--no-seed", "-o", "csv"]);
    assert!(listed.starts_with("name,version,entries,digest\nmine,1,1,"), "{listed}");
    assert!(run(&["tables", "list", "--models"]).contains("anthropic"));
    let shown = run(&["tables", "show", "acme:rocket-2", "--at", "2026-11-22", "--tables", "tables", "-o", "json"]);
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(shown["matched"], json!({"rank": "prefix", "pattern": "rocket"}));
    let rule = json!({"layer": 0, "rule": 0, "baseOnly": false, "inForce": "yes", "when": null, "reset": false,
        "rates": [{"unit": "input_tokens", "usd": "1", "per": 1_000_000}]});
    assert_eq!(shown["rules"], json!([rule]));
    let differs = run(&["tables", "diff", "old.yaml", "new.yaml", "-o", "csv"]);
    let expected =
        "change,entry,unit,old,new,when\nchanged,acme:rocket,input_tokens,1 per 1000000,1.5 per 1000000,always\n";
    assert_eq!(differs, expected);
    cli::run(&["tables", "show", "acme:nothing", "--tables", "tables"], folder.path()).expect_code(1);
    cli::run(&["tables", "diff", "old.yaml", "missing.yaml"], folder.path()).expect_code(78);
}
