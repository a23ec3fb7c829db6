//! OTLP metrics of sources that send nothing better: token counters and histograms → usage, by their increase.
//!
//! Only sources configured with `metrics: only` are read: where spans or logs are billed, metrics would count twice. A delta
//! point is its own increase. Of a cumulative one the increase is against the last value seen, which stands in the ids of the
//! events themselves, so that it survives a restart; a new start time, or a value that fell, begins anew.

mod read;

use std::collections::BTreeMap;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::bag::Bag;
use super::draft::{Draft, Who, digest};
use super::tokens::Tokens;
use super::{Defaults, Encoding};
use crate::event::Rejection;
use crate::ingest::{BodyError, Item};

/// What metrics events come through; the first part of their `source`.
pub const VIA: &str = "otlp-metrics";
/// Most series whose last value is remembered.
const SERIES_MAX: usize = 100_000;

/// A type of token, as its series name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum TokenType {
    Input,
    Output,
    CacheRead,
    CacheWrite,
}

impl TokenType {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "input" => Some(Self::Input),
            "output" | "completion" => Some(Self::Output),
            "cacheRead" | "cache_read" | "input_cached" => Some(Self::CacheRead),
            "cacheCreation" | "cache_creation" | "cache_write" => Some(Self::CacheWrite),
            _ => None,
        }
    }
}

/// One data point that counts tokens.
struct Point {
    resource: usize,
    bag: Bag,
    token_type: TokenType,
    start: u64,
    time: u64,
    value: f64,
    cumulative: bool,
    /// Cached tokens stand beside the input, not within.
    disjoint: bool,
}

/// What a metric export held.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PointBatch {
    /// The increases that count.
    pub items: Vec<Item>,
    /// All data points.
    pub points: usize,
}

/// The last values of cumulative series: start and count of each type.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Last {
    series: FxHashMap<Box<str>, (u64, [u64; 4])>,
}

impl Last {
    /// Learns from the id of an event that was booked.
    pub fn learn(&mut self, id: &str) {
        let mut parts = id.split(':');
        let (Some("c"), Some(series), Some(start)) = (parts.next(), parts.next(), parts.next()) else { return };
        let counts: Vec<u64> = parts.filter_map(|part| part.parse().ok()).collect();
        if let (Ok(start), Ok(counts)) = (start.parse(), <[u64; 4]>::try_from(counts)) {
            self.put(series, start, counts);
        }
    }

    /// The newest start wins, and of one start the largest counts.
    fn put(&mut self, series: &str, start: u64, counts: [u64; 4]) {
        let room = self.series.len() < SERIES_MAX;
        match self.series.get_mut(series) {
            Some((known, old)) if *known == start => {
                for (old, new) in old.iter_mut().zip(counts) {
                    *old = (*old).max(new);
                }
            }
            Some((known, _)) if *known > start => {}
            Some(slot) => *slot = (start, counts),
            None if room => {
                self.series.insert(Box::from(series), (start, counts));
            }
            None => {}
        }
    }
}

/// Reads the body of a metric export. `last` learns what is seen; ids that were booked teach it after a restart.
pub fn decode_points(
    body: &[u8],
    encoding: Encoding,
    defaults: &Defaults,
    last: &mut Last,
) -> Result<PointBatch, BodyError> {
    let (resources, points, count) = match encoding {
        Encoding::Protobuf => read::protobuf(body, defaults)?,
        Encoding::Json => read::json(body, defaults)?,
    };
    // Points of one series and time are one event; what tells its types apart is their names.
    let mut groups: BTreeMap<(String, u64, u64), Group<'_>> = BTreeMap::new();
    for (index, point) in points.iter().enumerate() {
        let Some(resource) = resources.get(point.resource) else { continue };
        let series = digest(&[&resource.canonical(), &point.bag.canonical()]);
        let key = (series, point.start, point.time);
        let group = groups.entry(key).or_insert_with(|| Group { index, resource, first: point, counts: [None; 4] });
        if let Some(slot) = group.counts.get_mut(point.token_type as usize) {
            *slot = Some(point.value);
        }
    }
    let items = groups
        .into_iter()
        .filter_map(|((series, start, time), group)| group.item(&series, start, time, defaults, last));
    Ok(PointBatch { items: items.collect(), points: count })
}

struct Group<'a> {
    index: usize,
    resource: &'a Bag,
    first: &'a Point,
    counts: [Option<f64>; 4],
}

impl Group<'_> {
    fn item(self, series: &str, start: u64, time: u64, defaults: &Defaults, last: &mut Last) -> Option<Item> {
        let mut counts = [0u64; 4];
        for (count, value) in counts.iter_mut().zip(self.counts) {
            match value {
                // Doubles name every integer only up to 2^53.
                Some(value) if !(0.0..=9_007_199_254_740_992.0).contains(&value) || value.fract() != 0.0 => {
                    let message = "a count of tokens must be a whole number that is not negative";
                    return Some(Draft::refused(self.index, Rejection::new("invalid_quantity", "", message)));
                }
                Some(value) => *count = value as u64,
                None => {}
            }
        }
        let (id, increase) = if self.first.cumulative {
            let before = last.series.get(series).copied();
            let mut to = counts;
            let mut increase = counts;
            if let Some((known, old)) = before.filter(|(known, _)| *known >= start) {
                if known > start {
                    return None;
                }
                let fell =
                    counts.iter().zip(old).zip(self.counts).any(|((new, old), sent)| sent.is_some() && *new < old);
                for (((to, increase), old), sent) in to.iter_mut().zip(&mut increase).zip(old).zip(self.counts) {
                    match sent {
                        None => (*to, *increase) = (old, 0),
                        Some(_) if fell => {}
                        Some(_) => *increase = increase.saturating_sub(old),
                    }
                }
                if fell {
                    // A counter that fell without a new start: it began anew, at this value.
                    last.series.insert(Box::from(series), (start, to));
                }
            }
            last.put(series, start, to);
            let [input, output, read, write] = to;
            (format!("c:{series}:{start}:{input}:{output}:{read}:{write}"), increase)
        } else {
            (format!("d:{series}:{start}:{time}"), counts)
        };
        if increase == [0; 4] {
            return None;
        }
        Some(self.draft(id, time, increase, defaults))
    }

    fn draft(&self, id: String, time: u64, [input, output, read, write]: [u64; 4], defaults: &Defaults) -> Item {
        let total = if self.first.disjoint { input.saturating_add(read).saturating_add(write) } else { input };
        let some = |count: u64| (count > 0).then_some(count);
        let tokens = Tokens {
            input: some(total),
            cache_read: some(read),
            cache_write: some(write),
            output: some(output),
            ..Tokens::default()
        };
        let bag = &self.first.bag;
        let provider = bag.text(&["gen_ai.provider.name", "gen_ai.system"]);
        let provider = super::provider::normalise(provider.as_deref().unwrap_or("anthropic"), false);
        let model = bag.text(&["gen_ai.response.model", "gen_ai.request.model", "model"]);
        let draft = Draft {
            id: Arc::from(id),
            nanos: time,
            ..Draft::model(&provider, model.as_deref().unwrap_or("unknown"), tokens)
        };
        let who = Who {
            own: bag,
            resource: self.resource,
            defaults,
            session: &["session.id", "service.instance.id", "service.name"],
        };
        draft.item(self.index, VIA, &who)
    }
}
