//! Streams: snapshots of one response, as arrays of chunks and as server-sent events. Nothing is ever added.

use super::*;

/// Chunks as an array, as an array of texts and events, and as the text of the whole stream.
fn check_stream(provider: &str, api: &str, chunks: &[Value], expected: &str) {
    check(provider, api, json!(chunks), expected);
    let lines: Vec<Value> = chunks.iter().map(|chunk| json!(format!("data: {chunk}"))).collect();
    check(provider, api, json!(lines), expected);
    let events: Vec<Value> = chunks.iter().map(|chunk| json!({"event": "e", "data": chunk})).collect();
    check(provider, api, json!(events), expected);
    let text: String = chunks.iter().map(|chunk| format!("event: e\ndata: {chunk}\n\n")).collect();
    check(provider, api, json!(format!("{text}data: [DONE]\n\n")), expected);
}

#[test]
fn chat_says_its_usage_at_the_end_or_so_far() {
    let chunk = |usage: Value| json!({"id": "c", "model": "m", "choices": [], "usage": usage});
    let whole = json!({"prompt_tokens": 5, "completion_tokens": 9});
    let so_far = json!({"prompt_tokens": 5, "completion_tokens": 4});
    check_stream(
        "openai",
        "openai.chat",
        &[chunk(json!(null)), chunk(json!(null)), chunk(whole.clone())],
        "input_tokens=5 output_tokens=9",
    );
    check_stream("openai", "openai.chat", &[chunk(so_far), chunk(whole.clone())], "input_tokens=5 output_tokens=9");
    check_stream(
        "groq",
        "openai.chat",
        &[json!({"id": "c", "x_groq": {"usage": whole}})],
        "input_tokens=5 output_tokens=9",
    );
    check_stream("openai", "openai.chat", &[chunk(json!(null))], "none");
}

#[test]
fn anthropic_starts_with_the_prompt_and_repeats_it() {
    let usage =
        json!({"input_tokens": 25, "cache_read_input_tokens": 3, "output_tokens": 1, "service_tier": "priority"});
    let start = json!({"type": "message_start", "message": {"id": "msg", "model": "c", "usage": usage}});
    let delta = |usage: Value| json!({"type": "message_delta", "delta": {}, "usage": usage});
    let text = json!({"type": "content_block_delta", "delta": {"text": "hi"}});
    check_stream(
        "anthropic",
        "anthropic.messages",
        &[start.clone(), text, delta(json!({"output_tokens": 10})), delta(json!({"output_tokens": 15}))],
        "input_tokens=28 output_tokens=15 cache_read_tokens=3",
    );
    let body = json!([start, delta(json!({"input_tokens": 40, "output_tokens": 15}))]);
    let read = event(&envelope("anthropic", "anthropic.messages", body));
    assert_eq!(shown(&read), "input_tokens=43 output_tokens=15 cache_read_tokens=3");
    assert_eq!(read.attrs.get("service_tier"), Some("priority"));
    let budget::charge::Called::Model { model, response_id, request_model, .. } = &read.called else { panic!() };
    assert_eq!((&**model, response_id.as_deref(), request_model.as_deref()), ("c", Some("msg"), Some("asked")));
}

#[test]
fn responses_end_with_the_whole_response() {
    let usage = json!({"input_tokens": 5, "output_tokens": 9});
    let output = json!([{"type": "web_search_call"}]);
    check_stream(
        "openai",
        "openai.responses",
        &[
            json!({"type": "response.created", "response": {"id": "r", "usage": null, "output": []}}),
            json!({"type": "response.output_item.done", "item": {"type": "web_search_call", "id": "ws"}}),
            json!({"type": "response.completed", "response": {"id": "r", "usage": usage, "output": output}}),
        ],
        "input_tokens=5 output_tokens=9 web_searches=1",
    );
}

#[test]
fn gemini_repeats_the_numbers_so_far_in_every_chunk() {
    let chunk = |candidates: u64, thoughts: u64| {
        json!({"responseId": "r", "usageMetadata": {"promptTokenCount": 8, "candidatesTokenCount": candidates,
            "thoughtsTokenCount": thoughts, "promptTokensDetails": [{"modality": "AUDIO", "tokenCount": 8}]}})
    };
    check_stream(
        "google",
        "google.generate_content",
        &[chunk(0, 5), chunk(3, 5), chunk(7, 5)],
        "input_tokens=8 output_tokens=12 input_audio_tokens=8 output_reasoning_tokens=5",
    );
}

#[test]
fn bedrock_and_cohere_say_it_once() {
    let usage = json!({"inputTokens": 5, "outputTokens": 9});
    check_stream(
        "aws",
        "bedrock.converse",
        &[json!({"messageStart": {"role": "assistant"}}), json!({"metadata": {"usage": usage, "metrics": {}}})],
        "input_tokens=5 output_tokens=9",
    );
    let billed = json!({"billed_units": {"input_tokens": 5, "output_tokens": 9}});
    check_stream(
        "cohere",
        "cohere.chat",
        &[json!({"id": "i", "type": "message-start"}), json!({"type": "message-end", "delta": {"usage": billed}})],
        "input_tokens=5 output_tokens=9",
    );
}

#[test]
fn two_responses_are_not_one() {
    let chunk = |id: &str| json!({"id": id, "usage": {"prompt_tokens": 1, "completion_tokens": 1}});
    let refused = rejection(&envelope("openai", "openai.chat", json!([chunk("a"), chunk("b")])));
    assert_eq!((refused.code, &*refused.pointer), ("invalid_value", "/body"));
    check("openai", "openai.chat", json!([chunk(""), chunk("b")]), "input_tokens=1 output_tokens=1");
}
