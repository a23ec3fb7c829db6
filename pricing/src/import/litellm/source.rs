//! The shape of LiteLLM's price file: one object, a model for each key. Numbers stay the text that they were.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// Keys of the file that are no models.
const NOT_MODELS: [&str; 2] = ["sample_spec", "fallback_generalizations"];

/// What the file says of one model, each value still text.
pub(super) type Fields = BTreeMap<String, Box<RawValue>>;

/// The models in the order of the file.
#[derive(Debug)]
pub(super) struct File(pub(super) Vec<(String, Fields)>);

pub(super) fn read(json: &str) -> Result<File, serde_json::Error> {
    serde_json::from_str(json)
}

impl<'de> Deserialize<'de> for File {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(InOrder)
    }
}

struct InOrder;

impl<'de> Visitor<'de> for InOrder {
    type Value = File;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with a model for each key")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<File, A::Error> {
        let mut models = Vec::new();
        while let Some(key) = map.next_key::<String>()? {
            let fields: Fields = map.next_value()?;
            if !NOT_MODELS.contains(&key.as_str()) {
                models.push((key, fields));
            }
        }
        Ok(File(models))
    }
}

/// The text of a JSON string; `None` for anything else.
pub(super) fn text(value: &RawValue) -> Option<String> {
    serde_json::from_str(value.get()).ok()
}

/// Something under a key, in a shape of its own; `null` counts as absent.
pub(super) fn part<'de, T: Deserialize<'de>>(fields: &'de Fields, key: &str) -> Result<Option<T>, String> {
    let Some(value) = fields.get(key) else { return Ok(None) };
    serde_json::from_str(value.get()).map_err(|error| format!("not of the expected shape: {error}"))
}
