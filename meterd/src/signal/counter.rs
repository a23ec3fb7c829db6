//! A counter as the wire shows it: budget, window, and in its unit limit, spent, held and what remains. Written straight into
//! the answer, since every reservation has one for each counter that binds it.

use std::fmt;

use budget::Unit;
use budget::signal::CounterAt;
use pricing::Money;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::Value;

use super::{source_word, unit_word};

/// Shows a counter.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a>(pub &'a CounterAt);

/// A figure of a unit: dollars as an exact decimal text, the rest as a number.
struct Figure(Unit, i128);

impl Serialize for Shown<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let counter = self.0;
        let remaining = (counter.limit - counter.spent - counter.held).max(0);
        let [limit, spent, held, left] = names(counter.unit);
        let mut map = serializer.serialize_map(Some(13))?;
        map.serialize_entry("name", &counter.budget.name)?;
        map.serialize_entry("namespace", &counter.budget.namespace)?;
        map.serialize_entry("source", source_word(counter.source))?;
        map.serialize_entry("generation", &counter.generation)?;
        map.serialize_entry("window", counter.window.as_str())?;
        map.serialize_entry("unit", unit_word(counter.unit))?;
        map.serialize_entry("windowStart", &counter.span.start)?;
        map.serialize_entry("resetsAt", &counter.resets_at.or(counter.span.end))?;
        map.serialize_entry("agent", &counter.agent)?;
        map.serialize_entry(limit, &Figure(counter.unit, counter.limit))?;
        map.serialize_entry(spent, &Figure(counter.unit, counter.spent))?;
        map.serialize_entry(held, &Figure(counter.unit, counter.held))?;
        map.serialize_entry(left, &Figure(counter.unit, remaining))?;
        map.end()
    }
}

const fn names(unit: Unit) -> [&'static str; 4] {
    match unit {
        Unit::Usd => ["limitUsd", "spentUsd", "heldUsd", "remainingUsd"],
        Unit::Tokens => ["limitTokens", "spentTokens", "heldTokens", "remainingTokens"],
        Unit::ToolCalls => ["limitToolCalls", "spentToolCalls", "heldToolCalls", "remainingToolCalls"],
        Unit::ModelCalls => ["limitModelCalls", "spentModelCalls", "heldModelCalls", "remainingModelCalls"],
    }
}

impl Serialize for Figure {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match u64::try_from(self.1) {
            Ok(count) if self.0 != Unit::Usd => serializer.serialize_u64(count),
            _ => serializer.collect_str(self),
        }
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0, Money::from_scaled(self.1)) {
            (Unit::Usd, Some(money)) => money.fmt(f),
            (Unit::Usd, None) => f.write_str("out of range"),
            _ => self.1.fmt(f),
        }
    }
}

/// An amount in its unit: dollars as an exact decimal, the rest as a count.
#[must_use]
pub fn amount(unit: Unit, amount: i128) -> String {
    Figure(unit, amount).to_string()
}

/// The same as a value, for answers that are made of several parts.
#[must_use]
pub fn counter_json(counter: &CounterAt) -> Value {
    // Texts and numbers alone: nothing of it can fail.
    serde_json::to_value(Shown(counter)).unwrap_or_default()
}
