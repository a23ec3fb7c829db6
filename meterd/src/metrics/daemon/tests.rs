//! The daemon's own families: closed sets at 0, unknown values folded, and no two label sets that run together.

use std::collections::BTreeSet;

use budget::{Denial, Source};
use pricing::Timestamp;

use super::{
    DROPS, DaemonMetrics, JOURNAL_OPS, METHODS, OTHER, QUEUES, REJECTIONS, RESULTS, SOURCES, TableInfo, render_daemon,
};
use crate::metrics::tests::{Exposition, budget_of, counter_at, usd};
use crate::metrics::text::{Format, Writer};

fn exposed(daemon: &DaemonMetrics) -> Exposition {
    let mut writer = Writer::new(Format::Text);
    render_daemon(daemon, &mut writer);
    Exposition::parse(writer.finish())
}

fn table(source: &str) -> TableInfo {
    TableInfo {
        source: source.into(),
        version: "1".into(),
        digest: "d".into(),
        entries: 7,
        effective: Some(Timestamp::from_millis(1500)),
    }
}

#[test]
fn closed_sets_are_there_at_zero() {
    let exposed = exposed(&DaemonMetrics::new().unwrap());
    for source in SOURCES {
        for result in RESULTS {
            exposed.check(&format!(r#"meterd_ingest_events_total{{result="{result}",source="{source}"}}"#), "0");
        }
        for reason in REJECTIONS {
            exposed.check(&format!(r#"meterd_ingest_rejected_total{{reason="{reason}",source="{source}"}}"#), "0");
        }
        exposed.check(&format!(r#"meterd_ingest_lag_seconds_bucket{{source="{source}",le="1.0"}}"#), "0");
    }
    for op in JOURNAL_OPS {
        exposed.check(&format!(r#"meterd_wal_errors_total{{op="{op}"}}"#), "0");
    }
    for reason in DROPS {
        exposed.check(&format!(r#"meterd_queue_dropped_total{{queue="meter",reason="{reason}"}}"#), "0");
    }
    // Nothing was loaded yet, and a 0 here would say that a load had failed.
    assert_eq!(exposed.value("meterd_config_last_reload_successful"), None);
    assert_eq!(exposed.value(r#"meterd_ingest_last_event_timestamp_seconds{source="api"}"#), None);
}

/// The crate tells children apart by their values run together: in closed sets no two may run together alike.
#[test]
fn no_two_label_sets_run_together_alike() {
    let check = |first: &[&str], second: &[&str]| {
        let joined: BTreeSet<String> =
            first.iter().flat_map(|one| second.iter().map(move |two| format!("{one}{two}"))).collect();
        assert_eq!(joined.len(), first.len() * second.len());
    };
    check(&SOURCES, &RESULTS);
    check(&SOURCES, &REJECTIONS);
    check(&QUEUES, &DROPS);
    // A handler's template ends in a path segment; none may end in the beginning of a method.
    check(&["/v1/usage", "/v1/namespaces/{ns}/executions/{name}", "/metrics"], &METHODS);
}

#[test]
fn what_is_not_in_a_set_counts_as_other() {
    let daemon = DaemonMetrics::new().unwrap();
    daemon.rejected("api", "a reason from outside");
    daemon.rejected("api", "invalid_quantity");
    daemon.http("/v1/usage", "BREW", 418, 0.5);
    daemon.wal_error("fsync");
    daemon.queue_dropped("nobody knows", 3);
    let exposed = exposed(&daemon);
    exposed.check(&format!(r#"meterd_ingest_rejected_total{{reason="{OTHER}",source="api"}}"#), "1");
    exposed.check(r#"meterd_ingest_rejected_total{reason="invalid_quantity",source="api"}"#, "1");
    exposed.check(r#"meterd_ingest_events_total{result="rejected",source="api"}"#, "2");
    exposed.check(r#"meterd_http_requests_total{code="418",handler="/v1/usage",method="other"}"#, "1");
    exposed.check(r#"meterd_http_request_duration_seconds_bucket{handler="/v1/usage",le="0.5"}"#, "1");
    exposed.check(r#"meterd_http_request_duration_seconds_bucket{handler="/v1/usage",le="0.25"}"#, "0");
    exposed.check(r#"meterd_wal_errors_total{op="fsync"}"#, "1");
    exposed.check(r#"meterd_queue_dropped_total{queue="meter",reason="other"}"#, "3");
}

#[test]
fn lag_is_never_negative_and_clones_share_their_figures() {
    let daemon = DaemonMetrics::new().unwrap();
    let at = |millis| Timestamp::from_millis(millis);
    daemon.clone().lag("otlp", at(1000), at(3500));
    daemon.lag("otlp", at(9000), at(4000));
    daemon.queue_depth(5);
    daemon.queue_capacity(65_536);
    daemon.wal_bytes(4096);
    daemon.wal_replayed(12);
    daemon.fsync(0.002);
    let exposed = exposed(&daemon);
    exposed.check(r#"meterd_ingest_lag_seconds_sum{source="otlp"}"#, "2.5");
    exposed.check(r#"meterd_ingest_lag_seconds_count{source="otlp"}"#, "2");
    exposed.check(r#"meterd_ingest_last_event_timestamp_seconds{source="otlp"}"#, "4");
    exposed.check(r#"meterd_queue_depth{queue="meter"}"#, "5");
    exposed.check(r#"meterd_queue_capacity{queue="meter"}"#, "65536");
    exposed.check("meterd_wal_bytes", "4096");
    exposed.check("meterd_wal_replayed_records_total", "12");
    exposed.check("meterd_wal_fsync_duration_seconds_count", "1");
}

#[test]
fn a_failed_load_keeps_the_tables_and_the_time_of_the_last_good_one() {
    let daemon = DaemonMetrics::new().unwrap();
    daemon.price_tables(vec![table("openai"), table("groq")], Timestamp::from_millis(2000));
    daemon.price_tables_failed("groq");
    daemon.config_loaded(true, Timestamp::from_millis(2500));
    daemon.config_loaded(false, Timestamp::from_millis(9000));
    let broken = exposed(&daemon);
    broken.check(r#"meterd_price_table_info{version="1",digest="d",source="groq",currency="USD"}"#, "1");
    broken.check(r#"meterd_price_table_entries{source="groq"}"#, "7");
    broken.check(r#"meterd_price_table_effective_timestamp_seconds{source="groq"}"#, "1.5");
    broken.check(r#"meterd_price_table_last_reload_successful{source="groq"}"#, "0");
    broken.check(r#"meterd_price_table_last_reload_successful{source="openai"}"#, "1");
    broken.check(r#"meterd_price_table_last_reload_success_timestamp_seconds{source="groq"}"#, "2");
    broken.check("meterd_config_last_reload_successful", "0");
    broken.check("meterd_config_last_reload_success_timestamp_seconds", "2.5");
    daemon.price_tables_failed("");
    exposed(&daemon).check(r#"meterd_price_table_last_reload_successful{source="openai"}"#, "0");
    daemon.price_tables(vec![table("groq")], Timestamp::from_millis(5000));
    let mended = exposed(&daemon);
    mended.check(r#"meterd_price_table_last_reload_successful{source="groq"}"#, "1");
    assert_eq!(mended.value(r#"meterd_price_table_info{version="1",digest="d",source="openai",currency="USD"}"#), None);
}

#[test]
fn the_process_shows_itself() {
    let exposed = exposed(&DaemonMetrics::new().unwrap());
    let number =
        |name: &str| exposed.value(name).unwrap_or_else(|| panic!("{name} is missing")).parse::<f64>().unwrap();
    assert!(number("process_resident_memory_bytes") > 1_000_000.0);
    assert!(number("process_open_fds") >= 3.0);
    assert!(number("process_max_fds") >= number("process_open_fds"));
    assert!(number("process_cpu_seconds_total") >= 0.0);
    let (start, boot) = (number("process_start_time_seconds"), 1_500_000_000.0);
    assert!(start > boot, "{start}");
    let build = format!(r#"meterd_build_info{{version="{}",revision="#, env!("CARGO_PKG_VERSION"));
    assert!(exposed.text.contains(&build));
}

#[test]
fn an_answer_counts_for_the_budgets_that_gave_it() {
    let daemon = DaemonMetrics::new().unwrap();
    let counter = |source, name| counter_at(&budget_of(source, name, "t", usd("5")), usd("5"));
    let (day, agent) = (counter(Source::Budget, "b"), counter(Source::Agent, "b"));
    let counters = vec![day.clone(), day.clone(), agent, counter(Source::Execution, "r1")];
    daemon.decided(None, &counters);
    daemon.decided(Some(&Denial::Limit(day)), &counters);
    daemon.decided(Some(&Denial::Fenced("kill-1".into())), &counters);
    let exposed = exposed(&daemon);
    let series = |budget, result| {
        format!(r#"meterd_budget_decisions_total{{agent_namespace="ns",budget="{budget}",result="{result}"}}"#)
    };
    exposed.check(&series("b", "allow"), "1");
    exposed.check(&series("b", "deny"), "1");
    exposed.check(&series("agent/b", "allow"), "1");
    exposed.check(&series("agent/b", "deny"), "0");
    assert_eq!(exposed.family("meterd_budget_decisions_total").count(), 4);
}
