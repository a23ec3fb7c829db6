//! What the keys of an entry mean: which unit a price is for, and under which condition.

use crate::usage::UsageKey;

/// What a key of an entry says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// The price of one unit, for some requests.
    Price { unit: Unit, scope: Scope },
    /// The price of one unit at a resolution.
    AtResolution { unit: UsageKey, resolution: String },
    /// The price of a second of video in a request with more than so many of them.
    AboveSeconds { unit: UsageKey, seconds: u64 },
    /// Read elsewhere, as a whole.
    Special,
    /// Nothing about a price.
    Prose,
    /// A price that no table can hold, and why.
    LeftOut(&'static str),
    /// Not known here.
    Unknown,
}

/// A unit, or a price whose unit depends on what kind of model it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Unit {
    Of(UsageKey),
    Query,
    SecondIn,
    SecondOut,
    ImageIn,
    PixelIn,
    PixelOut,
    /// A cached token under the name that one provider gave it.
    CacheHit,
}

/// For which requests a price is: in the order in which the rules are written, the later one wins.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Scope {
    /// More input tokens than this, in the whole request.
    pub(super) above: Option<u64>,
    /// A service tier, or `batches`.
    pub(super) tier: Option<&'static str>,
}

pub(super) const BATCHES: &str = "batches";
const TIERS: [&str; 6] = ["balanced", BATCHES, "decisions", "flex", "priority", "ultrafast"];

const UNITS: &[(&str, Unit)] = &[
    ("annotation_cost_per_page", Unit::Of(UsageKey::InputAnnotatedDocumentPages)),
    ("cache_creation_input_audio_token_cost", Unit::Of(UsageKey::CacheAudioWriteTokens)),
    ("cache_creation_input_token_cost", Unit::Of(UsageKey::CacheWriteTokens)),
    ("cache_creation_input_token_cost_above_12hr", Unit::Of(UsageKey::CacheWrite12hTokens)),
    ("cache_creation_input_token_cost_above_1hr", Unit::Of(UsageKey::CacheWrite1hTokens)),
    ("cache_read_input_audio_token_cost", Unit::Of(UsageKey::CacheAudioReadTokens)),
    ("cache_read_input_image_token_cost", Unit::Of(UsageKey::CacheImageReadTokens)),
    ("cache_read_input_token_cost", Unit::Of(UsageKey::CacheReadTokens)),
    ("citation_cost_per_token", Unit::Of(UsageKey::OutputCitationTokens)),
    ("code_interpreter_cost_per_session", Unit::Of(UsageKey::CodeSessions)),
    ("cost_per_second", Unit::SecondIn),
    ("google_maps_grounding_cost_per_query", Unit::Of(UsageKey::MapsSearches)),
    ("input_cost_per_audio_per_second", Unit::Of(UsageKey::InputAudioSeconds)),
    ("input_cost_per_audio_token", Unit::Of(UsageKey::InputAudioTokens)),
    ("input_cost_per_character", Unit::Of(UsageKey::InputCharacters)),
    ("input_cost_per_image", Unit::ImageIn),
    ("input_cost_per_image_token", Unit::Of(UsageKey::InputImageTokens)),
    ("input_cost_per_pixel", Unit::PixelIn),
    ("input_cost_per_query", Unit::Query),
    ("input_cost_per_request", Unit::Of(UsageKey::Requests)),
    ("input_cost_per_second", Unit::SecondIn),
    ("input_cost_per_text_message", Unit::Of(UsageKey::InputTextMessages)),
    ("input_cost_per_token", Unit::Of(UsageKey::InputTokens)),
    ("input_cost_per_token_cache_hit", Unit::CacheHit),
    ("input_cost_per_video_per_second", Unit::Of(UsageKey::InputVideoSeconds)),
    ("input_cost_per_video_token", Unit::Of(UsageKey::InputVideoTokens)),
    ("ocr_cost_per_page", Unit::Of(UsageKey::InputDocumentPages)),
    ("output_cost_per_audio_token", Unit::Of(UsageKey::OutputAudioTokens)),
    ("output_cost_per_character", Unit::Of(UsageKey::OutputCharacters)),
    ("output_cost_per_image", Unit::Of(UsageKey::ImagesOut)),
    ("output_cost_per_image_token", Unit::Of(UsageKey::OutputImageTokens)),
    ("output_cost_per_pixel", Unit::PixelOut),
    ("output_cost_per_reasoning_token", Unit::Of(UsageKey::OutputReasoningTokens)),
    ("output_cost_per_second", Unit::SecondOut),
    ("output_cost_per_token", Unit::Of(UsageKey::OutputTokens)),
    ("output_cost_per_video_per_second", Unit::Of(UsageKey::OutputVideoSeconds)),
    ("output_cost_per_video_token", Unit::Of(UsageKey::OutputVideoTokens)),
];

const SPECIAL: &[&str] = &[
    "explicit_cache_read_input_token_cost",
    "guardrail_cost_per_unit",
    "litellm_provider",
    "mode",
    "off_peak_pricing",
    "provider_specific_entry",
    "regional_endpoint_uplift_multiplier",
    "regional_processing_uplift_multiplier_eu",
    "regional_processing_uplift_multiplier_us",
    "search_context_cost_per_query",
    "tiered_pricing",
    "web_search_billing_unit",
];

const LEFT_OUT: &[(&str, &str)] = &[
    ("input_dbu_cost_per_token", DBU),
    ("output_dbu_cost_per_token", DBU),
    ("ocr_cost_per_credit", "a credit is no unit of usage: how many a page takes is the provider's to say"),
    ("search_free_requests", "what is free up to a count over time is a credit in the ledger, not a rate"),
];
const DBU: &str = "in DBU, a unit of account whose price is in a contract; the same price in dollars stands beside it";

/// About the model, not about its price.
const PROSE: &[&str] = &[
    "audio_transcription_config",
    "bedrock_converse_supports_strict_tools",
    "bedrock_output_config_effort_ceiling",
    "comment",
    "default_reasoning_effort",
    "deprecation_date",
    "gemini_audio_only_live",
    "gemini_native_audio",
    "max_input_tokens",
    "max_output_tokens",
    "max_tokens",
    "metadata",
    "output_vector_size",
    "prompt_cache_min_tokens",
    "reasoning_contexts",
    "reasoning_effort_levels",
    "reasoning_modes",
    "rpm",
    "source",
    "supported_audio_formats",
    "supported_endpoints",
    "supported_modalities",
    "supported_output_modalities",
    "supported_regions",
    "thinking_always_on",
    "token_count_framing",
    "token_count_model",
    "token_count_tokenizer",
    "tpm",
    "use_openai_responses_path",
    "uses_embed_content",
    "vertex_ai_audio_api",
];

/// What a key says.
pub(super) fn meaning(key: &str) -> Meaning {
    if SPECIAL.contains(&key) {
        return Meaning::Special;
    }
    if PROSE.contains(&key) || key.starts_with("supports_") {
        return Meaning::Prose;
    }
    if let Some((_, why)) = LEFT_OUT.iter().find(|(known, _)| *known == key) {
        return Meaning::LeftOut(why);
    }
    price(key).unwrap_or(Meaning::Unknown)
}

/// `UNIT[_above_NNNk_tokens][_TIER]`, `UNIT_above_NNs_interval`, `UNIT_RESOLUTION`.
fn price(key: &str) -> Option<Meaning> {
    let split = TIERS.iter().find_map(|tier| Some((key.strip_suffix(tier)?.strip_suffix('_')?, *tier)));
    let (rest, tier) = split.map_or((key, None), |(rest, tier)| (rest, Some(tier)));
    let (stem, above) = match rest.strip_suffix("k_tokens").and_then(|rest| rest.rsplit_once("_above_")) {
        Some((stem, thousands)) => (stem, Some(thousands.parse::<u64>().ok()?.checked_mul(1_000)?)),
        None => (rest, None),
    };
    if let Some(unit) = unit(stem) {
        return Some(Meaning::Price { unit, scope: Scope { above, tier } });
    }
    if let Some((stem, seconds)) = key.strip_suffix("s_interval").and_then(|rest| rest.rsplit_once("_above_"))
        && let Unit::Of(unit) = unit(stem)?
    {
        return Some(Meaning::AboveSeconds { unit, seconds: seconds.parse().ok()? });
    }
    let resolved =
        [("output_cost_per_second_", UsageKey::OutputVideoSeconds), ("output_cost_per_image_", UsageKey::ImagesOut)];
    let (resolution, unit) = resolved.iter().find_map(|(stem, unit)| Some((key.strip_prefix(stem)?, *unit)))?;
    let is_resolution = resolution.starts_with(|first: char| first.is_ascii_digit());
    is_resolution.then(|| Meaning::AtResolution { unit, resolution: resolution.to_owned() })
}

pub(super) fn unit(key: &str) -> Option<Unit> {
    UNITS.iter().find(|(known, _)| *known == key).map(|(_, unit)| *unit)
}

#[cfg(test)]
mod tests;
