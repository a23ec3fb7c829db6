//! Wire forms, bad bodies, bounds, and that no input panics.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use proptest::prelude::*;
use prost::Message;

use super::super::span::{hex, id_from_text};
use super::super::{Defaults, Encoding, SPANS_MAX, TraceBatch, decode_traces};
use super::captures::folder;
use super::support::{body, span};
use crate::ingest::BodyError;

fn read(body: &[u8], encoding: Encoding) -> Result<TraceBatch, BodyError> {
    decode_traces(body, encoding, &Defaults::default())
}

fn refused(body: &[u8], encoding: Encoding, code: &str, status: u16) {
    let error = read(body, encoding).expect_err("an error");
    assert_eq!((error.code, error.status), (code, status), "{error}");
}

#[test]
fn content_types() {
    let check = |text: Option<&str>, expected: Result<Encoding, u16>| {
        assert_eq!(Encoding::from_content_type(text).map_err(|error| error.status), expected, "{text:?}");
    };
    check(Some("application/x-protobuf"), Ok(Encoding::Protobuf));
    check(Some("application/JSON; charset=utf-8"), Ok(Encoding::Json));
    check(None, Ok(Encoding::Protobuf));
    check(Some("text/plain"), Err(415));
}

#[test]
fn bodies_that_cannot_be_read() {
    refused(b"\xff\xff\xff", Encoding::Protobuf, "malformed_protobuf", 400);
    refused(b"{}", Encoding::Protobuf, "malformed_protobuf", 400);
    refused(b"", Encoding::Json, "malformed_json", 400);
    refused(b"[1]", Encoding::Json, "malformed_json", 400);
    refused(b"\xff", Encoding::Json, "invalid_utf8", 400);
    refused(b"{\"resourceSpans\": 5}", Encoding::Json, "malformed_json", 400);
    refused("{\"a\":".repeat(100_000).as_bytes(), Encoding::Json, "malformed_json", 400);
    assert_eq!(read(b"", Encoding::Protobuf).unwrap(), TraceBatch::default());
    assert_eq!(read(b"{}", Encoding::Json).unwrap(), TraceBatch::default());
}

#[test]
fn json_in_every_spelling() {
    let one = |span: &str| {
        let body =
            format!(r#"{{"resource_spans":[{{"scope_spans":[{{"spans":[{span}],"schemaUrl":null}}]}}],"x":[{{}}]}}"#);
        read(body.as_bytes(), Encoding::Json).unwrap().items.remove(0)
    };
    let attributes = r#""attributes":[{"value":{"stringValue":"chat"},"key":"gen_ai.operation.name"},
        {"key":"gen_ai.usage.input_tokens","value":{"int_value":"7","unknown":{"a":[1]}}},{"key":"x","value":{"arrayValue":{"values":[{"kvlistValue":{}}]}}},
        {"key":"y","value":null},{"key":"z"},{}]"#;
    let snake = one(&format!(
        r#"{{"trace_id":"0AF7651916CD43DD8448EB211C80319C","span_id":"B7AD6B7169203331","start_time_unix_nano":1795374801272972004,"status":{{"code":"STATUS_CODE_ERROR"}},"links":null,{attributes}}}"#
    ));
    let event = snake.event.unwrap();
    assert_eq!(&*event.id, "0af7651916cd43dd8448eb211c80319c:b7ad6b7169203331");
    assert_eq!(event.time.nanos(), 1_795_374_801_272_972_004);
    assert_eq!(event.outcome.as_str(), "error");
    assert_eq!(event.usage.unwrap().count(pricing::UsageKey::InputTokens), 7);

    let bad_ids = one(&format!(r#"{{"traceId":"00","spanId":"zz","startTimeUnixNano":"1",{attributes}}}"#));
    assert_eq!((bad_ids.id, bad_ids.event.unwrap_err().code), (None, "invalid_span_id"));
    let no_time = one(&format!(
        r#"{{"traceId":"0af7651916cd43dd8448eb211c80319c","spanId":"b7ad6b7169203331","startTimeUnixNano":null,{attributes}}}"#
    ));
    assert_eq!(no_time.event.unwrap_err().code, "invalid_time");
}

#[test]
fn ids_in_hex() {
    assert_eq!(id_from_text::<2>("00Ff"), Some([0, 255]));
    for bad in ["", "00", "0000", "00fff", "+1ff", "0 ff", "€1"] {
        assert_eq!(id_from_text::<2>(bad), None, "{bad}");
    }
    assert_eq!(hex(&[0, 171]), "00ab");
}

#[test]
fn a_small_body_cannot_become_a_large_one() {
    let request = |spans: usize| {
        let scope = ScopeSpans { spans: vec![Span::default(); spans], ..ScopeSpans::default() };
        let resource = ResourceSpans { scope_spans: vec![scope], ..ResourceSpans::default() };
        ExportTraceServiceRequest { resource_spans: vec![resource] }.encode_to_vec()
    };
    assert_eq!(read(&request(SPANS_MAX), Encoding::Protobuf).unwrap().spans, SPANS_MAX);
    refused(&request(SPANS_MAX + 1), Encoding::Protobuf, "too_many_spans", 413);
    // Two bytes an empty attribute: [0x4a, 0] in one span.
    let wrap = |tag: u8, inner: &[u8]| {
        let mut outer = vec![tag];
        prost::encoding::encode_varint(u64::try_from(inner.len()).unwrap(), &mut outer);
        outer.extend_from_slice(inner);
        outer
    };
    let attributes = wrap(0x0a, &wrap(0x12, &wrap(0x12, &[0x4a, 0].repeat(1_000_000))));
    refused(&attributes, Encoding::Protobuf, "too_many_spans", 413);
    let of_resource = wrap(0x0a, &wrap(0x0a, &[0x0a, 0].repeat(1_000_000)));
    refused(&of_resource, Encoding::Protobuf, "too_many_spans", 413);
    let json = format!(r#"{{"resourceSpans":[{}{{}}]}}"#, "{},".repeat(1_000_000));
    refused(json.as_bytes(), Encoding::Json, "too_many_spans", 413);
    let json = format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{}{{}}]}}]}}]}}"#, "{},".repeat(SPANS_MAX));
    refused(json.as_bytes(), Encoding::Json, "too_many_spans", 413);
}

#[test]
fn long_and_odd_names_do_not_cost_the_event() {
    let spans = [span(1, "chat")
        .with("gen_ai.operation.name", "chat")
        .with("gen_ai.agent.name", "ä".repeat(5_000))
        .with("gen_ai.conversation.id", "a\u{0}b\nc")
        .with("gen_ai.response.model", "m".repeat(9_000))];
    let batch = read(&body(&spans, &[("service.name", &"s".repeat(9_000))]), Encoding::Json).unwrap();
    let event = batch.items[0].event.as_ref().unwrap();
    assert_eq!(event.agent.as_deref(), Some(&*"ä".repeat(126)));
    assert_eq!(event.conversation.as_deref(), Some("abc"));
    let run = [span(1, "chat").with("gen_ai.operation.name", "chat").with("joch.execution.id", "r".repeat(300))];
    let batch = read(&body(&run, &[]), Encoding::Json).unwrap();
    let rejection = batch.items[0].event.as_ref().unwrap_err();
    assert_eq!((rejection.code, &*rejection.pointer), ("too_long", "/execution"));
}

fn sound(body: &[u8]) {
    for encoding in [Encoding::Protobuf, Encoding::Json] {
        if let Ok(batch) = read(body, encoding) {
            assert_eq!(batch.spans, batch.items.len() + batch.duplicates + batch.not_billable);
            for event in batch.items.iter().flat_map(|item| &item.event) {
                assert_eq!(event.validate(), Ok(()));
            }
        }
    }
}

/// Captures where they are kept, and a made request everywhere.
fn samples() -> Vec<Vec<u8>> {
    let made = [span(1, "chat").with("gen_ai.operation.name", "chat").with("gen_ai.usage.input_tokens", 5)];
    let mut samples = vec![body(&made, &[("service.name", "worker")])];
    for name in ["genai-anthropic.traces.pb", "vercel-ai-sdk.traces.json", "pydantic-ai-logfire.traces.pb"] {
        samples.extend(folder().and_then(|folder| std::fs::read(folder.join(name)).ok()));
    }
    samples
}

proptest! {
    #[test]
    fn random_bytes(body in proptest::collection::vec(any::<u8>(), 0..512)) {
        sound(&body);
    }

    #[test]
    fn mutated_requests(
        which in any::<prop::sample::Index>(),
        edits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in proptest::option::of(any::<prop::sample::Index>()),
    ) {
        let samples = samples();
        let mut body = samples[which.index(samples.len())].clone();
        for (at, byte) in edits {
            let place = at.index(body.len());
            body[place] = byte;
        }
        if let Some(cut) = cut {
            body.truncate(cut.index(body.len()));
        }
        sound(&body);
    }
}
