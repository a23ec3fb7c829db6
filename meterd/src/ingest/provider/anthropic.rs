//! `anthropic.messages`: prompt numbers leave the cache out, streams are cumulative, and calls within a call are apart.

use pricing::{Usage, UsageKey};

use super::object::Object;
use super::reading::{Caller, Counts, Part, Reading, Totals, sum};
use super::{NOTE_UNPRICED_SEARCHES, unbatched};
use crate::event::Rejection;

const INPUT: &str = "input_tokens";
const OUTPUT: &str = "output_tokens";
const WRITTEN: &str = "cache_creation_input_tokens";
const READ: &str = "cache_read_input_tokens";
const WRITTEN_5M: &str = "cache_creation.ephemeral_5m_input_tokens";
const WRITTEN_1H: &str = "cache_creation.ephemeral_1h_input_tokens";
const THINKING: &str = "output_tokens_details.thinking_tokens";
const SEARCHES: &str = "server_tool_use.web_search_requests";
const PATHS: &[&str] = &[INPUT, OUTPUT, WRITTEN, READ, WRITTEN_5M, WRITTEN_1H, THINKING, SEARCHES];
/// An iteration that the top-level numbers contain.
const WITHIN: &str = "message";

pub(super) fn read(chunks: &[Object<'_>], caller: Caller<'_>) -> Result<Reading, Rejection> {
    let mut reading = Reading::default();
    let mut counts = Counts::default();
    let mut iterations = Vec::new();
    for chunk in chunks {
        // The first event of a stream, and a line of batch results, hold the message one level down.
        let inner = unbatched(chunk, "result.message", &mut reading).or_else(|| chunk.object("message"));
        let message = inner.as_ref().unwrap_or(chunk);
        let usage = message.object("usage");
        reading.identify(message.text("id").as_deref(), usage.is_some())?;
        if let Some(model) = message.text("model") {
            reading.model = Some(model.into_owned());
        }
        if chunk.text("type").as_deref() == Some("error") {
            reading.outcome = Some("error");
        }
        let Some(usage) = usage else { continue };
        counts.read(&usage, "/body/usage", PATHS)?;
        served(&usage, &mut reading);
        let snapshot = usage.objects("iterations");
        if !snapshot.is_empty() {
            iterations = snapshot;
        }
    }
    reading.usage = usage(&counts, caller, &mut reading)?;
    parts(&iterations, &counts, &mut reading)?;
    Ok(reading)
}

fn served(usage: &Object<'_>, reading: &mut Reading) {
    let tier = usage.text("service_tier");
    reading.attr("service_tier", tier.as_deref());
    if tier.as_deref() == Some("batch") {
        reading.attrs.set("processing", "batch");
    }
    reading.attr("speed", usage.text("speed").as_deref());
    let geo = usage.text("inference_geo").filter(|geo| geo != "not_available");
    reading.attr("inference_geo", geo.as_deref());
}

fn usage(counts: &Counts, caller: Caller<'_>, reading: &mut Reading) -> Result<Option<Usage>, Rejection> {
    let Some(mut totals) = totals(counts)? else { return Ok(None) };
    match counts.given(SEARCHES) {
        // Elsewhere than with Anthropic itself the number is relayed and the cloud's own bill decides: noted, not priced.
        Some(searches) if caller.provider != "anthropic" => {
            if searches > 0 {
                reading.note(NOTE_UNPRICED_SEARCHES);
            }
        }
        searches => totals.set_given(UsageKey::WebSearches, searches)?,
    }
    Ok(Some(totals.done()))
}

/// The tokens, as inclusive totals; `None` where a direction is not stated at all.
fn totals(counts: &Counts) -> Result<Option<Totals>, Rejection> {
    let (Some(input), Some(output)) = (counts.given(INPUT), counts.given(OUTPUT)) else { return Ok(None) };
    let by_lifetime = [WRITTEN_5M, WRITTEN_1H].map(|path| counts.given(path));
    let written = match (counts.given(WRITTEN), by_lifetime) {
        (None, [None, None]) => None,
        (given, parts) => Some(given.unwrap_or_else(|| sum(&parts.map(Option::unwrap_or_default)))),
    };
    let mut totals = Totals::default();
    totals.set(UsageKey::InputTokens, sum(&[input, counts.get(READ), written.unwrap_or(0)]))?;
    totals.set_given(UsageKey::CacheReadTokens, counts.given(READ))?;
    totals.set_given(UsageKey::CacheWriteTokens, written)?;
    totals.set_given(UsageKey::CacheWrite5mTokens, counts.given(WRITTEN_5M))?;
    totals.set_given(UsageKey::CacheWrite1hTokens, counts.given(WRITTEN_1H))?;
    totals.set(UsageKey::OutputTokens, output)?;
    totals.set_given(UsageKey::OutputReasoningTokens, counts.given(THINKING))?;
    Ok(Some(totals))
}

/// Compactions and advisors: billed, each as a request of its own, and not in the top-level numbers.
fn parts(iterations: &[Object<'_>], whole: &Counts, reading: &mut Reading) -> Result<(), Rejection> {
    let mut read = Vec::new();
    for (index, iteration) in iterations.iter().enumerate() {
        let mut counts = Counts::default();
        counts.read(iteration, &format!("/body/usage/iterations/{index}"), PATHS)?;
        read.push((iteration, counts));
    }
    // Where the numbers of all iterations add up to the top-level ones, nothing was left out.
    let all = |path: &str| read.iter().fold(0, |sum: u64, (_, counts)| sum.saturating_add(counts.get(path)));
    if [INPUT, OUTPUT, READ, WRITTEN].iter().all(|path| all(path) == whole.get(path)) {
        return Ok(());
    }
    for (index, (iteration, counts)) in read.iter().enumerate() {
        let kind = iteration.text("type").unwrap_or(std::borrow::Cow::Borrowed(WITHIN));
        if kind == WITHIN {
            continue;
        }
        let usage = totals(counts)?.map(Totals::done);
        let model = iteration.text("model").map(std::borrow::Cow::into_owned);
        reading.parts.push(Part { name: format!("{kind}/{index}"), model, usage });
    }
    Ok(())
}
