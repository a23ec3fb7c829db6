//! One response each: what its numbers include and leave out.

use super::*;

#[test]
fn anthropic_prompts_leave_the_cache_out() {
    let api = "anthropic.messages";
    check(
        "anthropic",
        api,
        json!({"usage": {"input_tokens": 10, "output_tokens": 211, "cache_read_input_tokens": 4332,
            "cache_creation_input_tokens": 4513,
            "cache_creation": {"ephemeral_5m_input_tokens": 4500, "ephemeral_1h_input_tokens": 13},
            "output_tokens_details": {"thinking_tokens": 7}, "server_tool_use": {"web_search_requests": 2}}}),
        "input_tokens=8855 output_tokens=211 cache_read_tokens=4332 cache_write_tokens=4513 cache_write_5m_tokens=4500 \
         cache_write_1h_tokens=13 output_reasoning_tokens=7 web_searches=2",
    );
    // Only the total of what was written, only its parts, nulls for what was not used.
    check(
        "anthropic",
        api,
        json!({"usage": {"input_tokens": 1, "output_tokens": 2, "cache_creation_input_tokens": 3, "cache_creation": null,
            "cache_read_input_tokens": null, "server_tool_use": null}}),
        "input_tokens=4 output_tokens=2 cache_write_tokens=3",
    );
    check(
        "aws",
        api,
        json!({"usage": {"input_tokens": 1, "output_tokens": 2,
            "cache_creation": {"ephemeral_5m_input_tokens": 3, "ephemeral_1h_input_tokens": 4}}}),
        "input_tokens=8 output_tokens=2 cache_write_tokens=7 cache_write_5m_tokens=3 cache_write_1h_tokens=4",
    );
    check("anthropic", api, json!({"usage": {"output_tokens": 2}}), "none");
    check("anthropic", api, json!({"usage": null}), "none");
}

#[test]
fn anthropic_searches_are_priced_where_anthropic_bills() {
    let body = json!({"usage": {"input_tokens": 1, "output_tokens": 1, "server_tool_use": {"web_search_requests": 1}}});
    check("anthropic", "anthropic.messages", body.clone(), "input_tokens=1 output_tokens=1 web_searches=1");
    let elsewhere = items(&envelope("azure", "anthropic.messages", body)).remove(0);
    assert_eq!(elsewhere.notes, [NOTE_UNPRICED_SEARCHES]);
    assert_eq!(shown(&elsewhere.event.unwrap()), "input_tokens=1 output_tokens=1");
}

#[test]
fn anthropic_serves_attributes() {
    let body = json!({"usage": {"input_tokens": 1, "output_tokens": 1, "service_tier": "batch", "speed": "fast",
        "inference_geo": "us"}});
    let mut asked = envelope("anthropic", "anthropic.messages", body);
    asked["attrs"] = json!({"speed": "standard", "region": "eu"});
    let attrs = event(&asked).attrs;
    let found: Vec<_> = attrs.iter().collect();
    assert_eq!(
        found,
        [
            ("inference_geo", "us"),
            ("processing", "batch"),
            ("region", "eu"),
            ("service_tier", "batch"),
            ("speed", "fast")
        ]
    );
    let body = json!({"usage": {"input_tokens": 1, "output_tokens": 1, "inference_geo": "not_available"}});
    assert!(event(&envelope("anthropic", "anthropic.messages", body)).attrs.is_empty());
}

#[test]
fn compactions_and_advisers_are_events_of_their_own() {
    let iterations = json!([
        {"type": "message", "input_tokens": 1128, "output_tokens": 121},
        {"type": "advisor_message", "model": "claude-opus-4-8", "input_tokens": 2529, "output_tokens": 38},
        {"type": "message", "input_tokens": 1289, "output_tokens": 12},
        {"type": "compaction", "input_tokens": 100, "output_tokens": 82, "cache_creation_input_tokens": 55}]);
    let usage = json!({"input_tokens": 2417, "output_tokens": 133, "iterations": iterations});
    let body = json!({"id": "msg_1", "model": "claude-sonnet-4-6", "usage": usage});
    let mut whole = envelope("anthropic", "anthropic.messages", body);
    whole["reservation"] = json!("r");
    whole["final"] = json!(true);
    let found: Vec<(String, String, String, bool)> = items(&whole)
        .into_iter()
        .map(|item| {
            let event = item.event.unwrap();
            let budget::charge::Called::Model { model, response_id, .. } = &event.called else { panic!("no model") };
            let named = format!("{} {} {}", event.id, model, response_id.as_deref().unwrap_or("-"));
            (named, shown(&event), event.execution.to_string(), event.reservation.is_some())
        })
        .collect();
    let expected = [
        ("e claude-sonnet-4-6 msg_1", "input_tokens=2417 output_tokens=133", true),
        ("e/advisor_message/1 claude-opus-4-8 msg_1/advisor_message/1", "input_tokens=2529 output_tokens=38", false),
        (
            "e/compaction/3 claude-sonnet-4-6 msg_1/compaction/3",
            "input_tokens=155 output_tokens=82 cache_write_tokens=55",
            false,
        ),
    ];
    let expected: Vec<_> = expected
        .into_iter()
        .map(|(named, usage, reserved)| (named.to_owned(), usage.to_owned(), "x".to_owned(), reserved))
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn iterations_within_the_totals_are_not_counted_again() {
    let iterations = json!([{"type": "compaction", "input_tokens": 1, "output_tokens": 2},
        {"type": "message", "input_tokens": 3, "output_tokens": 4}]);
    let body = json!({"usage": {"input_tokens": 4, "output_tokens": 6, "iterations": iterations}});
    assert_eq!(items(&envelope("anthropic", "anthropic.messages", body)).len(), 1);
}

#[test]
fn chat_prompts_include_the_cache_and_completions_the_reasoning() {
    check(
        "openai",
        "openai.chat",
        json!({"usage": {"prompt_tokens": 100, "completion_tokens": 50, "total_tokens": 150,
            "prompt_tokens_details": {"cached_tokens": 60, "audio_tokens": 10, "cache_write_tokens": 5},
            "completion_tokens_details": {"reasoning_tokens": 20, "audio_tokens": 3, "image_tokens": 2,
                "accepted_prediction_tokens": 9, "rejected_prediction_tokens": 9}}}),
        "input_tokens=100 output_tokens=50 cache_read_tokens=60 cache_write_tokens=5 input_audio_tokens=10 \
         output_audio_tokens=3 output_image_tokens=2 output_reasoning_tokens=20",
    );
    // What DeepSeek missed was not written; Mistral's engine counts hits that nobody discounts.
    let usage = json!({"prompt_tokens": 563, "completion_tokens": 116, "prompt_cache_hit_tokens": 512,
        "prompt_cache_miss_tokens": 51});
    check(
        "deepseek",
        "openai.chat",
        json!({"usage": usage}),
        "input_tokens=563 output_tokens=116 cache_read_tokens=512",
    );
    let usage = json!({"prompt_tokens": 77, "completion_tokens": 12, "num_cached_tokens": 76,
        "prompt_audio_seconds": {}, "prompt_tokens_details": null});
    check("mistral", "openai.chat", json!({"usage": usage}), "input_tokens=77 output_tokens=12");
    let usage = json!({"prompt_tokens": "12", "completion_tokens": 3.0, "total_tokens": 1.5e1});
    check("openai", "openai.chat", json!({"usage": usage}), "input_tokens=12 output_tokens=3");
    check("openai", "openai.chat", json!({"usage": {}}), "none");
    check("openai", "openai.chat", json!({"usage": {"prompt_tokens": 5}}), "none");
    check(
        "openai",
        "openai.chat",
        json!({"usage": {"prompt_tokens": 5, "total_tokens": 5}}),
        "input_tokens=5 output_tokens=0",
    );
    check("openai", "openai.embeddings", json!({"usage": {"prompt_tokens": 4, "total_tokens": 4}}), "input_tokens=4");
    check("voyageai", "openai.embeddings", json!({"usage": {"total_tokens": 9}}), "input_tokens=9");
}

#[test]
fn the_total_tells_where_the_reasoning_lies() {
    let usage = |total: Value| {
        json!({"usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": total,
            "completion_tokens_details": {"reasoning_tokens": 3}}})
    };
    let (inside, outside) = (
        "input_tokens=10 output_tokens=5 output_reasoning_tokens=3",
        "input_tokens=10 output_tokens=8 output_reasoning_tokens=3",
    );
    for (provider, total, expected) in [
        ("x-ai", json!(18), outside),
        ("xai", json!(null), outside),
        ("x-ai", json!(15), inside),
        ("openai", json!(15), inside),
        ("openai", json!(null), inside),
        ("google", json!(18), outside),
        ("perplexity", json!(15), outside),
    ] {
        check(provider, "openai.chat", usage(total), expected);
    }
    let odd = items(&envelope("google", "openai.chat", usage(json!(109)))).remove(0);
    assert_eq!(odd.notes, [NOTE_INCONSISTENT]);
    assert_eq!(shown(&odd.event.unwrap()), inside);
}

const NOTE_INCONSISTENT: &str = crate::ingest::NOTE_INCONSISTENT_USAGE;

#[test]
fn costs_that_providers_state_are_reported() {
    let usage = |cost: Value| json!({"usage": {"prompt_tokens": 1, "completion_tokens": 1, "cost": cost}});
    for (provider, body, expected) in [
        ("openrouter", usage(json!(0.00435825)), Some("0.00435825")),
        ("openrouter", usage(json!(4.25e-6)), Some("0.00000425")),
        ("perplexity", usage(json!({"total_cost": 0.006, "request_cost": 0.005})), Some("0.006")),
        ("openrouter", usage(json!(null)), None),
        (
            "x-ai",
            json!({"usage": {"prompt_tokens": 1, "completion_tokens": 1, "cost_in_usd_ticks": 37_756_000}}),
            Some("0.0037756"),
        ),
    ] {
        let cost = event(&envelope(provider, "openai.chat", body)).reported_cost;
        assert_eq!(cost.map(|cost| cost.to_string()).as_deref(), expected, "{provider}");
    }
}

#[test]
fn perplexity_bills_reasoning_citations_and_queries_beside_the_completion() {
    check(
        "perplexity",
        "openai.chat",
        json!({"usage": {"prompt_tokens": 33, "completion_tokens": 11395, "total_tokens": 11428,
            "citation_tokens": 52897, "num_search_queries": 34, "reasoning_tokens": 193947}}),
        "input_tokens=33 output_tokens=258239 output_reasoning_tokens=193947 output_citation_tokens=52897 web_searches=34",
    );
}

#[test]
fn responses_hold_tools_as_items() {
    let output = json!([
        {"type": "web_search_call", "action": {"type": "search"}}, {"type": "web_search_call", "action": {"type": "open_page"}},
        {"type": "web_search_call"}, {"type": "file_search_call"},
        {"type": "code_interpreter_call", "container_id": "c1"}, {"type": "code_interpreter_call", "container_id": "c1"},
        {"type": "message", "content": [{"text": "{\"usage\": {\"input_tokens\": 9}}"}]}]);
    let usage = json!({"input_tokens": 100, "output_tokens": 50, "total_tokens": 150,
        "input_tokens_details": {"cached_tokens": 40, "cache_write_tokens": 7},
        "output_tokens_details": {"reasoning_tokens": 30}});
    let tokens =
        "input_tokens=100 output_tokens=50 cache_read_tokens=40 cache_write_tokens=7 output_reasoning_tokens=30";
    check("openai", "openai.responses", json!({"usage": usage}), tokens);
    let body = json!({"id": "resp_1", "model": "gpt-5", "service_tier": "flex", "status": "completed", "usage": usage,
        "output": output, "tools": [{"type": "web_search", "search_context_size": "low"}]});
    let read = event(&envelope("openai", "openai.responses", body.clone()));
    assert_eq!(shown(&read), format!("{tokens} web_searches=2 storage_searches=1 code_sessions=1"));
    assert_eq!(read.attrs.iter().collect::<Vec<_>>(), [("search_context_size", "low"), ("service_tier", "flex")]);
    let mut stated = body;
    stated["tool_usage"] =
        json!({"web_search": {"num_requests": 5}, "image_gen": {"input_tokens": 0, "output_tokens": 0}});
    let items = items(&envelope("openai", "openai.responses", stated.clone()));
    assert_eq!(items.len(), 1);
    assert!(shown(items[0].event.as_ref().unwrap()).contains("web_searches=5"));
    stated["tool_usage"]["image_gen"] = json!({"input_tokens": 20, "output_tokens": 30,
        "output_tokens_details": {"image_tokens": 30}});
    stated["tools"] = json!([{"type": "image_generation", "model": "gpt-image-2"}]);
    let image = super::items(&envelope("openai", "openai.responses", stated)).remove(1);
    assert_eq!(image.id.as_deref(), Some("e/image_gen"));
    assert_eq!(shown(&image.event.unwrap()), "input_tokens=20 output_tokens=30 output_image_tokens=30");
}

#[test]
fn gemini_counts_thoughts_and_tool_prompts_apart() {
    let api = "google.generate_content";
    check(
        "google",
        api,
        json!({"modelVersion": "gemini-3", "usageMetadata": {"promptTokenCount": 345, "candidatesTokenCount": 70,
            "thoughtsTokenCount": 98, "toolUsePromptTokenCount": 10, "totalTokenCount": 523,
            "cachedContentTokenCount": 191,
            "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 80}, {"modality": "IMAGE", "tokenCount": 200},
                {"modality": "DOCUMENT", "tokenCount": 58}, {"modality": "AUDIO"}],
            "toolUsePromptTokensDetails": [{"modality": "IMAGE", "tokenCount": 4}],
            "cacheTokensDetails": [{"modality": "IMAGE", "tokenCount": 143}, {"modality": "TEXT", "tokenCount": 48}],
            "candidatesTokensDetails": [{"modality": "AUDIO", "tokenCount": 3}, {"modality": "VIDEO", "tokenCount": 2}]}}),
        "input_tokens=355 output_tokens=168 cache_read_tokens=191 input_image_tokens=262 cache_image_read_tokens=143 \
         output_audio_tokens=3 output_video_tokens=2 output_reasoning_tokens=98",
    );
    let folded = json!({"usageMetadata": {"promptTokenCount": 1, "candidatesTokenCount": 9, "thoughtsTokenCount": 4,
        "totalTokenCount": 10}});
    check("google", api, folded, "input_tokens=1 output_tokens=9 output_reasoning_tokens=4");
    let dumped = json!({"usage_metadata": {"prompt_token_count": 7, "candidates_token_count": "2"}});
    check("google", api, dumped, "input_tokens=7 output_tokens=2");
    check(
        "google",
        api,
        json!({"usageMetadata": {"promptTokenCount": 3, "totalTokenCount": 3}}),
        "input_tokens=3 output_tokens=0",
    );
    check("google", api, json!({"usageMetadata": {}}), "none");
    for (usage, tier) in [
        (json!({"promptTokenCount": 1, "trafficType": "ON_DEMAND_PRIORITY"}), Some("priority")),
        (json!({"promptTokenCount": 1, "trafficType": "ON_DEMAND_FLEX"}), Some("flex")),
        (json!({"promptTokenCount": 1, "trafficType": "ON_DEMAND", "serviceTier": "FLEX"}), Some("flex")),
        (json!({"promptTokenCount": 1}), None),
    ] {
        let read = event(&envelope("google", api, json!({"usageMetadata": usage})));
        assert_eq!(read.attrs.get("service_tier"), tier);
    }
}

#[test]
fn gemini_searches_are_billed_a_prompt_or_a_query() {
    let body = |model: &str| {
        json!({"modelVersion": model, "usageMetadata": {"promptTokenCount": 1, "candidatesTokenCount": 1},
            "candidates": [{"groundingMetadata": {"webSearchQueries": ["a", "b", "a"]}}]})
    };
    let api = "google.generate_content";
    check("google", api, body("gemini-2.5-pro"), "input_tokens=1 output_tokens=1 web_searches=1");
    check("google", api, body("gemini-3-pro"), "input_tokens=1 output_tokens=1 web_searches=2");
}

#[test]
fn bedrock_prompts_leave_the_cache_out() {
    let usage = json!({"inputTokens": 10, "outputTokens": 5, "totalTokens": 22, "cacheReadInputTokens": 4,
        "cacheWriteInputTokens": 3, "cacheDetails": [{"ttl": "5m", "inputTokens": 1}, {"ttl": "1h", "inputTokens": 2}]});
    let mut whole = envelope("aws", "bedrock.converse", json!({"usage": usage, "serviceTier": {"type": "flex"}}));
    whole["model"] = json!("arn:aws:bedrock:us-east-1:1:inference-profile/us.anthropic.claude-haiku-5-5-v1:0");
    let read = event(&whole);
    let expected = "input_tokens=17 output_tokens=5 cache_read_tokens=4 cache_write_tokens=3 cache_write_5m_tokens=1 \
                    cache_write_1h_tokens=2";
    assert_eq!(shown(&read), expected);
    assert_eq!(read.attrs.get("service_tier"), Some("flex"));
    let budget::charge::Called::Model { model, .. } = &read.called else { panic!("no model") };
    assert_eq!(&**model, "us.anthropic.claude-haiku-5-5-v1:0");
    let usage = json!({"inputTokens": 10, "outputTokens": 5, "totalTokens": 15, "cacheReadInputTokens": 4});
    whole["body"] = json!({ "usage": usage });
    assert_eq!(shown(&event(&whole)), "input_tokens=14 output_tokens=5 cache_read_tokens=4");
    whole["model"] = json!("openai.gpt-oss-120b-1:0");
    assert_eq!(shown(&event(&whole)), "input_tokens=10 output_tokens=5 cache_read_tokens=4");
}

#[test]
fn cohere_bills_billed_units() {
    let usage = json!({"billed_units": {"input_tokens": 17.0, "output_tokens": 12, "search_units": 1},
        "tokens": {"input_tokens": 215, "output_tokens": 14}});
    check("cohere", "cohere.chat", json!({"usage": usage}), "input_tokens=17 output_tokens=12 rerank_searches=1");
    check("cohere", "cohere.chat", json!({"meta": {"billed_units": {"input_tokens": 3}}}), "input_tokens=3");
    check("cohere", "cohere.chat", json!({"usage": {"tokens": {"input_tokens": 9, "output_tokens": 9}}}), "none");
}

#[test]
fn lines_of_batch_results_are_priced_as_batch() {
    let usage = json!({"input_tokens": 1, "output_tokens": 2});
    let message = json!({"type": "succeeded", "message": {"id": "m", "model": "c", "usage": usage}});
    let chat = json!({"status_code": 200, "body": {"id": "c", "usage": {"prompt_tokens": 1, "completion_tokens": 2}}});
    for (api, body) in [
        ("anthropic.messages", json!({"custom_id": "1", "result": message})),
        ("openai.responses", json!({"custom_id": "1", "response": {"body": {"id": "r", "usage": usage}}})),
        ("openai.chat", json!({"custom_id": "1", "response": chat})),
    ] {
        let read = event(&envelope("p", api, body));
        assert_eq!(shown(&read), "input_tokens=1 output_tokens=2", "{api}");
        assert_eq!(read.attrs.get("processing"), Some("batch"), "{api}");
    }
}

#[test]
fn impossible_numbers_are_refused_where_they_stand() {
    for (number, pointer) in [
        (json!({"prompt_tokens": -1}), "/body/usage/prompt_tokens"),
        (json!({"prompt_tokens": 1.5}), "/body/usage/prompt_tokens"),
        (json!({"prompt_tokens": "many"}), "/body/usage/prompt_tokens"),
        (json!({"prompt_tokens": true}), "/body/usage/prompt_tokens"),
        (json!({"prompt_tokens": 1e17}), "/body/usage/prompt_tokens"),
        (
            json!({"prompt_tokens": 1, "prompt_tokens_details": {"cached_tokens": -3}}),
            "/body/usage/prompt_tokens_details/cached_tokens",
        ),
    ] {
        let refused = rejection(&envelope("openai", "openai.chat", json!({ "usage": number })));
        assert_eq!((refused.code, &*refused.pointer), ("invalid_usage", pointer), "{number}");
    }
}
