//! `POST /v1/traces`: spans in the shapes that real instrumentation sends, billed once and exactly.
//!
//! The spans are built here from the attributes that each client sends; with METERD_TEST_CAPTURES set, requests that real
//! clients sent are posted too and must come to the same figures.

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;

use flate2::Compression;
use flate2::write::GzEncoder;
use jiff::Timestamp;
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use prost::Message as _;

use crate::events::{CALL_USD, NS, model_call};
use crate::harness::daemon::Daemon;

const PROTOBUF: &str = "application/x-protobuf";
const JSON: &str = "application/json";

/// An attribute: integers stay integers.
fn attribute(key: &str, value: &str) -> KeyValue {
    let value =
        value.parse().map_or_else(|_| any_value::Value::StringValue(value.to_owned()), any_value::Value::IntValue);
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

/// A span: `ids` is (trace, span, parent), `attributes` is `key=value` separated by blanks.
fn span(name: &str, ids: (u8, u8, u8), attributes: &str) -> Span {
    let now = u64::try_from(Timestamp::now().as_nanosecond()).expect("after 1970");
    let id = |byte: u8| if byte == 0 { Vec::new() } else { vec![byte; 8] };
    Span {
        trace_id: vec![ids.0; 16],
        span_id: id(ids.1),
        parent_span_id: id(ids.2),
        name: name.to_owned(),
        start_time_unix_nano: now - 2_000_000_000,
        end_time_unix_nano: now - 1_000_000_000,
        attributes: attributes
            .split(' ')
            .filter_map(|pair| pair.split_once('='))
            .map(|(k, v)| attribute(k, v))
            .collect(),
        ..Span::default()
    }
}

fn request(scope: &str, spans: Vec<Span>) -> ExportTraceServiceRequest {
    let resource = vec![attribute("service.name", "triage-worker"), attribute("service.namespace", NS)];
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: Some(Resource { attributes: resource, ..Resource::default() }),
            scope_spans: vec![ScopeSpans {
                scope: Some(InstrumentationScope { name: scope.to_owned(), ..InstrumentationScope::default() }),
                spans,
                ..ScopeSpans::default()
            }],
            ..ResourceSpans::default()
        }],
    }
}

/// Four chat calls, one embedding, and one call that failed with 429, as the OpenAI instrumentation of the GenAI conventions sends.
fn genai_openai() -> ExportTraceServiceRequest {
    let chat = |n: u8| {
        span(
            "chat gpt-4o-mini",
            (n, n, 0),
            &format!(
                "gen_ai.operation.name=chat gen_ai.provider.name=openai gen_ai.request.model=gpt-4o-mini \
                 gen_ai.response.model=gpt-4o-mini-2024-07-18 gen_ai.response.id=chatcmpl-{n} gen_ai.usage.input_tokens=2048 \
                 gen_ai.usage.output_tokens=321 gen_ai.usage.cache_read.input_tokens=1024 \
                 gen_ai.usage.reasoning.output_tokens=128 openai.response.service_tier=default"
            ),
        )
    };
    let embeddings = "gen_ai.operation.name=embeddings gen_ai.provider.name=openai gen_ai.request.model=text-embedding-3-small \
                      gen_ai.response.model=text-embedding-3-small gen_ai.usage.input_tokens=17";
    let failed = "gen_ai.operation.name=chat gen_ai.provider.name=openai gen_ai.request.model=gpt-4o-mini error.type=RateLimitError";
    let mut failed = span("chat gpt-4o-mini", (9, 9, 0), failed);
    failed.status = Some(Status { code: 2, message: "429".to_owned() });
    let spans = vec![
        chat(1),
        chat(2),
        chat(3),
        span("embeddings text-embedding-3-small", (5, 5, 0), embeddings),
        chat(4),
        failed,
    ];
    request("opentelemetry.instrumentation.genai.openai", spans)
}

/// One call seen by the SDK's own tracing inside an instrumentation's span: two spans, one call.
fn genai_anthropic() -> ExportTraceServiceRequest {
    let usage = "gen_ai.operation.name=chat gen_ai.provider.name=anthropic gen_ai.request.model=claude-sonnet-4-5 \
                 gen_ai.response.model=claude-sonnet-4-5 gen_ai.response.id=msg-1 gen_ai.usage.input_tokens=2000 \
                 gen_ai.usage.output_tokens=321 gen_ai.usage.cache_write.input_tokens=300 gen_ai.usage.cache_read.input_tokens=1200";
    let native = format!(
        "{usage} anthropic.usage.cache_creation.ephemeral_5m_input_tokens=200 \
         anthropic.usage.cache_creation.ephemeral_1h_input_tokens=100 anthropic.response.service_tier=standard"
    );
    let inner = span("anthropic.messages.create", (1, 2, 1), &native);
    let outer = span("chat claude-sonnet-4-5", (1, 1, 0), usage);
    request("opentelemetry.instrumentation.genai.anthropic", vec![inner, outer])
}

/// Two model calls and a tool under an agent's span that repeats their sum.
fn pydantic_ai() -> ExportTraceServiceRequest {
    let chat = |n: u8| {
        span(
            "chat gpt-4o-mini",
            (1, n, 9),
            &format!(
                "gen_ai.operation.name=chat gen_ai.agent.name=support-triage gen_ai.provider.name=openai \
                 gen_ai.request.model=gpt-4o-mini gen_ai.response.model=gpt-4o-mini-2024-07-18 gen_ai.response.id=chatcmpl-{n} \
                 gen_ai.usage.input_tokens=2048 gen_ai.usage.output_tokens=321 gen_ai.usage.cache_read.input_tokens=1024 \
                 gen_ai.usage.details.reasoning_tokens=128"
            ),
        )
    };
    let tool = "gen_ai.operation.name=execute_tool gen_ai.tool.name=get_weather gen_ai.agent.name=support-triage";
    let agent = "gen_ai.operation.name=invoke_agent gen_ai.agent.name=support-triage gen_ai.aggregated_usage.input_tokens=4096 \
                 gen_ai.usage.input_tokens=4096 gen_ai.usage.output_tokens=642";
    let spans = vec![
        chat(1),
        span("execute_tool get_weather", (1, 3, 9), tool),
        chat(2),
        span("invoke_agent", (1, 9, 0), agent),
    ];
    request("pydantic-ai", spans)
}

/// Inner spans carry usage, outer ones repeat the sum under the same names.
fn vercel_ai() -> ExportTraceServiceRequest {
    let inner = |n: u8, operation: &str| {
        span(
            operation,
            (1, n, 9),
            &format!(
                "ai.operationId={operation} ai.model.provider=openai.chat ai.model.id=gpt-4o-mini gen_ai.system=openai.chat \
                 ai.response.id=chatcmpl-{n} ai.response.model=gpt-4o-mini-2024-07-18 ai.usage.inputTokens=2048 \
                 ai.usage.cachedInputTokens=1024 ai.usage.outputTokens=321 ai.usage.reasoningTokens=128 \
                 gen_ai.usage.input_tokens=2048 gen_ai.usage.output_tokens=321"
            ),
        )
    };
    let outer = "ai.operationId=ai.generateText ai.model.provider=openai.chat ai.model.id=gpt-4o-mini ai.usage.inputTokens=6144 \
                 ai.usage.cachedInputTokens=3072 ai.usage.outputTokens=963 ai.usage.reasoningTokens=384";
    let spans = vec![
        inner(1, "ai.generateText.doGenerate"),
        inner(2, "ai.generateText.doGenerate"),
        inner(3, "ai.streamText.doStream"),
        span("ai.generateText", (1, 9, 0), outer),
    ];
    request("ai", spans)
}

/// What a request truly contains: calls with usage, tokens by disjoint type, cost.
struct Expected {
    calls: &'static str,
    /// Uncached input, cache read, cache write, output without reasoning, reasoning.
    tokens: [&'static str; 5],
    usd: &'static str,
}

/// 4 chats at 0.000423 and 17 tokens at 0.02e-6: 0.001692 + 0.00000034. Input in all: 4113 + 4096 = 8,209.
const GENAI_OPENAI: Expected = Expected { calls: "5", tokens: ["4113", "4096", "0", "772", "512"], usd: "0.00169234" };
/// 500 × 3e-6 + 1200 × 0.3e-6 + 200 × 3.75e-6 + 100 × 6e-6 + 321 × 15e-6 = 0.008025.
const ANTHROPIC: Expected = Expected { calls: "1", tokens: ["500", "1200", "300", "321", "0"], usd: "0.008025" };
/// 2 × 0.000423.
const PYDANTIC_AI: Expected = Expected { calls: "2", tokens: ["2048", "2048", "0", "386", "256"], usd: "0.000846" };
/// 3 × 0.000423.
const VERCEL_AI: Expected = Expected { calls: "3", tokens: ["3072", "3072", "0", "579", "384"], usd: "0.001269" };
/// No cache tokens in it: 2048 × 0.15e-6 + 321 × 0.6e-6 = 0.0004998 and 2000 × 3e-6 + 321 × 15e-6 = 0.010815.
const LITELLM: Expected = Expected { calls: "2", tokens: ["4048", "0", "0", "642", "0"], usd: "0.0113148" };

fn post(daemon: &Daemon, content_type: &str, encoding: Option<&str>, body: &[u8]) {
    let mut headers = vec![("content-type", content_type)];
    headers.extend(encoding.map(|encoding| ("content-encoding", encoding)));
    let answer = daemon.request("POST", "/v1/traces", &headers, body).expect(200);
    assert_eq!(answer.header("content-type"), Some(content_type), "the answer is of the request's type");
    if content_type == PROTOBUF {
        let decoded = ExportTraceServiceResponse::decode(answer.body.as_slice()).expect("a protobuf answer");
        let rejected = decoded.partial_success.map_or(0, |partial| partial.rejected_spans);
        assert_eq!(rejected, 0);
    } else {
        let partial = &answer.json()["partialSuccess"];
        assert!(partial["rejectedSpans"].as_str().is_none_or(|count| count == "0"), "{partial}");
    }
}

fn assert_figures(daemon: &Daemon, expected: &Expected) {
    daemon.wait_for_metric("meterd_cost_usd_total", &[], expected.usd);
    daemon.wait_for_metric("meterd_model_calls_total", &[("outcome", "ok")], expected.calls);
    let types = ["input", "cache_read", "cache_write", "output", "reasoning"];
    for (token_type, tokens) in types.iter().zip(expected.tokens) {
        daemon.wait_for_metric("meterd_tokens_total", &[("token_type", token_type)], tokens);
    }
}

/// I4 for spans: posts a request twice, in two encodings; only the first one counts.
fn check(body: &ExportTraceServiceRequest, expected: &Expected) {
    let daemon = Daemon::start();
    post(&daemon, PROTOBUF, None, &body.encode_to_vec());
    assert_figures(&daemon, expected);
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(&body.encode_to_vec()).expect("memory takes all");
    post(&daemon, PROTOBUF, Some("gzip"), &gzip.finish().expect("memory takes all"));
    post(&daemon, JSON, None, &serde_json::to_vec(body).expect("OTLP has a JSON form"));
    // One more call in another way: when it has arrived, the repetitions have too.
    daemon.usage(&model_call("marker", "marker"));
    let calls = (expected.calls.parse::<u32>().expect("a count") + 1).to_string();
    daemon.wait_for_metric("meterd_model_calls_total", &[("outcome", "ok")], &calls);
    daemon.wait_for_metric(
        "meterd_cost_usd_total",
        &[("agent", "support-triage"), ("category", "model")],
        &marker(expected, body),
    );
}

/// Cost of the agent that the marker belongs to: alone, or on top of what its own spans cost.
fn marker(expected: &Expected, body: &ExportTraceServiceRequest) -> String {
    use rust_decimal::Decimal;
    let same_agent = format!("{body:?}").contains("support-triage");
    let base: Decimal = if same_agent { expected.usd.parse().expect("a decimal") } else { Decimal::ZERO };
    (base + CALL_USD.parse::<Decimal>().expect("a decimal")).normalize().to_string()
}

#[test]
fn genai_spans_of_openai_are_billed_once() {
    check(&genai_openai(), &GENAI_OPENAI);
}

#[test]
fn one_call_in_two_spans_is_billed_once() {
    check(&genai_anthropic(), &ANTHROPIC);
}

#[test]
fn an_agent_span_is_not_billed_beside_its_calls() {
    check(&pydantic_ai(), &PYDANTIC_AI);
}

#[test]
fn outer_spans_that_repeat_a_sum_are_not_billed() {
    check(&vercel_ai(), &VERCEL_AI);
}

/// A call that failed without usage is a call that cost nothing, not an unpriced one.
#[test]
fn a_failed_call_counts_as_an_error_and_costs_nothing() {
    let daemon = Daemon::start();
    post(&daemon, PROTOBUF, None, &genai_openai().encode_to_vec());
    daemon.wait_for_metric("meterd_model_calls_total", &[("outcome", "error")], "1");
    daemon.wait_for_metric("meterd_cost_usd_total", &[], GENAI_OPENAI.usd);
}

/// A stated execution id attributes the spans to that run.
#[test]
fn an_execution_attribute_names_the_run() {
    let daemon = Daemon::start();
    let mut body = genai_openai();
    for span in &mut body.resource_spans[0].scope_spans[0].spans {
        span.attributes.push(attribute("joch.execution.id", "exec-1"));
        span.attributes.push(attribute("joch.agent.name", "support-triage"));
    }
    post(&daemon, JSON, None, &serde_json::to_vec(&body).expect("OTLP has a JSON form"));
    daemon.wait_for_metric("meterd_cost_usd_total", &[("agent", "support-triage")], GENAI_OPENAI.usd);
    let execution = daemon.execution(NS, "exec-1");
    assert_eq!(execution["spec"]["agentRef"]["name"], "support-triage");
}

/// Requests that real clients sent, where they are at hand.
#[test]
fn captured_requests_come_to_their_true_figures() {
    check(&genai_openai(), &GENAI_OPENAI);
    let Some(folder) = std::env::var_os("METERD_TEST_CAPTURES").map(PathBuf::from) else { return };
    let cases = [
        ("genai-openai.traces.pb", &GENAI_OPENAI),
        ("anthropic-sdk-native.traces.pb", &ANTHROPIC),
        ("genai-anthropic.traces.pb", &ANTHROPIC),
        ("litellm-otel.traces.pb", &LITELLM),
        ("pydantic-ai-logfire.traces.pb", &PYDANTIC_AI),
        ("vercel-ai-sdk.traces.json", &VERCEL_AI),
    ];
    for (name, expected) in cases {
        eprintln!("{name}");
        let body = fs::read(folder.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        // The captures are as old as they are; 400 days is the longest horizon there is.
        let daemon = Daemon::start_with(|_| "ingest: { dedupHorizon: 400d }\n".to_owned());
        let content_type = if name.ends_with(".json") { JSON } else { PROTOBUF };
        post(&daemon, content_type, None, &body);
        assert_figures(&daemon, expected);
        post(&daemon, content_type, None, &body);
        daemon.usage(&model_call("marker", "marker"));
        daemon.wait_for_metric("meterd_ingest_events_total", &[("source", "api"), ("result", "accepted")], "1");
        let calls = (expected.calls.parse::<u32>().expect("a count") + 1).to_string();
        daemon.wait_for_metric("meterd_model_calls_total", &[("outcome", "ok")], &calls);
    }
}

/// A body that is not OTLP is refused in the way of the API.
#[test]
fn a_body_that_is_not_otlp_is_refused() {
    let daemon = Daemon::start();
    let answer = daemon.request("POST", "/v1/traces", &[("content-type", PROTOBUF)], b"\xff\xff\xff\xff");
    assert_eq!(answer.status, 400, "{}", answer.text());
    let answer = daemon.request("POST", "/v1/traces", &[("content-type", JSON)], b"{\"resourceSpans\": 7}");
    assert_eq!(answer.status, 400, "{}", answer.text());
    post(&daemon, PROTOBUF, None, &[]);
}
