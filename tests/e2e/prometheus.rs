//! A real Prometheus scrapes the daemon; promtool judges the exposition. Both come from Debian's package.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::events::{NS, model_call, tool_call};
use crate::harness::cli::COMMAND_MAX;
use crate::harness::daemon::Daemon;
use crate::harness::http;
use crate::harness::process::Process;
use crate::harness::wait::until;

pub(crate) const SCRAPED_MAX: Duration = Duration::from_secs(60);

fn load(daemon: &Daemon) {
    daemon.apply(&format!(
        "apiVersion: joch.dev/v1alpha1\nkind: Budget\nmetadata: {{ name: cap, namespace: {NS} }}\nspec:\n  \
         scope: {{ namespaces: [{NS}] }}\n  limits: {{ dailyUsd: 10 }}\n"
    ));
    let events: Vec<Value> = (0..5).map(|n| model_call(&format!("a-{n}"), "exec-1")).collect();
    daemon.usage(&json!(events));
    daemon.usage(&tool_call("t-1", "exec-1"));
    daemon.wait_for_metric("meterd_cost_usd_total", &[], "0.002115"); // 5 × 0.000423
}

/// Starts Prometheus on a port that it picks itself; its address.
pub(crate) fn start(config: &str, folder: &Path) -> (Process, String) {
    let path = folder.join("prometheus.yml");
    fs::write(&path, config).unwrap();
    let mut command = Command::new("prometheus");
    command.arg(format!("--config.file={}", path.display()));
    command.arg(format!("--storage.tsdb.path={}", folder.join("tsdb").display()));
    command.args(["--web.listen-address=127.0.0.1:0", "--enable-feature=exemplar-storage"]);
    let mut process = Process::start(&mut command, "prometheus", folder);
    let address = listening(&mut process);
    (process, address)
}

/// The address in the log of Prometheus or Alertmanager.
pub(crate) fn listening(process: &mut Process) -> String {
    until("an address in the log", SCRAPED_MAX, || {
        assert!(process.ended().is_none(), "it ended: {}", process.stderr());
        let log = process.stderr();
        let line = log.lines().find(|line| line.contains("Listening on"))?;
        let address = line.split("address=").nth(1)?.split_whitespace().next()?.trim_matches('"').to_owned();
        Some(format!("http://{address}"))
    })
}

pub(crate) fn prometheus(target: &str, folder: &Path) -> (Process, String) {
    let config = format!(
        "global: {{ scrape_interval: 1s, scrape_timeout: 1s }}\nscrape_configs:\n  - job_name: meterd\n    static_configs:\n      \
         - targets: [\"{target}\"]\n"
    );
    start(&config, folder)
}

/// The answer to an instant query.
pub(crate) fn ask(prometheus: &str, expression: &str) -> Option<Value> {
    let encoded: String = expression.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let answer = http::request(prometheus, "GET", &format!("/api/v1/query?query={encoded}"), &[], &[]).ok()?;
    serde_json::from_slice(&answer.body).ok()
}

/// The value of an instant query with one result.
pub(crate) fn query(prometheus: &str, expression: &str) -> Option<String> {
    let answer = ask(prometheus, expression)?;
    answer["data"]["result"][0]["value"][1].as_str().map(str::to_owned)
}

#[test]
fn a_real_prometheus_scrapes_exact_money() {
    let daemon = Daemon::start();
    load(&daemon);
    let folder = tempfile::tempdir().unwrap();
    let target = daemon.metrics_address().trim_start_matches("http://").to_owned();
    let (_process, prometheus) = prometheus(&target, folder.path());
    until("the target to be up", SCRAPED_MAX, || (query(&prometheus, "up{job=\"meterd\"}")? == "1").then_some(()));
    let expected = [
        ("sum(meterd_cost_usd_total)", "0.002115"),
        ("sum(meterd_model_cost_usd_total{provider=\"openai\",model=\"gpt-4o-mini\"})", "0.002115"),
        ("sum(meterd_tokens_total)", "11845"), // 5 × 2,369: the types are disjoint
        ("sum(meterd_model_calls_total{outcome=\"ok\"})", "5"),
        ("sum(meterd_tool_calls_total{tool=\"zendesk.create_ticket\"})", "1"),
        ("meterd_budget_limit_usd{budget=\"cap\",window=\"day\"}", "10"),
        ("meterd_budget_spent_usd{budget=\"cap\",window=\"day\"}", "0.002115"),
        ("sum(meterd_cost_usd_total{category=\"model\"}) - sum(meterd_model_cost_usd_total)", "0"),
        ("count(meterd_build_info)", "1"),
    ];
    for (expression, value) in expected {
        until(&format!("{expression} = {value}"), SCRAPED_MAX, || {
            (query(&prometheus, expression)? == value).then_some(())
        });
    }
    assert_eq!(
        query(&prometheus, "count({__name__=~\".+\",exported_job!=\"\"})"),
        None,
        "no label that scraping reserves"
    );
}

#[test]
fn promtool_finds_nothing_to_say_about_the_exposition() {
    let daemon = Daemon::start();
    load(&daemon);
    let folder = tempfile::tempdir().unwrap();
    let text = daemon.scrape();
    let mut command = Command::new("promtool");
    command.args(["check", "metrics"]);
    let ended = Process::start_with_input(&mut command, "promtool", folder.path(), text.as_bytes()).wait(COMMAND_MAX);
    let ended = ended.expect_code(0);
    assert_eq!((ended.stdout.as_str(), ended.stderr.as_str()), ("", ""), "no finding at all");
}

/// Both text formats by what the scraper accepts; OpenMetrics ends with its mark, and both carry the same money.
#[test]
fn both_text_formats_are_served() {
    let daemon = Daemon::start();
    load(&daemon);
    let get = |accept: &str| {
        let answer =
            http::request(daemon.metrics_address(), "GET", "/metrics", &[("accept", accept)], &[]).unwrap().expect(200);
        (answer.header("content-type").unwrap_or_default().to_owned(), answer.text())
    };
    let (kind, open) = get("application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5");
    assert!(kind.starts_with("application/openmetrics-text; version=1.0.0"), "{kind}");
    assert!(open.ends_with("# EOF\n"), "{}", &open[open.len().saturating_sub(200)..]);
    let (kind, plain) = get("text/plain;version=0.0.4");
    assert!(kind.starts_with("text/plain; version=0.0.4"), "{kind}");
    assert!(!plain.contains("# EOF"));
    for text in [&open, &plain] {
        let cost = crate::harness::metrics::sum(text, "meterd_cost_usd_total", &[]);
        assert_eq!(cost.map(|cost| cost.normalize().to_string()).as_deref(), Some("0.002115"));
    }
}

/// `?family=` lets a second job scrape the large families at a longer interval.
#[test]
fn some_families_can_be_scraped_alone() {
    let daemon = Daemon::start();
    load(&daemon);
    let get =
        |query: &str| http::request(daemon.metrics_address(), "GET", &format!("/metrics?{query}"), &[], &[]).unwrap();
    let text =
        get("family=meterd_tokens_total&family=meterd_model_cost_usd_total,meterd_build_info").expect(200).text();
    let families: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
    assert_eq!(
        families,
        ["meterd_model_cost_usd_total counter", "meterd_tokens_total counter", "meterd_build_info gauge"],
        "in the order of the whole"
    );
    assert!(text.contains("meterd_tokens_total{"));
    let problem = get("family=meterd_costs").expect(400).json();
    assert_eq!(problem["code"], "unknown_family");
}

/// What Prometheus asks for: compressed.
#[test]
fn the_exposition_is_compressed_on_demand() {
    let daemon = Daemon::start();
    load(&daemon);
    let headers = [("accept-encoding", "gzip")];
    let answer = http::request(daemon.metrics_address(), "GET", "/metrics", &headers, &[]).unwrap().expect(200);
    assert_eq!(answer.header("content-encoding"), Some("gzip"));
    let mut text = String::new();
    std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(answer.body.as_slice()), &mut text).unwrap();
    assert!(text.contains("meterd_cost_usd_total{"));
}

/// A counter that fell to 0, or lost what came between the last scrape and the end, would show here.
#[test]
fn increase_over_a_restart_is_what_the_ledger_says() {
    let mut daemon = Daemon::start();
    let cost = |text: &str| crate::harness::metrics::sum(text, "meterd_cost_usd_total", &[]).unwrap_or_default();
    let run = json!({ "agent": "support-triage", "team": "support" });
    daemon.put(&format!("/v1/namespaces/{NS}/executions/exec-1"), &run).expect(200);
    let folder = tempfile::tempdir().unwrap();
    // The daemon comes back on another port: the same instance all the same, as it would be behind a name.
    let targets = folder.path().join("targets.json");
    let point_at = |daemon: &Daemon| {
        let target = daemon.metrics_address().trim_start_matches("http://").to_owned();
        let written = folder.path().join("targets.new");
        fs::write(&written, json!([{ "targets": [target], "labels": { "instance": "meterd" } }]).to_string()).unwrap();
        fs::rename(&written, &targets).unwrap();
    };
    point_at(&daemon);
    let config = format!(
        "global: {{ scrape_interval: 1s, scrape_timeout: 1s }}\nscrape_configs:\n  - job_name: meterd\n    \
         file_sd_configs: [{{ files: [{}], refresh_interval: 1s }}]\n",
        targets.display()
    );
    let (_process, prometheus) = start(&config, folder.path());
    // Some samples at 0, then spend, then a kill in the middle, then more spend.
    let seen = |expression: &str, value: &str| {
        until(&format!("{expression} = {value}"), SCRAPED_MAX, || {
            (query(&prometheus, expression)? == value).then_some(())
        });
    };
    seen("sum(count_over_time(meterd_cost_usd_total{category=\"model\"}[5m])) >= bool 2", "1"); // two samples at 0
    daemon.usage(&json!((0..100).map(|n| model_call(&format!("a-{n}"), "exec-1")).collect::<Vec<Value>>()));
    let before = cost(&daemon.scrape());
    seen("sum(meterd_cost_usd_total)", &before.normalize().to_string());
    daemon.usage(&json!((0..100).map(|n| model_call(&format!("b-{n}"), "exec-1")).collect::<Vec<Value>>()));
    daemon.kill();
    daemon.start_again();
    point_at(&daemon);
    daemon.usage(&json!((0..100).map(|n| model_call(&format!("c-{n}"), "exec-1")).collect::<Vec<Value>>()));
    let after = cost(&daemon.scrape());
    seen("sum(meterd_cost_usd_total)", &after.normalize().to_string());
    assert_eq!(after, before * rust_decimal::Decimal::from(3));
    assert_eq!(
        query(&prometheus, "sum(resets(meterd_cost_usd_total[5m]))").as_deref(),
        Some("0"),
        "no counter ever fell"
    );
    // Without the extrapolation of increase(): the last sample less the first.
    let grown = "sum(max_over_time(meterd_cost_usd_total[5m]) - min_over_time(meterd_cost_usd_total[5m]))";
    assert_eq!(query(&prometheus, grown), Some(after.normalize().to_string()), "nothing between is lost");
}
