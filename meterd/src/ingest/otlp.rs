//! OTLP traces: GenAI spans of a dozen client libraries → usage events, each call once.
//!
//! `wire` and `json` keep what the alias table (`attributes`) names and drop the rest, message content above all;
//! `dialect` says what a span is; `tokens` reads its counts; `relatives` finds the spans that report the same call;
//! `event` builds what counts. Nothing is held between requests here.

mod attributes;
mod bag;
mod call;
mod dialect;
mod draft;
mod event;
mod json;
mod langfuse;
mod logs;
mod points;
mod preflight;
mod provider;
mod recent;
mod relatives;
mod span;
mod tokens;
mod wire;

use std::sync::{Arc, Mutex, PoisonError};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;

use super::{BodyError, Item};
use crate::event::DEFAULT_NAMESPACE;
use attributes::Wanted;
use relatives::Family;

pub use logs::{LogBatch, decode_logs};
pub use points::{Last, PointBatch, Step, VIA as METRICS_VIA, decode_points};
pub use recent::{MARK_BYTES, Mark, REMEMBERED_MAX, Recent};
pub use span::SPANS_MAX;

/// The id that price tables use for a provider that some client names.
#[must_use]
pub fn provider_id(name: &str) -> Arc<str> {
    provider::normalise(name, false)
}

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
    /// Agent of spans that name none; before the service's name.
    pub agent: Option<Arc<str>>,
    /// Further attributes that name the execution, in order of precedence, after the known ones.
    pub execution_keys: Vec<Arc<str>>,
    /// What is configured of single sources.
    pub rules: Arc<[Rule]>,
}

/// What is configured of one source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// Its `service.name`; a `*` at the end stands for any rest.
    pub service: Arc<str>,
    /// Its metrics are billed, for it sends nothing better.
    pub metrics_only: bool,
    /// Namespace of what names none.
    pub namespace: Option<Arc<str>>,
    /// Team of what names none.
    pub team: Option<Arc<str>>,
    /// Agent of what names none.
    pub agent: Option<Arc<str>>,
}

impl Defaults {
    /// What is configured of a source: its own entry, else the longest pattern that fits.
    #[must_use]
    pub fn rule(&self, service: Option<&str>) -> Option<&Rule> {
        let service = service.unwrap_or("");
        let fits = |rule: &&Rule| match rule.service.strip_suffix('*') {
            Some(prefix) => service.starts_with(prefix),
            None => *rule.service == *service,
        };
        self.rules.iter().filter(fits).max_by_key(|rule| (!rule.service.ends_with('*'), rule.service.len()))
    }

    /// Is there a source whose metrics are billed?
    #[must_use]
    pub fn any_metrics_only(&self) -> bool {
        self.rules.iter().any(|rule| rule.metrics_only)
    }
}

impl Default for Defaults {
    fn default() -> Self {
        Self {
            namespace: Arc::from(DEFAULT_NAMESPACE),
            team: None,
            agent: None,
            execution_keys: Vec::new(),
            rules: Arc::from([]),
        }
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

/// Reads the body of a trace export by itself.
pub fn decode_traces(body: &[u8], encoding: Encoding, defaults: &Defaults) -> Result<TraceBatch, BodyError> {
    decode_traces_after(body, encoding, defaults, "", &Mutex::default())
}

/// Reads the body of a trace export of `tenant` that comes after others, of which `recent` knows.
pub fn decode_traces_after(
    body: &[u8],
    encoding: Encoding,
    defaults: &Defaults,
    tenant: &str,
    recent: &Mutex<Recent>,
) -> Result<TraceBatch, BodyError> {
    let wanted = Wanted { execution_keys: &defaults.execution_keys };
    let request = match encoding {
        Encoding::Protobuf => wire::decode(body, wanted)?,
        Encoding::Json => json::decode(body, wanted)?,
    };
    Ok(batch(&request, defaults, tenant, recent))
}

/// Reads a trace export that a gRPC server has already decoded.
pub fn read_traces(message: ExportTraceServiceRequest, defaults: &Defaults) -> Result<TraceBatch, BodyError> {
    let request = wire::request(&message, Wanted { execution_keys: &defaults.execution_keys });
    preflight::spans(request.spans.len())?;
    Ok(batch(&request, defaults, "", &Mutex::default()))
}

fn batch(request: &span::Request, defaults: &Defaults, tenant: &str, recent: &Mutex<Recent>) -> TraceBatch {
    let family = Family::new(request);
    let mut calls = relatives::calls(&family);
    recent.lock().unwrap_or_else(PoisonError::into_inner).settle(tenant, &mut calls, &family);
    let spans = request.spans.len();
    let duplicates = calls.iter().filter(|call| call.duplicate).count();
    let not_billable = spans.saturating_sub(calls.len());
    let context = event::Context { family: &family, resources: &request.resources, defaults };
    let counting = calls.into_iter().filter(|call| !call.duplicate);
    let items = counting.map(|call| event::item(&context, call)).collect();
    TraceBatch { items, spans, duplicates, not_billable }
}

#[cfg(test)]
pub(crate) use tests::captures_folder;
#[cfg(test)]
mod tests;
