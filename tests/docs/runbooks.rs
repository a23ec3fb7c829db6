//! Every alert says how bad it is, what it is about and where its runbook is; every runbook has its four parts and is
//! some alert's; every alert has a unit test in which it fires and one in which it is silent.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use super::root;

const PARTS: [&str; 4] = ["## Meaning", "## Impact", "## Diagnosis", "## Mitigation"];

fn yaml_files(folder: &str) -> Vec<(PathBuf, Value)> {
    let entries = fs::read_dir(root().join(folder)).expect("the folder is there").flatten();
    let mut found: Vec<(PathBuf, Value)> = entries
        .map(|entry| {
            let text = fs::read_to_string(entry.path()).expect("rules are text");
            (entry.path(), serde_yaml::from_str(&text).expect("rules are YAML"))
        })
        .collect();
    found.sort_by(|a, b| a.0.cmp(&b.0));
    found
}

fn rows<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map_or(&[], Vec::as_slice)
}

fn alerts() -> BTreeMap<String, Value> {
    let mut found = BTreeMap::new();
    for (_, file) in yaml_files("dashboards/prometheus/rules") {
        for rule in rows(&file, "groups").iter().flat_map(|group| rows(group, "rules")) {
            if let Some(name) = rule["alert"].as_str() {
                assert!(found.insert(name.to_owned(), rule.clone()).is_none(), "{name} is there twice");
            }
        }
    }
    found
}

#[test]
fn every_alert_has_its_runbook_and_every_runbook_its_alert() {
    let alerts = alerts();
    assert!(alerts.len() >= 30, "{} alerts", alerts.len());
    let mut pages: BTreeSet<String> = fs::read_dir(root().join("docs/runbooks"))
        .expect("the folder is there")
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().trim_end_matches(".md").to_owned())
        .collect();
    for (name, rule) in &alerts {
        let text = |path: &str| rule.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned();
        assert!(["critical", "warning", "info"].contains(&text("/labels/severity").as_str()), "{name}: severity");
        assert_eq!(text("/labels/component"), "meterd", "{name}");
        assert!(text("/annotations/summary").ends_with('.'), "{name}: summary");
        assert!(text("/annotations/description").ends_with('.'), "{name}: description");
        assert!(text("/annotations/runbook_url").ends_with(&format!("/runbooks/{name}")), "{name}: runbook_url");
        assert!(pages.remove(name), "{name} has no page in docs/runbooks");
        let page = fs::read_to_string(root().join(format!("docs/runbooks/{name}.md"))).expect("it was listed");
        let heads: Vec<&str> = page.lines().filter(|line| line.starts_with("## ")).collect();
        assert_eq!(heads, PARTS, "{name}");
        let parts = page.split("\n## ").skip(1).filter_map(|part| part.split_once('\n'));
        assert!(parts.clone().all(|(_, text)| text.trim().len() > 10), "{name}: an empty part");
    }
    assert_eq!(pages, BTreeSet::new(), "runbooks without an alert");
}

#[test]
fn every_alert_is_tested_to_fire_and_to_be_silent() {
    let (mut fires, mut silent) = (BTreeSet::new(), BTreeSet::new());
    for (path, file) in yaml_files("dashboards/prometheus/tests") {
        assert!(!rows(&file, "group_eval_order").is_empty(), "{}: without it groups run in any order", path.display());
        for case in rows(&file, "tests").iter().flat_map(|test| rows(test, "alert_rule_test")) {
            let name = case["alertname"].as_str().expect("a case names its alert").to_owned();
            if rows(case, "exp_alerts").is_empty() {
                silent.insert(name)
            } else {
                fires.insert(name)
            };
        }
    }
    let alerts: BTreeSet<String> = alerts().into_keys().collect();
    assert_eq!(fires, alerts, "alerts that a unit test sees firing");
    assert_eq!(silent, alerts, "alerts that a unit test sees silent");
}
