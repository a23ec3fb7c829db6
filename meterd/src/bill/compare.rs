//! Billed beside metered, by day and model: the captured share, what is unexplained, and what it is likely due to.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use pricing::{Money, Timestamp};
use serde::Serialize;

use super::read::Billed;

/// Differences below this share of a bill, in thousandths, are rounding of the report.
const ROUNDING_PER_MILLE: i128 = 1;

/// What was metered for one day and model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metered {
    /// Start of the day, UTC.
    pub day: Timestamp,
    /// Model.
    pub model: Arc<str>,
    /// Its cost.
    pub cost: Money,
    /// Calls without a price among them.
    pub unpriced_calls: i64,
    /// Tokens read from or written to a cache.
    pub cached_tokens: u64,
    /// Tokens of every type.
    pub tokens: u64,
}

/// What a difference is likely due to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// None to speak of.
    Agrees,
    /// Billed, and nothing was metered: traffic that meterd does not see.
    UnmeteredTraffic,
    /// Metered, and nothing is billed: another account, another name, or a free quota.
    NotBilled,
    /// Calls without a price are among the metered ones: they wait in quarantine.
    UnpricedCalls,
    /// Much of the usage is cached: the price of cached tokens, or whether input contains them.
    CacheConvention,
    /// The price differs, or a part of the traffic is not metered.
    PriceOrTraffic,
}

/// One line of the comparison.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Compared {
    /// Start of the day, UTC.
    pub day: Timestamp,
    /// Model; `None` compares the whole day, because the report names no models.
    pub model: Option<Arc<str>>,
    /// On the bill.
    pub billed_usd: Money,
    /// Metered.
    pub metered_usd: Money,
    /// Billed less metered.
    pub difference_usd: Money,
    /// Metered over billed, six decimals; `None` when nothing is billed.
    pub captured: Option<String>,
    /// What it is likely due to.
    pub cause: Cause,
    /// Metered models that are compared here.
    pub metered_models: Vec<Arc<str>>,
}

/// The comparison.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// By day and model.
    pub rows: Vec<Compared>,
    /// On the bill.
    pub billed_usd: Money,
    /// Metered in the days of the bill.
    pub metered_usd: Money,
    /// Billed less metered.
    pub difference_usd: Money,
    /// Metered over billed, six decimals.
    pub captured: Option<String>,
}

#[derive(Clone, Debug, Default)]
struct Side {
    models: BTreeSet<Arc<str>>,
    billed: Money,
    metered: Money,
    unpriced: i64,
    cached: u64,
    tokens: u64,
}

/// Compares a bill with what was metered in its days. A model of the bill is a metered one when one name begins with the other:
/// reports add dates and versions.
#[must_use]
pub fn compare(billed: &[Billed], metered: &[Metered]) -> Report {
    let days: BTreeSet<Timestamp> = billed.iter().map(|line| line.day).collect();
    let by_model = billed.iter().any(|line| line.model.is_some());
    let mut sides: BTreeMap<(Timestamp, Option<Arc<str>>), Side> = BTreeMap::new();
    for line in billed {
        let side = sides.entry((line.day, line.model.clone())).or_default();
        side.billed = plus(side.billed, line.cost_usd);
    }
    for line in metered.iter().filter(|line| days.contains(&line.day)) {
        let model = by_model.then(|| name_on_bill(billed, line));
        let side = sides.entry((line.day, model)).or_default();
        side.models.insert(line.model.clone());
        side.metered = plus(side.metered, line.cost);
        side.unpriced = side.unpriced.saturating_add(line.unpriced_calls);
        side.cached = side.cached.saturating_add(line.cached_tokens);
        side.tokens = side.tokens.saturating_add(line.tokens);
    }
    let rows: Vec<Compared> = sides.into_iter().map(|((day, model), side)| row(day, model, side)).collect();
    let sum = |of: fn(&Compared) -> Money| rows.iter().map(of).fold(Money::ZERO, plus);
    let (billed_usd, metered_usd) = (sum(|row| row.billed_usd), sum(|row| row.metered_usd));
    let difference_usd = less(billed_usd, metered_usd);
    let captured = captured(metered_usd, billed_usd);
    Report { rows, billed_usd, metered_usd, difference_usd, captured }
}

/// The bill's name for a metered model, of the same day: the longest that begins like it; its own where there is none.
fn name_on_bill(billed: &[Billed], line: &Metered) -> Arc<str> {
    let of_day = billed.iter().filter(|other| other.day == line.day).filter_map(|other| other.model.as_ref());
    let alike = of_day.filter(|name| {
        let (name, own) = (name.to_ascii_lowercase(), line.model.to_ascii_lowercase());
        let part = own.rsplit(['/', '.']).next().unwrap_or(&own);
        name == own || is_version_of(&name, &own) || is_version_of(&own, &name) || name.contains(part)
    });
    let best = alike.max_by_key(|name| (***name == *line.model, std::cmp::Reverse(name.len())));
    best.cloned().unwrap_or_else(|| line.model.clone())
}

/// Is `long` the name `short` with a version or date after it?
fn is_version_of(long: &str, short: &str) -> bool {
    long.strip_prefix(short)
        .is_some_and(|rest| rest.trim_start_matches(['-', '@', ':', 'v']).starts_with(|c: char| c.is_ascii_digit()))
}

fn row(day: Timestamp, model: Option<Arc<str>>, side: Side) -> Compared {
    let Side { billed, metered, .. } = side;
    let difference_usd = less(billed, metered);
    Compared {
        day,
        model,
        billed_usd: billed,
        metered_usd: metered,
        difference_usd,
        captured: captured(metered, billed),
        cause: cause(&side, difference_usd),
        metered_models: side.models.into_iter().collect(),
    }
}

fn cause(side: &Side, difference: Money) -> Cause {
    let small = difference.scaled().abs().saturating_mul(1_000)
        <= side.billed.scaled().abs().saturating_mul(ROUNDING_PER_MILLE);
    match side {
        _ if small => Cause::Agrees,
        Side { metered, .. } if metered.is_zero() && side.unpriced == 0 => Cause::UnmeteredTraffic,
        Side { billed, .. } if billed.is_zero() => Cause::NotBilled,
        Side { unpriced, .. } if *unpriced > 0 => Cause::UnpricedCalls,
        // A fifth of the tokens is much.
        Side { cached, tokens, .. } if cached.saturating_mul(5) > *tokens => Cause::CacheConvention,
        _ => Cause::PriceOrTraffic,
    }
}

fn plus(sum: Money, more: Money) -> Money {
    sum.checked_add(more).unwrap_or(sum)
}

fn less(from: Money, what: Money) -> Money {
    from.checked_sub(what).unwrap_or(from)
}

/// Six decimals, rounded down.
fn captured(metered: Money, billed: Money) -> Option<String> {
    let millionths = metered.scaled().checked_mul(1_000_000)?.checked_div(billed.scaled())?;
    let sign = if millionths < 0 { "-" } else { "" };
    let millionths = millionths.unsigned_abs();
    Some(format!("{sign}{}.{:06}", millionths / 1_000_000, millionths % 1_000_000))
}
