//! OTLP protobuf → spans. Bounds are checked on the bytes before anything is allocated for them.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as ProtoValue;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::Span as ProtoSpan;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use prost::Message;

use super::attributes::{Attributes, Value, Wanted, cut};
use super::preflight;
use super::span::{NAME_BYTES_MAX, Place, Request, Span, id};
use crate::ingest::BodyError;

/// Decodes a protobuf request.
pub(super) fn decode(body: &[u8], wanted: Wanted<'_>) -> Result<Request, BodyError> {
    preflight::protobuf(body)?;
    let message = ExportTraceServiceRequest::decode(body).map_err(|error| {
        let message = format!("the body is not an OTLP trace export request in protobuf: {error}");
        BodyError::bad_request("malformed_protobuf", message)
    })?;
    Ok(request(message, wanted))
}

/// Keeps what is wanted of a decoded message.
pub(super) fn request(message: ExportTraceServiceRequest, wanted: Wanted<'_>) -> Request {
    let mut request = Request::default();
    for (resource, group) in message.resource_spans.into_iter().enumerate() {
        let resource_attributes = group.resource.map(|resource| resource.attributes).unwrap_or_default();
        request.resources.push(attributes(resource_attributes, wanted));
        for (scope, spans) in group.scope_spans.into_iter().enumerate() {
            let from_ai_sdk = spans.scope.is_some_and(|scope| scope.name == "ai");
            for (index, span) in spans.spans.into_iter().enumerate() {
                let place = Place { resource, scope, span: index };
                request.spans.push(keep(span, place, from_ai_sdk, wanted));
            }
        }
    }
    request
}

fn keep(span: ProtoSpan, place: Place, from_ai_sdk: bool, wanted: Wanted<'_>) -> Span {
    Span {
        place,
        trace: id(&span.trace_id),
        id: id(&span.span_id),
        parent: id(&span.parent_span_id),
        name: Box::from(cut(&span.name, NAME_BYTES_MAX)),
        from_ai_sdk,
        start_nanos: span.start_time_unix_nano,
        end_nanos: span.end_time_unix_nano,
        status_error: span.status.is_some_and(|status| status.code() == StatusCode::Error),
        attributes: attributes(span.attributes, wanted),
    }
}

fn attributes(pairs: Vec<KeyValue>, wanted: Wanted<'_>) -> Attributes {
    let mut kept = Attributes::default();
    for pair in pairs {
        if let (Some(field), Some(value)) = (wanted.find(&pair.key), pair.value.and_then(scalar)) {
            kept.offer(field, value);
        }
    }
    kept
}

pub(super) fn scalar(value: AnyValue) -> Option<Value> {
    match value.value? {
        ProtoValue::StringValue(text) => Some(Value::text(&text)),
        ProtoValue::IntValue(number) => Some(Value::Int(number)),
        ProtoValue::DoubleValue(number) => Some(Value::Double(number)),
        ProtoValue::BoolValue(flag) => Some(Value::Bool(flag)),
        _ => None,
    }
}
