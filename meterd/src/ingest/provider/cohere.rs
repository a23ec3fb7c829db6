//! `cohere.chat`: what is billed is `billed_units`, never `tokens`. Embeddings and reranking say it in `meta`.

use pricing::{Usage, UsageKey};

use super::object::Object;
use super::reading::{Caller, Counts, Reading, Totals};
use crate::event::Rejection;

const INPUT: &str = "input_tokens";
const OUTPUT: &str = "output_tokens";
const SEARCHES: &str = "search_units";
const IMAGES: &str = "images";
const PATHS: &[&str] = &[INPUT, OUTPUT, SEARCHES, IMAGES];
/// Version 2, the end of its stream, version 1 and the end of its stream.
const BILLED: &[&str] =
    &["usage.billed_units", "delta.usage.billed_units", "meta.billed_units", "response.meta.billed_units"];
const IDS: &[&str] = &["id", "generation_id", "response_id", "response.generation_id"];

pub(super) fn read(chunks: &[Object<'_>], _: Caller<'_>) -> Result<Reading, Rejection> {
    let mut reading = Reading::default();
    let mut counts = Counts::default();
    for chunk in chunks {
        let billed = BILLED.iter().find_map(|path| chunk.object(path));
        let id = IDS.iter().find_map(|path| chunk.text(path));
        reading.identify(id.as_deref(), billed.is_some())?;
        if let Some(model) = chunk.text("model") {
            reading.model = Some(model.into_owned());
        }
        let reason = chunk.text("finish_reason").or_else(|| chunk.text("delta.finish_reason"));
        if reason.is_some_and(|reason| reason.starts_with("ERROR")) {
            reading.outcome = Some("error");
        }
        if let Some(billed) = billed {
            counts.read(&billed, "/body/usage/billed_units", PATHS)?;
        }
    }
    reading.usage = usage(&counts)?;
    Ok(reading)
}

fn usage(counts: &Counts) -> Result<Option<Usage>, Rejection> {
    if counts.is_empty() {
        return Ok(None);
    }
    let mut totals = Totals::default();
    totals.set_given(UsageKey::InputTokens, counts.given(INPUT))?;
    totals.set_given(UsageKey::OutputTokens, counts.given(OUTPUT))?;
    totals.set_given(UsageKey::RerankSearches, counts.given(SEARCHES))?;
    totals.set_given(UsageKey::InputImages, counts.given(IMAGES))?;
    Ok(Some(totals.done()))
}
