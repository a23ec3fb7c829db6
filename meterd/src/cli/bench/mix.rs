//! The calls that `bench price` prices: the rows of a file, or a seeded mix over every model of the tables in force.

use pricing::{Attrs, Call, Outcome, PriceBook, Quantity, Target, Timestamp, Usage, UsageKey, price};
use serde::Deserialize;

/// The time of the mix's calls: 2026-11-18T12:00:00Z. Another time could mean other prices, and so another figure.
const MIX_AT: Timestamp = Timestamp::from_millis(1_795_003_200_000);

/// One call to price.
#[derive(Debug, Deserialize)]
pub(super) struct Row {
    provider: String,
    model: String,
    #[serde(alias = "timestamp")]
    time: Timestamp,
    usage: Usage,
    #[serde(default, alias = "context")]
    attrs: Attrs,
}

impl Row {
    pub(super) fn call(&self) -> Call<'_> {
        let target = Target::Model { provider: &self.provider, model: &self.model, request_model: None };
        Call { target, at: self.time, usage: &self.usage, attrs: &self.attrs, namespace: "default", team: None }
    }
}

/// The rows of an NDJSON text: `provider`, `model`, `time` or `timestamp`, `usage`, and `attrs` or `context`.
pub(super) fn read(text: &str) -> anyhow::Result<Vec<Row>> {
    let lines = (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty());
    lines
        .map(|(number, line)| serde_json::from_str(line).map_err(|error| anyhow::anyhow!("line {number}: {error}")))
        .collect()
}

/// One call of every model in the book: half of them plain, half with a cache and reasoning; plainer yet where the model
/// has no rates for that. Every model is as frequent as any other, which no fleet's are: caches serve this worse.
pub(super) fn seeded(book: &PriceBook, seed: u64) -> Vec<Row> {
    let mut random = Random(seed);
    let mut rows = Vec::new();
    for (provider, model) in book.tables().iter().flat_map(|table| table.models()) {
        let attrs = attrs(&mut random);
        let shapes = [cached(&mut random), plain(&mut random), plain_input(&mut random)];
        let plainest = usize::from(random.below(2) == 0);
        let row = shapes.into_iter().skip(plainest).flatten().find_map(|usage| {
            let (provider, model) = (provider.to_owned(), model.to_owned());
            let row = Row { provider, model, time: MIX_AT, usage, attrs: attrs.clone() };
            matches!(price(book, &row.call()), Outcome::Priced(_)).then_some(row)
        });
        rows.extend(row);
    }
    random.shuffle(&mut rows);
    rows
}

/// A prompt that was mostly in a cache, now and then past a context tier, and an answer with reasoning.
fn cached(random: &mut Random) -> Option<Usage> {
    let most_read = if random.below(8) == 0 { 400_000 } else { 40_000 };
    let read = random.below(most_read);
    let (fresh, written) = (1 + random.below(4_000), random.below(8_000));
    let output = 1 + random.below(8_000);
    usage(&[
        (UsageKey::InputTokens, fresh + read + written),
        (UsageKey::OutputTokens, output),
        (UsageKey::CacheReadTokens, read),
        (UsageKey::CacheWriteTokens, written),
        (UsageKey::OutputReasoningTokens, output / 2),
    ])
}

fn plain(random: &mut Random) -> Option<Usage> {
    usage(&[(UsageKey::InputTokens, 1 + random.below(20_000)), (UsageKey::OutputTokens, 1 + random.below(4_000))])
}

fn plain_input(random: &mut Random) -> Option<Usage> {
    usage(&[(UsageKey::InputTokens, 1 + random.below(20_000))])
}

fn usage(pairs: &[(UsageKey, u64)]) -> Option<Usage> {
    let mut usage = Usage::new();
    for (key, count) in pairs {
        usage.set(*key, Quantity::from_u64(*count)?).ok()?;
    }
    Some(usage)
}

/// One call in eight was processed in a batch, and half of the others state their tier.
fn attrs(random: &mut Random) -> Attrs {
    let mut attrs = Attrs::new();
    match random.below(8) {
        0 => attrs.set("processing", "batch"),
        1..=4 => attrs.set("service_tier", "standard"),
        _ => {}
    }
    attrs
}

/// SplitMix64: the same seed, the same mix.
struct Random(u64);

impl Random {
    /// A number below `end`, which is above 0.
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % end.max(1)
    }

    /// Fisher and Yates.
    fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let other = usize::try_from(self.below(last as u64 + 1)).unwrap_or(0);
            items.swap(last, other);
        }
    }
}
