//! Texts as facts hold them: read into their place at once, and names that come again and again shared. Never a format: what is
//! read with these functions reads the same without them, only slower.
//!
//! A fact has a dozen texts. `Arc<str>` as serde reads it takes two allocations each; here one, or for a name that was met
//! lately none. What is shared is kept for each thread, bounded, and never seen: two equal texts are equal wherever they lie.

use std::cell::RefCell;
use std::fmt;
use std::hash::Hasher;
use std::sync::Arc;

use rustc_hash::FxHasher;
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer};

/// Names that a thread shares at most; a power of two.
const NAMES_MAX: usize = 4_096;
/// Longer ones are not shared.
const NAME_BYTES_MAX: usize = 128;

thread_local! {
    static NAMES: RefCell<Vec<Option<Arc<str>>>> = const { RefCell::new(Vec::new()) };
}

/// Pairs of names.
pub type Pairs = Vec<(Arc<str>, Arc<str>)>;

/// `#[serde(deserialize_with = "pricing::text::id")]`: a text that is hardly ever met twice.
pub fn id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<str>, D::Error> {
    Id::deserialize(deserializer).map(|id| id.0)
}

/// The same for one that may be missing.
pub fn maybe_id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Arc<str>>, D::Error> {
    Ok(Option::<Id>::deserialize(deserializer)?.map(|id| id.0))
}

/// `#[serde(deserialize_with = "pricing::text::name")]`: a text that many facts have.
pub fn name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<str>, D::Error> {
    Name::deserialize(deserializer).map(|name| name.0)
}

/// The same for one that may be missing.
pub fn maybe_name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Arc<str>>, D::Error> {
    Ok(Option::<Name>::deserialize(deserializer)?.map(|name| name.0))
}

/// The same for pairs of them.
pub fn pairs<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Pairs, D::Error> {
    let pairs = Vec::<(Name, Name)>::deserialize(deserializer)?;
    Ok(pairs.into_iter().map(|(key, value)| (key.0, value.0)).collect())
}

/// A name as a fact holds it, shared with an equal one that this thread met lately.
pub fn shared(text: &str) -> Arc<str> {
    if text.len() > NAME_BYTES_MAX {
        return Arc::from(text);
    }
    NAMES.with_borrow_mut(|names| {
        if names.is_empty() {
            names.resize(NAMES_MAX, None);
        }
        let mut hasher = FxHasher::default();
        hasher.write(text.as_bytes());
        // Two places, so that two names which fall on one do not put each other out for ever.
        let first = usize::try_from(hasher.finish() >> 20).unwrap_or(0) & (NAMES_MAX - 1);
        for place in [first, first ^ 1] {
            if let Some(Some(known)) = names.get(place)
                && **known == *text
            {
                return Arc::clone(known);
            }
        }
        let new: Arc<str> = Arc::from(text);
        let older = names.get_mut(first).and_then(|place| place.replace(Arc::clone(&new)));
        if let (Some(older), Some(place)) = (older, names.get_mut(first ^ 1)) {
            *place = Some(older);
        }
        new
    })
}

struct Id(Arc<str>);

struct Name(Arc<str>);

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Text(|text: &str| Arc::from(text))).map(Self)
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Text(shared)).map(Self)
    }
}

/// Makes something of a text where it lies.
struct Text<F>(F);

impl<T, F: FnOnce(&str) -> T> Visitor<'_> for Text<F> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        Ok((self.0)(text))
    }
}

#[cfg(test)]
mod tests;
