//! Every way in: OTLP over gRPC, logs and metrics, LiteLLM, CloudEvents, and bodies in gzip and zstd.

use std::io::Write as _;

use axum::body::Body;
use axum::http::Request;
use http_body_util::BodyExt as _;
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message as _;
use serde_json::json;
use tower::ServiceExt as _;

use super::{Api, RUNS, event};
use crate::event::charge::tests::sample::START;

fn export() -> Vec<u8> {
    let text = |key: &str, value: &str| KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(any_value::Value::StringValue(value.to_owned())) }),
        ..KeyValue::default()
    };
    let span = Span {
        trace_id: vec![1; 16],
        span_id: vec![2; 8],
        start_time_unix_nano: u64::try_from(START.nanos()).unwrap(),
        attributes: vec![
            text("gen_ai.operation.name", "chat"),
            text("gen_ai.provider.name", "acme"),
            text("gen_ai.request.model", "swift"),
            text("gen_ai.usage.input_tokens", "1000"),
            text("gen_ai.usage.output_tokens", "500"),
            text("joch.execution.id", "traced"),
            text("service.namespace", "ns"),
        ],
        ..Span::default()
    };
    let scope_spans = vec![ScopeSpans { spans: vec![span], ..ScopeSpans::default() }];
    let resource_spans = vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }];
    ExportTraceServiceRequest { resource_spans }.encode_to_vec()
}

struct Called {
    status: Option<String>,
    http: u16,
    message: Vec<u8>,
}

async fn grpc(api: &Api, path: &str, message: &[u8], encoding: Option<&str>) -> Called {
    let mut body = vec![u8::from(encoding.is_some())];
    body.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
    body.extend(message);
    let mut request = Request::post(path).header("content-type", "application/grpc").header("te", "trailers");
    if let Some(encoding) = encoding {
        request = request.header("grpc-encoding", encoding);
    }
    let router = crate::api::grpc_router(api.app.clone());
    let response = router.oneshot(request.body(Body::from(body)).unwrap()).await.unwrap();
    let text =
        |headers: &axum::http::HeaderMap| headers.get("grpc-status").map(|status| status.to_str().unwrap().to_owned());
    let (http, early) = (response.status().as_u16(), text(response.headers()));
    let collected = response.into_body().collect().await.unwrap();
    let status = early.or_else(|| collected.trailers().and_then(text));
    let message = collected.to_bytes().get(5..).unwrap_or_default().to_vec();
    Called { status, http, message }
}

const TRACES: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

#[tokio::test]
async fn spans_over_grpc_are_booked_and_once() {
    let api = Api::start();
    let zstd = zstd::encode_all(&export()[..], 3).unwrap();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&export()).unwrap();
    for (message, encoding) in [(export(), None), (zstd, Some("zstd")), (gzip.finish().unwrap(), Some("gzip"))] {
        let called = grpc(&api, TRACES, &message, encoding).await;
        assert_eq!((called.http, called.status.as_deref()), (200, Some("0")), "{encoding:?}");
        assert_eq!(ExportTraceServiceResponse::decode(&called.message[..]).unwrap().partial_success, None);
    }
    let run = api.get(&format!("{RUNS}/traced")).await.ok();
    assert_eq!(run["status"]["modelCalls"], 1);
    api.stop().await;
}

#[tokio::test]
async fn grpc_refuses_in_its_own_words() {
    let api = Api::start();
    let status = |called: Called| called.status.unwrap();
    assert_eq!(status(grpc(&api, TRACES, b"\xff\xff", None).await), "3");
    assert_eq!(status(grpc(&api, "/other.Service/Call", &[], None).await), "12");
    let big = vec![0u8; api.app.body.bytes_max + 1];
    assert_eq!(status(grpc(&api, TRACES, &big, None).await), "11");
    let bomb = zstd::encode_all(&vec![0u8; api.app.body.bytes_max * 4][..], 3).unwrap();
    assert_ne!(status(grpc(&api, TRACES, &bomb, Some("zstd")).await), "0");
    api.app.auth.replace(crate::auth::Registry::default());
    assert_eq!(status(grpc(&api, TRACES, &export(), None).await), "16");
    api.stop().await;
}

#[tokio::test]
async fn signals_that_are_not_metered_are_taken() {
    let api = Api::start();
    for path in ["/v1/logs", "/v1/metrics"] {
        let answer = api.send("POST", path, &[("content-type", "application/x-protobuf")], Body::empty()).await;
        assert_eq!((answer.status.as_u16(), answer.body.len()), (200, 0), "{path}");
        assert_eq!(api.post(path, &json!({})).await.ok(), json!({}), "{path}");
        api.send("POST", path, &[("content-type", "text/plain")], Body::empty())
            .await
            .problem(415, "unsupported_media_type");
    }
    let point = json!({ "asInt": "5", "timeUnixNano": "1" });
    let metric = json!({ "name": "http.server.duration", "sum": { "dataPoints": [point] } });
    let body = json!({ "resourceMetrics": [{ "scopeMetrics": [{ "metrics": [metric] }] }] });
    let answer = api.post("/v1/metrics", &body).await.ok();
    assert_eq!(answer["partialSuccess"]["rejectedDataPoints"], "0");
    api.stop().await;
}

#[tokio::test]
async fn a_call_that_comes_in_twice_by_its_response_counts_once() {
    let api = Api::start();
    let mut native = event("native-1", "run");
    native["response_id"] = json!("chatcmpl-1");
    native["provider"] = json!("acme");
    assert_eq!(api.post("/v1/usage", &native).await.ok()["accepted"], 1);
    let payload = json!({
        "id": "chatcmpl-1", "litellm_call_id": "l-1", "trace_id": "run", "custom_llm_provider": "acme", "model": "swift",
        "startTime": "2026-11-22T10:00:00Z", "prompt_tokens": 1000, "completion_tokens": 500, "request_tags": ["namespace:ns"],
    });
    let answer = api.post("/v1/litellm", &payload).await.ok();
    assert_eq!((&answer["duplicate"], &answer["accepted"]), (&json!(1), &json!(0)));
    api.stop().await;
}

#[tokio::test]
async fn cloudevents_book_usage_and_move_runs() {
    let api = Api::start();
    let envelope = |id: &str, kind: &str, data: serde_json::Value| json!({ "specversion": "1.0", "id": id, "source": "/joch", "type": kind, "time": "2026-11-22T10:00:00Z", "data": data });
    let of_run = json!({ "executionId": "bus", "namespace": "ns", "agentRef": { "name": "triage" } });
    let mut call = of_run.clone();
    call["modelRef"] = json!("acme:swift");
    call["inputTokens"] = json!(1000);
    call["outputTokens"] = json!(500);
    let batch = json!([
        envelope("1", "dev.joch.ExecutionStarted", of_run.clone()),
        envelope("2", "dev.joch.ModelCallCompleted", call),
        envelope("3", "dev.joch.ExecutionSucceeded", of_run),
        envelope("4", "com.example.unrelated", json!({})),
    ]);
    let headers = [("content-type", "application/cloudevents-batch+json")];
    let answer = api.send("POST", "/v1/usage", &headers, batch.to_string()).await.ok();
    assert_eq!((&answer["accepted"], &answer["runs"], &answer["ignored"]), (&json!(1), &json!(2), &json!(1)));
    let run = api.get(&format!("{RUNS}/bus")).await.ok();
    assert_eq!((&run["status"]["phase"], &run["spec"]["agentRef"]["name"]), (&json!("Succeeded"), &json!("triage")));
    let again = api.send("POST", "/v1/usage", &headers, batch.to_string()).await.ok();
    assert_eq!((&again["duplicate"], &again["accepted"]), (&json!(1), &json!(0)));

    let binary = [
        ("content-type", "application/json"),
        ("ce-specversion", "1.0"),
        ("ce-id", "b-1"),
        ("ce-source", "%2Fjoch"),
        ("ce-type", "dev.meterd.usage"),
    ];
    let answer = api.send("POST", "/v1/usage", &binary, event("own", "bus").to_string()).await.ok();
    assert_eq!(answer["results"][0]["id"], "own");
    let structured = [("content-type", "application/cloudevents+json")];
    let wrong = envelope("w", "usage", json!({ "execution": "bus" })).to_string();
    api.send("POST", "/v1/usage", &structured, wrong).await.problem(400, "missing_field");
    api.stop().await;
}

#[tokio::test]
async fn zstd_is_read_and_its_bombs_are_not() {
    let api = Api::start();
    let headers = [("content-encoding", "zstd"), ("content-type", "application/json")];
    let body = zstd::encode_all(event("z", "run").to_string().as_bytes(), 3).unwrap();
    assert_eq!(api.send("POST", "/v1/usage", &headers, body).await.ok()["accepted"], 1);
    let bomb = zstd::encode_all(&vec![b' '; 64 << 20][..], 3).unwrap();
    let problem = api.send("POST", "/v1/usage", &headers, bomb).await;
    assert_eq!(problem.status.as_u16(), 413, "{}", problem.text());
    api.send("POST", "/v1/usage", &headers, "no zstd").await.problem(400, "malformed_zstd");
    api.stop().await;
}
