//! genai-prices' cards, tiers and variants → ordered rules, so that the same price wins for every request.
//!
//! There, the last card in force replaces all earlier ones, a tier replaces one unit's price for the whole request, and
//! the first variant in force wins for each unit. Here, every rule that applies is applied in order and the last writer
//! of a unit wins. So: cards in order, each but the first with `reset`; the tiers of a card right after it, lowest
//! first; variants last and in reverse.

use std::collections::BTreeMap;

use rust_decimal::Decimal;

use super::source::{Body, Card, Constraint, Price};
use crate::import::draft::{Bound, Rule, Test, When, Window};
use crate::import::rate::rate;
use crate::usage::UsageKey;

/// The rules of one model.
#[derive(Debug, Default)]
pub(super) struct Rates {
    pub(super) rules: Vec<Rule>,
    /// Keys of the source that name no unit known here; their prices are not in the rules.
    pub(super) unknown_units: Vec<String>,
}

/// The rules of `body`, or why they would not mean the same. A card without prices is free only for a model that
/// `is_free`; otherwise its prices are unknown.
pub(super) fn rules(body: &Body, is_free: bool) -> Result<Rates, String> {
    let mut rates = Rates::default();
    let bills_no_output = only_input_is_priced(&body.cards);
    for (index, card) in body.cards.iter().enumerate() {
        // Before every date the first card applies, whatever its own date says.
        let when = if index == 0 { When::default() } else { condition(card.constraint.as_ref())? };
        let first = rates.rules.len();
        rates.add(&when, &card.prices)?;
        let Some(base) = rates.rules.get_mut(first) else { continue };
        base.reset = index > 0;
        if card.prices.is_empty() {
            if !is_free {
                return Err("no price is stated, which may mean free or unknown".to_owned());
            }
            base.set.insert(UsageKey::InputTokens, Decimal::ZERO);
            base.set.insert(UsageKey::OutputTokens, Decimal::ZERO);
        } else if bills_no_output {
            base.set.insert(UsageKey::OutputTokens, Decimal::ZERO);
        }
    }
    for variant in body.variants.iter().rev().filter(|variant| !variant.prices.is_empty()) {
        let attrs = variant.when.iter().map(|(name, value)| (name.clone(), Test::Is(value.clone()))).collect();
        let when = When { attrs, ..condition(variant.constraint.as_ref())? };
        rates.add(&when, &variant.prices)?;
    }
    Ok(rates)
}

/// An embedding or reranking model has a price for input tokens and none for output: there, output costs nothing. A
/// missing rate means "unknown" here, so the 0 must be written.
fn only_input_is_priced(cards: &[Card]) -> bool {
    let priced = |key: &str| cards.iter().any(|card| card.prices.contains_key(key));
    priced("input_mtok") && !priced("output_mtok")
}

fn condition(constraint: Option<&Constraint>) -> Result<When, String> {
    let mut when = When::default();
    match constraint {
        None => {}
        Some(Constraint::Start(start)) => {
            let day: jiff::civil::Date =
                start.start_date.parse().map_err(|_| format!("start_date {:?} is not a date", start.start_date))?;
            when.from = Some(format!("{day}T00:00:00Z"));
        }
        Some(Constraint::Daily(daily)) => {
            let window = (time_of_day(&daily.start_time)?, time_of_day(&daily.end_time)?);
            if window.0 == window.1 {
                return Err(format!("the daily window at {} is empty", window.0));
            }
            when.windows.push(Window { hours: Some(window), days: None });
        }
    }
    Ok(when)
}

/// `01:00:00+00:00` → `01:00`. Only UTC occurs; another offset is refused rather than shifted across midnight.
fn time_of_day(text: &str) -> Result<String, String> {
    let refused = || format!("time of day {text:?} is not a whole minute in UTC");
    let clock = text.strip_suffix("+00:00").or_else(|| text.strip_suffix('Z')).unwrap_or(text);
    let time: jiff::civil::Time = clock.parse().map_err(|_| refused())?;
    if clock.contains(['+', '-']) || time.second() != 0 || time.subsec_nanosecond() != 0 {
        return Err(refused());
    }
    Ok(format!("{:02}:{:02}", time.hour(), time.minute()))
}

impl Rates {
    /// A rule for the base prices, always (a card may be empty and yet replace others), and one for each threshold.
    fn add(&mut self, when: &When, prices: &BTreeMap<String, Price>) -> Result<(), String> {
        let mut base = BTreeMap::new();
        let mut tiers: BTreeMap<u64, BTreeMap<UsageKey, Decimal>> = BTreeMap::new();
        for (key, price) in prices {
            let Some(unit) = unit(key) else {
                if !self.unknown_units.contains(key) {
                    self.unknown_units.push(key.clone());
                }
                continue;
            };
            let read = |text: &str| rate(text).map_err(|error| format!("the price {text} of {key} is {error}"));
            base.insert(unit, read(&price.base)?);
            for (start, text) in &price.tiers {
                tiers.entry(*start).or_default().insert(unit, read(text)?);
            }
        }
        self.rules.push(Rule { reset: false, when: when.clone(), set: base });
        self.rules.extend(tiers.into_iter().map(|(start, set)| Rule {
            reset: false,
            when: When { usage: Some((UsageKey::InputTokens, Bound::Above(start))), ..when.clone() },
            set,
        }));
        Ok(())
    }
}

/// `cache_read_mtok` → `cache_read_tokens`: the source names the unit with its block of a million, a thousand, an hour.
fn unit(key: &str) -> Option<UsageKey> {
    const BLOCKS: [(&str, &str); 5] = [
        ("_mtok", "_tokens"),
        ("_mchars", "_characters"),
        ("_hours", "_seconds"),
        ("_kpages", "_pages"),
        ("_kcount", ""),
    ];
    let (stem, ending) = BLOCKS.iter().find_map(|(block, unit)| Some((key.strip_suffix(block)?, unit)))?;
    UsageKey::parse(&format!("{stem}{ending}"))
}
