//! The parts of an entry with a shape of their own: tables of tiers, prices by search size, daily windows, multipliers.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::card::Prices;
use super::keys::{Unit, unit};
use super::rules::is;
use super::source::{Fields, part, text};
use crate::import::draft::{Days, Test, When, Window};
use crate::import::rate::rate;

/// The key, and why it gives no rule.
type LeftOut = (&'static str, String);
/// Prices from a number on.
type Steps<T> = Vec<(u64, T)>;
/// A factor, its name and when it applies; or the key and why it does not.
type Multiplier = (String, Result<(&'static str, When, Decimal), String>);

const WEEKDAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

fn price(value: &RawValue) -> Result<Decimal, String> {
    rate(value.get()).map_err(|error| format!("the price {} is {error}", value.get()))
}

fn prices(fields: &Fields, but: &[&str]) -> Result<Prices, String> {
    let mut prices = Prices::new();
    for (key, value) in fields.iter().filter(|(key, _)| !but.contains(&key.as_str())) {
        let Some(Unit::Of(unit)) = unit(key) else { return Err(format!("unknown key {key}")) };
        prices.insert(unit, price(value)?);
    }
    Ok(prices)
}

/// A web search by the size of what it brings: without a size first, then those that differ from it.
pub(super) fn searches(seller: &str, fields: &Fields) -> Result<Vec<(Option<&'static str>, Decimal)>, LeftOut> {
    const KEY: &str = "search_context_cost_per_query";
    const SIZES: [(&str, &str); 3] = [
        ("low", "search_context_size_low"),
        ("medium", "search_context_size_medium"),
        ("high", "search_context_size_high"),
    ];
    let sizes: Option<Fields> = part(fields, KEY).map_err(|why| (KEY, why))?;
    let Some(sizes) = sizes else { return Ok(Vec::new()) };
    let mut known = Vec::new();
    for (size, key) in SIZES {
        if let Some(value) = sizes.get(key) {
            known.push((size, price(value).map_err(|why| (KEY, why))?));
        }
    }
    // What a request without a size gets.
    let usual = if seller == "perplexity" { "low" } else { "medium" };
    let found = known.iter().find(|(size, _)| *size == usual).or(known.first()).map(|(_, price)| *price);
    let Some(plain) = found else { return Err((KEY, "no size that is known".to_owned())) };
    let differs = known.iter().any(|(_, price)| *price != plain);
    let sized = known.into_iter().filter(|_| differs).map(|(size, price)| (Some(size), price));
    Ok(std::iter::once((None, plain)).chain(sized).collect())
}

/// Is every search billed, not every prompt?
pub(super) fn is_billed_per_query(fields: &Fields) -> bool {
    fields.get("web_search_billing_unit").and_then(|unit| text(unit)).as_deref() == Some("per_query")
}

/// Token prices from so many input tokens on, and the price of a search from so many results on. The first of each is
/// for every request.
pub(super) fn tiered(fields: &Fields) -> Result<(Steps<Prices>, Steps<Decimal>), LeftOut> {
    const KEY: &str = "tiered_pricing";
    let fail = |why| (KEY, why);
    let bands: Vec<Fields> = part(fields, KEY).map_err(fail)?.unwrap_or_default();
    let (mut tokens, mut results) = (Vec::new(), Vec::new());
    for band in &bands {
        if let Some(start) = start(band, "range").map_err(fail)? {
            tokens.push((start, prices(band, &["range"]).map_err(fail)?));
        } else if let Some(start) = start(band, "max_results_range").map_err(fail)? {
            let query = band.get("input_cost_per_query").ok_or_else(|| fail("a band without a price".to_owned()))?;
            results.push((start, price(query).map_err(fail)?));
        } else {
            return Err(fail("a band without a range".to_owned()));
        }
    }
    tokens.sort_by_key(|(start, _)| *start);
    results.sort_by_key(|(start, _)| *start);
    Ok((tokens, results))
}

fn start(band: &Fields, key: &str) -> Result<Option<u64>, String> {
    let range: Option<Vec<Box<RawValue>>> = part(band, key)?;
    let Some(range) = range else { return Ok(None) };
    let number = range.first().and_then(|start| rate(start.get()).ok()).filter(Decimal::is_integer);
    number.and_then(|number| number.to_u64()).map(Some).ok_or_else(|| format!("{key} is not a range"))
}

/// Prices of policies, by policy.
pub(super) fn guardrails(fields: &Fields) -> Result<Vec<(String, Decimal)>, LeftOut> {
    const KEY: &str = "guardrail_cost_per_unit";
    let policies: Option<Fields> = part(fields, KEY).map_err(|why| (KEY, why))?;
    let mut prices = Vec::new();
    for (policy, value) in policies.unwrap_or_default() {
        prices.push((policy, price(&value).map_err(|why| (KEY, why))?));
    }
    Ok(prices)
}

/// What reading from a cache costs that the caller made by hand.
pub(super) fn explicit_cache(fields: &Fields) -> Result<Option<Decimal>, LeftOut> {
    const KEY: &str = "explicit_cache_read_input_token_cost";
    fields.get(KEY).map(|value| price(value).map_err(|why| (KEY, why))).transpose()
}

/// Prices at some hours of some days.
pub(super) fn off_peak(fields: &Fields) -> Result<Option<(Vec<Window>, Prices)>, LeftOut> {
    const KEY: &str = "off_peak_pricing";
    let fail = |why| (KEY, why);
    let off_peak: Option<Fields> = part(fields, KEY).map_err(fail)?;
    let Some(off_peak) = off_peak else { return Ok(None) };
    let tz: Option<String> = part(&off_peak, "weekday_timezone").map_err(fail)?;
    let tz = tz.unwrap_or_else(|| "UTC".to_owned());
    let windows: Vec<Hours> = part(&off_peak, "windows").map_err(fail)?.unwrap_or_default();
    let mut all = Vec::new();
    for window in windows {
        all.extend(window.windows(&tz).map_err(fail)?);
    }
    if all.is_empty() {
        return Err(fail("no window".to_owned()));
    }
    Ok(Some((all, prices(&off_peak, &["windows", "weekday_timezone"]).map_err(fail)?)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Hours {
    hours_utc: OneOrMany,
    /// Monday is 1.
    weekdays: Option<Vec<usize>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl Hours {
    fn windows(self, tz: &str) -> Result<Vec<Window>, String> {
        let days = self.weekdays.map(|days| days.into_iter().map(weekday).collect::<Option<Vec<_>>>());
        let days = days.map(|on| on.ok_or_else(|| "a weekday that is not from 1 to 7".to_owned())).transpose()?;
        let days = days.map(|on| Days { on, tz: tz.to_owned() });
        let hours = match self.hours_utc {
            OneOrMany::One(hours) => vec![hours],
            OneOrMany::Many(hours) => hours,
        };
        hours.iter().map(|hours| Ok(Window { hours: span(hours)?, days: days.clone() })).collect()
    }
}

fn weekday(number: usize) -> Option<&'static str> {
    WEEKDAYS.get(number.checked_sub(1)?).copied()
}

/// `10:00-00:00` → 10:00 to 24:00; from a time to itself is all day.
fn span(hours: &str) -> Result<Option<(String, String)>, String> {
    let (start, end) = hours.split_once('-').ok_or_else(|| format!("hours {hours:?} are not a span"))?;
    if start == end {
        return Ok(None);
    }
    let end = if end == "00:00" { "24:00" } else { end };
    Ok(Some((start.to_owned(), end.to_owned())))
}

/// Factors for a region or a speed.
pub(super) fn multipliers(fields: &Fields) -> Vec<Multiplier> {
    let mut found = Vec::new();
    let regional = [
        ("regional_endpoint_uplift_multiplier", "regional-endpoint", not_global()),
        ("regional_processing_uplift_multiplier_eu", "data-residency-eu", is("data_residency", "eu")),
        ("regional_processing_uplift_multiplier_us", "data-residency-us", is("data_residency", "us")),
    ];
    for (key, name, when) in regional {
        if let Some(value) = fields.get(key) {
            found.push((key.to_owned(), price(value).map(|factor| (name, when, factor))));
        }
    }
    let specific: Option<BTreeMap<String, Box<RawValue>>> = part(fields, "provider_specific_entry").unwrap_or_default();
    for (key, value) in specific.unwrap_or_default() {
        let multiplier = match key.as_str() {
            "us" => price(&value).map(|factor| ("inference-geo-us", is("inference_geo", "us"), factor)),
            "fast" => price(&value).map(|factor| ("speed-fast", is("speed", "fast"), factor)),
            "bedrock_invocation_schema" | "dashscope_video_reference_input" => continue,
            "minimax_free_input_images" => Err("what is free of each request cannot be said by a rate".to_owned()),
            "volcengine_video_frames" => Err("tokens of a frame by its shape are the provider's to count".to_owned()),
            _ => Err("unknown key".to_owned()),
        };
        found.push((format!("provider_specific_entry.{key}"), multiplier));
    }
    found
}

fn not_global() -> When {
    When { attrs: [("vertex_location".to_owned(), Test::IsNot("global".to_owned()))].into(), ..When::default() }
}
