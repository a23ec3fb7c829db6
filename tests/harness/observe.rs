//! The rules and dashboards of the tree, read from their files: recording rules, alerts, panels and their queries.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// The folder of dashboards, rules and the Alertmanager example.
pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../dashboards")
}

/// A rule that records or alerts.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    pub(crate) name: String,
    pub(crate) records: bool,
    pub(crate) expression: String,
}

/// Every rule, in the order of files and groups.
pub(crate) fn rules() -> Vec<Rule> {
    let mut found = Vec::new();
    for (_, file) in files("prometheus/rules", "yml") {
        let file: Value = serde_yaml::from_str(&file).expect("rules are YAML");
        let groups = file["groups"].as_array().expect("groups").iter();
        for rule in groups.flat_map(|group| group["rules"].as_array().expect("rules")) {
            let text = |key: &str| rule[key].as_str().map(str::to_owned);
            let records = rule["record"].is_string();
            let name = text("record").or_else(|| text("alert")).expect("a rule has a name");
            found.push(Rule { name, records, expression: text("expr").expect("a rule has an expression") });
        }
    }
    found
}

/// A dashboard as Grafana loads it.
pub(crate) struct Dashboard {
    pub(crate) name: String,
    pub(crate) json: Value,
}

/// One query of a panel.
#[derive(Clone, Debug)]
pub(crate) struct Query {
    /// `dashboard / panel`.
    pub(crate) place: String,
    /// PromQL, or SQL.
    pub(crate) text: String,
    pub(crate) is_sql: bool,
}

pub(crate) fn dashboards() -> Vec<Dashboard> {
    let read = |(name, text): (String, String)| Dashboard { name, json: serde_json::from_str(&text).expect("JSON") };
    files("grafana/dashboards", "json").into_iter().map(read).collect()
}

impl Dashboard {
    /// Every panel that draws something.
    pub(crate) fn panels(&self) -> Vec<&Value> {
        let mut found = Vec::new();
        let mut rest: Vec<&Value> = self.json["panels"].as_array().expect("panels").iter().collect();
        while let Some(panel) = rest.pop() {
            if panel["type"] == "row" {
                rest.extend(panel["panels"].as_array().into_iter().flatten());
            } else {
                found.push(panel);
            }
        }
        found.reverse();
        found
    }

    /// Every query of every panel.
    pub(crate) fn queries(&self) -> Vec<Query> {
        let mut found = Vec::new();
        for panel in self.panels() {
            for target in panel["targets"].as_array().into_iter().flatten() {
                let sql = target["rawSql"].as_str();
                let text = sql.or_else(|| target["expr"].as_str()).expect("a query").to_owned();
                let place = format!("{} / {}", self.name, panel["title"].as_str().unwrap_or_default());
                found.push(Query { place, text, is_sql: sql.is_some() });
            }
        }
        found
    }
}

/// Files of a folder by name, with their text.
fn files(under: &str, extension: &str) -> Vec<(String, String)> {
    let entries = fs::read_dir(folder().join(under)).expect("the folder is there").flatten().map(|entry| entry.path());
    let mut paths: Vec<PathBuf> =
        entries.filter(|path| path.extension().is_some_and(|found| found == extension)).collect();
    paths.sort();
    let read = |path: &PathBuf| {
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        (name, fs::read_to_string(path).expect("text"))
    };
    paths.iter().map(read).collect()
}
