//! A metric export → the data points that count tokens, of sources whose metrics are all there is.

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;
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
/// Temporality in the protocol's numbers.
const CUMULATIVE: i128 = 2;

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

pub(super) fn protobuf(body: &[u8], defaults: &Defaults) -> Result<Read, BodyError> {
    preflight::protobuf_messages(body)?;
    let message = ExportMetricsServiceRequest::decode(body).map_err(|error| {
        let message = format!("the body is not an OTLP metric export request in protobuf: {error}");
        BodyError::bad_request("malformed_protobuf", message)
    })?;
    let (mut resources, mut points, mut count) = (Vec::new(), Vec::new(), 0usize);
    for group in message.resource_metrics {
        let attributes = group.resource.map(|resource| resource.attributes).unwrap_or_default();
        let resource = Bag::of_proto(attributes, |key| Who::reads(key, defaults));
        let only = is_metrics_only(&resource, defaults);
        resources.push(resource);
        let at = resources.len().saturating_sub(1);
        for metric in group.scope_metrics.into_iter().flat_map(|scope| scope.metrics) {
            let disjoint = counts_tokens(&metric.name).filter(|_| only);
            let mut add = |attributes: Vec<KeyValue>, start: u64, time: u64, value: f64, cumulative: bool| {
                count = count.saturating_add(1);
                let Some(disjoint) = disjoint else { return };
                let of_type = Bag::of_proto(attributes.clone(), |key| TYPE.contains(&key)).text(TYPE);
                let Some(token_type) = of_type.as_deref().and_then(TokenType::parse) else { return };
                let bag = Bag::of_proto(attributes, |key| wanted(key, defaults));
                points.push(Point { resource: at, bag, token_type, start, time, value, cumulative, disjoint });
            };
            let is_cumulative = |temporality: i32| i128::from(temporality) == CUMULATIVE;
            match metric.data {
                Some(Data::Sum(sum)) => {
                    for point in sum.data_points {
                        let value = match point.value {
                            Some(Number::AsInt(value)) => value as f64,
                            Some(Number::AsDouble(value)) => value,
                            None => continue,
                        };
                        let cumulative = is_cumulative(sum.aggregation_temporality);
                        add(point.attributes, point.start_time_unix_nano, point.time_unix_nano, value, cumulative);
                    }
                }
                Some(Data::Histogram(histogram)) => {
                    for point in histogram.data_points {
                        let cumulative = is_cumulative(histogram.aggregation_temporality);
                        let (start, time) = (point.start_time_unix_nano, point.time_unix_nano);
                        add(point.attributes, start, time, point.sum.unwrap_or(0.0), cumulative);
                    }
                }
                Some(Data::ExponentialHistogram(histogram)) => {
                    for point in histogram.data_points {
                        let cumulative = is_cumulative(histogram.aggregation_temporality);
                        let (start, time) = (point.start_time_unix_nano, point.time_unix_nano);
                        add(point.attributes, start, time, point.sum.unwrap_or(0.0), cumulative);
                    }
                }
                Some(Data::Gauge(gauge)) => count = count.saturating_add(gauge.data_points.len()),
                Some(Data::Summary(summary)) => count = count.saturating_add(summary.data_points.len()),
                None => {}
            }
        }
    }
    Ok((resources, points, count))
}

pub(super) fn json(body: &[u8], defaults: &Defaults) -> Result<Read, BodyError> {
    preflight::json(body)?;
    let message: Json = serde_json::from_slice(body).map_err(|error| {
        let message = format!("the body is not an OTLP metric export request in JSON: {error}");
        BodyError::bad_request("malformed_json", message)
    })?;
    let (mut resources, mut points, mut count) = (Vec::new(), Vec::new(), 0usize);
    for group in list(&message, "resourceMetrics", "resource_metrics") {
        let attributes = group.get("resource").and_then(|resource| resource.get("attributes"));
        let resource = Bag::of_json(attributes, |key| Who::reads(key, defaults));
        let only = is_metrics_only(&resource, defaults);
        resources.push(resource);
        let at = resources.len().saturating_sub(1);
        for metric in
            list(group, "scopeMetrics", "scope_metrics").iter().flat_map(|scope| list(scope, "metrics", "metrics"))
        {
            let name = metric.get("name").and_then(Json::as_str).unwrap_or_default();
            let disjoint = counts_tokens(name).filter(|_| only);
            let kinds = [("sum", "sum"), ("histogram", "histogram"), ("exponentialHistogram", "exponential_histogram")];
            for data in kinds.iter().filter_map(|(camel, snake)| member(metric, camel, snake)) {
                let cumulative = is_cumulative(data);
                for point in list(data, "dataPoints", "data_points") {
                    count = count.saturating_add(1);
                    let Some(disjoint) = disjoint else { continue };
                    let attributes = point.get("attributes");
                    let of_type = Bag::of_json(attributes, |key| TYPE.contains(&key)).text(TYPE);
                    let Some(token_type) = of_type.as_deref().and_then(TokenType::parse) else { continue };
                    let bag = Bag::of_json(attributes, |key| wanted(key, defaults));
                    let nanos = |camel, snake| {
                        let nanos = member(point, camel, snake).and_then(integer);
                        nanos.and_then(|nanos| u64::try_from(nanos).ok()).unwrap_or(0)
                    };
                    let value = ["asInt", "asDouble", "sum", "as_int", "as_double"];
                    let Some(value) = value.iter().find_map(|name| double(point.get(*name)?)) else { continue };
                    let start = nanos("startTimeUnixNano", "start_time_unix_nano");
                    let time = nanos("timeUnixNano", "time_unix_nano");
                    points.push(Point { resource: at, bag, token_type, start, time, value, cumulative, disjoint });
                }
            }
        }
    }
    Ok((resources, points, count))
}

/// `2` or its name.
fn is_cumulative(data: &Json) -> bool {
    member(data, "aggregationTemporality", "aggregation_temporality").is_some_and(|temporality| match temporality {
        Json::String(name) => name == "AGGREGATION_TEMPORALITY_CUMULATIVE" || name == "2",
        other => integer(other) == Some(CUMULATIVE),
    })
}
