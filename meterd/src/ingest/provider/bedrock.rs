//! `bedrock.converse`: prompt numbers leave the cache out; streams say them once, in their metadata.

use pricing::{Usage, UsageKey};

use super::object::{Object, count};
use super::reading::{Caller, Counts, Reading, Totals, sum};
use crate::event::Rejection;
use crate::ingest::NOTE_INCONSISTENT_USAGE;

const INPUT: &str = "inputTokens";
const OUTPUT: &str = "outputTokens";
const TOTAL: &str = "totalTokens";
const READ: &[&str] = &["cacheReadInputTokens", "cacheReadInputTokenCount"];
const WRITTEN: &[&str] = &["cacheWriteInputTokens", "cacheWriteInputTokenCount"];
const PATHS: &[&str] = &[
    INPUT,
    OUTPUT,
    TOTAL,
    "cacheReadInputTokens",
    "cacheReadInputTokenCount",
    "cacheWriteInputTokens",
    "cacheWriteInputTokenCount",
];
const WRITTEN_5M: &str = "write/5m";
const WRITTEN_1H: &str = "write/1h";

pub(super) fn read(chunks: &[Object<'_>], caller: Caller<'_>) -> Result<Reading, Rejection> {
    let mut reading = Reading::default();
    let mut counts = Counts::default();
    for chunk in chunks {
        let inner = chunk.object("metadata").filter(|metadata| metadata.get("usage").is_some());
        let response = inner.as_ref().unwrap_or(chunk);
        let usage = response.object("usage");
        // The body itself bears no id; SDKs keep the one of its headers.
        let id = chunk.text("ResponseMetadata.RequestId").or_else(|| chunk.text("$metadata.requestId"));
        reading.identify(id.as_deref(), usage.is_some())?;
        if let Some(model) = response.text("trace.promptRouter.invokedModelId") {
            reading.model = Some(bare(&model).to_owned());
        }
        reading.attr("service_tier", response.text("serviceTier.type").as_deref());
        reading.attr("latency", response.text("performanceConfig.latency").as_deref());
        let Some(usage) = usage else { continue };
        counts.read(&usage, "/body/usage", PATHS)?;
        lifetimes(&usage, &mut counts)?;
    }
    let model = reading.model.clone();
    reading.usage = self::usage(&counts, model.as_deref().or(caller.model).unwrap_or_default(), &mut reading)?;
    Ok(reading)
}

fn lifetimes(usage: &Object<'_>, counts: &mut Counts) -> Result<(), Rejection> {
    let (mut short, mut long) = (None, None);
    for (index, element) in usage.objects("cacheDetails").iter().enumerate() {
        let slot = match element.text("ttl").as_deref() {
            Some("5m") => &mut short,
            Some("1h") => &mut long,
            _ => continue,
        };
        let Some(raw) = element.get("inputTokens") else { continue };
        let counted = count(&format!("/body/usage/cacheDetails/{index}/inputTokens"), raw)?;
        *slot = Some(sum(&[slot.unwrap_or(0), counted]));
    }
    for (key, counted) in [(WRITTEN_5M, short), (WRITTEN_1H, long)] {
        if let Some(counted) = counted {
            counts.raise(key, counted);
        }
    }
    Ok(())
}

fn usage(counts: &Counts, model: &str, reading: &mut Reading) -> Result<Option<Usage>, Rejection> {
    let (Some(input), Some(output)) = (counts.given(INPUT), counts.given(OUTPUT)) else { return Ok(None) };
    let by_lifetime = [WRITTEN_5M, WRITTEN_1H].map(|key| counts.given(key));
    let written = match (counts.first(WRITTEN), by_lifetime) {
        (None, [None, None]) => None,
        (given, parts) => Some(given.unwrap_or_else(|| sum(&parts.map(Option::unwrap_or_default)))),
    };
    let cache = sum(&[counts.first(READ).unwrap_or(0), written.unwrap_or(0)]);
    let total = counts.given(TOTAL);
    let (inclusive, exclusive) = (sum(&[input, output]), sum(&[input, cache, output]));
    // OpenAI's models may count the cache within the prompt, as they do at home; the total tells.
    let is_within = cache > 0 && cache <= input && total == Some(inclusive) && model.contains("openai.");
    if total.is_some_and(|total| total != inclusive && total != exclusive) {
        reading.note(NOTE_INCONSISTENT_USAGE);
    }
    let mut totals = Totals::default();
    totals.set(UsageKey::InputTokens, if is_within { input } else { sum(&[input, cache]) })?;
    totals.set_given(UsageKey::CacheReadTokens, counts.first(READ))?;
    totals.set_given(UsageKey::CacheWriteTokens, written)?;
    totals.set_given(UsageKey::CacheWrite5mTokens, counts.given(WRITTEN_5M))?;
    totals.set_given(UsageKey::CacheWrite1hTokens, counts.given(WRITTEN_1H))?;
    totals.set(UsageKey::OutputTokens, output)?;
    Ok(Some(totals.done()))
}

/// The id at the end of an ARN: `arn:aws:bedrock:…:inference-profile/us.amazon.nova-pro-v1:0`.
pub(super) fn bare(model: &str) -> &str {
    if model.starts_with("arn:") { model.rsplit('/').next().unwrap_or(model) } else { model }
}
