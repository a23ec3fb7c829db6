//! Hot reload of the watched directory: a changed file takes effect, a broken one never replaces what was good.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::json;

use crate::events::{NS, call_of, literal, model_call};
use crate::harness::cli;
use crate::harness::daemon::Daemon;
use crate::harness::http;
use crate::harness::wait::{SOON, until};

fn budget(limit: &str) -> String {
    format!(
        "apiVersion: joch.dev/v1alpha1\nkind: Budget\nmetadata: {{ name: cap, namespace: {NS} }}\nspec:\n  \
         scope: {{ namespaces: [{NS}] }}\n  limits: {{ perRunUsd: {limit} }}\n  enforcement: {{ onHardLimit: deny }}\n"
    )
}

fn start() -> Daemon {
    Daemon::start_with(|folder| {
        let resources = folder.join("resources");
        fs::create_dir(&resources).expect("a new folder");
        fs::write(resources.join("budget.yaml"), budget("1")).expect("a new file");
        format!("resources: {{ dir: {} }}\n", resources.display())
    })
}

fn write(daemon: &Daemon, text: &str) {
    replace(&daemon.folder().join("resources/budget.yaml"), text);
}

/// Replaces a file in one step, as editors and Kubernetes do.
fn replace(path: &Path, text: &str) {
    let fresh = path.with_extension("new");
    fs::write(&fresh, text).unwrap();
    fs::rename(&fresh, path).unwrap();
}

fn limit(daemon: &Daemon) -> Option<String> {
    let answer = daemon.get(&format!("/v1/namespaces/{NS}/budgets/cap"));
    (answer.status == 200).then(|| literal(&answer.text(), "perRunUsd").to_owned())
}

fn decision(daemon: &Daemon) -> String {
    let allowance = daemon.get(&format!("/v1/namespaces/{NS}/executions/exec-1/allowance")).expect(200).json();
    allowance["decision"].as_str().unwrap_or_default().to_owned()
}

fn wait_for_limit(daemon: &Daemon, expected: Option<&str>) {
    until(&format!("limit {expected:?}"), SOON, || (limit(daemon).as_deref() == expected).then_some(()));
}

#[test]
fn a_changed_file_takes_effect_without_a_restart() {
    let daemon = start();
    wait_for_limit(&daemon, Some("1"));
    daemon.usage(&model_call("a-1", "exec-1"));
    assert_eq!(decision(&daemon), "allow");
    write(&daemon, &budget("0.0001"));
    wait_for_limit(&daemon, Some("0.0001"));
    until("the lowered limit to deny", SOON, || (decision(&daemon) == "deny").then_some(()));
    write(&daemon, &budget("2"));
    wait_for_limit(&daemon, Some("2"));
    until("the raised limit to allow", SOON, || (decision(&daemon) == "allow").then_some(()));
    fs::remove_file(daemon.folder().join("resources/budget.yaml")).unwrap();
    wait_for_limit(&daemon, None);
}

/// I12: a broken file keeps the last good snapshot; the daemon says which file and where, and recovers.
#[test]
fn a_broken_file_keeps_the_last_good_snapshot_and_says_why() {
    let daemon = start();
    wait_for_limit(&daemon, Some("1"));
    write(&daemon, &budget("-5"));
    daemon.wait_for_metric("meterd_config_last_reload_successful", &[], "0");
    assert_eq!(limit(&daemon).as_deref(), Some("1"));
    until("the place in the log", SOON, || daemon.log().contains("budget.yaml:6").then_some(()));
    let ready = http::request(daemon.metrics_address(), "GET", "/readyz", &[], &[]).unwrap();
    assert_eq!(ready.status, 200, "it goes on with what it has: {}", ready.text());
    assert!(ready.text().contains("budget.yaml"), "and says what it could not read: {}", ready.text());
    write(&daemon, "{ not: [ yaml");
    daemon.usage(&model_call("a-1", "exec-1"));
    assert_eq!(limit(&daemon).as_deref(), Some("1"));
    write(&daemon, &budget("3"));
    wait_for_limit(&daemon, Some("3"));
    daemon.wait_for_metric("meterd_config_last_reload_successful", &[], "1");
}

/// What `apply` brought is not the directory's to remove, and the other way round.
#[test]
fn the_directory_and_apply_own_what_they_brought() {
    let daemon = start();
    wait_for_limit(&daemon, Some("1"));
    daemon.apply(&budget("7").replace("name: cap", "name: applied"));
    write(&daemon, &budget("2"));
    wait_for_limit(&daemon, Some("2"));
    daemon.get(&format!("/v1/namespaces/{NS}/budgets/applied")).expect(200);
}

const BODY: &str = "models:\n    - provider: house\n      id: house-1\n      match: { exact: [house-1] }\n      rates:\n        - set: { input_tokens: ";

/// A price table of one's own: one model, one price a million input tokens.
fn table(version: &str, price: &str) -> String {
    format!(
        "apiVersion: joch.dev/v1alpha1\nkind: PriceTable\nmetadata: {{ name: house }}\nspec:\n  version: \"{version}\"\n  \
         currency: USD\n  per: {{ tokens: 1000000 }}\n  {BODY}\"{price}\" }}\n"
    )
}

/// Cost of 1,000,000 input tokens of that model, as booked now.
fn price_now(daemon: &Daemon, id: &str) -> String {
    let event = call_of(id, "house", "house-1", json!({"input_tokens": 1_000_000}));
    daemon.usage(&event).remove(0)["cost_usd"].as_str().unwrap_or("none").to_owned()
}

/// I12 for prices, and I7: what was booked keeps the price of its table, whatever is in force later.
#[test]
fn prices_are_reloaded_and_a_broken_table_changes_nothing() {
    let mut daemon = Daemon::start_with(|folder| {
        let prices = folder.join("prices");
        fs::create_dir(&prices).expect("a new folder");
        fs::write(prices.join("house.yaml"), table("1", "0.5")).expect("a new file");
        format!("prices: {{ dirs: [{}] }}\n", prices.display())
    });
    let path = daemon.folder().join("prices/house.yaml");
    assert_eq!(price_now(&daemon, "p-1"), "0.5");
    replace(&path, &table("2", "0.75"));
    let mut tries = 0;
    until("the new price", SOON, || {
        tries += 1;
        (price_now(&daemon, &format!("wait-{tries}")) == "0.75").then_some(())
    });
    replace(&path, &table("3", "-1"));
    daemon.wait_for_metric("meterd_price_table_last_reload_successful", &[("source", "house")], "0");
    assert_eq!(price_now(&daemon, "p-2"), "0.75");
    until("the place in the log", SOON, || daemon.log().contains("house.yaml:13").then_some(()));
    let versions: BTreeSet<String> =
        daemon.entries(NS, "prices").iter().map(|entry| entry["price_table"]["version"].to_string()).collect();
    assert_eq!(versions.len(), 2, "{versions:?}");
    assert!(daemon.stop().success());
    let data_dir = daemon.data_dir().display().to_string();
    let proven = cli::run(&["verify", "--data-dir", &data_dir], daemon.folder()).expect_code(0);
    assert!(proven.stdout.contains("2 pinned tables"), "each cost from its own table: {}", proven.stdout);
}
