//! Metrics of sources that send nothing better: every token once, whatever starts, resets, gaps and restarts do.

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use pricing::UsageKey;
use prost::Message as _;
use serde_json::{Value, json};

use super::super::{Defaults, Encoding, Last, PointBatch, Rule, decode_points};
use super::agents::attributes;

const T: u64 = 1_795_341_600_000_000_000;
const DELTA: i64 = 1;
const CUMULATIVE: i64 = 2;

/// A point: type of token, start, value.
type Sent<'a> = (&'a str, u64, f64);

fn sum(temporality: i64, points: &[Value]) -> Value {
    json!({ "aggregationTemporality": temporality, "isMonotonic": true, "dataPoints": points })
}

fn point(time: u64, (kind, start, value): Sent<'_>, more: &[(&str, &str)]) -> Value {
    let mut own = json!({ "type": kind, "model": "claude-sonnet-4-5", "session.id": "s-1" });
    for (key, value) in more {
        own[*key] = json!(value);
    }
    json!({
        "startTimeUnixNano": start.to_string(), "timeUnixNano": time.to_string(), "asDouble": value,
        "attributes": attributes(&own),
    })
}

fn request(resource: &Value, data: &[Value]) -> Value {
    let metrics: Vec<_> = data.iter().map(|sum| json!({ "name": "claude_code.token.usage", "sum": sum })).collect();
    json!({ "resourceMetrics": [{ "resource": { "attributes": attributes(resource) }, "scopeMetrics": [{ "metrics": metrics }] }] })
}

fn service() -> Value {
    json!({ "service.name": "claude-code" })
}

fn defaults() -> Defaults {
    let rule = Rule { service: "claude-*".into(), metrics_only: true, team: Some("tools".into()), ..Rule::default() };
    Defaults { rules: [rule].into(), ..Defaults::default() }
}

fn decode(body: &Value, last: &Last) -> PointBatch {
    decode_points(body.to_string().as_bytes(), Encoding::Json, &defaults(), "tenant", last).unwrap()
}

/// What a source sends, and what is booked of it: all of it, each id once, as the ledger does.
#[derive(Default)]
struct Source {
    last: Last,
    ids: Vec<String>,
    /// Input in all, cache read, cache write, output.
    booked: [u64; 4],
}

const KEYS: [UsageKey; 4] =
    [UsageKey::InputTokens, UsageKey::CacheReadTokens, UsageKey::CacheWriteTokens, UsageKey::OutputTokens];

impl Source {
    /// What one more export adds.
    fn send(&mut self, body: &Value) -> [u64; 4] {
        let batch = decode(body, &self.last);
        let mut added = [0; 4];
        for (item, steps) in batch.items {
            let event = item.event.unwrap();
            let id = item.id.unwrap().to_string();
            assert!(id.len() <= crate::event::ID_BYTES_MAX, "{id}");
            if !self.ids.contains(&id) {
                for (sum, key) in added.iter_mut().zip(KEYS) {
                    *sum += event.usage.as_ref().unwrap().count(key);
                }
                self.ids.push(id);
            }
            steps.into_iter().for_each(|step| self.last.learn_step(step));
        }
        batch.unmoved.into_iter().for_each(|step| self.last.learn_step(step));
        for (sum, added) in self.booked.iter_mut().zip(added) {
            *sum += added;
        }
        added
    }

    fn cumulative(&mut self, time: u64, points: &[Sent<'_>]) -> [u64; 4] {
        let points: Vec<_> = points.iter().map(|sent| point(time, *sent, &[])).collect();
        self.send(&request(&service(), &[sum(CUMULATIVE, &points)]))
    }

    fn output(&mut self, time: u64, start: u64, value: f64) -> u64 {
        self.cumulative(time, &[("output", start, value)])[3]
    }

    /// The daemon starts again: what was booked is all that it has.
    fn restart(&mut self) {
        self.last = Last::default();
        for id in &self.ids {
            self.last.learn(id);
        }
    }
}

#[test]
fn metrics_are_read_only_where_nothing_better_comes() {
    let body = request(&service(), &[sum(DELTA, &[point(T + 1, ("input", T, 10.0), &[])])]).to_string();
    let read = |defaults: &Defaults| {
        decode_points(body.as_bytes(), Encoding::Json, defaults, "tenant", &Last::default()).unwrap()
    };
    let batch = read(&Defaults::default());
    assert_eq!((batch.points, batch.items.len()), (1, 0));
    let batch = read(&defaults());
    assert_eq!(batch.items[0].0.event.as_ref().unwrap().team.as_deref(), Some("tools"));
}

#[test]
fn a_delta_is_its_own_increase() {
    let sent = [("input", T, 100.0), ("cacheRead", T, 1200.0), ("cacheCreation", T, 300.0), ("output", T, 40.0)];
    let points: Vec<_> = sent.into_iter().map(|sent| point(T + 1, sent, &[])).collect();
    let body = request(&service(), &[sum(DELTA, &points)]);
    assert_eq!(decode(&body, &Last::default()).items.len(), 1, "the types of one moment are one event");
    let mut source = Source::default();
    assert_eq!(source.send(&body), [1600, 1200, 300, 40]);
    assert_eq!(source.send(&body), [0; 4], "sent again it is the same");
    let next = request(&service(), &[sum(DELTA, &[point(T + 2, ("output", T + 1, 40.0), &[])])]);
    assert_eq!(source.send(&next), [0, 0, 0, 40], "the same count of the next interval");
    source.restart();
    assert_eq!(source.send(&next), [0; 4]);
}

/// The counters of one process begin when each is first used.
#[test]
fn counters_of_one_source_may_have_different_starts() {
    let mut source = Source::default();
    let (input, output, read) = (T, T + 500, T + 90);
    assert_eq!(source.cumulative(T + 1_000, &[("input", input, 100.0), ("output", output, 10.0)]), [100, 0, 0, 10]);
    let next = [("input", input, 150.0), ("output", output, 10.0), ("cacheRead", read, 70.0)];
    assert_eq!(source.cumulative(T + 2_000, &next), [120, 70, 0, 0], "cached tokens stand beside the input here");
    source.restart();
    let next = [("input", input, 150.0), ("output", output, 25.0), ("cacheRead", read, 71.0)];
    assert_eq!(source.cumulative(T + 3_000, &next), [1, 1, 0, 15]);
    assert_eq!(source.booked, [221, 71, 0, 25]);
}

/// Two processes that call themselves the same, each with its own start.
#[test]
fn processes_of_one_name_count_beside_each_other() {
    let mut source = Source::default();
    assert_eq!(source.output(T + 1_000, T, 100.0), 100);
    assert_eq!(source.output(T + 1_001, T + 700, 30.0), 30);
    assert_eq!(source.output(T + 2_000, T, 110.0), 10);
    source.restart();
    assert_eq!(source.output(T + 2_001, T + 700, 50.0), 20);
    assert_eq!(source.output(T + 3_000, T, 110.0), 0);
    assert_eq!(source.booked[3], 160);
}

#[test]
fn a_cumulative_counter_counts_its_increase_over_resets_and_gaps() {
    let mut source = Source::default();
    assert_eq!(source.output(T + 1_000, T, 100.0), 100);
    assert_eq!(source.output(T + 1_000, T, 100.0), 0, "sent again");
    assert_eq!(source.output(T + 2_000, T, 100.0), 0, "nothing was used");
    assert_eq!(source.output(T + 3_000, T, 140.0), 40);
    assert_eq!(source.output(T + 2_500, T, 120.0), 0, "overtaken on its way");
    assert_eq!(source.output(T + 9_000, T, 150.0), 10, "exports were lost");
    assert_eq!(source.output(T + 10_000, T + 9_500, 30.0), 30, "the process started again");
    assert_eq!(source.output(T + 11_000, T + 9_500, 10.0), 10, "it fell: it began anew");
    assert_eq!(source.output(T + 12_000, T + 9_500, 30.0), 20, "and came to where it was");
    source.restart();
    assert_eq!(source.output(T + 12_000, T + 9_500, 30.0), 0);
    assert_eq!(source.output(T + 13_000, T + 9_500, 45.0), 15);
    assert_eq!(source.booked[3], 225);
}

#[test]
fn several_moments_in_one_export_count_in_their_order() {
    let points = [point(T + 2_000, ("output", T, 30.0), &[]), point(T + 1_000, ("output", T, 10.0), &[])];
    let mut source = Source::default();
    let body = request(&service(), &[sum(CUMULATIVE, &points)]);
    assert_eq!(source.send(&body)[3], 30);
    assert_eq!(source.send(&body)[3], 0);
}

/// What tells series apart need not be known here.
#[test]
fn series_are_told_apart_by_every_attribute_and_by_the_resource() {
    let mut source = Source::default();
    let send = |source: &mut Source, resource: &Value, more: &[&[(&str, &str)]]| {
        let points: Vec<_> = more.iter().map(|more| point(T + 1_000, ("output", T, 10.0), more)).collect();
        source.send(&request(resource, &[sum(CUMULATIVE, &points)]))[3]
    };
    let queries: [&[(&str, &str)]; 2] = [&[("query_source", "main")], &[("query_source", "subagent")]];
    assert_eq!(send(&mut source, &service(), &queries), 20);
    assert_eq!(send(&mut source, &service(), &queries), 0);
    let other = json!({ "service.name": "claude-code", "host.name": "other" });
    assert_eq!(send(&mut source, &other, &queries[..1]), 10);
    let batch =
        decode(&request(&service(), &[sum(CUMULATIVE, &[point(T + 1, ("output", T, 10.0), &[])])]), &source.last);
    let of_another = request(&service(), &[sum(CUMULATIVE, &[point(T + 1, ("output", T, 10.0), &[])])]).to_string();
    let of_another = decode_points(of_another.as_bytes(), Encoding::Json, &defaults(), "other", &source.last).unwrap();
    assert_ne!(batch.items[0].0.id, of_another.items[0].0.id, "tenants share no counter");
}

/// A point without a value is no fall to zero.
#[test]
fn points_without_a_value_say_nothing() {
    let mut source = Source::default();
    let mut gone = point(T + 2_000, ("output", T, 0.0), &[]);
    gone["flags"] = json!(1);
    assert_eq!(source.output(T + 1_000, T, 100.0), 100);
    assert_eq!(source.send(&request(&service(), &[sum(CUMULATIVE, &[gone.clone()])])), [0; 4]);
    gone["flags"] = json!(0);
    gone["asDouble"] = Value::Null;
    assert_eq!(source.send(&request(&service(), &[sum(CUMULATIVE, &[gone])])), [0; 4]);
    assert_eq!(source.output(T + 3_000, T, 101.0), 1);
}

#[test]
fn both_encodings_are_the_same_counter() {
    let points =
        [("input", T, 100.0), ("output", T + 5, 10.0)].map(|sent| point(T + 1_000, sent, &[("effort", "high")]));
    let body = request(&service(), &[sum(CUMULATIVE, &points)]);
    let message: ExportMetricsServiceRequest = serde_json::from_value(body.clone()).unwrap();
    let binary =
        decode_points(&message.encode_to_vec(), Encoding::Protobuf, &defaults(), "tenant", &Last::default()).unwrap();
    assert_eq!(binary, decode(&body, &Last::default()));
    assert_eq!(binary.items.len(), 1);
}

/// Bounded: what may have been counted and forgotten is refused, never counted again.
#[test]
fn forgotten_counters_are_refused_and_new_ones_count() {
    let mut source = Source { last: Last::bounded(2), ..Source::default() };
    for n in 0..3 {
        assert_eq!(source.output(T + 1_000 + n, T + n, 10.0), 10);
    }
    assert_eq!(source.last.len(), 2);
    let body = request(&service(), &[sum(CUMULATIVE, &[point(T + 2_000, ("output", T, 15.0), &[])])]);
    let refused = decode(&body, &source.last);
    assert_eq!(refused.items[0].0.event.as_ref().unwrap_err().code, "unknown_counter");
    assert_eq!(source.output(T + 2_001, T + 1, 15.0), 5, "still known");
    assert_eq!(source.output(T + 5_000, T + 3_000, 7.0), 7, "began after everything that was forgotten");
}
