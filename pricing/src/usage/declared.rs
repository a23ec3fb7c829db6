//! Usage as declared: few pairs, sorted by key, each key once. Checked by its leaves.

use std::fmt;

use serde::de::{self, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{InvalidUsage, Leaves, Quantity, TokenTotals, UsageKey};

/// Declared usage: few pairs, sorted by key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage(Vec<(UsageKey, Quantity)>);

impl Usage {
    /// Nothing declared.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Declares a quantity, in place of an earlier one. Tokens and counts must be whole.
    pub fn set(&mut self, key: UsageKey, quantity: Quantity) -> Result<(), InvalidUsage> {
        if key.is_whole() && !quantity.is_whole() {
            return Err(InvalidUsage::Fractional { key, quantity });
        }
        match self.0.binary_search_by_key(&key, |(known, _)| *known) {
            Ok(found) => {
                if let Some(pair) = self.0.get_mut(found) {
                    pair.1 = quantity;
                }
            }
            Err(gap) => self.0.insert(gap, (key, quantity)),
        }
        Ok(())
    }

    /// The declared quantity; `None` where nothing was said, which is not zero.
    #[must_use]
    pub fn get(&self, key: UsageKey) -> Option<Quantity> {
        let found = self.0.binary_search_by_key(&key, |(known, _)| *known).ok()?;
        self.0.get(found).map(|(_, quantity)| *quantity)
    }

    /// The declared whole quantity, 0 where nothing was said; a fraction is rounded down.
    #[must_use]
    pub fn count(&self, key: UsageKey) -> u64 {
        let quantity = self.get(key).unwrap_or_default();
        u64::try_from(quantity.decimal().trunc().normalize().mantissa()).unwrap_or(0)
    }

    /// The declared pairs, in the order of the keys' codes.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (UsageKey, Quantity)> + '_ {
        self.0.iter().copied()
    }

    /// Nothing declared?
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Do all parts fit into the totals that contain them?
    pub fn validate(&self) -> Result<(), InvalidUsage> {
        self.leaves().map(|_| ())
    }

    /// The disjoint leaves that the declared totals and subsets stand for.
    pub fn leaves(&self) -> Result<Leaves, InvalidUsage> {
        let mut leaves = Leaves::none();
        self.leaves_into(&mut leaves)?;
        Ok(leaves)
    }

    /// The same, written over `leaves`.
    pub(crate) fn leaves_into(&self, leaves: &mut Leaves) -> Result<(), InvalidUsage> {
        leaves.fill(&self.0)
    }

    /// Disjoint token counts.
    pub fn tokens(&self) -> Result<TokenTotals, InvalidUsage> {
        TokenTotals::of(self)
    }
}

impl Serialize for Usage {
    /// Where people read: `{name: quantity}`. Elsewhere: a list of pairs.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if !serializer.is_human_readable() {
            return self.0.serialize(serializer);
        }
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (key, quantity) in &self.0 {
            map.serialize_entry(key, quantity)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Usage {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            return deserializer.deserialize_map(HumanForm);
        }
        let pairs = Vec::<(UsageKey, Quantity)>::deserialize(deserializer)?;
        // As it was written: in order, each key once, whole where it must be.
        let in_order = pairs.iter().zip(pairs.iter().skip(1)).all(|((key, _), (next, _))| key < next);
        if in_order && pairs.iter().all(|(key, quantity)| !key.is_whole() || quantity.is_whole()) {
            return Ok(Self(pairs));
        }
        let mut usage = Self::new();
        for (key, quantity) in pairs {
            usage.set_once(key, quantity).map_err(de::Error::custom)?;
        }
        Ok(usage)
    }
}

impl Usage {
    fn set_once(&mut self, key: UsageKey, quantity: Quantity) -> Result<(), String> {
        if self.get(key).is_some() {
            return Err(format!("{key} is given twice"));
        }
        self.set(key, quantity).map_err(|invalid| invalid.to_string())
    }
}

struct HumanForm;

impl<'de> Visitor<'de> for HumanForm {
    type Value = Usage;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map of usage names to quantities")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Usage, A::Error> {
        let mut usage = Usage::new();
        while let Some(key) = map.next_key::<UsageKey>()? {
            let quantity: Quantity = map.next_value()?;
            usage.set_once(key, quantity).map_err(de::Error::custom)?;
        }
        Ok(usage)
    }
}
