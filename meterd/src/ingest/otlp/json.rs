//! OTLP/JSON → spans, as tolerantly as real exporters need: 64-bit integers as strings or numbers, enums as names or
//! numbers, camelCase or snake_case, `null` for what is absent, and fields nobody knows.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::attributes::{Attributes, Value, Wanted, cut};
use super::preflight;
use super::span::{NAME_BYTES_MAX, Place, Request, Span, id_from_text};
use crate::ingest::BodyError;

/// Decodes a JSON request.
pub(super) fn decode(body: &[u8], wanted: Wanted<'_>) -> Result<Request, BodyError> {
    preflight::json(body)?;
    let text = std::str::from_utf8(body).map_err(|error| {
        let message = format!("the body is not UTF-8 text (first bad byte at offset {})", error.valid_up_to());
        BodyError::bad_request("invalid_utf8", message)
    })?;
    let message: Export<'_> = serde_json::from_str(text.strip_prefix('\u{feff}').unwrap_or(text)).map_err(|error| {
        let place = format!("line {}, column {}", error.line(), error.column());
        let message = format!("the body is not an OTLP trace export request in JSON (at {place})");
        BodyError::bad_request("malformed_json", message)
    })?;
    let mut request = Request::default();
    for (resource, group) in list(message.resource_spans).enumerate() {
        let attributes_of_resource = group.resource.map(|resource| resource.attributes).unwrap_or_default();
        request.resources.push(attributes(attributes_of_resource, wanted));
        for (scope, spans) in list(group.scope_spans).enumerate() {
            let from_ai_sdk = spans.scope.and_then(|scope| scope.name).is_some_and(|name| name.0 == "ai");
            for (index, span) in list(spans.spans).enumerate() {
                let place = Place { resource, scope, span: index };
                request.spans.push(keep(span, place, from_ai_sdk, wanted));
            }
        }
    }
    preflight::spans(request.spans.len())?;
    Ok(request)
}

fn list<T>(items: Option<Vec<T>>) -> impl Iterator<Item = T> {
    items.into_iter().flatten()
}

fn keep(span: JsonSpan<'_>, place: Place, from_ai_sdk: bool, wanted: Wanted<'_>) -> Span {
    let text = |text: Option<Text<'_>>| text.map(|text| text.0.into_owned()).unwrap_or_default();
    let nanos = |number: Option<Number>| number.and_then(|number| u64::try_from(number.0).ok()).unwrap_or(0);
    Span {
        place,
        trace: id_from_text(&text(span.trace_id)),
        id: id_from_text(&text(span.span_id)),
        parent: id_from_text(&text(span.parent_span_id)),
        name: Box::from(cut(&text(span.name), NAME_BYTES_MAX)),
        from_ai_sdk,
        start_nanos: nanos(span.start_time_unix_nano),
        end_nanos: nanos(span.end_time_unix_nano),
        status_error: span.status.and_then(|status| status.code).is_some_and(|code| code.is_error()),
        attributes: attributes(span.attributes, wanted),
    }
}

fn attributes(pairs: Option<Vec<KeyValue<'_>>>, wanted: Wanted<'_>) -> Attributes {
    let mut kept = Attributes::default();
    for pair in list(pairs) {
        let Some(field) = pair.key.and_then(|key| wanted.find(&key.0)) else { continue };
        let Some(value) = pair.value.and_then(|value| value.0) else { continue };
        let value = match value {
            Scalar::Text(text) => Value::text(&text),
            Scalar::Kept(value) => value,
        };
        kept.offer(field, value);
    }
    kept
}

#[derive(serde::Deserialize)]
struct Export<'a> {
    #[serde(borrow, rename = "resourceSpans", alias = "resource_spans")]
    resource_spans: Option<Vec<ResourceSpans<'a>>>,
}

#[derive(serde::Deserialize)]
struct ResourceSpans<'a> {
    #[serde(borrow)]
    resource: Option<Resource<'a>>,
    #[serde(borrow, rename = "scopeSpans", alias = "scope_spans")]
    scope_spans: Option<Vec<ScopeSpans<'a>>>,
}

#[derive(serde::Deserialize)]
struct Resource<'a> {
    #[serde(borrow)]
    attributes: Option<Vec<KeyValue<'a>>>,
}

#[derive(serde::Deserialize)]
struct ScopeSpans<'a> {
    #[serde(borrow)]
    scope: Option<Scope<'a>>,
    #[serde(borrow)]
    spans: Option<Vec<JsonSpan<'a>>>,
}

#[derive(serde::Deserialize)]
struct Scope<'a> {
    #[serde(borrow)]
    name: Option<Text<'a>>,
}

#[derive(serde::Deserialize)]
struct JsonSpan<'a> {
    #[serde(borrow, rename = "traceId", alias = "trace_id")]
    trace_id: Option<Text<'a>>,
    #[serde(borrow, rename = "spanId", alias = "span_id")]
    span_id: Option<Text<'a>>,
    #[serde(borrow, rename = "parentSpanId", alias = "parent_span_id")]
    parent_span_id: Option<Text<'a>>,
    #[serde(borrow)]
    name: Option<Text<'a>>,
    #[serde(rename = "startTimeUnixNano", alias = "start_time_unix_nano")]
    start_time_unix_nano: Option<Number>,
    #[serde(rename = "endTimeUnixNano", alias = "end_time_unix_nano")]
    end_time_unix_nano: Option<Number>,
    status: Option<Status>,
    #[serde(borrow)]
    attributes: Option<Vec<KeyValue<'a>>>,
}

#[derive(serde::Deserialize)]
struct Status {
    code: Option<StatusCode>,
}

/// `2` or `STATUS_CODE_ERROR`.
#[derive(serde::Deserialize)]
#[serde(untagged)]
enum StatusCode {
    Number(i64),
    Name(String),
}

impl StatusCode {
    fn is_error(&self) -> bool {
        match self {
            Self::Number(code) => *code == 2,
            Self::Name(name) => matches!(name.as_str(), "STATUS_CODE_ERROR" | "ERROR" | "2"),
        }
    }
}

#[derive(serde::Deserialize)]
struct KeyValue<'a> {
    #[serde(borrow)]
    key: Option<Text<'a>>,
    #[serde(borrow)]
    value: Option<AnyValue<'a>>,
}

#[derive(serde::Deserialize)]
#[serde(transparent)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// A 64-bit integer, written as a number or as a string.
struct Number(i128);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = <&RawValue>::deserialize(deserializer)?.get().trim_matches('"');
        integer(raw).map(Number).ok_or_else(|| serde::de::Error::custom("not an integer"))
    }
}

/// Digits, or a double that is whole, as JavaScript writes large integers.
pub(super) fn integer(text: &str) -> Option<i128> {
    if let Ok(number) = text.parse::<i128>() {
        return Some(number);
    }
    let number: f64 = text.parse().ok()?;
    // Beyond 2^64 nothing is meant by it.
    (number.fract() == 0.0 && number.abs() < 18_446_744_073_709_551_616.0).then_some(number as i128)
}

enum Scalar<'a> {
    Text(Cow<'a, str>),
    Kept(Value),
}

/// An attribute's value; `None` for what is no scalar.
struct AnyValue<'a>(Option<Scalar<'a>>);

impl<'de: 'a, 'a> Deserialize<'de> for AnyValue<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(AnyValueVisitor)
    }
}

struct AnyValueVisitor;

impl<'de> Visitor<'de> for AnyValueVisitor {
    type Value = AnyValue<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an attribute value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<AnyValue<'de>, A::Error> {
        let mut value = None;
        while let Some(Text(key)) = map.next_key()? {
            let number = match &*key {
                "stringValue" | "string_value" => {
                    value = map.next_value::<Option<Text<'de>>>()?.map(|text| Scalar::Text(text.0));
                    continue;
                }
                "intValue" | "int_value" | "doubleValue" | "double_value" | "boolValue" | "bool_value" => {
                    map.next_value::<&'de RawValue>()?.get().trim_matches('"')
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
            };
            value = scalar(&key, number).map(Scalar::Kept);
        }
        Ok(AnyValue(value))
    }
}

/// By the literal's own text: correctly rounded doubles, whole integers.
fn scalar(key: &str, text: &str) -> Option<Value> {
    if key.starts_with("bool") {
        return text.parse().ok().map(Value::Bool);
    }
    let whole = integer(text).filter(|_| key.starts_with("int")).and_then(|number| i64::try_from(number).ok());
    if let Some(number) = whole {
        return Some(Value::Int(number));
    }
    text.parse().ok().map(Value::Double)
}
