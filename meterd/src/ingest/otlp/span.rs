//! One request as its spans and resources, whichever encoding it came in: ids, times, status and kept attributes.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

use super::attributes::{Attributes, Field};

/// Most spans in one request.
pub const SPANS_MAX: usize = 32_768;
/// Longest span name that is kept.
pub(super) const NAME_BYTES_MAX: usize = 256;

/// A whole export request.
#[derive(Debug, Default)]
pub(super) struct Request {
    /// The attributes of each resource.
    pub(super) resources: Vec<Attributes>,
    /// All spans, in the order sent.
    pub(super) spans: Vec<Span>,
}

/// Where a span stood in its request.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Place {
    /// Index of the resource.
    pub(super) resource: usize,
    /// Index of the scope within it.
    pub(super) scope: usize,
    /// Index of the span within that.
    pub(super) span: usize,
}

impl Place {
    /// The JSON pointer to an attribute of the span.
    pub(super) fn pointer(self, attribute: &str) -> String {
        let Self { resource, scope, span } = self;
        format!("/resourceSpans/{resource}/scopeSpans/{scope}/spans/{span}/attributes/{attribute}")
    }
}

/// 16 bytes that are not all zero.
pub(super) type TraceId = [u8; 16];
/// 8 bytes that are not all zero.
pub(super) type SpanId = [u8; 8];

/// What is kept of a span.
#[derive(Debug, Default)]
pub(super) struct Span {
    /// Where it stood.
    pub(super) place: Place,
    /// Trace id; `None` if it is none.
    pub(super) trace: Option<TraceId>,
    /// Span id; `None` if it is none.
    pub(super) id: Option<SpanId>,
    /// Parent's span id.
    pub(super) parent: Option<SpanId>,
    /// Name, cut to its bound.
    pub(super) name: Box<str>,
    /// The scope is the AI SDK's.
    pub(super) from_ai_sdk: bool,
    /// Start, nanoseconds since the epoch.
    pub(super) start_nanos: u64,
    /// End, nanoseconds since the epoch; 0 if unknown.
    pub(super) end_nanos: u64,
    /// The status is an error.
    pub(super) status_error: bool,
    /// The kept attributes.
    pub(super) attributes: Attributes,
}

impl Span {
    /// Did the call fail?
    pub(super) fn failed(&self) -> bool {
        self.status_error || self.attributes.has(Field::ErrorType)
    }
}

/// An id of `N` bytes; neither another length nor all zeros is one.
pub(super) fn id<const N: usize>(bytes: &[u8]) -> Option<[u8; N]> {
    <[u8; N]>::try_from(bytes).ok().filter(|id| id.iter().any(|byte| *byte != 0))
}

/// An id from its hex digits, in either case, as OTLP writes them; or from base64, as protobuf's own JSON form does.
pub(super) fn id_from_text<const N: usize>(text: &str) -> Option<[u8; N]> {
    if text.len() != N.checked_mul(2)? || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        // A length that is an id's in hex is none in base64.
        if N < 8 {
            return None;
        }
        let text = text.trim_end_matches('=');
        let engine = if text.contains(['-', '_']) { URL_SAFE_NO_PAD } else { STANDARD_NO_PAD };
        let mut bytes = [0u8; 24];
        let read = engine.decode_slice(text, &mut bytes).ok()?;
        return id(bytes.get(..read)?);
    }
    let mut bytes = [0u8; N];
    for (byte, at) in bytes.iter_mut().zip((0..text.len()).step_by(2)) {
        *byte = u8::from_str_radix(text.get(at..at.checked_add(2)?)?, 16).ok()?;
    }
    id(&bytes)
}

/// Lower-case hex digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    let digit = |half: u8| {
        char::from(if half < 10 { b'0'.wrapping_add(half) } else { b'a'.wrapping_add(half).wrapping_sub(10) })
    };
    bytes.iter().fold(String::with_capacity(bytes.len().saturating_mul(2)), |mut text, byte| {
        text.push(digit(byte >> 4));
        text.push(digit(byte & 0xf));
        text
    })
}
