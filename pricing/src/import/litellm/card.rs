//! The prices of one entry, sorted by the requests that they are for, each for one of its unit.

use std::collections::BTreeMap;

use rust_decimal::Decimal;

use super::keys::{Meaning, Scope, Unit, meaning};
use super::source::{Fields, text};
use crate::import::rate::rate;
use crate::usage::UsageKey;

/// Price by unit.
pub(super) type Prices = BTreeMap<UsageKey, Decimal>;

/// What an entry says, before it becomes rules.
#[derive(Debug, Default)]
pub(super) struct Card {
    pub(super) scopes: BTreeMap<Scope, Prices>,
    pub(super) resolutions: Vec<(UsageKey, String, Decimal)>,
    /// A unit, the seconds above which this is its price, and the price.
    pub(super) lengths: Vec<(UsageKey, u64, Decimal)>,
    pub(super) left_out: Vec<(String, String)>,
}

/// What the model is for, as the file says it.
#[derive(Debug)]
pub(super) struct Kind<'a> {
    pub(super) key: &'a str,
    pub(super) mode: String,
}

impl<'a> Kind<'a> {
    pub(super) fn of(key: &'a str, fields: &Fields) -> Self {
        Self { key, mode: fields.get("mode").and_then(|mode| text(mode)).unwrap_or_default() }
    }
}

impl Card {
    /// Sorts the prices of an entry.
    pub(super) fn read(kind: &Kind<'_>, fields: &Fields) -> Self {
        let mut card = Self::default();
        let mut scopes: BTreeMap<Scope, BTreeMap<Unit, Decimal>> = BTreeMap::new();
        for (key, value) in fields.iter().filter(|(_, value)| value.get() != "null") {
            let meaning = meaning(key);
            let why = match &meaning {
                Meaning::Special | Meaning::Prose => continue,
                Meaning::LeftOut(why) => Some(*why),
                Meaning::Unknown => Some("unknown key"),
                _ => None,
            };
            if let Some(why) = why {
                card.left_out.push((key.clone(), why.to_owned()));
                continue;
            }
            let price = match rate(value.get()) {
                Ok(price) => price,
                Err(error) => {
                    card.left_out.push((key.clone(), format!("the price {} is {error}", value.get())));
                    continue;
                }
            };
            match meaning {
                Meaning::Price { unit, scope } => {
                    scopes.entry(scope).or_default().insert(unit, price);
                }
                Meaning::AtResolution { unit, resolution } => card.resolutions.push((unit, resolution, price)),
                Meaning::AboveSeconds { unit, seconds } => card.lengths.push((unit, seconds, price)),
                _ => {}
            }
        }
        card.lengths.sort();
        for (scope, units) in scopes {
            let prices = card.resolve(kind, &units);
            card.scopes.insert(scope, prices);
        }
        card
    }

    /// The units of prices whose keys do not say it.
    fn resolve(&mut self, kind: &Kind<'_>, units: &BTreeMap<Unit, Decimal>) -> Prices {
        let mut prices: Prices = units
            .iter()
            .filter_map(|(unit, price)| if let Unit::Of(key) = unit { Some((*key, *price)) } else { None })
            .collect();
        let price = |unit: Unit| units.get(&unit).copied();
        if let Some(query) = price(Unit::Query) {
            let is_rerank = kind.mode == "rerank";
            prices.insert(if is_rerank { UsageKey::RerankSearches } else { UsageKey::SearchQueries }, query);
        }
        if let Some(hit) = price(Unit::CacheHit) {
            prices.entry(UsageKey::CacheReadTokens).or_insert(hit);
        }
        seconds(kind, price(Unit::SecondIn), price(Unit::SecondOut), &mut prices);
        if let Some(image) = price(Unit::ImageIn) {
            // Of a model that makes images and states no other price for them, this is the price of those.
            let makes = kind.mode == "image_generation" && !prices.contains_key(&UsageKey::ImagesOut);
            prices.insert(if makes { UsageKey::ImagesOut } else { UsageKey::InputImages }, image);
        }
        let pixel =
            price(Unit::PixelIn).filter(|price| !price.is_zero()).or(price(Unit::PixelOut)).or(price(Unit::PixelIn));
        if let Some(pixel) = pixel {
            self.pixels(kind, pixel, &mut prices);
        }
        prices
    }

    /// LiteLLM bills a generated image by its pixels, under either name. Where the key says the size, that is a price
    /// for an image.
    fn pixels(&mut self, kind: &Kind<'_>, pixel: Decimal, prices: &mut Prices) {
        if prices.contains_key(&UsageKey::ImagesOut) {
            let why = "its images have a price as well; with both, an image would be billed twice";
            return self.left_out.push(("price per pixel".to_owned(), why.to_owned()));
        }
        match pixels_of(kind.key).and_then(|count| pixel.checked_mul(Decimal::from(count))) {
            Some(image) => prices.insert(UsageKey::ImagesOut, image.normalize()),
            None => prices.insert(UsageKey::OutputPixels, pixel),
        };
    }
}

/// Seconds of what: of the audio that is transcribed or spoken, of video, of capacity.
fn seconds(kind: &Kind<'_>, given: Option<Decimal>, returned: Option<Decimal>, prices: &mut Prices) {
    let (input, output) = match kind.mode.as_str() {
        "audio_transcription" => {
            // One length, billed once: the price may stand in either place, or in both.
            let price = given.filter(|price| !price.is_zero()).or(returned).or(given);
            prices.extend(price.map(|price| (UsageKey::AudioSeconds, price)));
            return;
        }
        "video_generation" => (UsageKey::InputVideoSeconds, UsageKey::OutputVideoSeconds),
        "realtime" if prices.contains_key(&UsageKey::InputAudioTokens) => {
            (UsageKey::InputAudioSeconds, UsageKey::OutputAudioSeconds)
        }
        "audio_speech" => (UsageKey::InputAudioSeconds, UsageKey::OutputAudioSeconds),
        "realtime" => (UsageKey::AudioSeconds, UsageKey::OutputAudioSeconds),
        _ => (UsageKey::ProvisionedSeconds, UsageKey::OutputAudioSeconds),
    };
    prices.extend(given.map(|price| (input, price)));
    prices.extend(returned.map(|price| (output, price)));
}

/// `hd/1024-x-1792/dall-e-3` → 1024 × 1792.
fn pixels_of(key: &str) -> Option<u64> {
    key.split('/').find_map(|part| {
        let (width, height) = part.split_once("-x-")?;
        width.parse::<u64>().ok()?.checked_mul(height.parse().ok()?)
    })
}
