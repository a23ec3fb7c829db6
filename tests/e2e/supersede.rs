//! An estimate that gives way to the call itself: whatever sums money, tokens or calls shows that call once, and nothing of the estimate.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::events::{NS, call_of, now, quiet_zone, tool_call};
use crate::harness::cli;
use crate::harness::clickhouse::ClickHouse;
use crate::harness::daemon::Daemon;
use crate::harness::wait::{SOON, until};

const BUDGET: &str = "apiVersion: joch.dev/v1alpha1\nkind: Budget\nmetadata: { name: cap, namespace: support-platform }\nspec:\n  \
     limits: { dailyUsd: 5, tokenLimitDaily: 1000000, toolCallLimitPerRun: 10 }\n";

/// What the day's and the run's counters of the budget say.
fn counters(daemon: &Daemon) -> Vec<(String, String)> {
    let budget = daemon.get(&format!("/v1/namespaces/{NS}/budgets/cap?format=json")).expect(200).json();
    let counters = budget["status"]["counters"].as_array().cloned().unwrap_or_default();
    counters.iter().map(|one| (one["unit"].as_str().unwrap_or_default().to_owned(), one["spent"].to_string())).collect()
}

fn cost(daemon: &Daemon, question: &str) -> Value {
    daemon.get(&format!("/v1/cost?since=2h&{question}")).expect(200).json()
}

/// Native NDJSON: 4,000 tokens in are estimated; the call took 1,000 in and 100 out: 0.00015 + 0.00006 = 0.00021 USD. A tool
/// event estimated as three calls was one.
#[test]
fn everything_that_sums_takes_the_estimate_back() {
    let server = ClickHouse::start();
    let sink = format!("sinks: {{ clickhouse: {{ url: {}, flushInterval: 20ms }} }}\n", server.url());
    let mut daemon = Daemon::start_with(|_| sink);
    daemon.apply(&BUDGET.replace("limits:", &format!("timeZone: {}\n  limits:", quiet_zone())));
    let model = |usage: Value, estimated: bool| {
        let mut call = call_of("c-1", "openai", "gpt-4o-mini", usage);
        (call["execution"], call["estimated"]) = (json!("run-1"), json!(estimated));
        call
    };
    let tool = |calls: u32, estimated: bool| {
        let mut call = tool_call("t-1", "run-1");
        (call["quantities"]["calls"], call["estimated"]) = (json!(calls), json!(estimated));
        call
    };
    let post = |calls: &[Value]| {
        let lines: Vec<String> = calls.iter().map(Value::to_string).collect();
        let headers = [("content-type", "application/x-ndjson")];
        let answer = daemon.request("POST", "/v1/usage", &headers, lines.join("\n").as_bytes()).expect(200).json();
        answer["accepted"].as_u64().unwrap_or_default()
    };
    assert_eq!(post(&[model(json!({"input_tokens": 4_000}), true), tool(3, true)]), 2);
    let known = [model(json!({"input_tokens": 1_000, "output_tokens": 100}), false), tool(1, false)];
    assert_eq!(post(&known), 2);
    let again = daemon.usage(&json!(known));
    assert_eq!((&again[0]["status"], &again[0]["cost_usd"]), (&json!("duplicate"), &json!("0.00021")));

    let status = daemon.execution(NS, "run-1")["status"].clone();
    assert_eq!(status["costUsd"].to_string(), "0.00021");
    assert_eq!((&status["modelCalls"], &status["toolCalls"]), (&json!(1), &json!(1)));
    assert_eq!((&status["tokens"]["input"], &status["tokens"]["output"]), (&json!(1_000), &json!(100)));
    let day = counters(&daemon);
    for (unit, spent) in [("USD", "0.00021"), ("tokens", "1100")] {
        assert!(day.contains(&(unit.to_owned(), spent.to_owned())), "{day:?}");
    }
    until("ClickHouse to catch up", SOON, || {
        let sinks = daemon.get("/v1/sinks").expect(200).json();
        (sinks["sinks"][0]["delivered"] == sinks["sinks"][0]["committed"]).then_some(())
    });
    for source in ["ledger", "clickhouse"] {
        for by in ["agent", "execution"] {
            let answer = cost(&daemon, &format!("by={by}&source={source}"));
            let total = &answer["total"];
            assert_eq!(total["cost_usd"], json!("0.00021"), "{answer}");
            assert_eq!((&total["model_calls"], &total["tool_calls"]), (&json!(1), &json!(1)), "{answer}");
            assert_eq!((&total["tokens"]["input"], &total["tokens"]["total"]), (&json!(1_000), &json!(1_100)));
        }
    }
    let views = server.ask("SELECT sum(input_tokens), sum(output_tokens), sum(tool_calls) FROM meterd.cost_hourly");
    assert_eq!(views, [["1000", "100", "1"].map(str::to_owned)]);
    let top = cli::run(&["top", "models", "--by", "tokens", "-o", "json", "--url", daemon.api()], daemon.folder());
    let top: Value = serde_json::from_str(&top.expect_code(0).stdout).unwrap();
    assert_eq!((&top["rows"][0]["tokens"]["total"], &top["rows"][0]["calls"]), (&json!(1_100), &json!(1)), "{top}");
    // Counters of Prometheus never fall: what the estimate had too much is a credit.
    daemon.wait_for_metric("meterd_tokens_total", &[("token_type", "input")], "4000");
    daemon.wait_for_metric("meterd_credit_tokens_total", &[("token_type", "input")], "3000");
    daemon.wait_for_metric("meterd_tokens_total", &[("token_type", "output")], "100");
    daemon.wait_for_metric("meterd_model_calls_total", &[], "1");
    assert!(daemon.stop().success());
    let data_dir = daemon.data_dir().display().to_string();
    cli::run(&["verify", "--data-dir", &data_dir], daemon.folder()).expect_code(0);
}

/// A span of a chat call: who tells, the span's id, the tokens in, and how it failed, if it did.
fn span(service: &str, id: &str, response: &str, tokens: u32, error: Option<&str>) -> Value {
    let text = |key: &str, value: &str| json!({"key": key, "value": {"stringValue": value}});
    let nanos = u64::try_from(Timestamp::now().as_nanosecond()).unwrap();
    let mut attributes = vec![
        text("gen_ai.operation.name", "chat"),
        text("gen_ai.provider.name", "openai"),
        text("gen_ai.request.model", "gpt-4o-mini"),
        text("gen_ai.response.model", "gpt-4o-mini"),
        text("gen_ai.response.id", response),
        json!({"key": "gen_ai.usage.input_tokens", "value": {"intValue": tokens.to_string()}}),
    ];
    attributes.extend(error.map(|error| text("error.type", error)));
    let resource = [text("service.name", service), text("service.namespace", NS), text("joch.execution.id", "run-1")];
    json!({"resourceSpans": [{
        "resource": {"attributes": resource},
        "scopeSpans": [{"scope": {"name": "opentelemetry.instrumentation.genai.openai"}, "spans": [{
            "traceId": "0af7651916cd43dd8448eb211c80319c", "spanId": id, "name": "chat gpt-4o-mini", "kind": 3,
            "startTimeUnixNano": (nanos - 2_000_000_000).to_string(),
            "endTimeUnixNano": (nanos - 1_000_000_000).to_string(),
            "attributes": attributes,
            "status": if error.is_some() { json!({"code": 2}) } else { json!({}) },
        }]}],
    }]})
}

/// A stream that its caller gave up is an estimate of what it used; the span of the gateway, which saw the response to its end,
/// takes its place, whether the estimate came as a span or as a native event. 10,000 tokens cost 0.0015 USD.
#[test]
fn a_span_takes_the_place_of_what_was_cut_off() {
    let daemon = Daemon::start();
    let post = |body: &Value| {
        let headers = [("content-type", "application/json")];
        let answer = daemon.request("POST", "/v1/traces", &headers, body.to_string().as_bytes()).expect(200).json();
        assert!(answer["partialSuccess"]["rejectedSpans"].is_null(), "{answer}");
    };
    let check = |usd: &str, tokens: u64, calls: u64| {
        until(&format!("{usd} USD"), SOON, || {
            let status = daemon.execution(NS, "run-1")["status"].clone();
            let is = (status["costUsd"].to_string(), status["tokens"]["input"].clone(), status["modelCalls"].clone());
            (is == (usd.to_owned(), json!(tokens), json!(calls))).then_some(())
        });
    };
    post(&span("worker", "00f067aa0ba902b1", "resp-1", 20_000, Some("asyncio.CancelledError")));
    check("0.003", 20_000, 1);
    let entries = daemon.entries(NS, "run-1");
    assert_eq!((&entries[0]["outcome"], &entries[0]["flags"]), (&json!("aborted"), &json!(["estimated"])));
    let truth = span("gateway", "00f067aa0ba902b2", "resp-1", 10_000, None);
    post(&truth);
    check("0.0015", 10_000, 1);
    post(&truth);
    post(&span("proxy", "00f067aa0ba902b3", "resp-1", 10_000, None));
    check("0.0015", 10_000, 1);

    let mut estimate = call_of("e-1", "openai", "gpt-4o-mini", json!({"input_tokens": 5_000}));
    (estimate["execution"], estimate["response_id"]) = (json!("run-1"), json!("resp-2"));
    (estimate["outcome"], estimate["time"]) = (json!("aborted"), json!(now()));
    assert_eq!(daemon.usage(&estimate)[0]["status"], "accepted");
    check("0.00225", 15_000, 2);
    post(&span("gateway", "00f067aa0ba902b4", "resp-2", 10_000, None));
    check("0.003", 20_000, 2);
    // An error is no estimate: it says what the call used.
    post(&span("worker", "00f067aa0ba902b5", "resp-3", 10_000, Some("RateLimitError")));
    post(&span("gateway", "00f067aa0ba902b6", "resp-3", 20_000, None));
    check("0.0045", 30_000, 3);
}
