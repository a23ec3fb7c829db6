//! The token counts of one model call: read from attributes, made inclusive, turned into declared usage.
//!
//! Totals contain their parts here (`input` holds cache reads and writes, `output` holds reasoning). A source whose parts
//! exceed their total does not count that way; then its numbers are disjoint, and the total is their sum. Nothing else is
//! guessed.

use pricing::{Quantity, Usage, UsageKey};

use super::attributes::{Field, Value};
use super::langfuse;
use super::span::Span;
use crate::event::Rejection;

/// Token counts as far as they are known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tokens {
    /// All prompt tokens.
    pub(super) input: Option<u64>,
    /// Read from a cache.
    pub(super) cache_read: Option<u64>,
    /// Written to a cache.
    pub(super) cache_write: Option<u64>,
    /// Written for five minutes.
    pub(super) cache_write_5m: Option<u64>,
    /// Written for an hour.
    pub(super) cache_write_1h: Option<u64>,
    /// Prompt tokens of audio.
    pub(super) input_audio: Option<u64>,
    /// All completion tokens.
    pub(super) output: Option<u64>,
    /// Completion tokens of audio.
    pub(super) output_audio: Option<u64>,
    /// Spent on reasoning.
    pub(super) reasoning: Option<u64>,
}

impl Tokens {
    /// Reads a span's counts. `embedding`: an overall total is the input.
    pub(super) fn read(span: &Span, embedding: bool) -> Result<Self, Rejection> {
        let count = |field| count(span, field);
        let mut tokens = Self {
            input: count(Field::InputTokens)?,
            cache_read: count(Field::CacheRead)?,
            cache_write: count(Field::CacheWrite)?,
            cache_write_5m: count(Field::CacheWrite5m)?,
            cache_write_1h: count(Field::CacheWrite1h)?,
            input_audio: count(Field::InputAudio)?,
            output: count(Field::OutputTokens)?,
            output_audio: count(Field::OutputAudio)?,
            reasoning: count(Field::Reasoning)?,
        };
        if embedding && tokens.input.is_none() {
            tokens.input = count(Field::TotalTokens)?;
        }
        // What a compaction used is billed, but stands beside the call's own totals.
        tokens.input = sum(tokens.input, count(Field::CompactionInput)?);
        tokens.output = sum(tokens.output, count(Field::CompactionOutput)?);
        if tokens.is_empty()
            && let Some(details) = span.attributes.text(Field::UsageDetails)
        {
            tokens = langfuse::tokens(details, || span.place.pointer("langfuse.observation.usage_details"))?;
        }
        Ok(tokens)
    }

    /// Is nothing known?
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// How many counts are known: the measure of which of two reports of one call says more.
    pub(super) fn detail(&self) -> usize {
        self.all().iter().filter(|count| count.is_some()).count()
    }

    fn all(&self) -> [Option<u64>; 9] {
        let Self { input, cache_read, cache_write, cache_write_5m, cache_write_1h, .. } = *self;
        let Self { input_audio, output, output_audio, reasoning, .. } = *self;
        [input, cache_read, cache_write, cache_write_5m, cache_write_1h, input_audio, output, output_audio, reasoning]
    }

    /// Could both be reports of the same call? What both know is equal.
    pub(super) fn agrees_with(&self, other: &Self) -> bool {
        self.all().iter().zip(other.all()).all(|(mine, theirs)| match (mine, theirs) {
            (Some(mine), Some(theirs)) => *mine == theirs,
            _ => true,
        })
    }

    /// Takes over what only the other report of the same call knows.
    pub(super) fn fill_from(&mut self, other: &Self) {
        self.input = self.input.or(other.input);
        self.cache_read = self.cache_read.or(other.cache_read);
        self.cache_write = self.cache_write.or(other.cache_write);
        self.cache_write_5m = self.cache_write_5m.or(other.cache_write_5m);
        self.cache_write_1h = self.cache_write_1h.or(other.cache_write_1h);
        self.input_audio = self.input_audio.or(other.input_audio);
        self.output = self.output.or(other.output);
        self.output_audio = self.output_audio.or(other.output_audio);
        self.reasoning = self.reasoning.or(other.reasoning);
    }

    /// Makes the totals contain their parts; true if the source's numbers contradicted that and were taken as disjoint.
    pub(super) fn make_inclusive(&mut self) -> bool {
        let by_lifetime = sum(self.cache_write_5m, self.cache_write_1h);
        let mut disjoint = false;
        if let Some(by_lifetime) = by_lifetime {
            disjoint |= self.cache_write.is_some_and(|write| write < by_lifetime);
            self.cache_write = Some(self.cache_write.unwrap_or(0).max(by_lifetime));
        }
        let cached = sum(self.cache_read, self.cache_write);
        if self.input.unwrap_or(0) < cached.unwrap_or(0) {
            self.input = sum(self.input, cached);
            disjoint = true;
        }
        if self.output.unwrap_or(0) < self.reasoning.unwrap_or(0) {
            self.output = sum(self.output, self.reasoning);
            disjoint = true;
        }
        disjoint
    }

    /// The declared usage; `None` when nothing is known.
    pub(super) fn usage(&self, pointer: impl Fn() -> String) -> Result<Option<Usage>, Rejection> {
        const KEYS: [UsageKey; 9] = [
            UsageKey::InputTokens,
            UsageKey::CacheReadTokens,
            UsageKey::CacheWriteTokens,
            UsageKey::CacheWrite5mTokens,
            UsageKey::CacheWrite1hTokens,
            UsageKey::InputAudioTokens,
            UsageKey::OutputTokens,
            UsageKey::OutputAudioTokens,
            UsageKey::OutputReasoningTokens,
        ];
        let mut usage = Usage::new();
        for (key, count) in KEYS.into_iter().zip(self.all()) {
            let Some(count) = count else { continue };
            let refuse = |message: String| Rejection::new("invalid_quantity", pointer(), message);
            let quantity =
                Quantity::from_u64(count).ok_or_else(|| refuse(format!("{key}: quantities go up to 10^15")))?;
            usage.set(key, quantity).map_err(|invalid| refuse(invalid.to_string()))?;
        }
        Ok((!usage.is_empty()).then_some(usage))
    }
}

fn sum(a: Option<u64>, b: Option<u64>) -> Option<u64> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.saturating_add(b)),
        (one, None) => one,
        (None, other) => other,
    }
}

fn count(span: &Span, field: Field) -> Result<Option<u64>, Rejection> {
    let Some(value) = span.attributes.get(field) else { return Ok(None) };
    whole(value).map(Some).ok_or_else(|| {
        let name = span.attributes.source_name(field);
        let message = format!("`{name}` must be a whole number that is not negative");
        Rejection::new("invalid_quantity", span.place.pointer(name), message)
    })
}

/// A whole count, sent as an integer, a whole double or its text.
pub(super) fn whole(value: &Value) -> Option<u64> {
    let from_double = |number: f64| {
        // Doubles name every integer only up to 2^53.
        ((0.0..=9_007_199_254_740_992.0).contains(&number) && number.fract() == 0.0).then_some(number as u64)
    };
    match value {
        Value::Int(number) => u64::try_from(*number).ok(),
        Value::Double(number) => from_double(*number),
        Value::Text(text) => {
            let text = text.trim();
            text.parse().ok().or_else(|| text.parse().ok().and_then(from_double))
        }
        Value::Bool(_) => None,
    }
}
