//! `openai.chat` and `openai.embeddings`, as OpenAI and everybody who speaks its chat API sends them.
//!
//! Cached and written tokens lie within the prompt. Reasoning lies within the completion, but not with xAI (unless the
//! total says so) and Perplexity. Images and video of the prompt are not read: they cost what text costs, and the
//! numbers do not say how many of them came from the cache.

use pricing::{Money, Usage, UsageKey};

use super::object::Object;
use super::reading::{Caller, Counts, Reading, Totals, created, sum};
use super::{NOTE_UNPRICED_SEARCHES, unbatched};
use crate::event::Rejection;
use crate::ingest::{NOTE_INCONSISTENT_USAGE, amount};

const PROMPT: &str = "prompt_tokens";
const COMPLETION: &str = "completion_tokens";
const TOTAL: &str = "total_tokens";
const CACHED: &[&str] = &[
    "prompt_tokens_details.cached_tokens",
    "prompt_cache_hit_tokens",
    "cached_tokens",
    "cached_prompt_text_tokens",
    "cache_read_input_tokens",
];
/// Databricks and gateways before Claude name the cache as Anthropic does, and still count it within the prompt.
const WRITTEN: &[&str] = &["prompt_tokens_details.cache_write_tokens", "cache_creation_input_tokens"];
const AUDIO_IN: &str = "prompt_tokens_details.audio_tokens";
const AUDIO_OUT: &str = "completion_tokens_details.audio_tokens";
const IMAGE_OUT: &str = "completion_tokens_details.image_tokens";
const REASONING: &[&str] = &["completion_tokens_details.reasoning_tokens", "reasoning_tokens"];
const CITATIONS: &str = "citation_tokens";
const QUERIES: &str = "num_search_queries";
const PATHS: &[&str] = &[
    PROMPT,
    COMPLETION,
    TOTAL,
    "prompt_tokens_details.cached_tokens",
    "prompt_cache_hit_tokens",
    "cached_tokens",
    "cached_prompt_text_tokens",
    "cache_read_input_tokens",
    "prompt_tokens_details.cache_write_tokens",
    "cache_creation_input_tokens",
    AUDIO_IN,
    AUDIO_OUT,
    IMAGE_OUT,
    "completion_tokens_details.reasoning_tokens",
    "reasoning_tokens",
    CITATIONS,
    QUERIES,
];
/// Where the usage stands: last chunk, Groq's last chunk, Cloudflare's wrapper.
const USAGE: &[&str] = &["usage", "x_groq.usage", "result.usage"];

pub(super) fn chat(chunks: &[Object<'_>], caller: Caller<'_>) -> Result<Reading, Rejection> {
    let (mut reading, counts) = collect(chunks)?;
    reading.usage = chat_usage(&counts, caller, &mut reading)?;
    Ok(reading)
}

pub(super) fn embeddings(chunks: &[Object<'_>], _: Caller<'_>) -> Result<Reading, Rejection> {
    let (mut reading, counts) = collect(chunks)?;
    // Some providers of embeddings give the total only: there is nothing but a prompt.
    if let Some(input) = counts.first(&[PROMPT, TOTAL]) {
        let mut totals = Totals::default();
        totals.set(UsageKey::InputTokens, input)?;
        reading.usage = Some(totals.done());
    }
    Ok(reading)
}

fn collect(chunks: &[Object<'_>]) -> Result<(Reading, Counts), Rejection> {
    let mut reading = Reading::default();
    let mut counts = Counts::default();
    for chunk in chunks {
        let inner = unbatched(chunk, "response.body", &mut reading);
        let chunk = inner.as_ref().unwrap_or(chunk);
        let usage = USAGE.iter().find_map(|path| chunk.object(path));
        reading.identify(chunk.text("id").as_deref(), usage.is_some())?;
        if let Some(model) = chunk.text("model").or_else(|| chunk.text("result.model")) {
            reading.model = Some(model.into_owned());
        }
        reading.attr("service_tier", chunk.text("service_tier").as_deref());
        if let Some(begun) = chunk.get("created").and_then(created) {
            reading.created.get_or_insert(begun);
        }
        if chunk.object("error").is_some() {
            reading.outcome = Some("error");
        }
        let Some(usage) = usage else { continue };
        counts.read(&usage, "/body/usage", PATHS)?;
        reading.attr("search_context_size", usage.text("search_context_size").as_deref());
        reading.reported_cost = cost(&usage).or(reading.reported_cost);
    }
    Ok((reading, counts))
}

fn chat_usage(counts: &Counts, caller: Caller<'_>, reading: &mut Reading) -> Result<Option<Usage>, Rejection> {
    let Some(prompt) = counts.given(PROMPT) else { return Ok(None) };
    let total = counts.given(TOTAL);
    let completion = match counts.given(COMPLETION) {
        Some(completion) => completion,
        None if total == Some(prompt) => 0,
        None => return Ok(None),
    };
    let reasoning = counts.first(REASONING);
    let thought = reasoning.unwrap_or(0);
    let folded = sum(&[prompt, completion]);
    let is_outside = match caller.provider {
        "perplexity" => true,
        "x-ai" | "xai" | "x_ai" => total != Some(folded),
        // The total is the judge: who counts reasoning apart says so in it.
        _ => thought > 0 && total == Some(sum(&[folded, thought])),
    };
    let citations = (caller.provider == "perplexity").then(|| counts.given(CITATIONS)).flatten();
    let outside = if is_outside { thought } else { 0 };
    let output = sum(&[completion, outside, citations.unwrap_or(0)]);
    if total.is_some_and(|total| total != folded && total != sum(&[prompt, output])) {
        reading.note(NOTE_INCONSISTENT_USAGE);
    }
    let mut totals = Totals::default();
    totals.set(UsageKey::InputTokens, prompt)?;
    totals.set_given(UsageKey::CacheReadTokens, counts.first(CACHED))?;
    totals.set_given(UsageKey::CacheWriteTokens, counts.first(WRITTEN))?;
    totals.set_given(UsageKey::InputAudioTokens, counts.given(AUDIO_IN))?;
    totals.set(UsageKey::OutputTokens, output)?;
    totals.set_given(UsageKey::OutputAudioTokens, counts.given(AUDIO_OUT))?;
    totals.set_given(UsageKey::OutputImageTokens, counts.given(IMAGE_OUT))?;
    totals.set_given(UsageKey::OutputReasoningTokens, reasoning)?;
    totals.set_given(UsageKey::OutputCitationTokens, citations)?;
    match counts.given(QUERIES) {
        // Each query is billed by the deep research alone; elsewhere the fee of the request covers them.
        Some(queries) if has_flat_searches(caller, reading) => {
            if queries > 0 {
                reading.note(NOTE_UNPRICED_SEARCHES);
            }
        }
        queries => totals.set_given(UsageKey::WebSearches, queries)?,
    }
    Ok(Some(totals.done()))
}

/// Perplexity's search models but for the deep research.
fn has_flat_searches(caller: Caller<'_>, reading: &Reading) -> bool {
    let model = reading.model.as_deref().or(caller.model).unwrap_or_default();
    caller.provider == "perplexity" && model.contains("sonar") && !model.contains("deep-research")
}

/// What the provider says it cost: OpenRouter's `cost`, Perplexity's `cost.total_cost`, xAI's ticks of 10⁻¹⁰ USD.
pub(super) fn cost(usage: &Object<'_>) -> Option<Money> {
    let stated = usage.at("cost.total_cost").or_else(|| usage.get("cost"));
    if let Some(raw) = stated.filter(|raw| !raw.starts_with('{')) {
        let quoted = super::object::text(raw);
        return amount::from_text(quoted.as_deref().unwrap_or(raw)).filter(|cost| !cost.is_negative());
    }
    let ticks = super::object::count("", usage.get("cost_in_usd_ticks")?).ok()?;
    amount::from_text(&format!("{ticks}e-10"))
}
