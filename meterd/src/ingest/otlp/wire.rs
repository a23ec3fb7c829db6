//! OTLP protobuf → spans, field by field from the bytes: what is not kept is stepped over and never allocated.
//!
//! Whatever prost reads is read here as prost reads it (`fuzz/targets.rs` holds the two together); the field numbers are those of
//! opentelemetry-proto's `trace/v1` and `common/v1`.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::AnyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value as ProtoValue;
use prost::Message;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

use super::attributes::{Attributes, Value, Wanted, cut};
use super::preflight;
use super::span::{NAME_BYTES_MAX, Place, Request, Span, id};
use crate::ingest::BodyError;

/// A status of this code is an error.
const STATUS_ERROR: u64 = 2;
/// Deepest nesting of values, as prost has it.
const DEPTH_MAX: u8 = 96;

/// Decodes a protobuf request.
pub(super) fn decode(body: &[u8], wanted: Wanted<'_>) -> Result<Request, BodyError> {
    preflight::protobuf(body)?;
    let mut request = Request::default();
    read(body, wanted, &mut request).ok_or_else(|| {
        // The library words what is wrong.
        let why = ExportTraceServiceRequest::decode(body).err().map(|error| format!(": {error}")).unwrap_or_default();
        let message = format!("the body is not an OTLP trace export request in protobuf{why}");
        BodyError::bad_request("malformed_protobuf", message)
    })?;
    Ok(request)
}

/// Keeps what is wanted of a decoded message.
pub(super) fn request(message: &ExportTraceServiceRequest, wanted: Wanted<'_>) -> Request {
    let mut request = Request::default();
    // What was decoded is written again without loss.
    let _ = read(&message.encode_to_vec(), wanted, &mut request);
    request
}

/// A field of a message.
enum Part<'a> {
    Number(u64),
    Fixed(u64),
    Bytes(&'a [u8]),
    Other,
}

/// The next field and its number.
fn next<'a>(bytes: &mut &'a [u8]) -> Option<(u32, Part<'a>)> {
    let (number, wire) = decode_key(bytes).ok()?;
    let part = match wire {
        WireType::Varint => Part::Number(decode_varint(bytes).ok()?),
        WireType::SixtyFourBit => {
            let (fixed, rest) = bytes.split_first_chunk::<8>()?;
            *bytes = rest;
            Part::Fixed(u64::from_le_bytes(*fixed))
        }
        WireType::LengthDelimited => {
            let length = usize::try_from(decode_varint(bytes).ok()?).ok()?;
            let (inner, rest) = bytes.split_at_checked(length)?;
            *bytes = rest;
            Part::Bytes(inner)
        }
        WireType::ThirtyTwoBit => {
            *bytes = bytes.get(4..)?;
            Part::Other
        }
        // Groups are no part of the protocol, and stepped over like all that nobody knows.
        WireType::StartGroup | WireType::EndGroup => {
            skip_field(wire, number, bytes, DecodeContext::default()).ok()?;
            Part::Other
        }
    };
    Some((number, part))
}

/// Every field of a message; `None` where the bytes are none, or the visitor says that they are not what they should be.
fn each<'a>(mut bytes: &'a [u8], mut visit: impl FnMut(u32, Part<'a>) -> Option<()>) -> Option<()> {
    while !bytes.is_empty() {
        let (number, part) = next(&mut bytes)?;
        visit(number, part)?;
    }
    Some(())
}

fn bytes<'a>(part: &Part<'a>) -> Option<&'a [u8]> {
    if let Part::Bytes(bytes) = part { Some(bytes) } else { None }
}

fn text<'a>(part: &Part<'a>) -> Option<&'a str> {
    std::str::from_utf8(bytes(part)?).ok()
}

fn read(body: &[u8], wanted: Wanted<'_>, request: &mut Request) -> Option<()> {
    let mut resource = 0;
    each(body, |number, part| {
        if number == 1 {
            resource_spans(bytes(&part)?, resource, wanted, request)?;
            resource = resource.saturating_add(1);
        }
        Some(())
    })
}

fn resource_spans(group: &[u8], resource: usize, wanted: Wanted<'_>, request: &mut Request) -> Option<()> {
    let (mut of_resource, mut scope) = (Attributes::default(), 0);
    each(group, |number, part| {
        match number {
            1 => each(bytes(&part)?, |number, part| {
                if number == 1 { attribute(bytes(&part)?, wanted, &mut of_resource) } else { Some(()) }
            })?,
            2 => {
                scope_spans(bytes(&part)?, Place { resource, scope, span: 0 }, wanted, request)?;
                scope = usize::saturating_add(scope, 1);
            }
            3 => drop(text(&part)?),
            _ => {}
        }
        Some(())
    })?;
    request.resources.push(of_resource);
    Some(())
}

fn scope_spans(group: &[u8], mut place: Place, wanted: Wanted<'_>, request: &mut Request) -> Option<()> {
    let (first, mut from_ai_sdk) = (request.spans.len(), false);
    each(group, |number, part| {
        match number {
            1 => each(bytes(&part)?, |number, part| {
                if number == 1 {
                    from_ai_sdk = text(&part)? == "ai";
                }
                Some(())
            })?,
            2 => {
                request.spans.push(span(bytes(&part)?, place, wanted)?);
                place.span = place.span.saturating_add(1);
            }
            3 => drop(text(&part)?),
            _ => {}
        }
        Some(())
    })?;
    // The scope may stand behind its spans.
    request.spans.iter_mut().skip(first).for_each(|span| span.from_ai_sdk = from_ai_sdk);
    Some(())
}

fn span(message: &[u8], place: Place, wanted: Wanted<'_>) -> Option<Span> {
    let mut span = Span { place, ..Span::default() };
    each(message, |number, part| {
        match (number, &part) {
            (1, _) => span.trace = id(bytes(&part)?),
            (2, _) => span.id = id(bytes(&part)?),
            (4, _) => span.parent = id(bytes(&part)?),
            (5, _) => span.name = Box::from(cut(text(&part)?, NAME_BYTES_MAX)),
            (7, Part::Fixed(nanos)) => span.start_nanos = *nanos,
            (8, Part::Fixed(nanos)) => span.end_nanos = *nanos,
            (9, _) => attribute(bytes(&part)?, wanted, &mut span.attributes)?,
            (15, _) => each(bytes(&part)?, |number, part| {
                if let (3, Part::Number(code)) = (number, &part) {
                    // An enumeration is the low half of its varint.
                    span.status_error = *code & 0xffff_ffff == STATUS_ERROR;
                }
                Some(())
            })?,
            (7 | 8, _) => return None,
            _ => {}
        }
        Some(())
    })?;
    Some(span)
}

/// A key and its value, which may stand in either order: first the key, then, if that is wanted, the value.
fn attribute(message: &[u8], wanted: Wanted<'_>, kept: &mut Attributes) -> Option<()> {
    let mut key = "";
    each(message, |number, part| {
        match number {
            1 => key = text(&part)?,
            2 => any_value(bytes(&part)?, DEPTH_MAX, None)?,
            _ => {}
        }
        Some(())
    })?;
    let Some(field) = wanted.find(key) else { return Some(()) };
    let mut value = None;
    each(
        message,
        |number, part| {
            if number == 2 { any_value(bytes(&part)?, DEPTH_MAX, Some(&mut value)) } else { Some(()) }
        },
    )?;
    if let Some(value) = value {
        kept.offer(field, value);
    }
    Some(())
}

/// Reads a value into `to`, where it is a scalar; everything is stepped through all the same: it may hold what is no protobuf.
fn any_value(message: &[u8], depth: u8, mut to: Option<&mut Option<Value>>) -> Option<()> {
    let depth = depth.checked_sub(1)?;
    let keeps = to.is_some();
    each(message, |number, part| {
        let found = match (number, &part) {
            (1, _) => {
                let text = text(&part)?;
                keeps.then(|| Value::text(text))
            }
            (2, Part::Number(flag)) => Some(Value::Bool(*flag != 0)),
            // The bits are the number's.
            (3, Part::Number(number)) => Some(Value::Int(number.cast_signed())),
            (4, Part::Fixed(bits)) => Some(Value::Double(f64::from_bits(*bits))),
            (8, Part::Number(_)) => None,
            (5, _) => {
                each(
                    bytes(&part)?,
                    |number, part| {
                        if number == 1 { any_value(bytes(&part)?, depth, None) } else { Some(()) }
                    },
                )?;
                None
            }
            (6, _) => {
                each(bytes(&part)?, |number, part| if number == 1 { pair(bytes(&part)?, depth) } else { Some(()) })?;
                None
            }
            (7, _) => {
                bytes(&part)?;
                None
            }
            (2..=4 | 8, _) => return None,
            _ => return Some(()),
        };
        if let Some(to) = &mut to {
            **to = found;
        }
        Some(())
    })
}

/// A key and value within a value: nothing of it is kept.
fn pair(message: &[u8], depth: u8) -> Option<()> {
    each(message, |number, part| match number {
        1 => text(&part).map(drop),
        2 => any_value(bytes(&part)?, depth, None),
        _ => Some(()),
    })
}

/// A scalar of a decoded message.
pub(super) fn scalar(value: AnyValue) -> Option<Value> {
    match value.value? {
        ProtoValue::StringValue(text) => Some(Value::text(&text)),
        ProtoValue::IntValue(number) => Some(Value::Int(number)),
        ProtoValue::DoubleValue(number) => Some(Value::Double(number)),
        ProtoValue::BoolValue(flag) => Some(Value::Bool(flag)),
        _ => None,
    }
}
