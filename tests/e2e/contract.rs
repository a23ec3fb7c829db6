//! The dashboards and rules against the real thing: a real Prometheus scrapes a real meterd under the demo's load. Every
//! panel and every recording rule returns data, those on ClickHouse from a real one, and the alert on an overrun budget
//! reaches a webhook through a real Alertmanager.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::cli::meterd;
use crate::harness::http;
use crate::harness::observe::{Query, dashboards, folder, rules};
use crate::harness::process::Process;
use crate::harness::receiver::Receiver;
use crate::harness::wait::until;
use crate::prometheus;
use crate::warehouse::{Warehouse, bill};

/// How long the demo may take until every panel has something to show.
const DATA_MAX: Duration = Duration::from_secs(120);
const START_MAX: Duration = Duration::from_secs(30);

/// A budget that the demo's wild run overruns, and limits of other units and windows for the panels that show them.
const BUDGETS: &str = "\
apiVersion: joch.dev/v1alpha1
kind: Budget
metadata: { name: tight, namespace: demo }
spec:
  scope: { namespaces: [demo] }
  limits: { dailyUsd: 0.2, tokenLimitDaily: 50000000 }
  enforcement: { onSoftLimit: alert, onHardLimit: alert, softLimitPct: 0.5 }
---
apiVersion: joch.dev/v1alpha1
kind: Budget
metadata: { name: month, namespace: demo }
spec:
  scope: { namespaces: [demo] }
  limits: { monthlyUsd: 10000 }
  enforcement: { onSoftLimit: alert, onHardLimit: alert, softLimitPct: 0.9 }
";

struct Demo {
    _process: Process,
    api: String,
    metrics: String,
}

/// The demo, round after round, and beside its fleet what a fleet should not do.
fn demo(folder: &Path) -> Demo {
    let data = folder.join("demo-data");
    let mut command = meterd(&["demo", "--seed", "7", "--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0"]);
    let mut process = Process::start(command.arg("--data-dir").arg(&data).current_dir(folder), "demo", folder);
    let found = until("the demo's addresses", START_MAX, || {
        assert!(process.ended().is_none(), "the demo ended: {}", process.stderr());
        serde_json::from_slice::<Value>(&fs::read(data.join("endpoints.json")).ok()?).ok()
    });
    let (api, metrics) = (found["api"].as_str().unwrap().to_owned(), found["metrics"].as_str().unwrap().to_owned());
    let yaml = [("content-type", "application/yaml")];
    let applied = || http::request(&api, "POST", "/v1/resources/apply", &yaml, BUDGETS.as_bytes()).ok();
    until("the budgets to be applied", START_MAX, || applied().filter(|answer| answer.status == 200));
    Demo { _process: process, api, metrics }
}

/// Usage that nobody can price or read, and a budget check: a few of each, now and then.
fn disturb(demo: &Demo, round: usize) {
    let call = json!({
        "id": format!("odd-{round}"), "source": "contract", "time": now(), "namespace": "demo", "execution": "odd",
        "agent": "odd", "team": "support", "kind": "model", "provider": "openai", "model": "no-such-model",
        "usage": { "input_tokens": 10, "output_tokens": 1 },
    });
    let bad = json!({ "id": format!("bad-{round}"), "kind": "no-such-kind" });
    let post = |body: &Value| {
        let headers = [("content-type", "application/json")];
        let _ = http::request(&demo.api, "POST", "/v1/usage", &headers, body.to_string().as_bytes());
    };
    post(&json!([call, bad]));
    let _ = http::request(&demo.api, "GET", "/v1/namespaces/demo/executions/odd/allowance", &[], &[]);
}

/// A run that nobody hears: its kill goes from channel to channel until a person is called.
fn forsake(demo: &Demo) {
    let call = json!({
        "id": "forsaken", "source": "contract", "time": now(), "namespace": "demo", "execution": "forsaken", "kind": "model",
        "provider": "openai", "model": "gpt-4o", "usage": { "input_tokens": 10, "output_tokens": 1 },
    });
    let headers = [("content-type", "application/json")];
    for (path, body) in
        [("/v1/usage", call), ("/v1/namespaces/demo/executions/forsaken/kill", json!({ "reason": "nobody is there" }))]
    {
        let answer = http::request(&demo.api, "POST", path, &headers, body.to_string().as_bytes());
        let answer = answer.expect("the demo answers");
        assert!(answer.status < 300, "{path}: {}", answer.status);
    }
}

/// The panels about bills show the newest comparison.
fn compare_with_a_bill(demo: &Demo) {
    let headers = [("content-type", "application/json")];
    let answer = http::request(&demo.api, "POST", "/v1/reconcile", &headers, bill().to_string().as_bytes());
    answer.expect("the demo answers").expect(200);
}

fn now() -> String {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    pricing::Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap()).to_string()
}

/// The example as it is, but for where the webhooks lead and how long it waits for company.
fn alertmanager(receiver: &Receiver, folder: &Path) -> (Process, String) {
    let text = fs::read_to_string(crate::harness::observe::folder().join("alertmanager/alertmanager.yml")).unwrap();
    let mut config = text.replace("127.0.0.1:9095", &receiver.address());
    for wait in ["group_wait: 30s", "group_wait: 10s", "group_wait: 5s"] {
        config = config.replace(wait, "group_wait: 1s");
    }
    fs::write(folder.join("alertmanager.yml"), config).unwrap();
    let mut command = Command::new("prometheus-alertmanager");
    command.arg(format!("--config.file={}", folder.join("alertmanager.yml").display()));
    command.arg(format!("--storage.path={}", folder.join("alerts").display()));
    command.args(["--web.listen-address=127.0.0.1:0", "--cluster.listen-address="]);
    let mut process = Process::start(&mut command, "alertmanager", folder);
    let address = prometheus::listening(&mut process);
    (process, address)
}

/// Scrapes and evaluates every second; the rules are the tree's, but for the pause between two rounds.
fn observed(targets: &[&str], alertmanager: &str, folder: &Path) -> (Process, String) {
    let rules = folder.join("rules");
    fs::create_dir(&rules).unwrap();
    for file in fs::read_dir(crate::harness::observe::folder().join("prometheus/rules")).unwrap().flatten() {
        let text = fs::read_to_string(file.path()).unwrap();
        let lines = text.lines().map(|line| if line.starts_with("    interval:") { "    interval: 1s" } else { line });
        fs::write(rules.join(file.file_name()), lines.collect::<Vec<_>>().join("\n")).unwrap();
    }
    let host = |url: &str| url.trim_start_matches("http://").to_owned();
    let config = format!(
        "global: {{ scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s }}\nrule_files: [{}/*.yml]\n\
         alerting: {{ alertmanagers: [{{ static_configs: [{{ targets: [\"{}\"] }}] }}] }}\n\
         scrape_configs:\n  - job_name: meterd\n    static_configs:\n      - targets: {:?}\n",
        rules.display(),
        host(alertmanager),
        targets.iter().map(|target| host(target)).collect::<Vec<_>>(),
    );
    prometheus::start(&config, folder)
}

/// A panel's query as Grafana would send it.
fn filled(text: &str) -> String {
    let mut text = text.replace("$__range_s", "60").replace("$__range", "1m");
    text = text.replace("$__rate_interval", "30s").replace("$__interval", "30s");
    for variable in ["job", "instance", "agent_namespace", "budget", "team", "agent", "model"] {
        text = text.replace(&format!("\"${variable}\""), "\".*\"");
    }
    assert!(!text.contains('$'), "a variable is left in {text}");
    text
}

/// Whether a query has at least one row with a number in it.
fn has_data(answer: &Value) -> bool {
    let rows = answer["data"]["result"].as_array();
    let number = |row: &Value| row["value"][1].as_str().and_then(|value| value.parse::<f64>().ok());
    rows.into_iter().flatten().filter_map(number).any(f64::is_finite)
}

#[test]
fn panels_and_recorded_series_have_data_and_an_overrun_reaches_the_webhook() {
    let directory = tempfile::tempdir().unwrap();
    let receiver = Receiver::start();
    let demo = demo(directory.path());
    let (_alertmanager, alerts) = alertmanager(&receiver, directory.path());
    let warehouse = Warehouse::start();
    compare_with_a_bill(&demo);
    forsake(&demo);
    let (_prometheus, prometheus) = observed(&[&demo.metrics, warehouse.scraped_at()], &alerts, directory.path());

    let queries: Vec<Query> = dashboards().iter().flat_map(|dashboard| dashboard.queries()).collect();
    let sql: Vec<(String, String)> =
        queries.iter().filter(|query| query.is_sql).map(|query| (query.place.clone(), query.text.clone())).collect();
    let sql = warehouse.check(&sql);
    let panels = queries.into_iter().filter(|query| !query.is_sql).map(|query| (query.place, filled(&query.text)));
    let recorded = rules().into_iter().filter(|rule| rule.records).map(|rule| (rule.name.clone(), rule.name));
    let mut pending: Vec<(String, String)> = panels.chain(recorded).collect();
    let all = pending.len();
    let begun = Instant::now();
    let mut round = 0;
    while !pending.is_empty() {
        assert!(begun.elapsed() < DATA_MAX, "no data for {pending:#?}");
        disturb(&demo, round);
        warehouse.go_on(round);
        round += 1;
        pending.retain(|(place, expression)| {
            // It is not ready at once, and says so in plain text.
            let Some(answer) = prometheus::ask(&prometheus, expression) else { return true };
            assert_eq!(answer["status"], "success", "{place}: {expression}: {answer}");
            !has_data(&answer)
        });
    }

    for rule in rules() {
        let answer = prometheus::ask(&prometheus, &rule.expression).expect("Prometheus answers");
        assert_eq!(answer["status"], "success", "{}: {answer}", rule.name);
    }

    // The alert arrives where the example sends it: at the page and in the team's chat.
    for path in ["/finops-page", "/team-chat"] {
        let alert = until(&format!("the alert on the overrun budget at {path}"), DATA_MAX, || {
            let posts = receiver.posted(path);
            let alerts = posts.iter().filter_map(|post| post["alerts"].as_array()).flatten();
            let mut hard = alerts.filter(|alert| alert["labels"]["alertname"] == "MeterdBudgetHardLimitReached");
            hard.find(|alert| alert["labels"]["budget"] == "tight").cloned()
        });
        assert_eq!(alert["status"], "firing");
        assert_eq!(alert["labels"]["agent_namespace"], "demo");
        assert_eq!(alert["labels"]["severity"], "critical");
        let page = alert["annotations"]["runbook_url"].as_str().unwrap();
        let name = page.rsplit('/').next().unwrap();
        assert!(folder().join(format!("../docs/runbooks/{name}.md")).exists(), "{page}");
    }
    let silent = receiver.posted("/tickets");
    assert!(
        !silent.iter().any(|post| post.to_string().contains("MeterdBudgetSoftLimitReached")),
        "a reached hard limit mutes the soft one, and budgets are no tickets"
    );
    eprintln!(
        "contract: {all} of {all} queries on Prometheus return data in {:.0?}, {sql} of {sql} on ClickHouse; {} alerts delivered",
        begun.elapsed(),
        ["/finops-page", "/team-chat", "/platform-page", "/tickets"]
            .map(|path| receiver.posted(path).len())
            .iter()
            .sum::<usize>(),
    );
}
