//! The shape of genai-prices' data.json, read without interpretation. Numbers stay the text that they were.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

/// A JSON object whose values are still text.
type Fields = BTreeMap<String, Box<RawValue>>;

/// One provider and its models.
#[derive(Debug)]
pub(super) struct Provider {
    pub(super) id: String,
    /// Whose models it also sells, in the order in which they are tried.
    pub(super) fallbacks: Vec<String>,
    pub(super) models: Vec<Model>,
    /// It says how to read usage out of its responses.
    pub(super) has_extractors: bool,
    /// Keys that this reader does not know.
    pub(super) unknown: Vec<String>,
}

/// One model, or why it could not be read.
#[derive(Debug)]
pub(super) struct Model {
    pub(super) id: String,
    pub(super) body: Result<Body, String>,
    pub(super) unknown: Vec<String>,
}

#[derive(Clone, Debug)]
pub(super) struct Body {
    pub(super) matching: Clause,
    /// In the file's order: the last one in force applies.
    pub(super) cards: Vec<Card>,
    /// In the file's order: for each unit the first one in force applies.
    pub(super) variants: Vec<Variant>,
}

/// Which ids mean a model.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Clause {
    Equals(String),
    StartsWith(String),
    EndsWith(String),
    Contains(String),
    Regex(String),
    Or(Vec<Self>),
    And(Vec<Self>),
}

/// A whole set of prices and when it is in force.
#[derive(Clone, Debug)]
pub(super) struct Card {
    pub(super) constraint: Option<Constraint>,
    pub(super) prices: BTreeMap<String, Price>,
}

/// Prices that replace single ones for requests of some kind.
#[derive(Clone, Debug)]
pub(super) struct Variant {
    pub(super) when: BTreeMap<String, String>,
    pub(super) constraint: Option<Constraint>,
    pub(super) prices: BTreeMap<String, Price>,
}

/// When prices are in force.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub(super) enum Constraint {
    Start(StartDate),
    Daily(TimeOfDay),
}

/// From the start of this day, UTC.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StartDate {
    pub(super) start_date: String,
}

/// Every day from one time of day until another.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TimeOfDay {
    pub(super) start_time: String,
    pub(super) end_time: String,
}

/// The price of one unit, as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Price {
    pub(super) base: String,
    /// `(start, price)`: the price for every token of a request with more than `start` input tokens.
    pub(super) tiers: Vec<(u64, String)>,
}

/// Keys about the provider or model that say nothing about a price here.
const PROSE: &[&str] = &[
    "api_pattern",
    "context_window",
    "deprecated",
    "description",
    "model_match",
    "name",
    "price_comments",
    "pricing_urls",
    "provider_match",
];

/// The whole file. An error is about the file; trouble with one model stays with that model.
pub(super) fn read(json: &str) -> Result<Vec<Provider>, serde_json::Error> {
    let providers: Vec<Fields> = serde_json::from_str(json)?;
    providers.into_iter().map(provider).collect()
}

fn provider(mut fields: Fields) -> Result<Provider, serde_json::Error> {
    let id = required(&mut fields, "id")?;
    let models: Vec<Fields> = required(&mut fields, "models")?;
    let fallbacks = optional(&mut fields, "fallback_model_providers")?.unwrap_or_default();
    let has_extractors = fields.remove("extractors").is_some();
    let models = models.into_iter().map(model).collect::<Result<_, _>>()?;
    Ok(Provider { id, fallbacks, models, has_extractors, unknown: unknown(&fields) })
}

fn model(mut fields: Fields) -> Result<Model, serde_json::Error> {
    let id = required(&mut fields, "id")?;
    let body = body(&mut fields).map_err(|error| error.to_string());
    Ok(Model { id, body, unknown: unknown(&fields) })
}

fn body(fields: &mut Fields) -> Result<Body, serde_json::Error> {
    let matching = required(fields, "match")?;
    let prices: Box<RawValue> = required(fields, "prices")?;
    let cards = if prices.get().starts_with('[') {
        let cards: Vec<Fields> = serde_json::from_str(prices.get())?;
        cards.into_iter().map(card).collect::<Result<_, _>>()?
    } else {
        vec![Card { constraint: None, prices: price_map(&prices)? }]
    };
    let variants: Vec<Fields> = optional(fields, "price_variants")?.unwrap_or_default();
    let variants = variants.into_iter().map(variant).collect::<Result<_, _>>()?;
    Ok(Body { matching, cards, variants })
}

fn card(mut fields: Fields) -> Result<Card, serde_json::Error> {
    let constraint = optional(&mut fields, "constraint")?;
    let prices: Box<RawValue> = required(&mut fields, "prices")?;
    refuse_rest(&fields)?;
    Ok(Card { constraint, prices: price_map(&prices)? })
}

fn variant(mut fields: Fields) -> Result<Variant, serde_json::Error> {
    let when = required(&mut fields, "when")?;
    let constraint = optional(&mut fields, "constraint")?;
    let prices: Box<RawValue> = required(&mut fields, "prices")?;
    refuse_rest(&fields)?;
    Ok(Variant { when, constraint, prices: price_map(&prices)? })
}

fn price_map(json: &RawValue) -> Result<BTreeMap<String, Price>, serde_json::Error> {
    let fields: BTreeMap<String, Option<Box<RawValue>>> = serde_json::from_str(json.get())?;
    fields.into_iter().filter_map(|(key, value)| Some(price(&value?).map(|price| (key, price)))).collect()
}

fn price(json: &RawValue) -> Result<Price, serde_json::Error> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Tiered {
        base: Box<RawValue>,
        tiers: Vec<Tier>,
    }
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Tier {
        start: u64,
        price: Box<RawValue>,
    }
    if !json.get().starts_with('{') {
        return Ok(Price { base: json.get().to_owned(), tiers: Vec::new() });
    }
    let tiered: Tiered = serde_json::from_str(json.get())?;
    let tiers = tiered.tiers.into_iter().map(|tier| (tier.start, tier.price.get().to_owned())).collect();
    Ok(Price { base: tiered.base.get().to_owned(), tiers })
}

fn required<T: DeserializeOwned>(fields: &mut Fields, key: &'static str) -> Result<T, serde_json::Error> {
    optional(fields, key)?.ok_or_else(|| serde::de::Error::missing_field(key))
}

/// `null` counts as absent.
fn optional<T: DeserializeOwned>(fields: &mut Fields, key: &str) -> Result<Option<T>, serde_json::Error> {
    fields.remove(key).map_or(Ok(None), |value| serde_json::from_str(value.get()))
}

/// A condition that is not understood must not be dropped: the price would apply where it does not.
fn refuse_rest(fields: &Fields) -> Result<(), serde_json::Error> {
    fields.keys().next().map_or(Ok(()), |key| Err(serde::de::Error::custom(format_args!("unknown key `{key}`"))))
}

fn unknown(fields: &Fields) -> Vec<String> {
    fields.keys().filter(|key| !PROSE.contains(&key.as_str())).cloned().collect()
}
