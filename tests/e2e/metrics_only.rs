//! Sources whose metrics are all there is: cumulative counters with starts of their own, over exports and restarts of the daemon.

use jiff::Timestamp;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use prost::Message as _;
use serde_json::{Value, json};

use crate::harness::daemon::Daemon;

/// `(type, start, value)` of each counter, as Claude Code sends them; times are milliseconds after `since`.
fn export(since: i128, time: i128, counters: &[(&str, i128, u64)]) -> Value {
    let nanos = |ms: i128| (since + ms * 1_000_000).to_string();
    let text = |key: &str, value: &str| json!({ "key": key, "value": { "stringValue": value } });
    let point = |(kind, start, value): &(&str, i128, u64)| {
        json!({
            "startTimeUnixNano": nanos(*start), "timeUnixNano": nanos(time), "asInt": value.to_string(),
            "attributes": [text("type", kind), text("model", "claude-sonnet-4-5"), text("session.id", "s-1")],
        })
    };
    let points: Vec<Value> = counters.iter().map(point).collect();
    let sum = json!({ "aggregationTemporality": 2, "isMonotonic": true, "dataPoints": points });
    json!({ "resourceMetrics": [{
        "resource": { "attributes": [text("service.name", "claude-code"), text("joch.execution.id", "coding")] },
        "scopeMetrics": [{ "metrics": [{ "name": "claude_code.token.usage", "sum": sum }] }],
    }] })
}

fn post(daemon: &Daemon, body: &Value, protobuf: bool) {
    if protobuf {
        let message: ExportMetricsServiceRequest = serde_json::from_value(body.clone()).expect("OTLP in JSON");
        let headers = [("content-type", "application/x-protobuf")];
        let answer = daemon.request("POST", "/v1/metrics", &headers, &message.encode_to_vec()).expect(200);
        assert!(answer.body.is_empty(), "{:?}", answer.body);
    } else {
        assert_eq!(daemon.post("/v1/metrics", body).expect(200).json(), json!({}));
    }
}

/// Tokens of the run: uncached input, cache read, output.
fn tokens(daemon: &Daemon) -> [u64; 3] {
    let mut sums = [0; 3];
    for entry in daemon.entries("default", "coding") {
        let of = |name: &str| entry["usage"][name].as_u64().unwrap_or(0);
        let (read, input) = (of("cache_read_tokens"), of("input_tokens"));
        for (sum, count) in sums.iter_mut().zip([input - read, read, of("output_tokens")]) {
            *sum += count;
        }
    }
    sums
}

#[test]
fn counters_with_starts_of_their_own_count_every_token_once_over_restarts() {
    let mut daemon =
        Daemon::start_with(|_| "ingest: { sources: { claude-code: { metrics: only, team: tools } } }\n".to_owned());
    let since = Timestamp::now().as_nanosecond() - 60_000_000_000;
    let first = export(since, 5_000, &[("input", 0, 100), ("output", 900, 10), ("cacheRead", 400, 50)]);
    post(&daemon, &first, false);
    assert_eq!(tokens(&daemon), [100, 50, 10]);
    post(&daemon, &first, true);
    assert_eq!(tokens(&daemon), [100, 50, 10], "sent again in the other encoding");

    daemon.kill();
    daemon.start_again();
    post(&daemon, &first, false);
    assert_eq!(tokens(&daemon), [100, 50, 10], "sent again after a restart");
    post(&daemon, &export(since, 10_000, &[("input", 0, 160), ("output", 900, 25), ("cacheRead", 400, 50)]), true);
    assert_eq!(tokens(&daemon), [160, 50, 25]);
    // Another process of the same name, and the first goes on beside it.
    post(&daemon, &export(since, 11_000, &[("input", 10_500, 7)]), false);
    post(&daemon, &export(since, 15_000, &[("input", 0, 161), ("output", 900, 25)]), false);
    assert_eq!(tokens(&daemon), [168, 50, 25]);

    daemon.stop();
    daemon.start_again();
    post(&daemon, &export(since, 20_000, &[("input", 10_500, 9), ("cacheRead", 400, 51)]), false);
    assert_eq!(tokens(&daemon), [170, 51, 25]);
}
