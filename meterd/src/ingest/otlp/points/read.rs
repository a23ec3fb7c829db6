//! A metric export → the data points that count tokens, of sources whose metrics are all there is.

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;
use opentelemetry_proto::tonic::metrics::v1::{ExponentialHistogramDataPoint, HistogramDataPoint, NumberDataPoint};
use prost::Message;
use serde_json::Value as Json;

use super::super::bag::{Bag, double, integer, list, member};
use super::super::draft::Who;
use super::super::{Defaults, preflight};
use super::{Point, TokenType};
use crate::ingest::BodyError;

/// Attributes of points that are read, beside those that say for whom.
const POINT: &[&str] =
    &["model", "gen_ai.provider.name", "gen_ai.system", "gen_ai.request.model", "gen_ai.response.model"];
/// Those that tell the type of token; not part of what makes a series.
const TYPE: &[&str] = &["type", "gen_ai.token.type"];
/// Temporality in the protocol's numbers. What states none is taken for cumulative, which never counts too much.
const DELTA: i128 = 1;
/// The flag of a point without a value.
const NO_RECORDED_VALUE: u32 = 1;

pub(super) type Read = (Vec<Bag>, Vec<Point>, usize);

/// Metrics that count tokens, and whether cached ones stand beside the input.
fn counts_tokens(name: &str) -> Option<bool> {
    match name {
        "claude_code.token.usage" => Some(true),
        "gen_ai.client.token.usage" => Some(false),
        _ => None,
    }
}

fn wanted(key: &str, defaults: &Defaults) -> bool {
    POINT.contains(&key) || Who::reads(key, defaults)
}

fn is_metrics_only(resource: &Bag, defaults: &Defaults) -> bool {
    defaults.rule(resource.text(&["service.name"]).as_deref()).is_some_and(|rule| rule.metrics_only)
}

/// Of a resource, what tells it from others of its kind is read as well.
fn wanted_of_resource(key: &str, defaults: &Defaults) -> bool {
    Who::reads(key, defaults) || key == "service.instance.id"
}

/// What the points of one resource have in common.
struct Around<'a> {
    at: usize,
    defaults: &'a Defaults,
    /// Tenant and resource.
    name: String,
    only: bool,
}

impl<'a> Around<'a> {
    fn new(at: usize, resource: &Bag, identity: String, tenant: &str, defaults: &'a Defaults) -> Self {
        let only = is_metrics_only(resource, defaults);
        Self { at, defaults, name: super::super::draft::digest(&[tenant, &identity]), only }
    }

    fn series(&self, attributes: &str) -> u128 {
        let digest = super::super::draft::digest(&[&self.name, attributes]);
        u128::from_str_radix(&digest, 16).unwrap_or_default()
    }
}

/// Times and value of a point.
struct Sample {
    start: u64,
    time: u64,
    value: Option<f64>,
    cumulative: bool,
}

pub(super) fn protobuf(body: &[u8], defaults: &Defaults, tenant: &str) -> Result<Read, BodyError> {
    preflight::protobuf_messages(body)?;
    let message = ExportMetricsServiceRequest::decode(body).map_err(|error| {
        let message = format!("the body is not an OTLP metric export request in protobuf: {error}");
        BodyError::bad_request("malformed_protobuf", message)
    })?;
    let (mut resources, mut points, mut count) = (Vec::new(), Vec::new(), 0usize);
    for group in message.resource_metrics {
        let attributes = group.resource.map(|resource| resource.attributes).unwrap_or_default();
        let identity = Bag::identity_of_proto(&attributes, &[]);
        let resource = Bag::of_proto(attributes, |key| wanted_of_resource(key, defaults));
        let around = Around::new(resources.len(), &resource, identity, tenant, defaults);
        resources.push(resource);
        for metric in group.scope_metrics.into_iter().flat_map(|scope| scope.metrics) {
            let disjoint = counts_tokens(&metric.name).filter(|_| around.only);
            let samples = samples(metric.data);
            count = count.saturating_add(samples.len());
            let Some(disjoint) = disjoint else { continue };
            points.extend(samples.into_iter().filter_map(|(attributes, sample)| {
                let of_type = Bag::of_proto(attributes.clone(), |key| TYPE.contains(&key)).text(TYPE)?;
                let series = around.series(&Bag::identity_of_proto(&attributes, TYPE));
                let bag = Bag::of_proto(attributes, |key| wanted(key, around.defaults));
                point(&around, &of_type, series, bag, &sample, disjoint)
            }));
        }
    }
    Ok((resources, points, count))
}

fn point(
    around: &Around<'_>,
    token_type: &str,
    series: u128,
    bag: Bag,
    sample: &Sample,
    disjoint: bool,
) -> Option<Point> {
    let (token_type, value) = (TokenType::parse(token_type)?, sample.value?);
    let Sample { start, time, cumulative, .. } = *sample;
    Some(Point { resource: around.at, bag, series, token_type, start, time, value, cumulative, disjoint })
}

/// The points of a metric. A gauge or summary has none that count, but they are points all the same.
fn samples(data: Option<Data>) -> Vec<(Vec<KeyValue>, Sample)> {
    let is_cumulative = |temporality: i32| i128::from(temporality) != DELTA;
    let nothing = || Sample { start: 0, time: 0, value: None, cumulative: true };
    match data {
        Some(Data::Sum(sum)) => {
            let cumulative = is_cumulative(sum.aggregation_temporality);
            let sample = |point: NumberDataPoint| {
                let value = match point.value {
                    _ if point.flags & NO_RECORDED_VALUE != 0 => None,
                    Some(Number::AsInt(value)) => Some(value as f64),
                    Some(Number::AsDouble(value)) => Some(value),
                    None => None,
                };
                let (start, time) = (point.start_time_unix_nano, point.time_unix_nano);
                (point.attributes, Sample { start, time, value, cumulative })
            };
            sum.data_points.into_iter().map(sample).collect()
        }
        Some(Data::Histogram(histogram)) => {
            let cumulative = is_cumulative(histogram.aggregation_temporality);
            let sample = |point: HistogramDataPoint| {
                let value = point.sum.filter(|_| point.flags & NO_RECORDED_VALUE == 0);
                let (start, time) = (point.start_time_unix_nano, point.time_unix_nano);
                (point.attributes, Sample { start, time, value, cumulative })
            };
            histogram.data_points.into_iter().map(sample).collect()
        }
        Some(Data::ExponentialHistogram(histogram)) => {
            let cumulative = is_cumulative(histogram.aggregation_temporality);
            let sample = |point: ExponentialHistogramDataPoint| {
                let value = point.sum.filter(|_| point.flags & NO_RECORDED_VALUE == 0);
                let (start, time) = (point.start_time_unix_nano, point.time_unix_nano);
                (point.attributes, Sample { start, time, value, cumulative })
            };
            histogram.data_points.into_iter().map(sample).collect()
        }
        Some(Data::Gauge(gauge)) => gauge.data_points.iter().map(|_| (Vec::new(), nothing())).collect(),
        Some(Data::Summary(summary)) => summary.data_points.iter().map(|_| (Vec::new(), nothing())).collect(),
        None => Vec::new(),
    }
}

pub(super) fn json(body: &[u8], defaults: &Defaults, tenant: &str) -> Result<Read, BodyError> {
    preflight::json(body)?;
    let message: Json = serde_json::from_slice(body).map_err(|error| {
        let message = format!("the body is not an OTLP metric export request in JSON: {error}");
        BodyError::bad_request("malformed_json", message)
    })?;
    let (mut resources, mut points, mut count) = (Vec::new(), Vec::new(), 0usize);
    for group in list(&message, "resourceMetrics", "resource_metrics") {
        let attributes = group.get("resource").and_then(|resource| resource.get("attributes"));
        let resource = Bag::of_json(attributes, |key| wanted_of_resource(key, defaults));
        let identity = Bag::identity_of_json(attributes, &[]);
        let around = Around::new(resources.len(), &resource, identity, tenant, defaults);
        resources.push(resource);
        for metric in
            list(group, "scopeMetrics", "scope_metrics").iter().flat_map(|scope| list(scope, "metrics", "metrics"))
        {
            let name = metric.get("name").and_then(Json::as_str).unwrap_or_default();
            let disjoint = counts_tokens(name).filter(|_| around.only);
            let kinds = [("sum", "sum"), ("histogram", "histogram"), ("exponentialHistogram", "exponential_histogram")];
            for data in kinds.iter().filter_map(|(camel, snake)| member(metric, camel, snake)) {
                let cumulative = !is_delta(data);
                let sent = list(data, "dataPoints", "data_points");
                count = count.saturating_add(sent.len());
                let Some(disjoint) = disjoint else { continue };
                points.extend(sent.iter().filter_map(|sent| {
                    let attributes = sent.get("attributes");
                    let of_type = Bag::of_json(attributes, |key| TYPE.contains(&key)).text(TYPE)?;
                    let series = around.series(&Bag::identity_of_json(attributes, TYPE));
                    let bag = Bag::of_json(attributes, |key| wanted(key, defaults));
                    point(&around, &of_type, series, bag, &sample_of_json(sent, cumulative), disjoint)
                }));
            }
        }
    }
    Ok((resources, points, count))
}

fn sample_of_json(point: &Json, cumulative: bool) -> Sample {
    let nanos = |camel, snake| {
        let nanos = member(point, camel, snake).and_then(integer);
        nanos.and_then(|nanos| u64::try_from(nanos).ok()).unwrap_or(0)
    };
    let recorded = point.get("flags").and_then(integer).is_none_or(|flags| flags & i128::from(NO_RECORDED_VALUE) == 0);
    let names = ["asInt", "asDouble", "sum", "as_int", "as_double"];
    let value = names.iter().find_map(|name| double(point.get(*name)?)).filter(|_| recorded);
    let start = nanos("startTimeUnixNano", "start_time_unix_nano");
    let time = nanos("timeUnixNano", "time_unix_nano");
    Sample { start, time, value, cumulative }
}

/// `1` or its name.
fn is_delta(data: &Json) -> bool {
    member(data, "aggregationTemporality", "aggregation_temporality").is_some_and(|temporality| match temporality {
        Json::String(name) => name == "AGGREGATION_TEMPORALITY_DELTA" || name == "1",
        other => integer(other) == Some(DELTA),
    })
}
