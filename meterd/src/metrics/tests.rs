//! Entries to feed the families with, and readers of what comes out; tests of the rooms below share them. Here: the
//! whole answer to a scrape.

mod feed;
mod read;

pub(super) use self::feed::{Feed, PICO, budget_of, cost, counter_at, model, no_price, tool, usd};
pub(super) use self::read::{Exposition, sum};

use budget::State;
use pricing::Timestamp;

use super::catalog::{Kind, Origin, catalog};
use super::{Caps, DaemonMetrics, Format, LedgerMetrics, TableInfo, render};
use budget::Source;

/// A daemon that has seen one of everything.
fn daemon() -> DaemonMetrics {
    let daemon = DaemonMetrics::new().unwrap();
    let now = Timestamp::from_millis(1_795_341_600_500);
    daemon.http("/v1/usage", "POST", 200, 0.004);
    daemon.ingest("api", "accepted");
    daemon.lag("api", Timestamp::from_millis(1_795_341_600_000), now);
    daemon.config_loaded(true, now);
    let table = TableInfo {
        source: "openai".into(),
        version: "2026-11-01".into(),
        digest: "d".repeat(64).into(),
        entries: 12,
        effective: Some(now),
    };
    daemon.price_tables(vec![table], now);
    daemon
}

fn ledger() -> LedgerMetrics {
    let mut feed = Feed::default();
    feed.apply(budget_of(Source::Budget, "b", "t", usd("5"))).open("r1", "a", "t");
    feed.charge(["r1", "a", "t"], model("openai", "gpt"), cost(usd("0.25")));
    feed.charge(["r1", "a", "t"], model("openai", "gpt-typo"), no_price(pricing::Unpriced::UnknownModel));
    feed.charge(["r1", "a", "t"], tool("search"), cost(usd("0.01"))).end("r1", budget::entry::Phase::Succeeded);
    let mut ledger = LedgerMetrics::new(Caps::default());
    feed.entries.iter().for_each(|entry| ledger.apply(entry));
    ledger
}

/// Whatever is written is in the catalogue, under its labels, and the catalogue promises nothing that has no writer.
#[test]
fn the_answer_and_the_catalogue_agree() {
    let text = render(super::Writer::new(Format::Text), &State::default(), Timestamp::default(), &ledger(), &daemon());
    let exposition = Exposition::parse(text);
    for family in catalog() {
        let kind = if family.kind == Kind::Info { "gauge" } else { family.kind.as_str() };
        assert!(
            exposition.text.contains(&format!("# TYPE {} {kind}\n", family.name)),
            "{} is not written",
            family.name
        );
    }
    assert_eq!(exposition.text.matches("# TYPE ").count(), catalog().len());
    for line in exposition.text.lines().filter(|line| !line.starts_with('#')) {
        let name = line.split(['{', ' ']).next().unwrap();
        let family = catalog().iter().find(|family| {
            let suffix = name.strip_prefix(family.name);
            suffix == Some("")
                || (family.kind == Kind::Histogram && matches!(suffix, Some("_bucket" | "_sum" | "_count")))
        });
        let family = family.unwrap_or_else(|| panic!("{name} is not in the catalogue"));
        let labels = line.matches("=\"").count() - usize::from(line.contains("le=\""));
        assert_eq!(labels, family.labels.len(), "{line}");
        for label in family.labels {
            assert!(line.contains(&format!("{label}=\"")), "{line}");
        }
    }
}

#[test]
fn both_formats_hold_the_same_samples() {
    let ledger = ledger();
    let samples = |format| {
        let mut writer = super::Writer::new(format);
        ledger.write(&mut writer);
        let text = String::from_utf8(writer.finish()).unwrap();
        let sample = |line: &str| line.split_once(" # ").map_or(line, |(sample, _)| sample).to_owned();
        text.lines().filter(|line| !line.starts_with('#')).map(sample).collect::<Vec<_>>()
    };
    assert_eq!(samples(Format::Text), samples(Format::OpenMetrics));
    let mut writer = super::Writer::new(Format::OpenMetrics);
    ledger.write(&mut writer);
    let open = String::from_utf8(writer.finish()).unwrap();
    assert!(open.contains(" # {execution_id=\"r1\"} 0.25 3\n"), "the roll-up names the run that moved it");
    assert!(!open.contains("_created"));
}

#[test]
fn an_empty_daemon_serves_every_ledger_family_too() {
    let daemon = DaemonMetrics::new().unwrap();
    let ledger = LedgerMetrics::new(Caps::default());
    let text =
        render(super::Writer::new(Format::OpenMetrics), &State::default(), Timestamp::default(), &ledger, &daemon);
    let text = String::from_utf8(text).unwrap();
    for family in catalog().iter().filter(|family| family.origin != Origin::Daemon) {
        let line = format!("# TYPE {} {}\n", family.open_metrics_name(), family.kind.as_str());
        assert!(text.contains(&line), "{} is missing", family.name);
    }
    assert!(text.ends_with("# EOF\n"));
}

#[test]
fn only_the_families_asked_for_are_written() {
    let only = |families| super::Writer::new(Format::OpenMetrics).only(families);
    let render =
        |writer| String::from_utf8(render(writer, &State::default(), Timestamp::default(), &ledger(), &daemon()));
    let text = render(only(vec!["meterd_cost_usd_total", "meterd_execution_cost_usd", "meterd_build_info"])).unwrap();
    let families: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
    assert_eq!(families, ["meterd_cost_usd counter", "meterd_execution_cost_usd histogram", "meterd_build info"]);
    assert!(text.ends_with("# EOF\n"));
    assert!(text.lines().all(|line| !line.contains("meterd_tokens")), "{text}");
    let last = render(only(vec!["process_start_time_seconds"])).unwrap();
    assert_eq!(last.matches("# TYPE ").count(), 1, "{last}");
}

/// A call that came as a span leads to its trace as well.
#[test]
fn an_exemplar_names_the_trace_of_the_call() {
    let mut feed = Feed::default();
    feed.open("r1", "a", "t").charge(["r1", "a", "t"], model("openai", "gpt"), cost(usd("0.25")));
    feed.end("r1", budget::entry::Phase::Succeeded);
    for entry in &mut feed.entries {
        if let budget::Fact::Charged(charge) = &mut entry.fact {
            charge.via = "otlp".into();
            charge.event_id = "0af7651916cd43dd8448eb211c80319c:b7ad6b7169203331".into();
        }
    }
    let mut ledger = LedgerMetrics::new(Caps::default());
    feed.entries.iter().for_each(|entry| ledger.apply(entry));
    let mut writer = super::Writer::new(Format::OpenMetrics);
    ledger.write(&mut writer);
    let text = String::from_utf8(writer.finish()).unwrap();
    let exemplar = r#" # {execution_id="r1",trace_id="0af7651916cd43dd8448eb211c80319c"} 0.25 "#;
    let with: Vec<&str> = text.lines().filter(|line| line.contains(exemplar)).collect();
    assert!(with.iter().any(|line| line.starts_with("meterd_cost_usd_total{")), "{with:?}");
    assert!(with.iter().any(|line| line.starts_with("meterd_execution_cost_usd_bucket{")), "{with:?}");
}
