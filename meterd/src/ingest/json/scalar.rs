//! Raw JSON text of one value → a string, a boolean, a number's literal, or the pairs of an object, each with its pointer.
//!
//! The text is known to be valid JSON; only its type is in question here.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::fields::{duplicate, shown};
use crate::event::{Rejection, escape_pointer};

/// A string, borrowed when it needs no unescaping.
pub(super) fn string<'a>(pointer: &str, raw: &'a str) -> Result<Cow<'a, str>, Rejection> {
    let Some(inner) = raw.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else {
        return Err(wrong_type(pointer, "a string", raw));
    };
    if !inner.contains('\\') {
        return Ok(Cow::Borrowed(inner));
    }
    serde_json::from_str::<String>(raw).map(Cow::Owned).map_err(|_| {
        Rejection::new("invalid_value", pointer, "this string holds an escape that is no Unicode character")
    })
}

/// `true` or `false`.
pub(super) fn boolean(pointer: &str, raw: &str) -> Result<bool, Rejection> {
    match raw {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(wrong_type(pointer, "true or false", raw)),
    }
}

/// Is this a JSON number?
pub(super) fn is_number(raw: &str) -> bool {
    raw.starts_with(|c: char| c == '-' || c.is_ascii_digit())
}

/// What was expected and what stood there.
pub(super) fn wrong_type(pointer: &str, expected: &str, raw: &str) -> Rejection {
    let found = match raw.bytes().next() {
        Some(b'"') => "a string",
        Some(b'{') => "an object",
        Some(b'[') => "an array",
        Some(b't' | b'f') => "a boolean",
        Some(b'n') => "null",
        _ => "a number",
    };
    Rejection::new("invalid_type", pointer, format!("this must be {expected}, not {found}"))
}

/// The pairs of an object, in its order; no key twice, at most `pairs_max`.
pub(super) fn object<'a>(
    pointer: &'static str,
    raw: &'a str,
    pairs_max: usize,
) -> Result<Vec<(Cow<'a, str>, &'a str)>, Rejection> {
    if !raw.starts_with('{') {
        return Err(wrong_type(pointer, "an object", raw));
    }
    let Pairs(pairs) = serde_json::from_str(raw)
        .map_err(|_| Rejection::new("invalid_value", pointer, "a key of this object is no Unicode text"))?;
    if pairs.len() > pairs_max {
        let message = format!("this has {} entries; at most {pairs_max} are kept", pairs.len());
        return Err(Rejection::new("too_many", pointer, message));
    }
    for (place, (key, _)) in pairs.iter().enumerate() {
        if pairs.iter().take(place).any(|(earlier, _)| earlier == key) {
            return Err(duplicate(inside(pointer, key), key));
        }
    }
    Ok(pairs)
}

/// The pointer to `key` inside the object at `pointer`.
pub(super) fn inside(pointer: &str, key: &str) -> String {
    format!("{pointer}/{}", escape_pointer(&shown(key)))
}

struct Pairs<'a>(Vec<(Cow<'a, str>, &'a str)>);

impl<'de> Deserialize<'de> for Pairs<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PairsVisitor;
        impl<'de> Visitor<'de> for PairsVisitor {
            type Value = Pairs<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs<'de>, A::Error> {
                let mut pairs = Vec::new();
                while let Some(Key(key)) = map.next_key()? {
                    pairs.push((key, map.next_value::<&'de RawValue>()?.get()));
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(PairsVisitor)
    }
}

#[derive(serde::Deserialize)]
#[serde(transparent)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);
