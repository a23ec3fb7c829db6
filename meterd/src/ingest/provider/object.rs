//! JSON objects read lazily: the pairs of one level as raw text, and what stands at a path inside them.
//!
//! Never builds a tree and never reads a number through a binary float. The text is known to be valid JSON.

use std::borrow::Cow;
use std::fmt;

use rust_decimal::Decimal;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::event::Rejection;

/// The pairs of one object, in their order.
#[derive(Debug, Default)]
pub(super) struct Object<'a>(Vec<(Cow<'a, str>, &'a str)>);

impl<'a> Object<'a> {
    /// The object that this text is; `None` for anything else.
    pub(super) fn parse(raw: &'a str) -> Option<Self> {
        if !raw.trim_ascii_start().starts_with('{') {
            return None;
        }
        serde_json::from_str(raw).ok()
    }

    /// The same, with the reason why not.
    pub(super) fn try_parse(raw: &'a str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(raw)
    }

    /// Every pair, nulls too.
    pub(super) fn pairs(&self) -> impl Iterator<Item = (&str, &'a str)> + '_ {
        self.0.iter().map(|(key, raw)| (&**key, *raw))
    }

    /// The raw text of one field. `null` is the same as leaving it out; `promptTokenCount` is found as
    /// `prompt_token_count` too, because clients dump bodies in the spelling of their language.
    pub(super) fn get(&self, name: &str) -> Option<&'a str> {
        let exact = self.0.iter().rev().find(|(key, _)| key == name);
        let found = exact.or_else(|| self.0.iter().rev().find(|(key, _)| is_spelling(key, name)));
        found.map(|(_, raw)| *raw).filter(|raw| *raw != "null")
    }

    /// The raw text at a dotted path.
    pub(super) fn at(&self, path: &str) -> Option<&'a str> {
        match path.split_once('.') {
            None => self.get(path),
            Some((first, rest)) => Object::parse(self.get(first)?)?.at(rest),
        }
    }

    /// The object at a dotted path.
    pub(super) fn object(&self, path: &str) -> Option<Object<'a>> {
        Object::parse(self.at(path)?)
    }

    /// The text at a dotted path; `None` where it is empty or no text.
    pub(super) fn text(&self, path: &str) -> Option<Cow<'a, str>> {
        text(self.at(path)?).filter(|text| !text.is_empty())
    }

    /// The elements at a dotted path; none where there is no array.
    pub(super) fn elements(&self, path: &str) -> Vec<&'a str> {
        self.at(path).and_then(elements).unwrap_or_default()
    }

    /// The objects among the elements at a dotted path.
    pub(super) fn objects(&self, path: &str) -> Vec<Object<'a>> {
        self.elements(path).into_iter().filter_map(Object::parse).collect()
    }
}

impl<'de> Deserialize<'de> for Object<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = Object<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object<'de>, A::Error> {
                let mut pairs = Vec::new();
                while let Some(Key(key)) = map.next_key()? {
                    pairs.push((key, map.next_value::<&'de RawValue>()?.get()));
                }
                Ok(Object(pairs))
            }
        }
        deserializer.deserialize_map(Pairs)
    }
}

#[derive(serde::Deserialize)]
#[serde(transparent)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

/// The same letters and digits, whatever the case and the underscores.
fn is_spelling(key: &str, name: &str) -> bool {
    letters(key).eq(letters(name))
}

fn letters(text: &str) -> impl Iterator<Item = u8> + '_ {
    text.bytes().filter(|byte| *byte != b'_').map(|byte| byte.to_ascii_lowercase())
}

/// The text that this raw string stands for.
pub(super) fn text(raw: &str) -> Option<Cow<'_, str>> {
    let inner = raw.strip_prefix('"')?.strip_suffix('"')?;
    if !inner.contains('\\') {
        return Some(Cow::Borrowed(inner));
    }
    serde_json::from_str::<String>(raw).ok().map(Cow::Owned)
}

/// The elements of a raw array.
pub(super) fn elements(raw: &str) -> Option<Vec<&str>> {
    if !raw.starts_with('[') {
        return None;
    }
    let elements: Vec<&RawValue> = serde_json::from_str(raw).ok()?;
    Some(elements.into_iter().map(RawValue::get).collect())
}

/// A whole, non-negative number: `12`, `12.0`, `1.2e1` or any of these in quotes.
pub(super) fn count(pointer: &str, raw: &str) -> Result<u64, Rejection> {
    if raw.len() <= 15 && raw.bytes().all(|byte| byte.is_ascii_digit()) {
        return raw.parse().map_err(|_| not_a_count(pointer, raw));
    }
    let quoted = text(raw);
    let literal = quoted.as_deref().unwrap_or(raw).trim();
    let number = literal.parse::<Decimal>().or_else(|_| Decimal::from_scientific(literal));
    let whole = number.ok().map(|number| number.normalize()).filter(|number| number.scale() == 0);
    let count = whole.and_then(|number| u64::try_from(number).ok());
    count.filter(|count| *count <= pricing::usage::QUANTITY_MAX).ok_or_else(|| not_a_count(pointer, raw))
}

fn not_a_count(pointer: &str, raw: &str) -> Rejection {
    let shown: String = raw.chars().filter(|c| !c.is_control()).take(32).collect();
    let message = format!("{shown} is no count: a usage number is whole, never negative and at most 10^16");
    Rejection::new("invalid_usage", pointer, message)
}
