//! `openai.responses`: tokens in `usage`, and searches, code sessions and images as items or `tool_usage`.

use std::collections::BTreeSet;

use pricing::{Usage, UsageKey};

use super::object::Object;
use super::reading::{Caller, Counts, Part, Reading, Totals, created, sum};
use super::{openai, unbatched};
use crate::event::Rejection;
use crate::ingest::NOTE_INCONSISTENT_USAGE;

const INPUT: &str = "input_tokens";
const OUTPUT: &str = "output_tokens";
const TOTAL: &str = "total_tokens";
const CACHED: &[&str] = &[
    "input_tokens_details.cached_tokens",
    "input_token_details.cached_tokens",
    "input_tokens_details.cache_read_input_tokens",
];
const WRITTEN: &str = "input_tokens_details.cache_write_tokens";
const AUDIO_IN: &[&str] = &["input_tokens_details.audio_tokens", "input_token_details.audio_tokens"];
const IMAGE_IN: &[&str] = &["input_tokens_details.image_tokens", "input_token_details.image_tokens"];
const AUDIO_CACHED: &str = "input_token_details.cached_tokens_details.audio_tokens";
const IMAGE_CACHED: &str = "input_token_details.cached_tokens_details.image_tokens";
const AUDIO_OUT: &[&str] = &["output_tokens_details.audio_tokens", "output_token_details.audio_tokens"];
const IMAGE_OUT: &str = "output_tokens_details.image_tokens";
const REASONING: &str = "output_tokens_details.reasoning_tokens";
const SEARCHES: &str = "tool_calls_details.search_web.invocation";
const PATHS: &[&str] = &[
    INPUT,
    OUTPUT,
    TOTAL,
    "input_tokens_details.cached_tokens",
    "input_token_details.cached_tokens",
    "input_tokens_details.cache_read_input_tokens",
    WRITTEN,
    "input_tokens_details.audio_tokens",
    "input_token_details.audio_tokens",
    "input_tokens_details.image_tokens",
    "input_token_details.image_tokens",
    AUDIO_CACHED,
    IMAGE_CACHED,
    "output_tokens_details.audio_tokens",
    "output_token_details.audio_tokens",
    IMAGE_OUT,
    REASONING,
    SEARCHES,
];
const IMAGE_PATHS: &[&str] =
    &[INPUT, OUTPUT, "input_tokens_details.image_tokens", "output_tokens_details.image_tokens"];

/// What was used beside tokens, by the items of the answer.
#[derive(Debug, Default)]
struct Tools {
    web_searches: Option<u64>,
    storage_searches: Option<u64>,
    containers: BTreeSet<String>,
    image: Option<Part>,
}

pub(super) fn read(chunks: &[Object<'_>], _: Caller<'_>) -> Result<Reading, Rejection> {
    let mut reading = Reading::default();
    let mut counts = Counts::default();
    let mut tools = Tools::default();
    for chunk in chunks {
        // Events of a stream and lines of batch results hold the response one level down.
        let inner = unbatched(chunk, "response.body", &mut reading).or_else(|| chunk.object("response"));
        let response = inner.as_ref().unwrap_or(chunk);
        let usage = response.object("usage");
        let is_event = inner.is_none() && chunk.text("type").is_some_and(|kind| kind.starts_with("response."));
        if !is_event {
            reading.identify(response.text("id").as_deref(), usage.is_some())?;
        }
        if let Some(model) = response.text("model") {
            reading.model = Some(model.into_owned());
        }
        reading.attr("service_tier", response.text("service_tier").as_deref());
        if let Some(begun) = response.get("created_at").and_then(created) {
            reading.created.get_or_insert(begun);
        }
        match response.text("status").as_deref() {
            Some("failed") => reading.outcome = Some("error"),
            Some("cancelled") => reading.outcome = Some("aborted"),
            _ if response.object("error").is_some() => reading.outcome = Some("error"),
            _ => {}
        }
        if let Some(usage) = &usage {
            counts.read(usage, "/body/usage", PATHS)?;
            reading.reported_cost = openai::cost(usage).or(reading.reported_cost);
        }
        tools.read(response, &mut reading)?;
    }
    reading.usage = usage(&counts, &tools, &mut reading)?;
    reading.parts.extend(tools.image);
    Ok(reading)
}

impl Tools {
    /// Each snapshot holds every item so far: the last one counts.
    fn read(&mut self, response: &Object<'_>, reading: &mut Reading) -> Result<(), Rejection> {
        let (mut web, mut storage) = (0u64, 0u64);
        for item in response.objects("output") {
            match item.text("type").as_deref() {
                // Opening a page and finding text in it are not searches.
                Some("web_search_call") if item.text("action.type").is_none_or(|action| action == "search") => {
                    web = web.saturating_add(1);
                }
                Some("file_search_call") => storage = storage.saturating_add(1),
                Some("code_interpreter_call") => {
                    let session = item.text("container_id").or_else(|| item.text("id"));
                    self.containers.insert(session.unwrap_or_default().into_owned());
                }
                _ => {}
            }
        }
        if web > 0 {
            self.web_searches = Some(web);
        }
        if storage > 0 {
            self.storage_searches = Some(storage);
        }
        for tool in response.objects("tools") {
            if tool.text("type").is_some_and(|kind| kind.starts_with("web_search")) {
                reading.attr("search_context_size", tool.text("search_context_size").as_deref());
            }
        }
        self.stated(response)
    }

    /// `tool_usage` is the provider's own count.
    fn stated(&mut self, response: &Object<'_>) -> Result<(), Rejection> {
        if let Some(raw) = response.at("tool_usage.web_search.num_requests") {
            let searches = super::object::count("/body/tool_usage/web_search/num_requests", raw)?;
            self.web_searches = Some(searches).filter(|searches| *searches > 0);
        }
        let Some(image) = response.object("tool_usage.image_gen") else { return Ok(()) };
        let mut counts = Counts::default();
        counts.read(&image, "/body/tool_usage/image_gen", IMAGE_PATHS)?;
        if sum(&[counts.get(INPUT), counts.get(OUTPUT)]) == 0 {
            return Ok(());
        }
        let mut totals = Totals::default();
        totals.set(UsageKey::InputTokens, counts.get(INPUT))?;
        totals.set_given(UsageKey::InputImageTokens, counts.first(IMAGE_IN))?;
        totals.set(UsageKey::OutputTokens, counts.get(OUTPUT))?;
        totals.set_given(UsageKey::OutputImageTokens, counts.given(IMAGE_OUT))?;
        // The tool's model has prices of its own; where the response does not name it, there is none.
        let tools = response.objects("tools");
        let tool = tools.iter().find(|tool| tool.text("type").as_deref() == Some("image_generation"));
        let model = tool.and_then(|tool| tool.text("model"));
        let model = model.map_or_else(|| "image_generation".to_owned(), std::borrow::Cow::into_owned);
        self.image = Some(Part { name: "image_gen".to_owned(), model: Some(model), usage: Some(totals.done()) });
        Ok(())
    }
}

fn usage(counts: &Counts, tools: &Tools, reading: &mut Reading) -> Result<Option<Usage>, Rejection> {
    let (Some(input), Some(output)) = (counts.given(INPUT), counts.given(OUTPUT)) else { return Ok(None) };
    if counts.given(TOTAL).is_some_and(|total| total != sum(&[input, output])) {
        reading.note(NOTE_INCONSISTENT_USAGE);
    }
    let mut totals = Totals::default();
    totals.set(UsageKey::InputTokens, input)?;
    totals.set_given(UsageKey::CacheReadTokens, counts.first(CACHED))?;
    totals.set_given(UsageKey::CacheWriteTokens, counts.given(WRITTEN))?;
    totals.set_given(UsageKey::InputAudioTokens, counts.first(AUDIO_IN))?;
    totals.set_given(UsageKey::InputImageTokens, counts.first(IMAGE_IN))?;
    totals.set_given(UsageKey::CacheAudioReadTokens, counts.given(AUDIO_CACHED))?;
    totals.set_given(UsageKey::CacheImageReadTokens, counts.given(IMAGE_CACHED))?;
    totals.set(UsageKey::OutputTokens, output)?;
    totals.set_given(UsageKey::OutputAudioTokens, counts.first(AUDIO_OUT))?;
    totals.set_given(UsageKey::OutputImageTokens, counts.given(IMAGE_OUT))?;
    totals.set_given(UsageKey::OutputReasoningTokens, counts.given(REASONING))?;
    totals.set_given(UsageKey::WebSearches, tools.web_searches.or(counts.given(SEARCHES)))?;
    totals.set_given(UsageKey::StorageSearches, tools.storage_searches)?;
    let sessions = u64::try_from(tools.containers.len()).unwrap_or(u64::MAX);
    totals.set_given(UsageKey::CodeSessions, Some(sessions).filter(|sessions| *sessions > 0))?;
    Ok(Some(totals.done()))
}
