//! OpenAI's two APIs, and those who speak the first of them with meanings of their own.

use super::*;

#[test]
fn chat_includes_the_cache_and_the_reasoning() {
    check_shape(1, |dice| {
        let provider = dice.pick(&["openai", "azure", "groq", "mistral", "openrouter", "databricks"]);
        let leaves = all(&[CHAT_IN, OUT, &["output_audio_tokens"]]);
        let mut truth =
            truth(dice, provider, &leaves, &["cache_write_tokens", "input_audio_tokens", "output_image_tokens"]);
        let out =
            truth.sum(&["output_tokens", "output_reasoning_tokens", "output_audio_tokens", "output_image_tokens"]);
        let mut body = json!({"usage": {"prompt_tokens": truth.prompt(), "completion_tokens": out}});
        if dice.one_in(2) {
            body["usage"]["total_tokens"] = json!(truth.prompt() + out);
        }
        let read = match provider {
            "databricks" => "usage.cache_read_input_tokens",
            _ => dice.pick(&["usage.prompt_tokens_details.cached_tokens", "usage.cached_tokens"]),
        };
        for (path, leaf) in [
            (read, "cache_read_tokens"),
            ("usage.prompt_tokens_details.cache_write_tokens", "cache_write_tokens"),
            ("usage.prompt_tokens_details.audio_tokens", "input_audio_tokens"),
            ("usage.completion_tokens_details.reasoning_tokens", "output_reasoning_tokens"),
            ("usage.completion_tokens_details.audio_tokens", "output_audio_tokens"),
            ("usage.completion_tokens_details.image_tokens", "output_image_tokens"),
        ] {
            put(dice, &mut body, path, truth.get(leaf));
        }
        let words = [("", None), ("default", None), ("flex", Some("flex")), ("priority", Some("priority"))];
        if let Some(tier) = tier(dice, &mut truth, &words) {
            body["service_tier"] = json!(tier);
        }
        let body = match dice.below(4) {
            0 => {
                let chunk = |delta: &str| json!({"id": "c", "choices": [{"delta": {"content": delta}}], "usage": null});
                body["id"] = json!("c");
                body["choices"] = json!([]);
                streamed(dice, vec![chunk("a"), chunk("b"), body])
            }
            1 if truth.served.is_empty() => {
                truth.served.push(("processing", "batch"));
                json!({"custom_id": "1", "response": {"status_code": 200, "body": body}})
            }
            _ => body,
        };
        (provider, "openai.chat", "m", body, truth)
    });
}

#[test]
fn xai_counts_reasoning_apart_unless_the_total_says_otherwise() {
    check_shape(2, |dice| {
        let truth = truth(dice, "x-ai", &all(&[CHAT_IN, OUT]), &[]);
        let (prompt, plain, thought) =
            (truth.prompt(), truth.get("output_tokens"), truth.get("output_reasoning_tokens"));
        let folded = dice.one_in(3) && thought > 0;
        let mut body = json!({"usage": {"prompt_tokens": prompt, "total_tokens": prompt + plain + thought}});
        body["usage"]["completion_tokens"] = json!(if folded { plain + thought } else { plain });
        if !folded && dice.one_in(3) {
            body["usage"]["total_tokens"] = Value::Null;
        }
        put(dice, &mut body, "usage.prompt_tokens_details.cached_tokens", truth.get("cache_read_tokens"));
        put(dice, &mut body, "usage.completion_tokens_details.reasoning_tokens", thought);
        // xAI repeats what came from the cache among the text: that says nothing of its own.
        always(&mut body, "usage.prompt_tokens_details.text_tokens", json!(prompt));
        ("x-ai", "openai.chat", "m-4", body, truth)
    });
}

#[test]
fn perplexity_and_deepseek_have_fields_of_their_own() {
    check_shape(3, |dice| {
        if dice.one_in(2) {
            let truth = truth(dice, "deepseek", &all(&[CHAT_IN, OUT]), &[]);
            let read = truth.get("cache_read_tokens");
            let mut body = json!({"usage": {"prompt_tokens": truth.prompt(), "completion_tokens": truth.sum(OUT),
                "prompt_cache_hit_tokens": read, "prompt_cache_miss_tokens": truth.prompt() - read}});
            put(
                dice,
                &mut body,
                "usage.completion_tokens_details.reasoning_tokens",
                truth.get("output_reasoning_tokens"),
            );
            if dice.one_in(2) {
                always(&mut body, "usage.prompt_tokens_details.cached_tokens", json!(read));
            }
            return ("deepseek", "openai.chat", "m", body, truth);
        }
        let leaves = all(&[&["input_tokens"], OUT, &["output_citation_tokens"]]);
        let mut truth = truth(dice, "perplexity", &leaves, &["web_searches"]);
        let plain = truth.get("output_tokens");
        let mut body = json!({"usage": {"prompt_tokens": truth.prompt(), "completion_tokens": plain,
            "total_tokens": truth.prompt() + plain}});
        for (path, leaf) in [
            ("usage.reasoning_tokens", "output_reasoning_tokens"),
            ("usage.citation_tokens", "output_citation_tokens"),
            ("usage.num_search_queries", "web_searches"),
        ] {
            put(dice, &mut body, path, truth.get(leaf));
        }
        let model = dice.pick(&["sonar-deep-research", "sonar-pro"]);
        if model == "sonar-pro" {
            truth.leaves.remove("web_searches");
        }
        ("perplexity", "openai.chat", model, body, truth)
    });
}

#[test]
fn responses_include_all_and_hold_tools_as_items() {
    check_shape(4, |dice| {
        let provider = dice.pick(&["openai", "azure", "x-ai"]);
        let kinds = &["input_audio_tokens", "cache_audio_read_tokens", "input_image_tokens", "cache_image_read_tokens"];
        let mut truth = truth(dice, provider, &all(&[CHAT_IN, OUT, kinds]), &["web_searches", "storage_searches"]);
        let read = truth.sum(&["cache_read_tokens", "cache_audio_read_tokens", "cache_image_read_tokens"]);
        let mut body = json!({"usage": {"input_tokens": truth.prompt(), "output_tokens": truth.sum(OUT)}});
        let details = dice.pick(&["usage.input_token_details", "usage.input_tokens_details"]);
        // Where only the sums are told, nothing of a kind came from the cache.
        let told = details == "usage.input_token_details";
        if !told {
            for (kind, joint) in
                [("input_audio_tokens", "cache_audio_read_tokens"), ("input_image_tokens", "cache_image_read_tokens")]
            {
                let moved = truth.leaves.insert(joint, 0).unwrap_or(0);
                *truth.leaves.entry(kind).or_default() += moved;
            }
        }
        let read = if told { read } else { truth.get("cache_read_tokens") };
        put(dice, &mut body, &format!("{details}.cached_tokens"), read);
        for (kind, joint, name) in [
            ("input_audio_tokens", "cache_audio_read_tokens", "audio_tokens"),
            ("input_image_tokens", "cache_image_read_tokens", "image_tokens"),
        ] {
            put(dice, &mut body, &format!("{details}.{name}"), truth.sum(&[kind, joint]));
            if told {
                always(&mut body, &format!("{details}.cached_tokens_details.{name}"), json!(truth.get(joint)));
            }
        }
        put(dice, &mut body, "usage.output_tokens_details.reasoning_tokens", truth.get("output_reasoning_tokens"));
        let items = |kind: &str, count: u64| (0..count).map(|_| json!({"type": kind})).collect::<Vec<_>>();
        let mut output = items("file_search_call", truth.get("storage_searches"));
        output.extend(items("web_search_call", truth.get("web_searches")));
        output.push(json!({"type": "web_search_call", "action": {"type": "open_page", "url": "x"}}));
        output.push(json!({"type": "message", "content": []}));
        body["output"] = output.into();
        let words = [("", None), ("default", None), ("flex", Some("flex")), ("priority", Some("priority"))];
        if let Some(tier) = tier(dice, &mut truth, &words) {
            body["service_tier"] = json!(tier);
        }
        body["id"] = json!("resp_1");
        let body = if dice.one_in(3) {
            let begun = json!({"type": "response.created", "response": {"id": "resp_1", "usage": null}});
            let delta = json!({"type": "response.output_text.delta", "delta": "x"});
            let done = json!({"type": "response.completed", "response": body});
            streamed(dice, vec![begun, delta, done])
        } else {
            body
        };
        (provider, "openai.responses", "m", body, truth)
    });
}
