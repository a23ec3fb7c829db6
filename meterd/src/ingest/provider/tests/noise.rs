//! No input may panic, and no event may come out that its own checks refuse.

use proptest::prelude::*;

use super::*;

/// Any JSON, with the words of the APIs among its keys.
fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (0u64..100).prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[a-z0-9.:\" \\n]{0,12}".prop_map(Value::from),
        Just(json!("data: {}\n\n")),
    ];
    leaf.prop_recursive(5, 64, 6, |inner| {
        let key = prop::sample::select(vec![
            "usage",
            "id",
            "model",
            "message",
            "response",
            "output",
            "type",
            "iterations",
            "input_tokens",
            "output_tokens",
            "prompt_tokens",
            "completion_tokens",
            "total_tokens",
            "prompt_tokens_details",
            "cached_tokens",
            "usageMetadata",
            "promptTokenCount",
            "promptTokensDetails",
            "modality",
            "tokenCount",
            "inputTokens",
            "outputTokens",
            "cacheDetails",
            "ttl",
            "billed_units",
            "data",
            "event",
            "custom_id",
            "result",
            "cache_creation",
            "ephemeral_5m_input_tokens",
            "cost",
            "created",
            "tool_usage",
            "image_gen",
        ]);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::hash_map(key, inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())),
        ]
    })
}

proptest! {
    #[test]
    fn any_body_is_read_or_refused(body in json(), api in prop::sample::select(Api::ALL.to_vec())) {
        for item in items(&envelope("anthropic", api.as_str(), body)) {
            if let Ok(event) = item.event {
                prop_assert!(event.validate().is_ok());
            }
        }
    }

    #[test]
    fn any_text_is_read_or_refused(text in "[\\[\\]{}\":,a-z0-9\\n]{0,64}") {
        for kind in [BodyKind::Json, BodyKind::Ndjson, BodyKind::Sniff] {
            let _ = decode(text.as_bytes(), kind, &Defaults::default());
        }
        let _ = decode_line(text.as_bytes(), &Defaults::default());
    }
}
