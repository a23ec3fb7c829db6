//! Raw response bodies of providers → usage events: what each API's numbers include, and what they leave out.
//!
//! An envelope says whose response it is, which API it came through and what run it belongs to; one object, an array or
//! one a line. Totals come out inclusive, with named subsets. Numbers of a stream are snapshots of one response: the
//! largest counts, none are added. Calls that a response makes within itself (a compaction, an adviser, an image tool)
//! are events of their own, because each is billed as a request of its own. Pure; no prompt or answer is ever kept.

mod anthropic;
mod bedrock;
mod chunks;
mod cohere;
mod envelope;
mod gemini;
mod object;
mod offline;
mod openai;
mod reading;
mod responses;

use pricing::Timestamp;
use serde_json::value::RawValue;

use super::json::{self, Batch, BodyKind, EVENTS_MAX};
use super::{BodyError, Item};
use crate::event::Rejection;
use object::Object;
use reading::{Caller, Reading};

/// The response tells of searches for which the seller of the model has no fee of his own.
pub const NOTE_UNPRICED_SEARCHES: &str = "unpriced_searches";

/// What stands in for fields that an envelope leaves out. The daemon has none of these: an event is booked only under
/// the id, time and run that somebody said.
#[derive(Clone, Copy, Debug, Default)]
pub struct Defaults<'a> {
    /// The id, where neither the envelope nor the response has one.
    pub id: Option<&'a str>,
    /// The execution, where the envelope has none and the response no id.
    pub execution: Option<&'a str>,
    /// The time, where neither the envelope nor the response has one.
    pub time: Option<Timestamp>,
}

/// The APIs whose responses are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Api {
    OpenAiChat,
    OpenAiResponses,
    OpenAiEmbeddings,
    AnthropicMessages,
    GoogleGenerateContent,
    BedrockConverse,
    CohereChat,
}

impl Api {
    const ALL: &'static [Self] = &[
        Self::OpenAiChat,
        Self::OpenAiResponses,
        Self::OpenAiEmbeddings,
        Self::AnthropicMessages,
        Self::GoogleGenerateContent,
        Self::BedrockConverse,
        Self::CohereChat,
    ];

    const fn as_str(self) -> &'static str {
        match self {
            Self::OpenAiChat => "openai.chat",
            Self::OpenAiResponses => "openai.responses",
            Self::OpenAiEmbeddings => "openai.embeddings",
            Self::AnthropicMessages => "anthropic.messages",
            Self::GoogleGenerateContent => "google.generate_content",
            Self::BedrockConverse => "bedrock.converse",
            Self::CohereChat => "cohere.chat",
        }
    }

    fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|api| api.as_str() == name)
    }

    fn read(self, chunks: &[Object<'_>], caller: Caller<'_>) -> Result<Reading, Rejection> {
        match self {
            Self::OpenAiChat => openai::chat(chunks, caller),
            Self::OpenAiResponses => responses::read(chunks, caller),
            Self::OpenAiEmbeddings => openai::embeddings(chunks, caller),
            Self::AnthropicMessages => anthropic::read(chunks, caller),
            Self::GoogleGenerateContent => gemini::read(chunks, caller),
            Self::BedrockConverse => bedrock::read(chunks, caller),
            Self::CohereChat => cohere::read(chunks, caller),
        }
    }
}

/// Reads envelopes: one object, an array of them, or one a line. An envelope may become several items; they stand
/// together, share its index, and the response itself comes first.
pub fn decode(body: &[u8], kind: BodyKind, defaults: &Defaults<'_>) -> Result<Batch, BodyError> {
    let text = std::str::from_utf8(body).map_err(|error| {
        let message = format!("the body is not UTF-8 text (first bad byte at offset {})", error.valid_up_to());
        BodyError::bad_request("invalid_utf8", message)
    })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text).trim_ascii();
    if text.is_empty() {
        let message = "the body is empty; send one envelope, an array of them, or one a line";
        return Err(BodyError::bad_request("empty_body", message));
    }
    if kind == BodyKind::Ndjson {
        return lines(text, defaults);
    }
    if text.starts_with('[') {
        let elements: Vec<&RawValue> = serde_json::from_str(text).map_err(|error| malformed(&error, 0))?;
        return all(elements.into_iter().map(|element| Ok(element.get())), defaults);
    }
    match Object::try_parse(text) {
        Ok(_) => all([Ok(text)].into_iter(), defaults),
        Err(error) if kind == BodyKind::Sniff && error.to_string().starts_with("trailing characters") => {
            lines(text, defaults)
        }
        Err(error) => Err(malformed(&error, 0)),
    }
}

/// Reads one line of a file of calls to price: an envelope, or a native event with `timestamp` for `time`, `context` for
/// `attrs`, and without what only the daemon needs.
pub fn decode_line(line: &[u8], defaults: &Defaults<'_>) -> Result<Batch, BodyError> {
    let text = std::str::from_utf8(line).map(str::trim_ascii).ok();
    if let Some(text) = text.filter(|text| is_envelope(text)) {
        return all([Ok(text)].into_iter(), defaults);
    }
    match text.and_then(|text| offline::complete(text, defaults)) {
        Some(event) => json::decode(event.as_bytes(), BodyKind::Json),
        None => json::decode(line, BodyKind::Json),
    }
}

/// Does this line hold an envelope rather than a native event?
fn is_envelope(line: &str) -> bool {
    // A native event that merely mentions a body somewhere is told by its fields.
    line.contains("\"body\"")
        && Object::parse(line).is_some_and(|object| object.get("body").is_some() || object.get("api").is_some())
}

fn lines(text: &str, defaults: &Defaults<'_>) -> Result<Batch, BodyError> {
    let lines = text.lines().enumerate().map(|(number, line)| (number, line.trim_ascii()));
    let lines = lines.filter(|(_, line)| !line.is_empty());
    let read = lines.map(|(number, line)| match serde_json::from_str::<&RawValue>(line) {
        Ok(element) => Ok(element.get()),
        Err(error) => Err(malformed(&error, number)),
    });
    all(read, defaults)
}

/// One bad line refuses itself alone, unless nothing else was sent.
fn all<'a>(
    elements: impl Iterator<Item = Result<&'a str, BodyError>>,
    defaults: &Defaults<'_>,
) -> Result<Batch, BodyError> {
    let mut items = Vec::new();
    let mut first_bad = None;
    let mut any_good = false;
    for (index, element) in elements.enumerate() {
        match element {
            Ok(raw) => {
                any_good = true;
                items.extend(envelope::items(index, raw, defaults));
            }
            Err(error) => {
                let event = Err(Rejection::new(error.code, "", error.message.clone()));
                items.push(Item { index, id: None, event, ignored_fields: Vec::new(), notes: Vec::new() });
                first_bad.get_or_insert(error);
            }
        }
        if items.len() > EVENTS_MAX {
            let message = format!("more than {EVENTS_MAX} events in one request; send smaller batches");
            return Err(BodyError::too_large("too_many_events", message));
        }
    }
    match first_bad {
        Some(error) if !any_good => Err(error),
        _ => Ok(Batch { items }),
    }
}

/// What is wrong and where, without repeating what somebody sent.
fn malformed(error: &serde_json::Error, lines_before: usize) -> BodyError {
    let what = error.to_string();
    let what = what.split(" at line ").next().unwrap_or("not valid JSON");
    let line = error.line().max(1).saturating_add(lines_before);
    let message = format!("malformed JSON at line {line}, column {}: {what}", error.column());
    BodyError::bad_request("malformed_json", message)
}

/// The response within a line of batch results, whose prices are those of a batch.
fn unbatched<'a>(chunk: &Object<'a>, path: &str, reading: &mut Reading) -> Option<Object<'a>> {
    chunk.get("custom_id")?;
    let inner = chunk.object(path)?;
    reading.attrs.set("processing", "batch");
    Some(inner)
}

#[cfg(test)]
mod tests;
