//! Series as scrapers see them, end to end: they begin at 0, every scrape adds up while usage comes in, and label values that
//! concatenate alike stay apart.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use rust_decimal::Decimal;
use serde_json::{Value, json};

use crate::events::{CALL_USD, NS, model_call, now};
use crate::harness::daemon::Daemon;
use crate::harness::http;
use crate::harness::metrics::{samples, sum};
use crate::harness::wait::until;
use crate::prometheus::{SCRAPED_MAX, prometheus, query};

/// What every Prometheus sends with a scrape.
const AS_PROMETHEUS: [(&str, &str); 1] = [("x-prometheus-scrape-timeout-seconds", "10")];
const MODELS: [&str; 4] = ["gpt-4o-mini", "gpt-4o", "gpt-4.1", "o3"];

fn total(text: &str, name: &str, labels: &[(&str, &str)]) -> Decimal {
    sum(text, name, labels).unwrap_or_default()
}

fn scrape(daemon: &Daemon, headers: &[(&str, &str)]) -> String {
    http::request(daemon.metrics_address(), "GET", "/metrics", headers, &[]).unwrap().expect(200).text()
}

/// A model that nobody called before: the rise from its first charge is not lost, as it would be in a series that begins
/// with it.
#[test]
fn the_first_charge_of_a_model_is_an_increase() {
    let daemon = Daemon::start();
    let folder = tempfile::tempdir().unwrap();
    let target = daemon.metrics_address().trim_start_matches("http://").to_owned();
    let (_process, prometheus) = prometheus(&target, folder.path());
    until("the target to be up", SCRAPED_MAX, || (query(&prometheus, "up{job=\"meterd\"}")? == "1").then_some(()));
    daemon.usage(&model_call("a-1", "exec-1"));
    until("the charge to be scraped", SCRAPED_MAX, || {
        (query(&prometheus, "sum(meterd_model_cost_usd_total)")? == CALL_USD).then_some(())
    });
    for (family, rise) in [
        ("meterd_model_cost_usd_total", CALL_USD),
        ("meterd_cost_usd_total", CALL_USD),
        ("meterd_tokens_total", "2369"),
        ("meterd_model_calls_total", "1"),
    ] {
        let rises = format!("sum(max_over_time({family}[5m]) - min_over_time({family}[5m]))");
        assert_eq!(query(&prometheus, &rises).as_deref(), Some(rise), "{family}");
        let increase: Decimal = query(&prometheus, &format!("sum(increase({family}[5m]))")).unwrap().parse().unwrap();
        assert!(increase > Decimal::ZERO, "{family} rises by {increase}");
    }
}

/// Usage of ever new agents and models comes in while two kinds of readers scrape: in each answer the parts add up, the
/// budget's counter and its gauge agree, and what keeps series sees each begin at 0 and none fall.
#[test]
fn every_scrape_adds_up_under_load() {
    let daemon = Daemon::start();
    daemon.apply(&format!(
        "apiVersion: joch.dev/v1alpha1\nkind: Budget\nmetadata: {{ name: all, namespace: {NS} }}\nspec:\n  \
         scope: {{ namespaces: [{NS}] }}\n  limits: {{ monthlyUsd: 1000000 }}\n"
    ));
    let done = AtomicBool::new(false);
    let mut scrapes = 0;
    std::thread::scope(|scope| {
        let sender = scope.spawn(|| {
            for round in 0..60 {
                let events: Vec<Value> = (0..20).map(|n| call(round, n)).collect();
                daemon.usage(&json!(events));
            }
            done.store(true, Ordering::SeqCst);
        });
        let mut last = BTreeMap::new();
        while !done.load(Ordering::SeqCst) && !sender.is_finished() {
            adds_up(&scrape(&daemon, &[]));
            let text = scrape(&daemon, &AS_PROMETHEUS);
            adds_up(&text);
            rises(&text, &mut last);
            scrapes += 1;
        }
    });
    assert!(scrapes > 1, "it was scraped under load");
    let text = scrape(&daemon, &[]);
    adds_up(&text);
    assert_eq!(total(&text, "meterd_model_calls_total", &[]), Decimal::from(1200));
}

fn call(round: usize, n: usize) -> Value {
    let mut event = model_call(&format!("e-{round}-{n}"), &format!("exec-{}", round % 7));
    event["agent"] = json!(format!("agent-{}", round / 3));
    event["model"] = json!(MODELS[(round / 10 + n) % MODELS.len()]);
    event
}

#[track_caller]
fn adds_up(text: &str) {
    let cost = total(text, "meterd_cost_usd_total", &[]);
    assert_eq!(total(text, "meterd_model_cost_usd_total", &[]), cost, "the models' parts");
    assert_eq!(total(text, "meterd_budget_charged_usd_total", &[("budget", "all")]), cost, "the budget's counter");
    let spent = total(text, "meterd_budget_spent_usd", &[("budget", "all"), ("window", "month")]);
    assert_eq!(spent, cost, "the budget's gauge and the counters are of one entry");
}

/// No series begins above 0 or falls.
fn rises(text: &str, last: &mut BTreeMap<String, Decimal>) {
    for sample in samples(text).iter().filter(|sample| sample.name.ends_with("cost_usd_total")) {
        let series = format!("{}{:?}", sample.name, sample.labels);
        let value: Decimal = sample.value.parse().unwrap();
        match last.get(&series) {
            Some(before) => assert!(value >= *before, "{series} fell from {before} to {value}"),
            None => assert_eq!(value, Decimal::ZERO, "{series} began above 0"),
        }
        last.insert(series, value);
    }
}

#[test]
fn label_values_that_concatenate_alike_are_two_series() {
    let daemon = Daemon::start();
    for (id, agent, team) in [("1", "ab", "c"), ("2", "a", "bc"), ("3", "a", "bc")] {
        let mut event = model_call(id, "exec-1");
        event["time"] = json!(now());
        event["agent"] = json!(agent);
        event["team"] = json!(team);
        daemon.usage(&event);
    }
    let text = daemon.scrape();
    let one: Decimal = CALL_USD.parse().unwrap();
    for (agent, team, calls) in [("ab", "c", 1), ("a", "bc", 2)] {
        let labels = [("agent", agent), ("team", team)];
        assert_eq!(total(&text, "meterd_model_cost_usd_total", &labels), one * Decimal::from(calls));
        assert_eq!(total(&text, "meterd_cost_usd_total", &labels), one * Decimal::from(calls));
    }
}

/// Names that nobody can foresee: as many series as the caps allow and one more, sums exact, and what was put together
/// is counted.
#[test]
fn made_up_model_names_stay_below_the_cap_and_lose_nothing() {
    const NAMES: usize = 20_000;
    const KEPT: usize = 200;
    let daemon = Daemon::start();
    // Every name that begins so has a price: 10 tokens in at 3 USD a million are 0.00003.
    daemon.apply(
        "apiVersion: joch.dev/v1alpha1\nkind: PriceTable\nmetadata: { name: made-up }\nspec:\n  version: \"1\"\n  models:\n    \
         - { provider: acme, id: made-up, match: { prefix: [made-up-] }, rates: [{ set: { input_tokens: \"3\" } }] }\n",
    );
    for first in (0..NAMES).step_by(2_000) {
        let events: Vec<Value> = (first..first + 2_000)
            .map(|number| {
                let mut event = model_call(&format!("m-{number}"), &format!("exec-{}", number % 50));
                event["provider"] = json!("acme");
                event["model"] = json!(format!("made-up-{number}"));
                event["usage"] = json!({"input_tokens": 10});
                event
            })
            .collect();
        assert!(daemon.usage(&json!(events)).iter().all(|result| result["status"] == "accepted"));
    }
    let calls = Decimal::from(NAMES);
    daemon.wait_for_metric("meterd_model_calls_total", &[], &calls.to_string());
    let text = daemon.scrape();
    let cost = calls * "0.00003".parse::<Decimal>().unwrap();
    assert_eq!(total(&text, "meterd_model_cost_usd_total", &[]), cost);
    assert_eq!(total(&text, "meterd_cost_usd_total", &[]), cost);
    assert_eq!(total(&text, "meterd_tokens_total", &[]), calls * Decimal::TEN);
    let over = calls - Decimal::from(KEPT);
    assert_eq!(total(&text, "meterd_model_calls_total", &[("model", "_other")]), over);
    let all = samples(&text);
    // A series for each name that is kept and one for the others; calls by outcome, of which there are three.
    for (family, most) in [("meterd_model_cost_usd_total", KEPT + 1), ("meterd_model_calls_total", 3 * (KEPT + 1))] {
        let series = all.iter().filter(|sample| sample.name == family).count();
        assert!((KEPT..=most).contains(&series), "{family}: {series} series");
        let labels = [("family", family), ("label", "model")];
        assert_eq!(total(&text, "meterd_exporter_overflow_total", &labels), over, "{family}");
    }
    assert!(all.len() < 10_000, "{} samples in all", all.len());
}
