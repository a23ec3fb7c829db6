//! One small case for each client whose spans are known but not captured, and for each alias.

use budget::charge::{CallOutcome, Called};
use pricing::UsageKey;

use super::super::attributes::{ALIASES, Field};
use super::super::{Defaults, Encoding, decode_traces, provider};
use super::support::{SpanText, body, decode, only, span, sums};

fn tokens(spans: &[SpanText]) -> [u64; 6] {
    let sums = sums(&decode(spans));
    [sums.calls, sums.input_total, sums.cache_read, sums.cache_write, sums.output_total, sums.reasoning]
}

fn model(spans: &[SpanText]) -> (String, String) {
    match only(spans).called {
        Called::Model { provider, model, .. } => (provider.to_string(), model.to_string()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn openai_v2_without_cache_or_reasoning() {
    let spans = [span(1, "chat gpt-4o-mini")
        .with("gen_ai.operation.name", "chat")
        .with("gen_ai.system", "openai")
        .with("gen_ai.request.model", "gpt-4o-mini")
        .with("gen_ai.usage.input_tokens", 2048)
        .with("gen_ai.usage.output_tokens", 321)];
    assert_eq!(tokens(&spans), [1, 2048, 0, 0, 321, 0]);
}

#[test]
fn streaming_without_usage_is_a_call_without_usage() {
    let spans =
        [span(1, "chat gpt-4o-mini").with("gen_ai.operation.name", "chat").with("gen_ai.provider.name", "openai")];
    let event = only(&spans);
    assert_eq!((event.usage, event.outcome), (None, CallOutcome::Ok));
}

#[test]
fn openai_agents_give_tools_but_no_inference() {
    let batch = decode(&[
        span(1, "invoke_workflow w").with("gen_ai.operation.name", "invoke_workflow"),
        span(2, "invoke_agent a")
            .under(1)
            .with("gen_ai.operation.name", "invoke_agent")
            .with("gen_ai.usage.input_tokens", 9),
        span(3, "execute_tool get_weather")
            .under(2)
            .with("gen_ai.operation.name", "execute_tool")
            .with("gen_ai.tool.name", "get_weather"),
        span(4, "create_agent a").with("gen_ai.operation.name", "create_agent"),
    ]);
    assert_eq!((batch.spans, batch.items.len(), batch.not_billable), (4, 1, 3));
    let sums = sums(&batch);
    assert_eq!((sums.calls, sums.tool_calls), (0, 1));
}

#[test]
fn traceloop_openai_and_agents() {
    let chat = span(1, "openai.chat")
        .with("gen_ai.operation.name", "chat")
        .with("gen_ai.provider.name", "openai")
        .with("gen_ai.response.model", "gpt-4o-mini-2024-07-18")
        .with("gen_ai.usage.input_tokens", 2048)
        .with("gen_ai.usage.output_tokens", 321)
        .with("gen_ai.usage.cache_read.input_tokens", 1024)
        .with("gen_ai.usage.reasoning_tokens", 128)
        .with("gen_ai.usage.total_tokens", 2369);
    assert_eq!(tokens(std::slice::from_ref(&chat)), [1, 2048, 1024, 0, 321, 128]);
    let agents = [
        span(2, "Agent Workflow").with("traceloop.span.kind", "workflow"),
        span(3, "triage.agent").under(2).with("traceloop.span.kind", "agent").with("traceloop.entity.name", "triage"),
        chat.under(3),
        span(4, "get_weather.tool").under(3).with("traceloop.span.kind", "tool"),
    ];
    let batch = decode(&agents);
    assert_eq!((batch.items.len(), batch.not_billable), (2, 2));
    for item in &batch.items {
        let event = item.event.as_ref().unwrap();
        assert_eq!(event.agent.as_deref(), Some("triage"));
        if let Called::Tool { tool, .. } = &event.called {
            assert_eq!(&**tool, "get_weather");
        }
    }
    let older = [span(1, "openai.chat")
        .with("llm.request.type", "chat")
        .with("gen_ai.system", "OpenAI")
        .with("gen_ai.usage.prompt_tokens", 10)
        .with("gen_ai.usage.completion_tokens", 5)];
    assert_eq!(tokens(&older), [1, 10, 0, 0, 5, 0]);
    assert_eq!(model(&older).0, "openai");
}

#[test]
fn traceloop_anthropic_doubles_the_native_span_in_another_trace() {
    let old_name = span(1, "anthropic.chat")
        .with("gen_ai.operation.name", "chat")
        .with("gen_ai.provider.name", "anthropic")
        .with("gen_ai.response.id", "msg-1")
        .with("gen_ai.usage.input_tokens", 2000)
        .with("gen_ai.usage.output_tokens", 321)
        .with("gen_ai.usage.cache_read_input_tokens", 1200)
        .with("gen_ai.usage.cache_creation_input_tokens", 300);
    let native = span(2, "anthropic.messages.create")
        .trace(2)
        .with("gen_ai.operation.name", "chat")
        .with("gen_ai.provider.name", "anthropic")
        .with("gen_ai.response.id", "msg-1")
        .with("gen_ai.usage.input_tokens", 2000)
        .with("gen_ai.usage.output_tokens", 321)
        .with("gen_ai.usage.cache_read.input_tokens", 1200)
        .with("gen_ai.usage.cache_write.input_tokens", 300)
        .with("anthropic.usage.cache_creation.ephemeral_5m_input_tokens", 200)
        .with("anthropic.usage.cache_creation.ephemeral_1h_input_tokens", 100);
    for order in [[old_name.clone(), native.clone()], [native, old_name]] {
        assert_eq!(tokens(&order), [1, 2000, 1200, 300, 321, 0]);
        let event = only(&order);
        assert!(event.id.ends_with(":0000000000000002"), "{}", event.id);
        assert_eq!(event.usage.unwrap().count(UsageKey::CacheWrite1hTokens), 100);
    }
}

#[test]
fn compactions_of_the_native_anthropic_span_are_billed() {
    let spans = [span(1, "anthropic.messages.create")
        .with("gen_ai.operation.name", "chat")
        .with("gen_ai.provider.name", "anthropic")
        .with("gen_ai.usage.input_tokens", 1000)
        .with("gen_ai.usage.output_tokens", 10)
        .with("anthropic.usage.compaction.input_tokens", 5000)
        .with("anthropic.usage.compaction.output_tokens", 700)];
    assert_eq!(tokens(&spans), [1, 6000, 0, 0, 710, 0]);
}

#[test]
fn openinference_openai_anthropic_and_embeddings() {
    let llm = span(1, "ChatCompletion")
        .with("openinference.span.kind", "LLM")
        .with("llm.provider", "openai")
        .with("llm.system", "openai")
        .with("llm.model_name", "gpt-4o-mini-2024-07-18")
        .with("llm.token_count.prompt", 2048)
        .with("llm.token_count.prompt_details.cache_read", 1024)
        .with("llm.token_count.completion", 321)
        .with("llm.token_count.completion_details.reasoning", 128)
        .with("session.id", "s-1");
    assert_eq!(tokens(std::slice::from_ref(&llm)), [1, 2048, 1024, 0, 321, 128]);
    assert_eq!(model(std::slice::from_ref(&llm)), ("openai".into(), "gpt-4o-mini-2024-07-18".into()));
    assert_eq!(only(std::slice::from_ref(&llm)).conversation.as_deref(), Some("s-1"));

    let embedding = span(2, "CreateEmbeddings")
        .with("openinference.span.kind", "EMBEDDING")
        .with("llm.provider", "openai")
        .with("embedding.model_name", "text-embedding-3-small")
        .with("llm.token_count.total", 17);
    let sums = sums(&decode(&[llm.clone(), embedding]));
    assert_eq!((sums.calls, sums.input_total, sums.embeddings_input), (2, 2048, 17));

    // The SDK's own span is a child of OpenInference's, which knows no response id.
    let outer = span(1, "Messages")
        .with("openinference.span.kind", "LLM")
        .with("llm.provider", "anthropic")
        .with("llm.token_count.prompt", 2000)
        .with("llm.token_count.prompt_details.cache_write", 300)
        .with("llm.token_count.completion", 321);
    let native = span(2, "anthropic.messages.create")
        .under(1)
        .with("gen_ai.operation.name", "chat")
        .with("gen_ai.provider.name", "anthropic")
        .with("gen_ai.response.id", "msg-1")
        .with("gen_ai.usage.input_tokens", 2000)
        .with("gen_ai.usage.cache_write.input_tokens", 300)
        .with("gen_ai.usage.output_tokens", 321);
    assert_eq!(tokens(&[outer, native]), [1, 2000, 0, 300, 321, 0]);

    let chain = [
        span(11, "AgentExecutor").with("openinference.span.kind", "CHAIN").with("llm.token_count.prompt", 9),
        span(12, "Agent").under(11).with("openinference.span.kind", "AGENT").with("agent.name", "triage"),
        llm.under(12),
        span(14, "get_weather").under(12).with("openinference.span.kind", "TOOL").with("tool.name", "get_weather"),
    ];
    let batch = decode(&chain);
    assert_eq!((batch.items.len(), batch.not_billable), (2, 2));
    for item in &batch.items {
        assert_eq!(item.event.as_ref().unwrap().agent.as_deref(), Some("triage"));
    }
}

#[test]
fn langfuse_usage_in_each_of_its_shapes() {
    let generation = |details: &str| {
        let spans = [span(1, "generation")
            .with("langfuse.observation.type", "generation")
            .with("langfuse.observation.model.name", "gpt-4o-mini")
            .with("langfuse.observation.usage_details", details)];
        tokens(&spans)
    };
    let chat = r#"{"completion_tokens":321,"prompt_tokens":2048,"total_tokens":2369,"service":null,
        "completion_tokens_details":{"reasoning_tokens":128,"audio_tokens":0},"prompt_tokens_details":{"cached_tokens":1024}}"#;
    assert_eq!(generation(chat), [1, 2048, 1024, 0, 321, 128]);
    let responses = r#"{"input_tokens":2048,"input_tokens_details":{"cached_tokens":1024},"output_tokens":321,
        "output_tokens_details":{"reasoning_tokens":128},"total_tokens":2369}"#;
    assert_eq!(generation(responses), [1, 2048, 1024, 0, 321, 128]);
    let anthropic =
        r#"{"input_tokens":500,"cache_read_input_tokens":1200,"cache_creation_input_tokens":300,"output_tokens":321}"#;
    assert_eq!(generation(anthropic), [1, 2000, 1200, 300, 321, 0]);
    let own = r#"{"input":1024,"input_cache_read":1024,"output":193,"output_reasoning":128,"total":2369}"#;
    assert_eq!(generation(own), [1, 2048, 1024, 0, 321, 128]);
    let own_inclusive =
        r#"{"input":2048,"input_cached_tokens":1024,"output":321,"output_reasoning_tokens":128,"total":2369}"#;
    assert_eq!(generation(own_inclusive), [1, 2048, 1024, 0, 321, 128]);
    assert_eq!(generation(r#"{"input":17}"#), [1, 17, 0, 0, 0, 0]);
    assert_eq!(generation("{}"), [1, 0, 0, 0, 0, 0]);

    let refused = |details: &str| {
        let spans = [span(1, "g")
            .with("langfuse.observation.type", "generation")
            .with("langfuse.observation.usage_details", details)];
        decode(&spans).items[0].event.clone().unwrap_err().code
    };
    assert_eq!(refused("not json"), "invalid_quantity");
    assert_eq!(refused(r#"{"input":-1}"#), "invalid_quantity");
    assert_eq!(refused(r#"{"input":1.5}"#), "invalid_quantity");

    let cost = [span(1, "g")
        .with("langfuse.observation.type", "generation")
        .with("langfuse.observation.cost_details", r#"{"input":0.1,"total":0.30000000000000004}"#)];
    assert_eq!(only(&cost).reported_cost.unwrap().to_string(), "0.30000000000000004");
    let other = [
        span(1, "s").with("langfuse.observation.type", "span"),
        span(2, "e").with("langfuse.observation.type", "event"),
    ];
    assert_eq!(decode(&other).not_billable, 2);
}

#[test]
fn vercel_embeddings_and_outer_spans() {
    let batch = decode(&[
        span(1, "ai.embed").scope("ai").with("ai.operationId", "ai.embed").with("ai.usage.tokens", 17),
        span(2, "ai.embed.doEmbed")
            .under(1)
            .scope("ai")
            .with("ai.operationId", "ai.embed.doEmbed")
            .with("ai.model.provider", "openai.embedding")
            .with("ai.model.id", "text-embedding-3-small")
            .with("ai.usage.tokens", 17),
    ]);
    let sums = sums(&batch);
    assert_eq!((sums.calls, sums.embeddings_input, batch.not_billable), (1, 17, 1));
}

#[test]
fn integers_come_as_doubles_and_text_too() {
    let with = |value: serde_json::Value| {
        let spans = [span(1, "chat").with("gen_ai.operation.name", "chat").with("gen_ai.usage.input_tokens", value)];
        let event = decode(&spans).items.remove(0).event;
        event.map(|event| event.usage.unwrap().count(UsageKey::InputTokens)).map_err(|rejection| {
            assert!(
                rejection.pointer.ends_with("/spans/0/attributes/gen_ai.usage.input_tokens"),
                "{}",
                rejection.pointer
            );
            rejection.code
        })
    };
    assert_eq!(with(2048.into()), Ok(2048));
    assert_eq!(with(2048.0.into()), Ok(2048));
    assert_eq!(with("2048".into()), Ok(2048));
    assert_eq!(with("2048.0".into()), Ok(2048));
    for bad in [(-1).into(), 1.5.into(), "-3".into(), "many".into(), true.into(), "1e99".into()] {
        assert_eq!(with(bad), Err("invalid_quantity"));
    }
}

#[test]
fn numbers_that_exclude_their_parts_are_taken_as_disjoint_and_noted() {
    let check = |input: u64, read: u64, output: u64, reasoning: u64, expected: [u64; 2], noted: bool| {
        let batch = decode(&[span(1, "chat")
            .with("gen_ai.operation.name", "chat")
            .with("gen_ai.usage.input_tokens", input)
            .with("gen_ai.usage.cache_read.input_tokens", read)
            .with("gen_ai.usage.output_tokens", output)
            .with("gen_ai.usage.reasoning.output_tokens", reasoning)]);
        let sums = sums(&batch);
        assert_eq!([sums.input_total, sums.output_total], expected);
        assert_eq!(!batch.items[0].notes.is_empty(), noted);
    };
    check(2000, 1200, 321, 128, [2000, 321], false);
    check(500, 1200, 321, 128, [1700, 321], true);
    check(1200, 1200, 128, 128, [1200, 128], false);
    check(500, 400, 100, 300, [500, 400], true);
}

#[test]
fn every_alias_is_read_and_the_first_wins() {
    for (field, names) in ALIASES {
        let (Field::InputTokens | Field::OutputTokens | Field::CacheRead | Field::CacheWrite | Field::Reasoning) =
            field
        else {
            continue;
        };
        for (place, name) in names.iter().enumerate() {
            let mut one = span(1, "chat").with("gen_ai.operation.name", "chat");
            // The later aliases come first on the wire; the earliest one present still wins.
            for (later, name) in names.iter().enumerate().skip(place).rev() {
                one = one.with(name, 1000 + later);
            }
            let usage = only(&[one]).usage.unwrap();
            let expected = 1000 + u64::try_from(place).unwrap();
            assert!(usage.iter().any(|(_, quantity)| quantity.as_u64() == Some(expected)), "{name}: {usage:?}");
        }
    }
}

#[test]
fn execution_conversation_and_namespace() {
    let chat = |key: &str| span(1, "chat").with("gen_ai.operation.name", "chat").with(key, "run-1");
    for key in
        ["joch.execution.id", "ai.telemetry.metadata.executionId", "traceloop.association.properties.execution_id"]
    {
        assert_eq!(&*only(&[chat(key)]).execution, "run-1", "{key}");
    }
    assert_eq!(&*only(&[chat("x")]).execution, "00000000000000000000000000000001");
    let configured = Defaults {
        execution_keys: vec!["my.run".into()],
        namespace: "ns".into(),
        team: Some("t".into()),
        ..Defaults::default()
    };
    let read = |spans: &[SpanText], resource: &[(&str, &str)]| {
        let batch = decode_traces(&body(spans, resource), Encoding::Json, &configured).unwrap();
        batch.items[0].event.clone().unwrap()
    };
    let event = read(&[chat("my.run")], &[]);
    assert_eq!((&*event.execution, &*event.namespace, event.team.as_deref()), ("run-1", "ns", Some("t")));
    assert_eq!((&*event.source, event.agent.as_deref()), ("otlp/unknown", None));
    assert_eq!(&*read(&[chat("my.run").with("joch.execution.id", "run-2")], &[]).execution, "run-2");
    let event =
        read(&[chat("x")], &[("joch.execution.id", "run-3"), ("k8s.namespace.name", "k"), ("joch.agent.name", "a")]);
    assert_eq!((&*event.execution, &*event.namespace, event.agent.as_deref()), ("run-3", "k", Some("a")));
    // A run named on an ancestor holds for what is below it.
    let root =
        span(9, "invoke_agent a").with("gen_ai.operation.name", "invoke_agent").with("joch.execution.id", "run-4");
    assert_eq!(&*read(&[root, chat("x").under(9)], &[]).execution, "run-4");
}

#[test]
fn providers_are_named_as_price_tables_name_them() {
    let check = |name: &str, ai: bool, expected: &str| assert_eq!(&*provider::normalise(name, ai), expected, "{name}");
    check("openai", false, "openai");
    check("OpenAI", false, "openai");
    check("gcp.gemini", false, "google");
    check("gcp.vertex_ai", false, "google");
    check("vertex_ai", false, "google");
    check("gemini", false, "google");
    check("aws.bedrock", false, "aws");
    check("azure.ai.openai", false, "azure");
    check("xai", false, "x-ai");
    check("x_ai", false, "x-ai");
    check("mistral_ai", false, "mistral");
    check("deepseek", false, "deepseek");
    check("groq", false, "groq");
    check("cohere", false, "cohere");
    check("openai.chat", true, "openai");
    check("google.generative-ai", true, "google");
    check("google.vertex.chat", true, "google");
    check("amazon-bedrock", true, "aws");
    check("azure-openai.chat", true, "azure");
    check("xai.chat", true, "x-ai");
    check("my.own", false, "my.own");
}

#[test]
fn message_content_never_gets_in() {
    let spans = [span(1, "chat")
        .with("gen_ai.operation.name", "chat")
        .with("gen_ai.input.messages", "SECRET prompt")
        .with("gen_ai.output.messages", "SECRET answer")
        .with("traceloop.entity.input", "SECRET")
        .with("input.value", "SECRET")
        .with("llm.input_messages.0.message.content", "SECRET")
        .with("ai.prompt", "SECRET")
        .with("langfuse.observation.input", "SECRET")
        .with("gen_ai.tool.call.arguments", "SECRET")];
    assert!(!format!("{:?}", decode(&spans)).contains("SECRET"));
}
