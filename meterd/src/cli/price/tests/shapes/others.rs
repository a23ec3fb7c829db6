//! Anthropic, Google, Bedrock, Cohere, embeddings; and what no shape may say.

use super::*;

#[test]
fn messages_leave_the_cache_out_in_streams_too() {
    check_shape(5, |dice| {
        let provider = dice.pick(&["anthropic", "anthropic", "aws", "google", "azure"]);
        let writes: &[&str] = match dice.below(3) {
            0 => &["cache_write_tokens"],
            _ => &["cache_write_5m_tokens", "cache_write_1h_tokens"],
        };
        let mut truth = truth(dice, provider, &all(&[CHAT_IN, OUT, writes]), &["web_searches"]);
        let written = truth.sum(writes);
        let mut usage = json!({"input_tokens": truth.get("input_tokens"), "output_tokens": truth.sum(OUT)});
        put(dice, &mut usage, "cache_read_input_tokens", truth.get("cache_read_tokens"));
        if writes.len() == 1 || dice.one_in(2) {
            put(dice, &mut usage, "cache_creation_input_tokens", written);
        }
        if writes.len() == 2 {
            put(dice, &mut usage, "cache_creation.ephemeral_5m_input_tokens", truth.get("cache_write_5m_tokens"));
            put(dice, &mut usage, "cache_creation.ephemeral_1h_input_tokens", truth.get("cache_write_1h_tokens"));
        } else if dice.one_in(2) {
            usage["cache_creation"] = Value::Null;
        }
        put(dice, &mut usage, "output_tokens_details.thinking_tokens", truth.get("output_reasoning_tokens"));
        put(dice, &mut usage, "server_tool_use.web_search_requests", truth.get("web_searches"));
        if provider != "anthropic" {
            truth.leaves.remove("web_searches");
        }
        match dice.below(5) {
            0 => {
                usage["service_tier"] = json!("batch");
                truth.served.push(("processing", "batch"));
            }
            1 => {
                usage["service_tier"] = json!("priority");
                truth.served.push(("service_tier", "priority"));
            }
            2 => usage["service_tier"] = json!("standard"),
            _ => {}
        }
        if dice.one_in(3) {
            usage["inference_geo"] = json!("us");
            truth.served.push(("inference_geo", "us"));
        } else if dice.one_in(3) {
            usage["inference_geo"] = json!(dice.pick(&["not_available", "global"]));
        }
        if dice.one_in(5) {
            usage["speed"] = json!("fast");
            truth.served.push(("speed", "fast"));
        }
        let body = if dice.one_in(3) {
            // What the stream begins with is not all yet; its end repeats and adds, and the sums never go down.
            let mut early = usage.clone();
            early["output_tokens"] = json!(truth.sum(OUT).min(1));
            early.as_object_mut().unwrap().remove("output_tokens_details");
            let start = json!({"type": "message_start", "message": {"id": "msg_1", "usage": early}});
            let stop = json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": usage});
            streamed(dice, vec![start, json!({"type": "ping"}), stop, json!({"type": "message_stop"})])
        } else {
            json!({"id": "msg_1", "type": "message", "usage": usage})
        };
        (provider, "anthropic.messages", "m", body, truth)
    });
}

/// Tokens of a kind in a list of modalities; documents are images.
fn modality(dice: &mut Dice, list: &mut Vec<Value>, name: &str, count: u64) {
    if count == 0 && dice.one_in(2) {
        return;
    }
    if name == "IMAGE" && count > 1 && dice.one_in(2) {
        list.push(json!({"modality": "DOCUMENT", "tokenCount": count / 2}));
        list.push(json!({"modality": "IMAGE", "tokenCount": count - count / 2}));
    } else {
        list.push(json!({"modality": name, "tokenCount": count}));
    }
}

#[test]
fn gemini_leaves_thoughts_and_tool_prompts_out_and_lists_modalities() {
    check_shape(6, |dice| {
        let kinds = &["input_audio_tokens", "input_image_tokens", "input_video_tokens"];
        let read = &["cache_audio_read_tokens", "cache_image_read_tokens", "cache_video_read_tokens"];
        let out = &["output_image_tokens", "output_audio_tokens"];
        let leaves = all(&[CHAT_IN, OUT, kinds, read, out]);
        let mut truth = truth(dice, "google", &leaves, &[]);
        let tool = if dice.one_in(3) { truth.get("input_tokens") / 2 } else { 0 };
        let prompt = truth.prompt() - tool;
        let cached = truth.sum(&all(&[&["cache_read_tokens"], read]));
        let (thoughts, seen) = (truth.get("output_reasoning_tokens"), truth.sum(&all(&[&["output_tokens"], out])));
        let mut usage = json!({"promptTokenCount": prompt});
        put(dice, &mut usage, "candidatesTokenCount", seen);
        put(dice, &mut usage, "thoughtsTokenCount", thoughts);
        put(dice, &mut usage, "toolUsePromptTokenCount", tool);
        put(dice, &mut usage, "cachedContentTokenCount", cached);
        if dice.one_in(2) {
            usage["totalTokenCount"] = json!(truth.prompt() + seen + thoughts);
        }
        let (mut given, mut kept, mut made) = (Vec::new(), Vec::new(), Vec::new());
        for (name, kind, joint) in [
            ("AUDIO", "input_audio_tokens", "cache_audio_read_tokens"),
            ("IMAGE", "input_image_tokens", "cache_image_read_tokens"),
            ("VIDEO", "input_video_tokens", "cache_video_read_tokens"),
        ] {
            modality(dice, &mut given, name, truth.sum(&[kind, joint]));
            // Said, if only as zero: else nobody knows what of that kind came from the cache.
            kept.push(json!({"modality": name, "tokenCount": truth.get(joint)}));
        }
        given.push(json!({"modality": "TEXT", "tokenCount": truth.sum(CHAT_IN) - tool}));
        modality(dice, &mut made, "AUDIO", truth.get("output_audio_tokens"));
        modality(dice, &mut made, "IMAGE", truth.get("output_image_tokens"));
        usage["promptTokensDetails"] = given.into();
        usage["cacheTokensDetails"] = kept.into();
        usage["candidatesTokensDetails"] = made.into();
        let words = [
            ("", None),
            ("ON_DEMAND", None),
            ("ON_DEMAND_PRIORITY", Some("priority")),
            ("ON_DEMAND_FLEX", Some("flex")),
        ];
        if let Some(traffic) = tier(dice, &mut truth, &words) {
            usage["trafficType"] = json!(traffic);
        }
        let mut body = json!({"responseId": "r", "usageMetadata": usage});
        if dice.one_in(3) {
            let early = json!({"responseId": "r", "usageMetadata": {"promptTokenCount": prompt, "candidatesTokenCount": seen.min(1)}});
            body = streamed(dice, vec![early.clone(), early, body]);
        } else if dice.one_in(4) {
            body = snake(&body);
        }
        ("google", "google.generate_content", "m", body, truth)
    });
}

#[test]
fn converse_leaves_the_cache_out_but_for_models_that_count_it_within() {
    check_shape(7, |dice| {
        let model = dice.pick(&["m", "openai.gpt"]);
        let writes = &["cache_write_5m_tokens", "cache_write_1h_tokens"];
        let truth = truth(dice, "aws", &all(&[CHAT_IN, &["output_tokens"], writes]), &[]);
        let (read, written, output) = (truth.get("cache_read_tokens"), truth.sum(writes), truth.get("output_tokens"));
        let within = model != "m" && read + written > 0 && dice.one_in(2);
        let input = if within { truth.prompt() } else { truth.get("input_tokens") };
        let mut usage = json!({"inputTokens": input, "outputTokens": output, "totalTokens": input + output});
        if !within && (model != "m" || dice.one_in(2)) {
            usage["totalTokens"] = json!(truth.prompt() + output);
        }
        let (reads, written_as) = dice.pick(&[
            ("cacheReadInputTokens", "cacheWriteInputTokens"),
            ("cacheReadInputTokenCount", "cacheWriteInputTokenCount"),
        ]);
        put(dice, &mut usage, reads, read);
        put(dice, &mut usage, written_as, written);
        let detail = |ttl: &str, leaf: &str| json!({"ttl": ttl, "inputTokens": truth.get(leaf)});
        usage["cacheDetails"] = json!([detail("1h", writes[1]), detail("5m", writes[0])]);
        let body = match dice.below(3) {
            0 => {
                json!([{"messageStart": {"role": "assistant"}}, {"metadata": {"usage": usage, "metrics": {"latencyMs": 1}}}])
            }
            _ => json!({"usage": usage, "stopReason": "end_turn", "ResponseMetadata": {"RequestId": "r"}}),
        };
        ("aws", "bedrock.converse", model, body, truth)
    });
}

#[test]
fn cohere_bills_units_and_embeddings_have_a_prompt_only() {
    check_shape(8, |dice| {
        if dice.one_in(3) {
            let provider = dice.pick(&["openai", "voyageai"]);
            let truth = truth(dice, provider, &["input_tokens"], &[]);
            let field = if provider == "openai" { "prompt_tokens" } else { "total_tokens" };
            let body = json!({"object": "list", "data": [], "usage": {field: truth.prompt()}});
            return (provider, "openai.embeddings", "m", body, truth);
        }
        let truth = truth(dice, "cohere", &["input_tokens", "output_tokens"], &["rerank_searches"]);
        let mut usage = json!({"billed_units": {"input_tokens": truth.prompt(), "output_tokens": truth.get("output_tokens")},
            "tokens": {"input_tokens": truth.prompt() + 1_000, "output_tokens": 99}});
        put(dice, &mut usage, "billed_units.search_units", truth.get("rerank_searches"));
        let body = match dice.below(3) {
            0 => json!({"meta": usage}),
            1 => json!([{"type": "message-start", "id": "c"}, {"type": "message-end", "delta": {"usage": usage}}]),
            _ => json!({"id": "c", "usage": usage}),
        };
        ("cohere", "cohere.chat", "m", body, truth)
    });
}

#[test]
fn what_cannot_be_is_invalid_and_what_is_not_said_is_missing() {
    let (tables, _) = pricing::PriceTable::parse(&table(PROVIDERS, &["x-ai"])).unwrap();
    let book = PriceBook::new(tables.into_iter().map(std::sync::Arc::new).collect());
    let image_read = json!({"promptTokenCount": 10, "cachedContentTokenCount": 8, "candidatesTokenCount": 1,
        "promptTokensDetails": [{"modality": "IMAGE", "tokenCount": 9}]});
    for (provider, api, body, status, reason) in [
        (
            "openai",
            "openai.chat",
            json!({"usage": {"prompt_tokens": 5, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 6}}}),
            "invalid",
            "invalid_usage",
        ),
        (
            "openai",
            "openai.chat",
            json!({"usage": {"prompt_tokens": -5, "completion_tokens": 1}}),
            "invalid",
            "invalid_usage",
        ),
        (
            "openai",
            "openai.chat",
            json!({"usage": {"prompt_tokens": 5.5, "completion_tokens": 1}}),
            "invalid",
            "invalid_usage",
        ),
        (
            "openai",
            "openai.responses",
            json!({"usage": {"input_tokens": 5, "output_tokens": 1, "output_tokens_details": {"reasoning_tokens": 2}}}),
            "invalid",
            "invalid_usage",
        ),
        (
            "anthropic",
            "anthropic.messages",
            json!({"usage": {"input_tokens": 5, "output_tokens": 1, "cache_creation_input_tokens": 1, "cache_creation": {"ephemeral_1h_input_tokens": 2}}}),
            "invalid",
            "invalid_usage",
        ),
        // Images cost other than text here, so it matters how many of them came from the cache.
        ("google", "google.generate_content", json!({"usageMetadata": image_read}), "invalid", "invalid_usage"),
        ("openai", "openai.chat", json!({"id": "x", "choices": []}), "unpriced", "missing_usage"),
        ("anthropic", "anthropic.messages", json!({"id": "x", "usage": {}}), "unpriced", "missing_usage"),
        ("google", "google.generate_content", json!({"candidates": []}), "unpriced", "missing_usage"),
        ("aws", "bedrock.converse", json!({"output": {}}), "unpriced", "missing_usage"),
        (
            "cohere",
            "cohere.chat",
            json!({"usage": {"tokens": {"input_tokens": 3, "output_tokens": 4}}}),
            "unpriced",
            "missing_usage",
        ),
    ] {
        let line = json!({"id": "t", "provider": provider, "api": api, "model": "m", "body": body, "timestamp": "2026-11-18T12:00:00Z"});
        let found = answer_of(&book, &line.to_string());
        assert_eq!((&found["status"], &found["reason"]), (&json!(status), &json!(reason)), "{line}: {found}");
    }
}
