//! From a call to its lines: find the entry, run its rules, shape the leaves, price each leaf once.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::sync::Arc;

use rust_decimal::Decimal;

use super::exact::{Factors, Rounding, amount, whole_amount};
use super::{Call, Cost, Free, Line, Outcome, Target, Unpriced};
use crate::book::{Match, PriceBook};
use crate::model::{normal, region};
use crate::money::Money;
use crate::table::{Allowance, Cascade, Circumstances, Multiplier, Part, Served, Shape};
use crate::usage::{Family, Leaves, Quantity, UsageKey};

pub(super) fn run(book: &PriceBook, call: &Call<'_>, rounding: Rounding) -> Outcome {
    match cost(book, call, rounding) {
        Ok(cost) => Outcome::Priced(cost),
        Err(reason) => Outcome::Unpriced(reason),
    }
}

fn cost(book: &PriceBook, call: &Call<'_>, rounding: Rounding) -> Result<Cost, Unpriced> {
    let found = book.lookup(call)?;
    let mut lines = Vec::new();
    if !is_free_by_outcome(&found, call) {
        price_leaves(found.parts(), call, rounding, &mut lines)?;
    }
    let total = Money::checked_sum(lines.iter().map(|line| line.amount)).ok_or(Unpriced::OutOfRange)?;
    Ok(Cost { total, lines, table: found.reference.clone() })
}

/// Which outcomes are billed is for the highest layer that says so.
fn is_free_by_outcome(found: &Match<'_>, call: &Call<'_>) -> bool {
    let Target::Tool { outcome, .. } = call.target else { return false };
    let stated = found.parts().iter().rev().find(|part| part.entry.bill_on.is_some());
    stated.is_some_and(|part| !part.entry.bills(outcome))
}

fn price_leaves(
    parts: &[Part<'_>],
    call: &Call<'_>,
    rounding: Rounding,
    lines: &mut Vec<Line>,
) -> Result<(), Unpriced> {
    if call.usage.is_empty() {
        return Err(Unpriced::MissingUsage);
    }
    let mut leaves = Leaves::none();
    call.usage.leaves_into(&mut leaves).map_err(|invalid| Unpriced::InvalidUsage(invalid.to_string()))?;
    let region = OnceCell::new();
    let region_prefix = || region.get_or_init(|| region_prefix(call)).as_deref();
    let attrs = Served { attrs: call.attrs, region_prefix: &region_prefix };
    let circumstances = Circumstances { at: call.at, usage: call.usage, attrs };
    let cascade = Cascade::run(parts, circumstances);
    if !cascade.has_rates() {
        return Err(Unpriced::NoRateAtTime);
    }
    if leaves.has_overlap() {
        refuse_unknown_overlap(&cascade, call)?;
    }
    imply_request(&cascade, call, &mut leaves)?;
    for shape in cascade.shapes() {
        apply(shape, &mut leaves)?;
    }
    lines.reserve_exact(leaves.iter().filter(|leaf| !leaf.1.is_zero()).count());
    let mut unrated = None;
    let mut memo = Memo::default();
    for (unit, quantity) in leaves.iter() {
        if quantity.is_zero() {
            continue;
        }
        match line(&cascade, circumstances, &mut memo, (unit, quantity), rounding, lines) {
            Err(Unpriced::NoRateForUnit(unit)) if is_measured_only(call) => unrated = unrated.or(Some(unit)),
            priced => priced?,
        }
    }
    unrated.filter(|_| lines.is_empty()).map_or(Ok(()), |unit| Err(Unpriced::NoRateForUnit(unit)))
}

/// The region in front of the model's name, with sellers that put one there: the response's name, else the request's.
fn region_prefix<'a>(call: &Call<'a>) -> Option<Cow<'a, str>> {
    let Target::Model { provider, model, request_model } = call.target else { return None };
    let names = [Some(model), request_model].into_iter().flatten();
    names.map(normal).find_map(|name| match name {
        Cow::Borrowed(name) => region::split(provider, name).map(|(region, _)| Cow::Borrowed(region)),
        Cow::Owned(name) => region::split(provider, &name).map(|(region, _)| Cow::Owned(region.to_owned())),
    })
}

/// A tool's entry says what of it is billed; what else was measured, such as how long it ran, costs nothing, as long as
/// something of it has a rate. For a model, usage without a rate means that a price is missing.
const fn is_measured_only(call: &Call<'_>) -> bool {
    matches!(call.target, Target::Tool { .. })
}

/// How many tokens of a kind came from the cache was not said, and cannot be none. Where that kind costs what text costs,
/// it makes no difference; where it does not, the usage says too little for a price.
fn refuse_unknown_overlap(cascade: &Cascade<'_>, call: &Call<'_>) -> Result<(), Unpriced> {
    let same = |one: UsageKey, other: UsageKey| {
        let rate = |key| cascade.of_leaf(key).map(|found| (found.rate.amount, found.rate.per));
        rate(one) == rate(other)
    };
    for (kind, joint) in UsageKey::KINDS_READ {
        let is_open = call.usage.get(*joint).is_none() && call.usage.get(*kind).is_some_and(|count| !count.is_zero());
        if is_open && !(same(*kind, UsageKey::InputTokens) && same(*joint, UsageKey::CacheReadTokens)) {
            let message = format!("cache_read_tokens and {kind} overlap, and {joint} does not say by how many");
            return Err(Unpriced::InvalidUsage(message));
        }
    }
    Ok(())
}

/// A fee per request is owed by every call of a model, said or not.
fn imply_request(cascade: &Cascade<'_>, call: &Call<'_>, leaves: &mut Leaves) -> Result<(), Unpriced> {
    let is_unsaid = call.usage.get(UsageKey::Requests).is_none();
    let is_model = matches!(call.target, Target::Model { .. });
    if is_model
        && is_unsaid
        && cascade.own(UsageKey::Requests).is_some()
        && !leaves.raise(UsageKey::Requests, Decimal::ONE)
    {
        return Err(Unpriced::OutOfRange);
    }
    Ok(())
}

/// Turns what was used into what is billed. Nothing used stays nothing billed.
fn apply(shape: &Shape, leaves: &mut Leaves) -> Result<(), Unpriced> {
    let Some(used) = leaves.sum_within(shape.key).filter(|used| !used.is_zero()) else { return Ok(()) };
    let mut billed = shape.minimum.map_or(used, |minimum| used.max(minimum));
    if let Some(step) = shape.increment {
        let rest = billed.checked_rem(step).ok_or(Unpriced::OutOfRange)?;
        let missing = if rest.is_zero() { Some(Decimal::ZERO) } else { step.checked_sub(rest) };
        billed = missing.and_then(|missing| billed.checked_add(missing)).ok_or(Unpriced::OutOfRange)?;
    }
    billed = shape.cap.map_or(billed, |cap| billed.min(cap));
    if billed > used {
        let more = billed.checked_sub(used).ok_or(Unpriced::OutOfRange)?;
        return if leaves.raise(shape.key, more) { Ok(()) } else { Err(Unpriced::OutOfRange) };
    }
    if billed < used {
        leaves.lower(shape.key, used.checked_sub(billed).ok_or(Unpriced::OutOfRange)?);
    }
    Ok(())
}

/// What was found for one line of a call and holds for others too: a line of its own costs no memory.
#[derive(Default)]
struct Memo<'a> {
    /// Of the last family: the lines of a family stand together.
    multiplier: Option<(Family, Multiplier)>,
    free: Vec<(&'a Allowance, Option<Arc<Free>>)>,
}

impl<'a> Memo<'a> {
    fn multiplier(&mut self, cascade: &Cascade<'a>, family: Family, at: Circumstances<'_>) -> Option<Multiplier> {
        if let Some((_, known)) = self.multiplier.as_ref().filter(|(known, _)| *known == family) {
            return Some(known.clone());
        }
        let multiplier = cascade.multiplier(family, at)?;
        self.multiplier = Some((family, multiplier.clone()));
        Some(multiplier)
    }

    fn free(&mut self, cascade: &Cascade<'a>, unit: UsageKey, at: Circumstances<'_>) -> Option<Arc<Free>> {
        let allowance = cascade.allowance(unit, at)?;
        if let Some((_, free)) = self.free.iter().find(|(known, _)| std::ptr::eq(*known, allowance)) {
            return free.clone();
        }
        let free = allowance.at(at.at).map(Arc::new);
        self.free.push((allowance, free.clone()));
        free
    }
}

/// Adds a leaf's line. Made where it stays: a line is large, and moving it would cost as much as finding its rate.
#[inline]
fn line<'a>(
    cascade: &Cascade<'a>,
    circumstances: Circumstances<'_>,
    memo: &mut Memo<'a>,
    (unit, quantity): (UsageKey, Quantity),
    rounding: Rounding,
    lines: &mut Vec<Line>,
) -> Result<(), Unpriced> {
    let found = cascade.of_leaf(unit).ok_or(Unpriced::NoRateForUnit(unit))?;
    let multiplier = memo.multiplier(cascade, found.unit.family(), circumstances);
    let (factor, text) = multiplier.ok_or(Unpriced::OutOfRange)?.unzip();
    let fx = match found.part.table.exchange() {
        None => None,
        Some(exchange) => Some(exchange.at(circumstances).ok_or(Unpriced::NoRateAtTime)?),
    };
    let amount = match (quantity.as_u64(), found.rate.unit_scaled, factor, fx) {
        (Some(count), Some(unit), None, None) => whole_amount(count, unit),
        _ => {
            let (quantity, rate) = (quantity.decimal(), found.rate.amount);
            let factors = Factors { quantity, rate, multiplier: factor, fx: fx.map(|fx| fx.usd) };
            amount(&factors, found.rate.per, rounding)
        }
    };
    let amount = amount.ok_or(Unpriced::OutOfRange)?;
    let free = memo.free(cascade, unit, circumstances);
    lines.push(Line {
        unit,
        quantity,
        rate_unit: found.unit,
        rate: found.rate.amount,
        per: found.rate.per,
        layer: found.layer,
        rule: found.rule,
        multiplier: text,
        fx: fx.cloned(),
        free,
        amount,
    });
    Ok(())
}
