//! Dashboards and rules against the catalogue: every metric and label that they name is exposed, every family is used or
//! known to be unused, the panels keep the rules that linters of dashboards have, and the JSON is what the script writes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;

use serde_json::Value;

use super::harness::cli;
use super::harness::observe::{self, Rule, dashboards, rules};
use super::harness::process::Process;
use super::harness::promql::Names;

/// What Prometheus itself knows of a target.
const OF_SCRAPING: [&str; 4] = ["up", "scrape_samples_scraped", "scrape_duration_seconds", "ALERTS"];
/// Families that no rule and no panel uses, and why.
const UNUSED: [(&str, &str); 1] =
    [("meterd_price_table_last_reload_success_timestamp_seconds", "an annotation of every dashboard uses it")];
const SOURCES: [&str; 2] = ["$datasource", "$clickhouse"];

/// Labels by family, with the series of histograms.
fn catalogue() -> BTreeMap<String, BTreeSet<String>> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let printed = cli::run(&["metrics", "--catalog", "-o", "json"], folder.path()).expect_code(0).stdout;
    let rows: Vec<Value> = serde_json::from_str(&printed).expect("the catalogue is JSON");
    let mut found = BTreeMap::new();
    for row in &rows {
        let name = row["name"].as_str().expect("a name").to_owned();
        let labels = row["labels"].as_array().expect("labels").iter().map(|label| label.as_str().unwrap().to_owned());
        let mut labels: BTreeSet<String> = labels.collect();
        labels.extend(["job".to_owned(), "instance".to_owned()]);
        if row["type"] == "histogram" {
            for suffix in ["_sum", "_count"] {
                found.insert(format!("{name}{suffix}"), labels.clone());
            }
            labels.insert("le".to_owned());
            found.insert(format!("{name}_bucket"), labels);
        } else {
            found.insert(name, labels);
        }
    }
    found
}

/// What may be queried: families, and recorded series with the labels that their expressions leave.
fn queryable() -> BTreeMap<String, BTreeSet<String>> {
    let mut known = catalogue();
    for name in OF_SCRAPING {
        let labels = ["job", "instance", "alertstate", "component"].map(str::to_owned);
        known.insert(name.to_owned(), BTreeSet::from(labels));
    }
    for Rule { name, expression, .. } in rules().into_iter().filter(|rule| rule.records) {
        let names = Names::of(&expression);
        let recorded = names.metrics.keys().filter(|metric| metric.contains(':'));
        let inherited = recorded.filter_map(|metric| known.get(metric)).flatten().cloned().collect::<Vec<_>>();
        known.insert(name, names.grouped.into_iter().chain(inherited).collect());
    }
    known
}

/// What an expression names that is not there.
fn unknown(expression: &str, known: &BTreeMap<String, BTreeSet<String>>) -> Vec<String> {
    let names = Names::of(expression);
    let mut findings = Vec::new();
    let mut all = BTreeSet::new();
    for (metric, labels) in &names.metrics {
        let Some(has) = known.get(metric) else {
            findings.push(format!("no metric {metric}"));
            continue;
        };
        findings.extend(labels.difference(has).map(|label| format!("{metric} has no label {label}")));
        all.extend(has.iter().cloned());
    }
    findings.extend(names.grouped.difference(&all).map(|label| format!("nothing here has the label {label}")));
    findings
}

fn family_of(metric: &str) -> &str {
    ["_bucket", "_sum", "_count"].iter().find_map(|suffix| metric.strip_suffix(suffix)).unwrap_or(metric)
}

#[test]
fn every_metric_and_label_exists_and_every_family_is_used() {
    let (known, catalogue) = (queryable(), catalogue());
    let mut used: BTreeSet<String> = BTreeSet::new();
    let (mut checked, mut findings) = (0, Vec::new());
    let all = rules().into_iter().map(|rule| (rule.name, rule.expression));
    let queries = dashboards().iter().flat_map(observe::Dashboard::queries).collect::<Vec<_>>();
    let panels = queries.into_iter().filter(|query| !query.is_sql).map(|query| (query.place, query.text));
    for (place, expression) in all.chain(panels) {
        checked += 1;
        findings.extend(unknown(&expression, &known).into_iter().map(|what| format!("{place}: {what}")));
        used.extend(Names::of(&expression).metrics.into_keys());
    }
    assert_eq!(findings, Vec::<String>::new());
    let families: BTreeSet<&str> = catalogue.keys().map(|name| family_of(name)).collect();
    let used: BTreeSet<&str> = used.iter().map(|name| family_of(name)).collect();
    let unused: BTreeSet<&str> = families.difference(&used).copied().collect();
    let allowed: BTreeSet<&str> = UNUSED.iter().map(|(name, _)| *name).collect();
    assert_eq!(unused, allowed, "families that no rule and no panel uses");
    eprintln!(
        "contract: {checked} expressions, {} families, {} of them used",
        families.len(),
        families.len() - unused.len()
    );
}

/// The check itself finds what is wrong.
#[test]
fn an_unknown_metric_and_an_unknown_label_are_found() {
    let known = queryable();
    assert_eq!(unknown("sum(meterd_costs_usd_total)", &known), ["no metric meterd_costs_usd_total"]);
    assert_eq!(unknown("up{pod=\"a\"}", &known), ["up has no label pod"]);
    assert_eq!(unknown("sum by (model) (meterd_wal_bytes)", &known), ["nothing here has the label model"]);
    assert_eq!(unknown("agent:meterd_cost_usd:rate5m{agent=\"a\"}", &known), Vec::<String>::new());
}

fn problems(dashboard: &observe::Dashboard) -> Vec<String> {
    let json = &dashboard.json;
    let mut found = Vec::new();
    let mut check = |ok: bool, what: String| {
        if !ok {
            found.push(format!("{}: {what}", dashboard.name));
        }
    };
    check(json["editable"] == false, "editable".to_owned());
    check(json["graphTooltip"] == 1, "the crosshair is not shared".to_owned());
    check(json["refresh"] == "1m", "refresh".to_owned());
    check(json["tags"][0] == "meterd" && json["links"][0]["tags"][0] == "meterd", "no links to the others".to_owned());
    check(json.get("__inputs").is_none(), "__inputs are only for imports by hand".to_owned());
    for variable in json["templating"]["list"].as_array().into_iter().flatten() {
        let name = variable["name"].as_str().unwrap_or_default();
        check(
            variable["label"].as_str().is_some_and(|label| !label.is_empty()),
            format!("variable {name} has no label"),
        );
        if variable["type"] == "query" {
            let whole = variable["multi"] == true && variable["includeAll"] == true && variable["refresh"] == 2;
            check(whole && variable["datasource"]["uid"] == "$datasource", format!("variable {name}"));
        }
    }
    for panel in dashboard.panels() {
        let title = panel["title"].as_str().unwrap_or_default();
        let text = |path: &str| panel.pointer(path).and_then(Value::as_str).unwrap_or_default();
        check(!title.is_empty(), "a panel without a title".to_owned());
        check(text("/description").ends_with('.'), format!("{title}: no description"));
        check(!text("/fieldConfig/defaults/unit").is_empty(), format!("{title}: no unit"));
        check(SOURCES.contains(&text("/datasource/uid")), format!("{title}: a data source of its own"));
        check(panel["targets"].as_array().is_some_and(|targets| !targets.is_empty()), format!("{title}: no query"));
    }
    for query in dashboard.queries().iter().filter(|query| !query.is_sql) {
        for (metric, labels) in Names::of(&query.text).metrics {
            let scraped = !metric.contains(':') && metric != "ALERTS";
            let bound = labels.contains("job") && labels.contains("instance");
            check(!scraped || bound, format!("{}: {metric} without job and instance", query.place));
        }
        let windows = query.text.split('[').skip(1).filter_map(|rest| rest.split(']').next());
        for window in windows {
            check(["$__rate_interval", "$__range"].contains(&window), format!("{}: [{window}]", query.place));
        }
    }
    found
}

#[test]
fn dashboards_keep_the_rules_of_linters() {
    let dashboards = dashboards();
    let uids: BTreeSet<&str> = dashboards.iter().filter_map(|dashboard| dashboard.json["uid"].as_str()).collect();
    assert_eq!(uids, BTreeSet::from(["meterd-budgets", "meterd-execution", "meterd-fleet-cost", "meterd-operations"]));
    let findings: Vec<String> = dashboards.iter().flat_map(problems).collect();
    assert_eq!(findings, Vec::<String>::new());
}

#[test]
fn the_committed_dashboards_are_what_the_script_writes() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut command = Command::new("meterd-grafana-python");
    command.arg("-B").arg(observe::folder().join("grafana/generate.py")).arg(folder.path().join("made"));
    Process::start(&mut command, "generate", folder.path()).wait(cli::COMMAND_MAX).expect_code(0);
    let names: BTreeSet<_> =
        fs::read_dir(folder.path().join("made")).unwrap().flatten().map(|file| file.file_name()).collect();
    assert_eq!(names.len(), dashboards().len(), "{names:?}");
    for name in names {
        let made = fs::read_to_string(folder.path().join("made").join(&name)).unwrap();
        let committed = fs::read_to_string(observe::folder().join("grafana/dashboards").join(&name)).unwrap();
        assert!(made == committed, "{name:?} is not what dashboards/grafana/generate.py writes: run it");
    }
}
