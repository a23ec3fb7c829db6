//! One call that several sources tell of: it counts once, in whatever order they come, in one trace or in two.

use axum::body::Body;
use serde_json::{Value, json};

use super::{Api, RUNS};
use crate::event::charge::tests::sample::START;

/// A way in: what it posts of the call with this response id, of run `run`.
type Source = (&'static str, &'static str, fn(&str, &str) -> Value);

const SOURCES: [Source; 7] = [
    ("native", "/v1/usage", native),
    ("provider body", "/v1/provider-usage", provider_body),
    ("LiteLLM's callback", "/v1/litellm", litellm),
    ("LiteLLM's spans", "/v1/traces", |id, run| spans(&[litellm_span(id, 3)], run)),
    ("OpenAI's instrumentation", "/v1/traces", |id, run| {
        spans(&[chat("opentelemetry.instrumentation.genai.openai", id, 1)], run)
    }),
    ("logfire", "/v1/traces", |id, run| spans(&[chat("pydantic-ai", id, 2)], run)),
    ("logfire and OpenAI's instrumentation in one request", "/v1/traces", |id, run| {
        let mut inner = chat("opentelemetry.instrumentation.genai.openai", id, 4);
        inner["parentSpanId"] = json!(format!("{:016x}", 5));
        spans(&[inner, chat("pydantic-ai", id, 5)], run)
    }),
];

fn native(id: &str, run: &str) -> Value {
    json!({
        "id": format!("native-{id}"), "source": "agent", "time": "2026-11-22T10:00:00Z", "namespace": "ns", "execution": run,
        "kind": "model", "provider": "openai", "model": "gpt-4o-mini", "response_id": id,
        "usage": { "input_tokens": 2048, "cache_read_tokens": 1024, "output_tokens": 321, "output_reasoning_tokens": 128 },
    })
}

fn provider_body(id: &str, run: &str) -> Value {
    json!({
        "provider": "openai", "api": "openai.chat", "namespace": "ns", "execution": run, "time": "2026-11-22T10:00:00Z",
        "body": {
            "id": id, "object": "chat.completion", "model": "gpt-4o-mini",
            "usage": {
                "prompt_tokens": 2048, "completion_tokens": 321, "total_tokens": 2369,
                "prompt_tokens_details": { "cached_tokens": 1024 }, "completion_tokens_details": { "reasoning_tokens": 128 },
            },
        },
    })
}

fn litellm(id: &str, run: &str) -> Value {
    json!({
        "id": id, "litellm_call_id": format!("call-{id}"), "trace_id": run, "custom_llm_provider": "openai",
        "model": "gpt-4o-mini", "startTime": "2026-11-22T10:00:00Z", "prompt_tokens": 2048, "completion_tokens": 321,
        "request_tags": ["namespace:ns"],
    })
}

fn attributes(pairs: &[(&str, Value)]) -> Value {
    let one = |(key, value): &(&str, Value)| {
        let kind = if value.is_string() { "stringValue" } else { "intValue" };
        json!({ "key": key, "value": { kind: value } })
    };
    pairs.iter().map(one).collect()
}

/// Span `n` of a trace of its own, from 4 on of one trace; another call has other traces.
fn span(scope: &str, id: &str, n: u8, pairs: &[(&str, Value)]) -> Value {
    let start = START.nanos();
    let call: u64 = id.rsplit('-').next().unwrap().parse().unwrap();
    let trace = call * 16 + u64::from(n.min(4));
    json!({
        "traceId": format!("{trace:032x}"), "spanId": format!("{n:016x}"), "name": "chat",
        "startTimeUnixNano": start.to_string(), "endTimeUnixNano": (start + 1).to_string(), "scope": scope,
        "attributes": attributes(pairs),
    })
}

fn chat(scope: &str, id: &str, n: u8) -> Value {
    span(
        scope,
        id,
        n,
        &[
            ("gen_ai.operation.name", json!("chat")),
            ("gen_ai.provider.name", json!("openai")),
            ("gen_ai.response.model", json!("gpt-4o-mini")),
            ("gen_ai.response.id", json!(id)),
            ("gen_ai.usage.input_tokens", json!(2048)),
            ("gen_ai.usage.output_tokens", json!(321)),
        ],
    )
}

fn litellm_span(id: &str, n: u8) -> Value {
    span(
        "litellm",
        id,
        n,
        &[
            ("llm.request.type", json!("chat")),
            ("gen_ai.system", json!("openai")),
            ("gen_ai.request.model", json!("gpt-4o-mini")),
            ("gen_ai.response.id", json!(id)),
            ("gen_ai.usage.prompt_tokens", json!(2048)),
            ("gen_ai.usage.completion_tokens", json!(321)),
        ],
    )
}

fn spans(spans: &[Value], run: &str) -> Value {
    let scope = |span: &Value| json!({ "scope": { "name": span["scope"] }, "spans": [span] });
    let resource =
        [("service.name", json!("worker")), ("service.namespace", json!("ns")), ("joch.execution.id", json!(run))];
    json!({ "resourceSpans": [{
        "resource": { "attributes": attributes(&resource) },
        "scopeSpans": spans.iter().map(scope).collect::<Vec<_>>(),
    }] })
}

async fn post(api: &Api, (name, path, make): Source, id: &str, run: &str) {
    let headers = [("content-type", "application/json")];
    let answer = api.send("POST", path, &headers, Body::from(make(id, run).to_string())).await;
    let said = answer.ok();
    assert!(said["partialSuccess"].is_null() && said["rejected"].as_u64().unwrap_or(0) == 0, "{name}: {said}");
}

#[tokio::test]
async fn a_call_counts_once_whoever_tells_of_it_first() {
    let api = Api::start();
    let mut number = 0;
    for (place, first) in SOURCES.into_iter().enumerate() {
        for second in SOURCES.into_iter().skip(place) {
            for (one, other) in [(first, second), (second, first)] {
                number += 1;
                let (id, run) = (format!("chatcmpl-{number}"), format!("run-{number}"));
                post(&api, one, &id, &run).await;
                post(&api, other, &id, &run).await;
                let seen = api.get(&format!("{RUNS}/{run}")).await.ok();
                assert_eq!(seen["status"]["modelCalls"], 1, "{}, then {}: {seen}", one.0, other.0);
            }
        }
    }
    assert_eq!(number, 56);
    api.stop().await;
}

/// What was held for a call is given back by whoever tells of the call.
#[tokio::test]
async fn a_span_settles_the_reservation_that_it_names() {
    let api = Api::start();
    let wish = json!({ "id": "hold-1", "namespace": "ns", "execution": "run", "estimate_usd": "0.42" });
    let held = api.post("/v1/reservations", &wish).await;
    assert_eq!(held.status, 201, "{}", held.text());
    let mut call = chat("opentelemetry.instrumentation.genai.openai", "chatcmpl-1", 1);
    let named = attributes(&[("joch.reservation.id", json!("hold-1"))]);
    call["attributes"].as_array_mut().unwrap().extend(named.as_array().unwrap().iter().cloned());
    api.post("/v1/traces", &spans(&[call], "run")).await.ok();
    let reservation = api.get("/v1/reservations/hold-1").await.ok();
    assert_eq!(reservation["state"], "settled", "{reservation}");
    // The same call once more, from another source that knows nothing of the reservation.
    post(&api, SOURCES[0], "chatcmpl-1", "run").await;
    assert_eq!(api.get(&format!("{RUNS}/run")).await.ok()["status"]["modelCalls"], 1);
    api.stop().await;
}

/// Two calls are two, though everything but the response's id is the same.
#[tokio::test]
async fn other_responses_are_other_calls() {
    let api = Api::start();
    post(&api, SOURCES[0], "chatcmpl-1", "run").await;
    post(&api, SOURCES[1], "chatcmpl-2", "run").await;
    post(&api, SOURCES[2], "chatcmpl-3", "run").await;
    assert_eq!(api.get(&format!("{RUNS}/run")).await.ok()["status"]["modelCalls"], 3);
    api.stop().await;
}
