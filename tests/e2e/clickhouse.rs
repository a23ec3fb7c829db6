//! I16 with a real ClickHouse server: each entry is in what its views show exactly once, whatever is cut, killed or sent again.
//!
//! Every call costs `CALL_USD`; what ClickHouse must show is worked out from the calls that were acknowledged.

use std::collections::BTreeMap;
use std::time::Duration;

use rust_decimal::Decimal;
use serde_json::{Value, json};

use crate::events::{CALL_USD, NS, cost_of, model_call, tool_call};
use crate::harness::cli;
use crate::harness::clickhouse::ClickHouse;
use crate::harness::daemon::Daemon;
use crate::harness::proxy::Proxy;
use crate::harness::wait::until;

/// How long catching up may take on a busy machine.
const CAUGHT_UP_MAX: Duration = Duration::from_secs(40);

fn config(url: &str) -> String {
    format!("sinks: {{ clickhouse: {{ url: {url}, flushInterval: 20ms, batchRowsMax: 400 }} }}\n")
}

/// Waits until everything that is committed is complete in ClickHouse.
#[track_caller]
fn caught_up(daemon: &Daemon) {
    until("ClickHouse to catch up", CAUGHT_UP_MAX, || {
        let sinks = daemon.get("/v1/sinks").expect(200).json();
        let sink = &sinks["sinks"][0];
        (sink["state"] == "delivering" && sink["delivered"] == sink["committed"]).then_some(())
    });
}

/// Posts calls of one run; those that were acknowledged are counted.
fn post(daemon: &Daemon, run: &str, ids: std::ops::Range<u32>, acknowledged: &mut BTreeMap<String, u32>) {
    let calls: Vec<Value> = ids.map(|id| model_call(&format!("{run}-{id}"), run)).collect();
    let results = daemon.usage(&json!(calls));
    assert!(results.iter().all(|result| result["status"] == "accepted"), "{results:?}");
    *acknowledged.entry(run.to_owned()).or_default() += u32::try_from(results.len()).unwrap();
}

/// What every path must show: cost and lines of each run, and the sums of the roll-ups.
#[track_caller]
fn assert_exact(daemon: &Daemon, server: &ClickHouse, acknowledged: &BTreeMap<String, u32>) {
    let expected: Vec<Vec<String>> =
        acknowledged.iter().map(|(run, calls)| vec![run.clone(), cost_of(*calls), calls.to_string()]).collect();
    let runs =
        "SELECT execution, sum(cost_usd), count() FROM meterd.usage_entries GROUP BY execution ORDER BY execution";
    assert_eq!(server.ask(runs), expected, "the entries");
    let total: u32 = acknowledged.values().sum();
    let total = vec![vec![cost_of(total), total.to_string()]];
    for view in ["cost_quarters", "cost_hourly"] {
        let sums = format!("SELECT sum(cost_usd), sum(entries) FROM meterd.{view}");
        assert_eq!(server.ask(&sums), total, "{view}");
    }
    // Without FINAL, whatever was merged meanwhile: a row of roll-ups is the same row however often it was written.
    let plain = "SELECT sum(usd), sum(lines) FROM (SELECT any(cost_usd) AS usd, any(entries) AS lines FROM meterd.cost_quarters_raw \
                 WHERE (shard, batch_first, batch_last) IN (SELECT shard, batch_first, batch_last FROM meterd.batches) GROUP BY \
                 shard, batch_first, batch_last, quarter, namespace, agent, team, environment, labels_text, kind, provider, model, tool)";
    assert_eq!(server.ask(plain), total, "the roll-ups without FINAL");
    for by in ["by=execution", "by=team", "by=model&bucket=hour&tz=Asia/Kolkata"] {
        let ask = |source: &str| daemon.get(&format!("/v1/cost?{by}&since=2h&source={source}")).expect(200).json();
        let (ledger, clickhouse) = (ask("ledger"), ask("clickhouse"));
        assert_eq!((&ledger["source"], &clickhouse["source"]), (&json!("ledger"), &json!("clickhouse")));
        assert_eq!((&ledger["rows"], &ledger["total"]), (&clickhouse["rows"], &clickhouse["total"]), "{by}");
        assert_eq!(ledger["total"]["cost_usd"], json!(total[0][0]), "{by}");
    }
}

/// ClickHouse and the daemon are killed in turn, connections are cut in the middle of inserts, and nothing is lost or doubled.
#[test]
fn each_entry_is_shown_exactly_once_whatever_breaks() {
    const RUNS: u32 = 5;
    let mut server = ClickHouse::start();
    let proxy = Proxy::start(server.address());
    let mut daemon = Daemon::start_with(|_| config(&proxy.url()));
    let mut acknowledged = BTreeMap::new();
    let mut next = 0;
    let mut load = |daemon: &Daemon, batches: u32| {
        for batch in 0..batches {
            post(daemon, &format!("run-{}", (next + batch) % RUNS), next * 100..(next + 1) * 100, &mut acknowledged);
            next += 1;
        }
    };
    load(&daemon, 4);
    caught_up(&daemon);
    // Cuts at the start, in the middle and near the end of what a batch sends.
    for bytes in [1_000, 12_000, 6_000, 3_000, 18_000] {
        let before = proxy.cuts();
        proxy.cut_after(bytes);
        until("a cut", CAUGHT_UP_MAX, || {
            load(&daemon, 1);
            server.revive();
            (proxy.cuts() > before).then_some(())
        });
        until("the sink to go on", CAUGHT_UP_MAX, || {
            server.revive();
            let sinks = daemon.get("/v1/sinks").expect(200).json();
            let sink = &sinks["sinks"][0];
            (sink["delivered"] == sink["committed"]).then_some(())
        });
    }
    for round in 0..3 {
        load(&daemon, 4);
        server.kill();
        load(&daemon, 4);
        if round == 1 {
            daemon.kill(); // both are away
            server.start_again();
            daemon.start_again();
        } else {
            server.start_again();
        }
        proxy.cut_after(15_000);
        load(&daemon, 4);
        daemon.kill();
        daemon.start_again();
        server.revive();
    }
    proxy.cut_after(-1);
    server.revive();
    caught_up(&daemon);
    assert!(proxy.cuts() >= 5);
    assert_exact(&daemon, &server, &acknowledged);
    daemon.wait_for_metric("meterd_sink_pending_rows", &[("sink", "clickhouse")], "0");
    server.ask("OPTIMIZE TABLE meterd.cost_quarters_raw FINAL");
    server.ask("OPTIMIZE TABLE meterd.entries_raw FINAL");
    assert_exact(&daemon, &server, &acknowledged);
}

/// ClickHouse away for the whole run: intake, budgets and kills neither wait nor fail; then it catches up. Emptied, or asked for
/// everything again, it holds the same.
#[test]
fn clickhouse_may_be_away_and_may_lose_everything() {
    let mut server = ClickHouse::stopped();
    let daemon = Daemon::start_with(|_| config(&server.url()));
    daemon.apply(&format!(
        "apiVersion: joch.dev/v1alpha1\nkind: Budget\nmetadata: {{ name: cap, namespace: {NS} }}\nspec:\n  \
         scope: {{ namespaces: [{NS}] }}\n  limits: {{ perRunUsd: 1 }}\n  enforcement: {{ onHardLimit: terminate }}\n"
    ));
    let mut acknowledged = BTreeMap::new();
    for batch in 0..20 {
        post(&daemon, &format!("run-{}", batch % 4), batch * 100..(batch + 1) * 100, &mut acknowledged);
    }
    // 2,400 × 0.000423 = 1.0152: over one dollar.
    post(&daemon, "wild", 0..2_400, &mut acknowledged);
    assert_eq!(daemon.execution(NS, "wild")["status"]["kill"]["state"].as_str(), Some("Fenced"), "kills do not wait");
    let sinks = daemon.get("/v1/sinks").expect(200).json();
    assert_eq!(
        (&sinks["sinks"][0]["delivered"], &sinks["sinks"][0]["state"]),
        (&json!(0), &json!("failing")),
        "{sinks}"
    );
    daemon.get("/readyz").expect(200);

    server.start_again();
    caught_up(&daemon);
    assert_exact(&daemon, &server, &acknowledged);
    let kills = server
        .ask("SELECT namespace, execution, budget, cost_usd_at_decision > 1, isNotNull(decided_at) FROM meterd.kills");
    assert_eq!(kills, [[NS, "wild", "cap", "1", "1"].map(str::to_owned)]);
    let runs = server
        .ask("SELECT execution, team, phase, cost_usd, model_calls FROM meterd.executions WHERE execution = 'run-0'");
    assert_eq!(runs, [["run-0", "support", "Running", &cost_of(500), "500"].map(str::to_owned)]);

    drill_down(&server);

    // Tables dropped while the daemon runs: they are made anew and filled from the ledger.
    server.ask("DROP DATABASE meterd SYNC");
    post(&daemon, "after", 0..1, &mut acknowledged);
    until("the tables to be made anew", CAUGHT_UP_MAX, || {
        let tables = server.ask("SELECT count() FROM system.tables WHERE database = 'meterd'");
        (tables != [["0"]]).then_some(())
    });
    caught_up(&daemon);
    assert_exact(&daemon, &server, &acknowledged);

    // Emptied behind the daemon's back: a backfill notices, and once more changes nothing.
    for table in ["entries_raw", "cost_quarters_raw"] {
        server.ask(&format!("TRUNCATE TABLE meterd.{table}"));
    }
    for _ in 0..2 {
        let arguments = ["sink", "backfill", "--url", daemon.api()];
        let ended = cli::run(&arguments, daemon.folder()).expect_code(0);
        assert!(ended.stdout.contains("complete"), "{}", ended.stdout);
        assert_exact(&daemon, &server, &acknowledged);
    }
}

/// The shipped questions of the drill-down, asked of the real engine.
fn drill_down(server: &ClickHouse) {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/clickhouse/queries");
    let with = "&param_namespace=support-platform&param_execution=run-0&param_from=0&param_to=4294967295&param_limit=3";
    let ask = |name: &str| {
        let sql = std::fs::read_to_string(folder.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        server.ask_with(sql.trim_end().trim_end_matches(';'), with)
    };
    let lines = ask("execution.sql");
    assert_eq!(lines.len(), 500);
    assert_eq!(lines[499][10], cost_of(500), "the running sum: {:?}", lines[499]);
    let summary = ask("execution_summary.sql");
    assert_eq!((summary.len(), summary[0][9].as_str()), (1, cost_of(500).as_str()), "{summary:?}");
    let tree = ask("execution_tree.sql");
    assert_eq!((tree.len(), tree[0][4].as_str()), (1, cost_of(500).as_str()), "{tree:?}");
    let top = ask("executions_over_time.sql");
    assert_eq!((top.len(), top[0][1].as_str(), top[0][6].as_str()), (3, "wild", cost_of(2_400).as_str()), "{top:?}");
    let hours = ask("cost_by_hour.sql");
    let sum: Decimal = hours.iter().map(|row| row[2].parse::<Decimal>().unwrap()).sum();
    assert_eq!(sum.normalize().to_string(), cost_of(4_400), "{hours:?}");
}

/// Another ledger under the same shard is refused, never mixed in.
#[test]
fn the_entries_of_another_ledger_are_refused() {
    let server = ClickHouse::start();
    let first = Daemon::start_with(|_| config(&server.url()));
    let mut acknowledged = BTreeMap::new();
    post(&first, "run", 0..50, &mut acknowledged);
    caught_up(&first);
    let second = Daemon::start_with(|_| config(&server.url()));
    post(&second, "other", 0..50, &mut BTreeMap::new());
    until("the refusal", CAUGHT_UP_MAX, || {
        let sinks = second.get("/v1/sinks").expect(200).json();
        sinks["sinks"][0]["failing"].as_str()?.contains("another ledger").then_some(())
    });
    assert_exact(&first, &server, &acknowledged);
    // A shard of its own, and both are there.
    let third = Daemon::start_with(|_| config(&server.url()).replace("url:", "shard: third, url:"));
    let tool: Vec<Value> = (0..3).map(|id| tool_call(&format!("t-{id}"), "third")).collect();
    third.usage(&json!(tool));
    caught_up(&third);
    let shards =
        server.ask("SELECT shard, count(), sum(cost_usd) FROM meterd.usage_entries GROUP BY shard ORDER BY shard");
    let cost = (CALL_USD.parse::<Decimal>().unwrap() * Decimal::from(50)).normalize().to_string();
    assert_eq!(shards, [["main", "50", &cost], ["third", "3", "0"]].map(|row| row.map(str::to_owned)));
}
