//! Served attributes of a call: few pairs of text, sorted by key, each key once.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::de::{MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Served attributes that decide a price: few pairs, sorted by key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attrs(Vec<(Arc<str>, Arc<str>)>);

impl Attrs {
    /// No attributes.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Sets an attribute, in place of an earlier one.
    pub fn set(&mut self, key: &str, value: &str) {
        match self.position(key) {
            Ok(found) => {
                if let Some(pair) = self.0.get_mut(found) {
                    pair.1 = Arc::from(value);
                }
            }
            Err(gap) => self.0.insert(gap, (Arc::from(key), Arc::from(value))),
        }
    }

    /// An attribute's value.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        let found = self.position(key).ok()?;
        self.0.get(found).map(|(_, value)| &**value)
    }

    /// The pairs, sorted by key.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> + '_ {
        self.0.iter().map(|(key, value)| (&**key, &**value))
    }

    /// No attributes?
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn position(&self, key: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|(known, _)| (**known).cmp(key))
    }
}

impl Serialize for Attrs {
    /// Where people read: `{key: value}`. Elsewhere: a list of pairs.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if !serializer.is_human_readable() {
            return self.0.serialize(serializer);
        }
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (key, value) in self.iter() {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Attrs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            return deserializer.deserialize_map(HumanForm);
        }
        let pairs = crate::text::pairs(deserializer)?;
        if pairs.iter().zip(pairs.iter().skip(1)).all(|((key, _), (next, _))| key < next) {
            return Ok(Self(pairs));
        }
        Ok(Self(pairs.into_iter().collect::<BTreeMap<_, _>>().into_iter().collect()))
    }
}

struct HumanForm;

impl<'de> Visitor<'de> for HumanForm {
    type Value = Attrs;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map of attribute names to text")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Attrs, A::Error> {
        let mut pairs = BTreeMap::<Arc<str>, Arc<str>>::new();
        while let Some((key, value)) = map.next_entry()? {
            pairs.insert(key, value);
        }
        Ok(Attrs(pairs.into_iter().collect()))
    }
}
