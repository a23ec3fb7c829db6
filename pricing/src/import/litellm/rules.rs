//! One entry → ordered rules, so that the same price wins for every request.
//!
//! LiteLLM looks for the price of a unit above the highest threshold passed and for the service tier, then above the
//! threshold, then for the tier, then for the plain one. Here the last writer of a unit wins, so they stand in reverse.
//! A table of tiers and the prices of batches replace all token prices. Off-peak prices win over everything.

use rust_decimal::Decimal;

use super::card::{Card, Kind, Prices};
use super::keys::{BATCHES, Scope};
use super::names::family;
use super::source::Fields;
use super::special;
use crate::import::draft::{Adjust, Bound, Rule, Test, When};
use crate::import::rate::per_block;
use crate::usage::{Family, UsageKey};

/// What an entry comes to.
#[derive(Debug, Default)]
pub(super) struct Rates {
    pub(super) rules: Vec<Rule>,
    pub(super) adjusts: Vec<Adjust>,
    pub(super) cap: Vec<(UsageKey, &'static str)>,
    pub(super) left_out: Vec<(String, String)>,
}

/// Providers whose thresholds count as passed when they are reached.
const INCLUSIVE: [&str; 1] = ["xai"];
/// Providers that bill a grounded prompt once, however many searches it took, unless the entry says otherwise.
const SEARCHES_PER_PROMPT: [&str; 2] = ["gemini", "vertex_ai"];
/// Providers whose cached tokens cost half where no price is stated. LiteLLM has this in its code.
const CACHED_AT_HALF: [&str; 1] = ["fireworks_ai"];

/// The rates of the entry under `key`, which `seller` sells.
pub(super) fn rates(seller: &str, key: &str, fields: &Fields) -> Rates {
    let kind = Kind::of(key, fields);
    let mut card = Card::read(&kind, fields);
    let mut rates = Rates { left_out: std::mem::take(&mut card.left_out), ..Rates::default() };
    let seller = family(seller);
    let mut base = card.scopes.remove(&Scope::default()).unwrap_or_default();
    if CACHED_AT_HALF.contains(&seller)
        && let Some(half) = base.get(&UsageKey::InputTokens).and_then(|price| half(*price))
    {
        base.entry(UsageKey::CacheReadTokens).or_insert(half);
    }
    let searches = rates.take(special::searches(seller, fields));
    base.extend(
        searches.iter().flatten().filter(|(size, _)| size.is_none()).map(|(_, price)| (UsageKey::WebSearches, *price)),
    );
    let (tiers, results) = rates.take(special::tiered(fields)).unwrap_or_default();
    base.extend(results.first().map(|(_, price)| (UsageKey::SearchQueries, *price)));
    let others: Prices = base.iter().filter(|(unit, _)| !is_token(unit)).map(|(unit, price)| (*unit, *price)).collect();
    if let Some((_, first)) = tiers.first() {
        base = others.clone();
        base.extend(first);
    }
    free_what_is_not_billed(&mut base, &card);
    rates.push(false, When::default(), &base);
    rates.scopes(seller, &card);
    for (start, tier) in tiers.iter().skip(1) {
        let mut set = others.clone();
        set.extend(tier);
        rates.push(true, above(seller, Some(*start)), &set);
    }
    rates.batches(seller, &card, &base, &others);
    rates.conditions(&card);
    for (size, price) in searches.iter().flatten() {
        if let Some(size) = size {
            rates.push(false, is("search_context_size", size), &Prices::from([(UsageKey::WebSearches, *price)]));
        }
    }
    for (least, price) in results.iter().skip(1) {
        let when = When { attrs: [("max_results".to_owned(), Test::Reaches(*least))].into(), ..When::default() };
        rates.push(false, when, &Prices::from([(UsageKey::SearchQueries, *price)]));
    }
    rates.specials(fields);
    if SEARCHES_PER_PROMPT.contains(&seller)
        && base.contains_key(&UsageKey::WebSearches)
        && !special::is_billed_per_query(fields)
    {
        rates.cap.push((UsageKey::WebSearches, "1"));
    }
    rates
}

impl Rates {
    /// A part, or a report why there is none.
    fn take<T>(&mut self, part: Result<T, (&'static str, String)>) -> Option<T> {
        part.map_err(|(what, why)| self.left_out.push((what.to_owned(), why))).ok()
    }

    /// A rule, with every price for its unit's block.
    fn push(&mut self, reset: bool, when: When, prices: &Prices) {
        let mut set = Prices::new();
        for (unit, price) in prices {
            match per_block(*price, unit.family().default_per()) {
                Some(rate) => {
                    set.insert(*unit, rate);
                }
                None => self.left_out.push((unit.as_str().to_owned(), format!("{price} is out of range"))),
            }
        }
        if !set.is_empty() {
            self.rules.push(Rule { reset, when, set });
        }
    }

    /// Thresholds and service tiers.
    fn scopes(&mut self, seller: &str, card: &Card) {
        for (scope, prices) in card.scopes.iter().filter(|(scope, _)| scope.tier != Some(BATCHES)) {
            let mut when = above(seller, scope.above);
            when.attrs.extend(scope.tier.map(|tier| ("service_tier".to_owned(), Test::Is(tier.to_owned()))));
            self.push(false, when, prices);
        }
    }

    /// Prices of batches replace those of all tokens. Of a batch with a price for one direction, the other costs half:
    /// LiteLLM has this in its code. Without any price for batches, nothing is assumed.
    fn batches(&mut self, seller: &str, card: &Card, base: &Prices, others: &Prices) {
        let directions = [UsageKey::InputTokens, UsageKey::OutputTokens];
        for (scope, prices) in card.scopes.iter().filter(|(scope, _)| scope.tier == Some(BATCHES)) {
            let replaces = scope.above.is_none() && directions.iter().any(|total| prices.contains_key(total));
            let mut set = if replaces { others.clone() } else { Prices::new() };
            set.extend(prices);
            for total in directions.iter().filter(|_| replaces) {
                let missing = base.get(total).and_then(|price| half(*price));
                if let Some(price) = missing {
                    set.entry(*total).or_insert(price);
                }
            }
            let mut when = above(seller, scope.above);
            when.attrs.insert("processing".to_owned(), Test::Is("batch".to_owned()));
            self.push(replaces, when, &set);
        }
    }

    /// Sizes and lengths.
    fn conditions(&mut self, card: &Card) {
        for (unit, seconds, price) in &card.lengths {
            let when = When { usage: Some((*unit, Bound::Above(*seconds))), ..When::default() };
            self.push(false, when, &Prices::from([(*unit, *price)]));
        }
        for (unit, resolution, price) in &card.resolutions {
            self.push(false, is("resolution", resolution), &Prices::from([(*unit, *price)]));
        }
    }

    fn specials(&mut self, fields: &Fields) {
        for (policy, price) in self.take(special::guardrails(fields)).unwrap_or_default() {
            self.push(false, is("guardrail_policy", &policy), &Prices::from([(UsageKey::GuardrailUnits, price)]));
        }
        if let Some(price) = self.take(special::explicit_cache(fields)).flatten() {
            self.push(false, is("cache", "explicit"), &Prices::from([(UsageKey::CacheReadTokens, price)]));
        }
        if let Some((windows, prices)) = self.take(special::off_peak(fields)).flatten() {
            self.push(false, When { windows, ..When::default() }, &prices);
        }
        for (key, multiply) in special::multipliers(fields) {
            match multiply {
                Ok((name, when, multiply)) => self.adjusts.push(Adjust { name: name.to_owned(), when, multiply }),
                Err(why) => self.left_out.push((key, why)),
            }
        }
    }
}

/// To LiteLLM, tokens without a price cost nothing. Here a missing rate means "unknown", so the 0 must be written,
/// where any tokens of the entry have a price.
fn free_what_is_not_billed(base: &mut Prices, card: &Card) {
    let is_priced = |total: UsageKey| {
        let units = card.scopes.values().flat_map(Prices::keys).chain(base.keys());
        units.filter(|unit| is_token(unit)).any(|unit| unit.is_within(total))
    };
    let directions = [UsageKey::InputTokens, UsageKey::OutputTokens];
    if directions.into_iter().any(is_priced) {
        for total in directions {
            base.entry(total).or_insert(Decimal::ZERO);
        }
    }
}

fn is_token(unit: &UsageKey) -> bool {
    unit.family() == Family::Tokens
}

fn half(price: Decimal) -> Option<Decimal> {
    price.checked_mul(Decimal::new(5, 1)).map(|half| half.normalize())
}

fn above(seller: &str, limit: Option<u64>) -> When {
    let bound =
        limit.map(|limit| if INCLUSIVE.contains(&seller) { Bound::AtLeast(limit) } else { Bound::Above(limit) });
    When { usage: bound.map(|bound| (UsageKey::InputTokens, bound)), ..When::default() }
}

pub(super) fn is(attr: &str, value: &str) -> When {
    When { attrs: [(attr.to_owned(), Test::Is(value.to_owned()))].into(), ..When::default() }
}
