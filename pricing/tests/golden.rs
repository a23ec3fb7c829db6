//! Worked examples: prices computed by hand and by Python's exact fractions (golden/README.md), against `price()`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::sync::Arc;

use pricing::{Attrs, Call, Outcome, PriceBook, PriceTable, Target, Usage, price, recompute};
use serde_json::Value;

fn target(case: &Value) -> Target<'_> {
    let text = |field: &str| case[field].as_str();
    if let (Some(provider), Some(model)) = (text("provider"), text("model")) {
        return Target::Model { provider, model, request_model: None };
    }
    match text("tool") {
        Some(tool) => Target::Tool { tool, mcp_server: text("server"), outcome: text("outcome").unwrap() },
        None => Target::Approval,
    }
}

#[test]
fn worked_examples_cost_what_they_were_worked_out_to() {
    let (tables, warnings) = PriceTable::parse(include_str!("golden/tables.yaml")).unwrap();
    assert_eq!(warnings, []);
    let book = PriceBook::new(tables.into_iter().map(Arc::new).collect());
    let cases: Vec<Value> = serde_json::from_str(include_str!("golden/cases.json")).unwrap();
    assert!(cases.len() > 30);
    for case in &cases {
        let name = case["name"].as_str().unwrap();
        let usage: Usage = serde_json::from_value(case["usage"].clone()).unwrap();
        let attrs: Attrs = serde_json::from_value(case["attrs"].clone()).unwrap_or_default();
        let at = case["at"].as_str().unwrap().parse().unwrap();
        let call = Call { target: target(case), at, usage: &usage, attrs: &attrs, namespace: "", team: None };
        match price(&book, &call) {
            Outcome::Priced(cost) => {
                assert_eq!(Some(&*cost.total.to_string()), case["expected"].as_str(), "{name}: {:?}", cost.lines);
                assert_eq!(Some(cost.lines.len()), case["terms"].as_array().map(Vec::len), "{name}: {:?}", cost.lines);
                assert!(cost.lines.iter().all(|line| recompute(line) == Some(line.amount)), "{name}");
                assert!(book.find(&cost.table.digest).is_some(), "{name}");
            }
            Outcome::Unpriced(reason) => assert_eq!(Some(reason.code()), case["reason"].as_str(), "{name}"),
        }
    }
}
