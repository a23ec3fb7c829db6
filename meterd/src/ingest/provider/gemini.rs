//! `google.generate_content`: thoughts lie outside the candidates, tool-use prompts outside the prompt, and every chunk
//! repeats the numbers so far. Modalities come as lists; a document is images.

use std::collections::BTreeSet;

use pricing::{Usage, UsageKey};

use super::object::{Object, count};
use super::reading::{Caller, Counts, Reading, Totals, created, sum};
use crate::event::Rejection;
use crate::ingest::NOTE_INCONSISTENT_USAGE;

const PROMPT: &str = "promptTokenCount";
const CACHED: &str = "cachedContentTokenCount";
const TOOL_USE: &str = "toolUsePromptTokenCount";
const THOUGHTS: &str = "thoughtsTokenCount";
/// The Live API says `response` where the others say `candidates`.
const CANDIDATES: &[&str] = &["candidatesTokenCount", "responseTokenCount"];
const TOTAL: &str = "totalTokenCount";
const PATHS: &[&str] = &[PROMPT, CACHED, TOOL_USE, THOUGHTS, "candidatesTokenCount", "responseTokenCount", TOTAL];

/// A list of modalities and the keys of its audio, images and video.
struct Details {
    list: &'static str,
    audio: &'static str,
    image: &'static str,
    video: &'static str,
}

const DETAILS: &[Details] = &[
    Details { list: "promptTokensDetails", audio: "in/audio", image: "in/image", video: "in/video" },
    Details { list: "toolUsePromptTokensDetails", audio: "tool/audio", image: "tool/image", video: "tool/video" },
    Details { list: "cacheTokensDetails", audio: "read/audio", image: "read/image", video: "read/video" },
    Details { list: "candidatesTokensDetails", audio: "out/audio", image: "out/image", video: "out/video" },
    Details { list: "responseTokensDetails", audio: "out/audio", image: "out/image", video: "out/video" },
];

pub(super) fn read(chunks: &[Object<'_>], caller: Caller<'_>) -> Result<Reading, Rejection> {
    let mut reading = Reading::default();
    let mut counts = Counts::default();
    let mut queries = BTreeSet::new();
    for chunk in chunks {
        // Command-line clients hold the response one level down.
        let inner = chunk.object("response");
        let response = inner.as_ref().unwrap_or(chunk);
        let usage = response.object("usageMetadata");
        reading.identify(response.text("responseId").as_deref(), usage.is_some())?;
        if let Some(model) = response.text("modelVersion") {
            reading.model = Some(model.into_owned());
        }
        if let Some(begun) = response.get("createTime").and_then(created) {
            reading.created.get_or_insert(begun);
        }
        if response.object("error").is_some() {
            reading.outcome = Some("error");
        }
        searches(response, &mut queries);
        let Some(usage) = usage else { continue };
        counts.read(&usage, "/body/usageMetadata", PATHS)?;
        for details in DETAILS {
            modalities(&usage, details, &mut counts)?;
        }
        served(&usage, &mut reading);
    }
    reading.usage = self::usage(&counts, &mut reading)?;
    if let Some(usage) = &mut reading.usage
        && !queries.is_empty()
    {
        let model = reading.model.as_deref().or(caller.model).unwrap_or_default();
        let billed = if bills_prompts(model) { 1 } else { u64::try_from(queries.len()).unwrap_or(u64::MAX) };
        let mut totals = Totals::from(std::mem::take(usage));
        totals.set(UsageKey::WebSearches, billed)?;
        *usage = totals.done();
    }
    Ok(reading)
}

/// Sums the elements of each modality: images and documents are one.
fn modalities(usage: &Object<'_>, details: &Details, counts: &mut Counts) -> Result<(), Rejection> {
    let (mut audio, mut image, mut video) = (None, None, None);
    for (index, element) in usage.objects(details.list).iter().enumerate() {
        let Some(modality) = element.text("modality") else { continue };
        let slot = match modality.to_ascii_uppercase().as_str() {
            "AUDIO" => &mut audio,
            "IMAGE" | "DOCUMENT" => &mut image,
            "VIDEO" => &mut video,
            _ => continue,
        };
        let Some(raw) = element.get("tokenCount") else { continue };
        let counted = count(&format!("/body/usageMetadata/{}/{index}/tokenCount", details.list), raw)?;
        *slot = Some(sum(&[slot.unwrap_or(0), counted]));
    }
    for (key, counted) in [(details.audio, audio), (details.image, image), (details.video, video)] {
        if let Some(counted) = counted {
            counts.raise(key, counted);
        }
    }
    Ok(())
}

/// The tier, by its own name or by the kind of traffic.
fn served(usage: &Object<'_>, reading: &mut Reading) {
    let traffic = usage.text("trafficType").map(|traffic| traffic.to_ascii_lowercase());
    reading.attr("traffic_type", traffic.as_deref());
    let tier = usage.text("serviceTier").map(|tier| tier.to_ascii_lowercase());
    let by_traffic = match traffic.as_deref() {
        Some("on_demand_priority") => Some("priority"),
        Some("on_demand_flex") => Some("flex"),
        Some("provisioned_throughput") => Some("provisioned"),
        Some("on_demand") => Some("standard"),
        _ => None,
    };
    reading.attr("service_tier", tier.as_deref().or(by_traffic));
}

fn usage(counts: &Counts, reading: &mut Reading) -> Result<Option<Usage>, Rejection> {
    // A number that is zero is left out; without any there is no usage.
    if counts.is_empty() {
        return Ok(None);
    }
    let (prompt, tool_use) = (counts.get(PROMPT), counts.get(TOOL_USE));
    let (candidates, thoughts) = (counts.first(CANDIDATES).unwrap_or(0), counts.get(THOUGHTS));
    let folded = sum(&[prompt, tool_use, candidates]);
    let apart = sum(&[folded, thoughts]);
    // Some versions count the thoughts among the candidates; the total tells.
    let total = counts.given(TOTAL);
    let is_folded = thoughts > 0 && thoughts <= candidates && total == Some(folded);
    if total.is_some_and(|total| total != folded && total != apart) {
        reading.note(NOTE_INCONSISTENT_USAGE);
    }
    let both = |one: &str, other: &str| match (counts.given(one), counts.given(other)) {
        (None, None) => None,
        (one, other) => Some(sum(&[one.unwrap_or(0), other.unwrap_or(0)])),
    };
    let mut totals = Totals::default();
    totals.set(UsageKey::InputTokens, sum(&[prompt, tool_use]))?;
    totals.set_given(UsageKey::CacheReadTokens, counts.given(CACHED))?;
    totals.set_given(UsageKey::InputAudioTokens, both("in/audio", "tool/audio"))?;
    totals.set_given(UsageKey::InputImageTokens, both("in/image", "tool/image"))?;
    totals.set_given(UsageKey::InputVideoTokens, both("in/video", "tool/video"))?;
    totals.set_given(UsageKey::CacheAudioReadTokens, counts.given("read/audio"))?;
    totals.set_given(UsageKey::CacheImageReadTokens, counts.given("read/image"))?;
    totals.set_given(UsageKey::CacheVideoReadTokens, counts.given("read/video"))?;
    totals.set(UsageKey::OutputTokens, if is_folded { candidates } else { sum(&[candidates, thoughts]) })?;
    totals.set_given(UsageKey::OutputReasoningTokens, counts.given(THOUGHTS))?;
    totals.set_given(UsageKey::OutputAudioTokens, counts.given("out/audio"))?;
    totals.set_given(UsageKey::OutputImageTokens, counts.given("out/image"))?;
    totals.set_given(UsageKey::OutputVideoTokens, counts.given("out/video"))?;
    Ok(Some(totals.done()))
}

/// Searches that grounded the answer; chunks repeat them.
fn searches(response: &Object<'_>, queries: &mut BTreeSet<String>) {
    for candidate in response.objects("candidates") {
        let Some(grounding) = candidate.object("groundingMetadata") else { continue };
        queries.extend(grounding.elements("webSearchQueries").into_iter().map(str::to_owned));
    }
}

/// Up to version 2 a grounded prompt is billed once; from 3 on, each query.
fn bills_prompts(model: &str) -> bool {
    let name = model.rsplit('/').next().unwrap_or(model);
    ["gemini-1", "gemini-2", "gemini-live-2"].iter().any(|old| name.starts_with(old))
}
