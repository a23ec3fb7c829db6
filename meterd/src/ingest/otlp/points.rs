//! OTLP metrics of sources that send nothing better: token counters and histograms → usage, by their increase.
//!
//! Only sources configured with `metrics: only` are read: where spans or logs are billed, metrics would count twice. A delta
//! point is its own increase. Of a cumulative one the increase is against the last value of the same counter (`last`), which
//! stands in the ids of the events themselves, so that it survives a restart.

mod last;
mod read;

use std::collections::BTreeMap;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::bag::Bag;
use super::draft::{Draft, Who};
use super::tokens::Tokens;
use super::{Defaults, Encoding};
use crate::event::Rejection;
use crate::ingest::{BodyError, Item};
use last::{Counter, Increase};

pub use last::{Last, Step};

/// What metrics events come through; the first part of their `source`.
pub const VIA: &str = "otlp-metrics";
/// Types of token that are told apart.
const TYPES: usize = 4;

/// A type of token, as its series name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum TokenType {
    Input,
    Output,
    CacheRead,
    CacheWrite,
}

impl TokenType {
    const ALL: [Self; TYPES] = [Self::Input, Self::Output, Self::CacheRead, Self::CacheWrite];

    fn parse(text: &str) -> Option<Self> {
        match text {
            "input" | "prompt" => Some(Self::Input),
            "output" | "completion" => Some(Self::Output),
            "cacheRead" | "cache_read" | "input_cached" => Some(Self::CacheRead),
            "cacheCreation" | "cache_creation" | "cache_write" => Some(Self::CacheWrite),
            _ => None,
        }
    }

    /// As ids of events have it.
    const fn letter(self) -> char {
        match self {
            Self::Input => 'i',
            Self::Output => 'o',
            Self::CacheRead => 'r',
            Self::CacheWrite => 'w',
        }
    }

    fn of_letter(letter: char) -> Option<Self> {
        Self::ALL.into_iter().find(|token_type| token_type.letter() == letter)
    }
}

/// One data point that counts tokens.
struct Point {
    resource: usize,
    bag: Bag,
    /// Resource and attributes but for the type of token, all of them.
    series: u128,
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
    /// The increases that count, each with what it takes its counters to.
    pub items: Vec<(Item, Vec<Step>)>,
    /// Counters that stand where they stood.
    pub unmoved: Vec<Step>,
    /// All data points.
    pub points: usize,
    /// Those that count tokens of sources that are billed by them.
    pub billed: usize,
}

/// Reads the body of a metric export of `tenant`. What is booked of it teaches `last`.
pub fn decode_points(
    body: &[u8],
    encoding: Encoding,
    defaults: &Defaults,
    tenant: &str,
    last: &Last,
) -> Result<PointBatch, BodyError> {
    let (resources, points, count) = match encoding {
        Encoding::Protobuf => read::protobuf(body, defaults, tenant)?,
        Encoding::Json => read::json(body, defaults, tenant)?,
    };
    let mut decoder = Decoder { defaults, last, newer: FxHashMap::default(), batch: PointBatch::default() };
    (decoder.batch.points, decoder.batch.billed) = (count, points.len());
    for (Moment { series, time, .. }, group) in groups(&resources, &points) {
        decoder.group(series, time, &group);
    }
    Ok(decoder.batch)
}

/// What makes points one event, in the order in which they are counted. Deltas of another start are of another interval;
/// cumulative counters of one moment may have begun at different times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Moment {
    series: u128,
    time: u64,
    delta_start: Option<u64>,
    resource: usize,
}

/// The types of token of one series and moment. Of two scopes that report the same series the first counts: they are two
/// instrumentations of the same calls.
fn groups<'a>(resources: &'a [Bag], points: &'a [Point]) -> BTreeMap<Moment, Group<'a>> {
    let mut groups: BTreeMap<Moment, Group<'_>> = BTreeMap::new();
    for (index, point) in points.iter().enumerate() {
        let Some(resource) = resources.get(point.resource) else { continue };
        let Point { series, time, start, cumulative, .. } = *point;
        let delta_start = (!cumulative).then_some(start);
        let moment = Moment { series, time, delta_start, resource: point.resource };
        let group =
            groups.entry(moment).or_insert_with(|| Group { index, resource, first: point, sent: [None; TYPES] });
        if let Some(slot) = group.sent.get_mut(point.token_type as usize) {
            slot.get_or_insert((start, point.value));
        }
    }
    groups
}

struct Group<'a> {
    index: usize,
    resource: &'a Bag,
    first: &'a Point,
    /// Start and value of each type.
    sent: [Option<(u64, f64)>; TYPES],
}

struct Decoder<'a> {
    defaults: &'a Defaults,
    last: &'a Last,
    /// What this request said of counters.
    newer: FxHashMap<Counter, (u64, u64)>,
    batch: PointBatch,
}

impl Decoder<'_> {
    fn group(&mut self, series: u128, time: u64, group: &Group<'_>) {
        let mut steps = Vec::with_capacity(TYPES);
        for (token_type, sent) in TokenType::ALL.into_iter().zip(group.sent) {
            let Some((start, value)) = sent else { continue };
            // Doubles name every integer only up to 2^53.
            if !(0.0..=9_007_199_254_740_992.0).contains(&value) || value.fract() != 0.0 {
                let message = "a count of tokens must be a whole number that is not negative";
                return self.refuse(group, Rejection::new("invalid_quantity", "", message));
            }
            steps.push(Step { counter: Counter { series, token_type, start }, time, value: value as u64 });
        }
        if group.first.cumulative {
            self.cumulative(series, time, group, &steps);
        } else {
            let start = group.first.start;
            let added: Vec<_> = steps.iter().map(|step| (step.counter.token_type, step.value)).collect();
            self.add(format!("d:{series:032x}:{start}:{time}"), time, group, &added, Vec::new());
        }
    }

    fn cumulative(&mut self, series: u128, time: u64, group: &Group<'_>, steps: &[Step]) {
        let (mut added, mut moved) = (Vec::with_capacity(TYPES), Vec::with_capacity(TYPES));
        for step in steps {
            match self.last.increase(step, self.newer.get(&step.counter).copied()) {
                Increase::By(0) => self.batch.unmoved.push(*step),
                Increase::By(increase) => {
                    added.push((step.counter.token_type, increase));
                    moved.push(*step);
                }
                Increase::Stale => continue,
                Increase::Forgotten => {
                    let message = "this counter may have been counted before and forgotten since; restart its process,                                    or set its exporter's temporality to delta";
                    return self.refuse(group, Rejection::new("unknown_counter", "", message));
                }
            }
            self.newer.insert(step.counter, (step.time, step.value));
        }
        if !moved.is_empty() {
            self.add(last::id(series, time, &moved), time, group, &added, moved);
        }
    }

    fn refuse(&mut self, group: &Group<'_>, rejection: Rejection) {
        self.batch.items.push((Draft::refused(group.index, rejection), Vec::new()));
    }

    fn add(&mut self, id: String, time: u64, group: &Group<'_>, added: &[(TokenType, u64)], steps: Vec<Step>) {
        if added.iter().any(|(_, count)| *count > 0) {
            let item = group.draft(id, time, added, self.defaults);
            self.batch.items.push((item, steps));
        }
    }
}

impl Group<'_> {
    fn draft(&self, id: String, time: u64, added: &[(TokenType, u64)], defaults: &Defaults) -> Item {
        let of = |wanted: TokenType| added.iter().find(|(token_type, _)| *token_type == wanted).map_or(0, |(_, n)| *n);
        let (input, output) = (of(TokenType::Input), of(TokenType::Output));
        let (read, write) = (of(TokenType::CacheRead), of(TokenType::CacheWrite));
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
