//! Keys and what they say.

use super::{Meaning, Scope, Unit, meaning};
use crate::usage::UsageKey;

fn check(key: &str, expected: &Meaning) {
    assert_eq!(meaning(key), *expected, "{key}");
}

#[test]
fn a_price_has_a_unit_a_threshold_and_a_tier() {
    let price = |unit, above, tier| Meaning::Price { unit: Unit::Of(unit), scope: Scope { above, tier } };
    check("input_cost_per_token", &price(UsageKey::InputTokens, None, None));
    check("input_cost_per_token_above_128k_tokens", &price(UsageKey::InputTokens, Some(128_000), None));
    check("output_cost_per_token_flex", &price(UsageKey::OutputTokens, None, Some("flex")));
    check(
        "cache_creation_input_token_cost_above_12hr_above_272k_tokens_ultrafast",
        &price(UsageKey::CacheWrite12hTokens, Some(272_000), Some("ultrafast")),
    );
    check("cache_creation_input_token_cost_above_1hr", &price(UsageKey::CacheWrite1hTokens, None, None));
    check("output_cost_per_image_token_batches", &price(UsageKey::OutputImageTokens, None, Some("batches")));
    check("ocr_cost_per_page_batches", &price(UsageKey::InputDocumentPages, None, Some("batches")));
}

#[test]
fn sizes_and_lengths_are_conditions() {
    let resolution = |unit, text: &str| Meaning::AtResolution { unit, resolution: text.to_owned() };
    check("output_cost_per_second_1080p", &resolution(UsageKey::OutputVideoSeconds, "1080p"));
    check("output_cost_per_image_0.5K", &resolution(UsageKey::ImagesOut, "0.5K"));
    check(
        "input_cost_per_video_per_second_above_15s_interval",
        &Meaning::AboveSeconds { unit: UsageKey::InputVideoSeconds, seconds: 15 },
    );
}

#[test]
fn what_is_not_known_is_not_guessed() {
    check("input_cost_per_token_lightning", &Meaning::Unknown);
    check("input_cost_per_token_above_manyk_tokens", &Meaning::Unknown);
    check("output_cost_per_second_hd", &Meaning::Unknown);
    check("supports_vision", &Meaning::Prose);
}
