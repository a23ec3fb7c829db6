//! A daemon with a real ClickHouse behind it and a small load in both: for the panels that ask it, and those about the sink.

use std::time::Duration;

use serde_json::{Value, json};

use crate::events::{CALL_USD, NS, model_call, now, tool_call};
use crate::harness::clickhouse::ClickHouse;
use crate::harness::daemon::Daemon;
use crate::harness::wait::until;

const CAUGHT_UP_MAX: Duration = Duration::from_secs(40);
/// The run that the drill-down shows.
const RUN: &str = "drilled";

/// A server and the daemon that fills it.
pub(crate) struct Warehouse {
    server: ClickHouse,
    daemon: Daemon,
}

impl Warehouse {
    /// Two runs: one with model calls, a tool call, an approval and a call that nobody can price, and another of one call.
    #[track_caller]
    pub(crate) fn start() -> Self {
        let server = ClickHouse::start();
        let url = server.url();
        let daemon =
            Daemon::start_with(|_| format!("sinks: {{ clickhouse: {{ url: {url}, flushInterval: 20ms }} }}\n"));
        let mut unknown = model_call("unknown", RUN);
        unknown["model"] = json!("no-such-model");
        let approval = json!({"id": "approval", "source": "e2e", "time": now(), "namespace": NS, "execution": RUN,
            "agent": "support-triage", "team": "support", "kind": "approval", "quantities": {"minutes": "4"}});
        daemon.usage(&json!([
            model_call("one", RUN),
            model_call("two", RUN),
            tool_call("tool", RUN),
            approval,
            unknown
        ]));
        daemon.usage(&model_call("other", "other"));
        until("ClickHouse to catch up", CAUGHT_UP_MAX, || {
            let sinks = daemon.get("/v1/sinks").expect(200).json();
            let sink = &sinks["sinks"][0];
            (sink["state"] == "delivering" && sink["delivered"] == sink["committed"]).then_some(())
        });
        Self { server, daemon }
    }

    /// One more call, of a run of its own: what is drawn per second needs something to happen.
    pub(crate) fn go_on(&self, round: usize) {
        self.daemon.usage(&model_call(&format!("on-{round}"), "on"));
    }

    /// Where the daemon is scraped, without a scheme.
    pub(crate) fn scraped_at(&self) -> &str {
        self.daemon.metrics_address().trim_start_matches("http://")
    }

    /// A panel's rows, asked as Grafana's plugin would: its macros and the dashboard's variables filled in.
    #[track_caller]
    pub(crate) fn rows(&self, sql: &str) -> Vec<Vec<String>> {
        let mut text = sql.replace("${execution_id}", RUN);
        for variable in ["agent_namespace", "agent"] {
            text = text.replace(&format!("${{{variable}:raw}}"), "");
        }
        for (call, sense) in [
            ("$__timeFilter(", "(COLUMN >= now() - INTERVAL 1 HOUR AND COLUMN <= now() + INTERVAL 1 MINUTE)"),
            ("$__timeInterval(", "toStartOfInterval(toDateTime(COLUMN), INTERVAL 60 SECOND)"),
        ] {
            while let Some(begin) = text.find(call) {
                let column = text[begin + call.len()..].split(')').next().expect("a macro ends").to_owned();
                text.replace_range(begin..=begin + call.len() + column.len(), &sense.replace("COLUMN", &column));
            }
        }
        assert!(!text.contains('$'), "a variable is left in {text}");
        self.server.ask(&text)
    }

    /// Every panel that asks ClickHouse has rows, and numbers where it shows numbers. How many there were.
    #[track_caller]
    pub(crate) fn check(&self, panels: &[(String, String)]) -> usize {
        for (place, sql) in panels {
            let rows = self.rows(sql);
            assert!(!rows.is_empty(), "{place} has no rows: {sql}");
            let empty = |cell: &String| cell == "\\N" || cell == "nan";
            assert!(!rows.iter().flatten().any(empty), "{place} has a hole: {rows:?}");
        }
        let one = |panel: &str| {
            let (_, sql) =
                panels.iter().find(|(place, _)| place.ends_with(panel)).unwrap_or_else(|| panic!("no {panel}"));
            self.rows(sql)
        };
        let twice = (2.0 * CALL_USD.parse::<f64>().expect("a number")).to_string();
        assert_eq!(one(" / Cost"), [[twice.clone()]]);
        assert_eq!(one(" / Running total").last().map(|row| row[1].clone()), Some(twice));
        assert_eq!(one(" / Unpriced calls"), [["2"]], "the unknown model, and the approval that nobody has a rate for");
        assert_eq!(one(" / Executions by cost")[0][0], RUN, "the dearest first");
        let calls = panels.iter().filter(|(place, _)| place.ends_with(" / Calls")).map(|(_, sql)| self.rows(sql).len());
        assert_eq!(calls.max(), Some(5), "each line of the run");
        panels.len()
    }
}

/// A comparison with a bill of today, for the panels about bills: one line that nobody metered.
pub(crate) fn bill() -> Value {
    json!({"provider": "generic", "billed": [{"day": format!("{}T00:00:00Z", &now()[..10]), "model": "whisper-1", "cost_usd": "1"}]})
}
