//! How many events of each format one core decodes and normalises: bytes in, usage events out, no socket, price or ledger.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, missing_docs)]

use std::fmt::Write as _;
use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use meterd::ingest::cloudevents::{self, Mode};
use meterd::ingest::json::{self, BodyKind};
use meterd::ingest::otlp::{self, Defaults, Encoding};
use meterd::ingest::{litellm, provider};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message as _;
use serde_json::{Value, json};

const SPANS: usize = 512;
const EVENTS: usize = 1_000;
const NANOS: u64 = 1_795_374_801_272_972_004;

/// Spans as the GenAI instrumentation of OpenAI sends them, each with an HTTP client's span below it that is not billed.
fn spans() -> Value {
    let text = |key: &str, value: &str| json!({ "key": key, "value": { "stringValue": value } });
    let int = |key: &str, value: i64| json!({ "key": key, "value": { "intValue": value.to_string() } });
    let span = |n: usize| {
        json!({
            "traceId": format!("{:032x}", n + 1), "spanId": format!("{:016x}", n + 1), "name": "chat gpt-4o-mini",
            "kind": 3, "flags": 257, "startTimeUnixNano": NANOS.to_string(), "endTimeUnixNano": (NANOS + 700_000_000).to_string(),
            "attributes": [
                text("gen_ai.operation.name", "chat"), text("gen_ai.provider.name", "openai"),
                text("gen_ai.request.model", "gpt-4o-mini"), text("gen_ai.response.model", "gpt-4o-mini-2024-07-18"),
                text("gen_ai.response.id", &format!("chatcmpl-{n:016x}")), text("server.address", "api.openai.com"),
                int("server.port", 443), text("joch.execution.id", &format!("run-{}", n % 100)),
                int("gen_ai.usage.input_tokens", 2048), int("gen_ai.usage.cache_read.input_tokens", 1024),
                int("gen_ai.usage.output_tokens", 321), int("gen_ai.usage.reasoning.output_tokens", 128),
                text("openai.response.service_tier", "default"),
            ],
            "status": {},
        })
    };
    let resource = json!({ "attributes": [text("service.name", "bench"), text("service.namespace", "bench")] });
    let scope = json!({ "name": "opentelemetry.instrumentation.genai.openai" });
    let spans: Vec<Value> = (0..SPANS).map(span).collect();
    json!({ "resourceSpans": [{ "resource": resource, "scopeSpans": [{ "scope": scope, "spans": spans }] }] })
}

/// Spans in protobuf, as exporters write them.
fn protobuf(spans: &Value) -> Vec<u8> {
    let message: ExportTraceServiceRequest = serde_json::from_value(spans.clone()).unwrap();
    message.encode_to_vec()
}

fn event(n: usize) -> String {
    format!(
        "{{\"id\":\"{n:016x}\",\"source\":\"bench\",\"time\":\"2026-11-22T10:00:00.123Z\",\"namespace\":\"bench\",\
         \"execution\":\"run-{}\",\"agent\":\"bench\",\"kind\":\"model\",\"provider\":\"openai\",\"model\":\"gpt-4o-mini\",\
         \"response_id\":\"r-{n:016x}\",\"usage\":{{\"input_tokens\":2048,\"cache_read_tokens\":1024,\"output_tokens\":321,\
         \"output_reasoning_tokens\":128}}}}",
        n % 100
    )
}

/// One `text` a line, with its number.
fn lines(text: impl Fn(usize) -> String) -> String {
    (0..EVENTS).fold(String::new(), |mut all, n| {
        writeln!(all, "{}", text(n)).unwrap();
        all
    })
}

fn payload(n: usize) -> String {
    json!({
        "id": format!("chatcmpl-{n:016x}"), "litellm_call_id": format!("call-{n}"), "trace_id": format!("run-{}", n % 100),
        "call_type": "acompletion", "status": "success", "custom_llm_provider": "openai", "model": "gpt-4o-mini",
        "startTime": 1_795_373_011.5, "endTime": 1_795_373_012.3, "response_cost": 0.000423, "prompt_tokens": 2048,
        "completion_tokens": 321, "request_tags": ["agent:bench"],
        "metadata": { "usage_object": {
            "prompt_tokens": 2048, "completion_tokens": 321, "prompt_tokens_details": { "cached_tokens": 1024 },
            "completion_tokens_details": { "reasoning_tokens": 128 },
        } },
        "messages": [{ "role": "user", "content": "hello" }], "response": { "choices": [{ "message": { "content": "hi" } }] },
    })
    .to_string()
}

fn envelope(n: usize) -> String {
    json!({
        "provider": "openai", "api": "openai.chat", "execution": format!("run-{}", n % 100), "time": "2026-11-22T10:00:00Z",
        "body": {
            "id": format!("chatcmpl-{n:016x}"), "object": "chat.completion", "model": "gpt-4o-mini-2024-07-18",
            "choices": [{ "index": 0, "finish_reason": "stop", "message": { "role": "assistant", "content": "hello" } }],
            "usage": {
                "prompt_tokens": 2048, "completion_tokens": 321, "total_tokens": 2369,
                "prompt_tokens_details": { "cached_tokens": 1024 }, "completion_tokens_details": { "reasoning_tokens": 128 },
            },
        },
    })
    .to_string()
}

fn cloudevent(n: usize) -> String {
    format!(
        "{{\"specversion\":\"1.0\",\"id\":\"ce-{n}\",\"source\":\"/bench\",\"type\":\"dev.meterd.usage\",\
         \"time\":\"2026-11-22T10:00:00Z\",\"data\":{}}}",
        event(n)
    )
}

fn array(text: impl Fn(usize) -> String) -> String {
    format!("[{}]", (0..EVENTS).map(text).collect::<Vec<_>>().join(","))
}

fn decode(c: &mut Criterion) {
    let mut group = c.benchmark_group("decode");
    let mut run = |name: &str, events: usize, decode: &dyn Fn() -> usize| {
        assert_eq!(decode(), events, "{name} decodes every event");
        group.throughput(Throughput::Elements(events as u64));
        group.bench_function(name, |b| b.iter(|| black_box(decode())));
    };
    let good = |items: &[meterd::ingest::Item]| items.iter().filter(|item| item.event.is_ok()).count();
    let defaults = Defaults::default();

    let spans = spans();
    let (binary, text) = (protobuf(&spans), spans.to_string());
    run("otlp_protobuf_512", SPANS, &|| {
        good(&otlp::decode_traces(&binary, Encoding::Protobuf, &defaults).unwrap().items)
    });
    run("otlp_json_512", SPANS, &|| {
        good(&otlp::decode_traces(text.as_bytes(), Encoding::Json, &defaults).unwrap().items)
    });
    let body = lines(event);
    run("ndjson_1000", EVENTS, &|| good(&json::decode(body.as_bytes(), BodyKind::Ndjson).unwrap().items));
    let body = array(event);
    run("json_array_1000", EVENTS, &|| good(&json::decode(body.as_bytes(), BodyKind::Json).unwrap().items));
    let body = lines(payload);
    run("litellm_1000", EVENTS, &|| good(&litellm::decode(body.as_bytes(), BodyKind::Ndjson).unwrap().items));
    let body = lines(envelope);
    let none = provider::Defaults { id: None, execution: None, time: None };
    run("provider_1000", EVENTS, &|| good(&provider::decode(body.as_bytes(), BodyKind::Ndjson, &none).unwrap().items));
    let body = array(cloudevent);
    run("cloudevents_1000", EVENTS, &|| {
        let events = cloudevents::decode(body.as_bytes(), Mode::Batch).unwrap();
        events.iter().filter(|event| matches!(event, cloudevents::Event::Usage(item) if item.event.is_ok())).count()
    });
    group.finish();
}

/// The daemon's own allocator: what is measured is what it does.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

criterion_group!(benches, decode);
criterion_main!(benches);
