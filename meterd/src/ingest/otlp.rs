//! OTLP traces: GenAI spans of a dozen client libraries → usage events, each call once.
//!
//! `wire` and `json` keep what the alias table (`attributes`) names and drop the rest, message content above all;
//! `dialect` says what a span is; `tokens` reads its counts; `relatives` finds the spans that report the same call;
//! `event` builds what counts. Nothing is held between requests here.

mod attributes;
mod call;
mod dialect;
mod event;
mod json;
mod langfuse;
mod preflight;
mod provider;
mod relatives;
mod span;
mod tokens;
mod wire;

use std::sync::Arc;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;

use super::{BodyError, Item};
use crate::event::DEFAULT_NAMESPACE;
use attributes::Wanted;
use relatives::Family;

pub use span::SPANS_MAX;

/// The encoding of a body; the answer is in the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// `application/x-protobuf`
    Protobuf,
    /// `application/json`
    Json,
}

impl Encoding {
    /// From a `content-type` header. A body without one is protobuf, as the protocol's default is.
    pub fn from_content_type(content_type: Option<&str>) -> Result<Self, BodyError> {
        let essence = content_type.and_then(|text| text.split(';').next()).unwrap_or("").trim().to_ascii_lowercase();
        match essence.as_str() {
            "" | "application/x-protobuf" | "application/protobuf" => Ok(Self::Protobuf),
            "application/json" => Ok(Self::Json),
            _ => Err(BodyError::unsupported(
                "unsupported_media_type",
                "OTLP is read as application/x-protobuf or application/json; set the exporter's protocol to http/protobuf",
            )),
        }
    }

    /// The `content-type` of the answer.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Protobuf => "application/x-protobuf",
            Self::Json => "application/json",
        }
    }
}

/// What stands in for what spans leave out.
#[derive(Clone, Debug)]
pub struct Defaults {
    /// Namespace of spans whose resource names none.
    pub namespace: Arc<str>,
    /// Team of spans that name none.
    pub team: Option<Arc<str>>,
    /// Further attributes that name the execution, in order of precedence, after the known ones.
    pub execution_keys: Vec<Arc<str>>,
}

impl Default for Defaults {
    fn default() -> Self {
        Self { namespace: Arc::from(DEFAULT_NAMESPACE), team: None, execution_keys: Vec::new() }
    }
}

/// What a trace export held. Every span is an item, a duplicate or not billable.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TraceBatch {
    /// The calls that count, accepted or refused, in the order sent. `index` is the span's place among all spans.
    pub items: Vec<Item>,
    /// All spans.
    pub spans: usize,
    /// Spans that report a call for which another span counts.
    pub duplicates: usize,
    /// Spans that are no call of a model or tool.
    pub not_billable: usize,
}

/// Reads the body of a trace export.
pub fn decode_traces(body: &[u8], encoding: Encoding, defaults: &Defaults) -> Result<TraceBatch, BodyError> {
    let wanted = Wanted { execution_keys: &defaults.execution_keys };
    let request = match encoding {
        Encoding::Protobuf => wire::decode(body, wanted)?,
        Encoding::Json => json::decode(body, wanted)?,
    };
    Ok(batch(&request, defaults))
}

/// Reads a trace export that a gRPC server has already decoded.
pub fn read_traces(message: ExportTraceServiceRequest, defaults: &Defaults) -> Result<TraceBatch, BodyError> {
    let request = wire::request(message, Wanted { execution_keys: &defaults.execution_keys });
    preflight::spans(request.spans.len())?;
    Ok(batch(&request, defaults))
}

fn batch(request: &span::Request, defaults: &Defaults) -> TraceBatch {
    let family = Family::new(request);
    let calls = relatives::calls(&family);
    let spans = request.spans.len();
    let duplicates = calls.iter().filter(|call| call.duplicate).count();
    let not_billable = spans.saturating_sub(calls.len());
    let context = event::Context { family: &family, resources: &request.resources, defaults };
    let counting = calls.into_iter().filter(|call| !call.duplicate);
    let items = counting.map(|call| event::item(&context, call)).collect();
    TraceBatch { items, spans, duplicates, not_billable }
}

#[cfg(test)]
mod tests;
