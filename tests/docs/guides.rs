//! Each guide, followed from its first line to its last.

use std::fs;

use super::replay::follow;
use super::root;

#[test]
fn getting_started_is_true() {
    follow("getting-started.md");
}

#[test]
fn send_usage_is_true() {
    follow("send-usage.md");
}

#[test]
fn prices_is_true() {
    follow("prices.md");
}

#[test]
fn budgets_is_true() {
    follow("budgets.md");
}

#[test]
fn kills_is_true() {
    follow("kills.md");
}

#[test]
fn operate_is_true() {
    follow("operate.md");
}

#[test]
fn storage_is_true() {
    follow("storage.md");
}

#[test]
fn access_is_true() {
    follow("access.md");
}

#[test]
fn clickhouse_is_true() {
    follow("clickhouse.md");
}

#[test]
fn cost_is_true() {
    follow("cost.md");
}

#[test]
fn connect_is_true() {
    follow("connect.md");
}

/// They show what stands outside the guide: a browser, Prometheus, Grafana. Other tests look at those.
const FOR_THE_READER: [&str; 2] = ["console.md", "dashboards.md"];

#[test]
fn every_guide_is_followed() {
    let mut names: Vec<String> = fs::read_dir(root().join("docs/guides"))
        .expect("there are guides")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .filter(|name| name.ends_with(".md") && !FOR_THE_READER.contains(&name.as_str()))
        .collect();
    names.sort();
    let followed = [
        "access.md",
        "budgets.md",
        "clickhouse.md",
        "connect.md",
        "cost.md",
        "getting-started.md",
        "kills.md",
        "operate.md",
        "prices.md",
        "send-usage.md",
        "storage.md",
    ];
    assert_eq!(names, followed, "add a test that follows the new guide");
}
