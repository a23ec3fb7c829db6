//! Requests captured from real instrumentation libraries give exactly what they truly contain.

use std::path::{Path, PathBuf};

use budget::charge::{CallOutcome, Called};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use pricing::UsageKey;
use prost::Message;

use super::super::{Defaults, Encoding, TraceBatch, decode_traces, read_traces};
use super::support::sums;

/// The captures; they are kept beside the project and may be absent.
pub(super) fn folder() -> Option<PathBuf> {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data/otlp")).to_path_buf();
    if folder.is_dir() {
        return Some(folder);
    }
    println!("no captures at {}; nothing to compare", folder.display());
    None
}

fn decode(path: &Path) -> TraceBatch {
    let body = std::fs::read(path).unwrap();
    let encoding = if path.extension().unwrap() == "pb" { Encoding::Protobuf } else { Encoding::Json };
    decode_traces(&body, encoding, &Defaults::default()).unwrap()
}

#[test]
fn every_capture_gives_exactly_what_it_contains() {
    let Some(folder) = folder() else { return };
    let expected = std::fs::read_to_string(folder.join("EXPECTED.tsv")).unwrap();
    let mut checked = 0;
    for line in expected.lines().skip(1).filter(|line| line.contains(".traces.")) {
        let cells: Vec<&str> = line.split('\t').collect();
        let got = sums(&decode(&folder.join(cells[0])));
        let columns = [
            got.calls,
            got.input_total,
            got.cache_read,
            got.cache_write,
            got.output_total,
            got.reasoning,
            got.embeddings_input,
            got.tool_calls,
        ];
        for (place, (value, cell)) in columns.iter().zip(&cells[1..]).enumerate() {
            if *cell != "-" && !cell.is_empty() {
                assert_eq!(value.to_string(), *cell, "{} column {}: {got:?}", cells[0], place + 1);
                checked += 1;
            }
        }
    }
    assert!(checked >= 40, "only {checked} numbers were compared");
}

#[test]
fn decoded_copies_of_the_captures_read_the_same() {
    let Some(folder) = folder() else { return };
    for name in ["genai-openai", "anthropic-sdk-native", "genai-anthropic", "litellm-otel", "pydantic-ai-logfire"] {
        let binary = decode(&folder.join(format!("{name}.traces.pb")));
        let decoded = decode(&folder.join(format!("{name}.traces.decoded.json")));
        assert_eq!(binary, decoded, "{name}");
        let body = std::fs::read(folder.join(format!("{name}.traces.pb"))).unwrap();
        let message = ExportTraceServiceRequest::decode(&body[..]).unwrap();
        assert_eq!(read_traces(message, &Defaults::default()).unwrap(), binary, "{name}");
    }
}

#[test]
fn a_failed_call_is_an_error_without_usage() {
    let Some(folder) = folder() else { return };
    let batch = decode(&folder.join("genai-openai.traces.pb"));
    assert_eq!((batch.spans, batch.items.len(), batch.duplicates, batch.not_billable), (6, 6, 0, 0));
    let failed: Vec<_> =
        batch.items.iter().flat_map(|item| &item.event).filter(|event| event.outcome == CallOutcome::Error).collect();
    assert_eq!(failed.len(), 1);
    assert_eq!(failed[0].usage, None);
    let first = batch.items[0].event.as_ref().unwrap();
    assert_eq!(&*first.id, format!("{}:ca589c1e843c797b", first.execution));
    assert!(first.execution.starts_with("cfd9d40a") && first.execution.len() == 32);
    assert_eq!(&*first.source, "otlp/cap-genai-openai");
    assert_eq!(&*first.namespace, "support-platform");
    assert_eq!(first.agent.as_deref(), Some("cap-genai-openai"));
    assert_eq!(first.environment.as_deref(), Some("staging"));
    assert_eq!(first.attrs.get("service_tier"), Some("default"));
    let Called::Model { provider, model, request_model, response_id } = &first.called else { panic!("a model") };
    assert_eq!((&**provider, &**model), ("openai", "gpt-4o-mini-2024-07-18"));
    assert_eq!((request_model.as_deref(), response_id.as_deref()), (Some("gpt-4o-mini"), Some("chatcmpl-stub00011")));
}

#[test]
fn one_call_seen_twice_keeps_what_each_span_knew() {
    let Some(folder) = folder() else { return };
    let batch = decode(&folder.join("genai-anthropic.traces.pb"));
    assert_eq!((batch.spans, batch.items.len(), batch.duplicates), (2, 1, 1));
    let event = batch.items[0].event.as_ref().unwrap();
    let usage = event.usage.as_ref().unwrap();
    assert!(event.id.ends_with(":ca5074a1034eeefb"), "the SDK's own span is the leaf: {}", event.id);
    assert_eq!(usage.count(UsageKey::CacheWrite5mTokens), 200);
    assert_eq!(usage.count(UsageKey::CacheWrite1hTokens), 100);
    assert_eq!(event.attrs.get("service_tier"), Some("standard"));
}

#[test]
fn costs_runs_and_agents_come_along() {
    let Some(folder) = folder() else { return };
    let costs = |name: &str| -> Vec<Option<String>> {
        let batch = decode(&folder.join(name));
        let events = batch.items.iter().map(|item| item.event.as_ref().unwrap());
        events.map(|event| event.reported_cost.map(|cost| cost.to_string())).collect()
    };
    assert_eq!(costs("litellm-otel.traces.pb"), [Some("0.000423".into()), Some("0.008025000000000001".into())]);
    assert_eq!(costs("pydantic-ai-logfire.traces.pb"), [Some("0.000423".into()), None, Some("0.000423".into())]);

    let vercel = decode(&folder.join("vercel-ai-sdk.traces.json"));
    for item in &vercel.items {
        let event = item.event.as_ref().unwrap();
        assert_eq!(&*event.execution, "exec-20260510-001");
        if let Called::Model { provider, .. } = &event.called {
            assert_eq!(&**provider, "openai");
        }
    }
    let pydantic = decode(&folder.join("pydantic-ai-logfire.traces.pb"));
    for item in &pydantic.items {
        let event = item.event.as_ref().unwrap();
        assert_eq!(event.agent.as_deref(), Some("support-triage"));
        assert!(event.conversation.is_some());
    }
}
