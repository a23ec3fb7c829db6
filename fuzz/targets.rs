//! What is fuzzed: every decoder of what comes from outside, each as a function of bytes alone, and what must hold of whatever
//! it gives back. cargo-fuzz and the driver on stable (`tests/fuzz`) run the same functions.

use meterd::event::charge::charge;
use meterd::ingest::body::{Limits, decompress};
use meterd::ingest::cloudevents::{self, Envelope, Event, Mode};
use meterd::ingest::json::{self, BodyKind, EVENTS_MAX};
use meterd::ingest::otlp::{self, Defaults, Encoding, Last, Rule, SPANS_MAX};
use meterd::ingest::{Item, litellm, provider};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use pricing::PriceBook;
use pricing::book::Layers;
use prost::Message as _;

/// A decoder by its name, which is its corpus's too.
pub(crate) type Target = (&'static str, fn(&[u8]));

/// Every decoder.
pub(crate) const TARGETS: &[Target] = &[
    ("otlp_traces_protobuf", otlp_traces_protobuf),
    ("otlp_traces_json", otlp_traces_json),
    ("otlp_logs_protobuf", otlp_logs_protobuf),
    ("otlp_logs_json", otlp_logs_json),
    ("otlp_metrics_protobuf", otlp_metrics_protobuf),
    ("otlp_metrics_json", otlp_metrics_json),
    ("usage_json", usage_json),
    ("litellm", litellm_payloads),
    ("provider", provider_bodies),
    ("cloudevents", cloudevents_json),
    ("compressed", compressed),
    ("resources_yaml", resources_yaml),
    ("prices_yaml", prices_yaml),
];

/// What is accepted is valid and can be charged; what is refused says why.
fn hold(items: &[Item], most: usize) {
    assert!(items.len() <= most, "{} items", items.len());
    let book = PriceBook::default();
    for item in items {
        match &item.event {
            Ok(event) => {
                assert_eq!(event.validate(), Ok(()));
                assert!(
                    charge(&book, event.clone(), "tenant", "api").reported_cost.is_none_or(|cost| !cost.is_negative())
                );
            }
            Err(rejection) => assert!(!rejection.code.is_empty() && !rejection.message.is_empty()),
        }
    }
}

fn defaults() -> Defaults {
    let rule = Rule { service: "*".into(), metrics_only: true, ..Rule::default() };
    Defaults { rules: [rule].into(), execution_keys: vec!["run".into()], ..Defaults::default() }
}

fn traces(data: &[u8], encoding: Encoding) {
    if let Ok(batch) = otlp::decode_traces(data, encoding, &defaults()) {
        assert_eq!(batch.items.len() + batch.duplicates + batch.not_billable, batch.spans);
        hold(&batch.items, SPANS_MAX);
    }
}

pub(crate) fn otlp_traces_protobuf(data: &[u8]) {
    traces(data, Encoding::Protobuf);
    // What the library reads is read here alike.
    if let Ok(message) = ExportTraceServiceRequest::decode(data) {
        let spans = |message: &ExportTraceServiceRequest| -> usize {
            message.resource_spans.iter().flat_map(|group| &group.scope_spans).map(|scope| scope.spans.len()).sum()
        };
        let direct = otlp::decode_traces(data, Encoding::Protobuf, &defaults());
        let again = otlp::decode_traces(&message.encode_to_vec(), Encoding::Protobuf, &defaults());
        if let (Ok(direct), Ok(again)) = (&direct, &again) {
            assert_eq!(direct.spans, spans(&message));
            assert_eq!(direct, again);
        }
        assert!(direct.is_ok() || direct.is_err_and(|error| error.status == 413), "the library reads it");
    }
}

pub(crate) fn otlp_traces_json(data: &[u8]) {
    traces(data, Encoding::Json);
}

fn logs(data: &[u8], encoding: Encoding) {
    if let Ok(batch) = otlp::decode_logs(data, encoding, &defaults()) {
        hold(&batch.items, SPANS_MAX);
    }
}

pub(crate) fn otlp_logs_protobuf(data: &[u8]) {
    logs(data, Encoding::Protobuf);
}

pub(crate) fn otlp_logs_json(data: &[u8]) {
    logs(data, Encoding::Json);
}

fn metrics(data: &[u8], encoding: Encoding) {
    let mut last = Last::default();
    let decode = |last: &Last| otlp::decode_points(data, encoding, &defaults(), "tenant", last);
    let Ok(batch) = decode(&last) else { return };
    let (items, steps): (Vec<_>, Vec<_>) = batch.items.into_iter().unzip();
    hold(&items, usize::MAX);
    for id in items.iter().filter_map(|item| item.id.as_deref()) {
        last.learn(id);
    }
    steps.into_iter().flatten().chain(batch.unmoved).for_each(|step| last.learn_step(step));
    // What is cumulative adds nothing when it is sent again.
    let again = decode(&last).expect("it was read before");
    assert!(again.items.iter().all(|(item, steps)| steps.is_empty() || item.event.is_err()));
}

pub(crate) fn otlp_metrics_protobuf(data: &[u8]) {
    metrics(data, Encoding::Protobuf);
}

pub(crate) fn otlp_metrics_json(data: &[u8]) {
    metrics(data, Encoding::Json);
}

pub(crate) fn usage_json(data: &[u8]) {
    for kind in [BodyKind::Json, BodyKind::Ndjson, BodyKind::Sniff] {
        if let Ok(batch) = json::decode(data, kind) {
            hold(&batch.items, EVENTS_MAX);
        }
    }
}

pub(crate) fn litellm_payloads(data: &[u8]) {
    if let Ok(batch) = litellm::decode(data, BodyKind::Sniff) {
        hold(&batch.items, EVENTS_MAX);
    }
}

pub(crate) fn provider_bodies(data: &[u8]) {
    let defaults = provider::Defaults { id: None, execution: Some("run"), time: None };
    if let Ok(batch) = provider::decode(data, BodyKind::Sniff, &defaults) {
        hold(&batch.items, usize::MAX);
    }
    if let Ok(batch) = provider::decode_line(data, &defaults) {
        hold(&batch.items, usize::MAX);
    }
}

pub(crate) fn cloudevents_json(data: &[u8]) {
    for mode in [Mode::Structured, Mode::Batch] {
        for event in cloudevents::decode(data, mode).into_iter().flatten() {
            if let Event::Usage(item) = event {
                hold(&[*item], 1);
            }
        }
    }
    let envelope = Envelope { id: "1".into(), source: "/s".into(), kind: "dev.meterd.usage".into(), time: None };
    if let Event::Usage(item) = cloudevents::decode_binary(&envelope, data) {
        hold(&[*item], 1);
    }
}

pub(crate) fn compressed(data: &[u8]) {
    let limits = Limits::default();
    for encoding in ["gzip", "zstd", "identity", "br"] {
        if let Ok(plain) = decompress(data, Some(encoding), &limits) {
            assert!(plain.len() <= limits.body_bytes_max.max(data.len()));
        }
    }
}

pub(crate) fn resources_yaml(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = meterd::resource::read(text);
    }
}

pub(crate) fn prices_yaml(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data)
        && let Ok((tables, books)) = Layers::parse_all(text)
    {
        let tables = tables.into_iter().map(std::sync::Arc::new).collect();
        let _ = PriceBook::layered(tables, &books);
    }
}
