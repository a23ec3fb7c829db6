//! Attributes of log records and data points by their own names: scalars only, only those that are asked for, from protobuf
//! and from JSON. Message content is never among them.

use opentelemetry_proto::tonic::common::v1::KeyValue;
use serde_json::Value as Json;

use super::attributes::Value;
use super::wire;

/// Most attributes that are kept of one record.
const KEPT_MAX: usize = 64;

/// Names and scalar values.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Bag(Vec<(Box<str>, Value)>);

impl Bag {
    /// Of a protobuf message.
    pub(super) fn of_proto(pairs: Vec<KeyValue>, wanted: impl Fn(&str) -> bool) -> Self {
        let mut bag = Self::default();
        for pair in pairs {
            if wanted(&pair.key)
                && let Some(value) = pair.value.and_then(wire::scalar)
            {
                bag.put(&pair.key, value);
            }
        }
        bag
    }

    /// Of a JSON message: a list of `{key, value: {stringValue …}}`.
    pub(super) fn of_json(pairs: Option<&Json>, wanted: impl Fn(&str) -> bool) -> Self {
        let mut bag = Self::default();
        for pair in pairs.and_then(Json::as_array).into_iter().flatten() {
            let Some(key) = pair.get("key").and_then(Json::as_str).filter(|key| wanted(key)) else { continue };
            if let Some(value) = pair.get("value").and_then(scalar) {
                bag.put(key, value);
            }
        }
        bag
    }

    fn put(&mut self, key: &str, value: Value) {
        if self.0.len() < KEPT_MAX && !self.0.iter().any(|(known, _)| **known == *key) {
            self.0.push((Box::from(key), value));
        }
    }

    /// The value under a name.
    pub(super) fn get(&self, key: &str) -> Option<&Value> {
        self.0.iter().find(|(known, _)| **known == *key).map(|(_, value)| value)
    }

    /// The first of these names that has text, or a number as text.
    pub(super) fn text(&self, keys: &[&str]) -> Option<String> {
        keys.iter().find_map(|key| match self.get(key)? {
            Value::Text(text) if !text.is_empty() => Some(text.to_string()),
            Value::Int(number) => Some(number.to_string()),
            _ => None,
        })
    }

    /// Names and values in an order that does not depend on the sender's.
    pub(super) fn canonical(&self) -> String {
        let mut pairs: Vec<String> = self.0.iter().map(|(key, value)| format!("{key}={value:?}")).collect();
        pairs.sort();
        pairs.join("\n")
    }

    /// Names and values of all scalar attributes but those named, in an order that does not depend on the sender's: what tells
    /// one series from others.
    pub(super) fn identity_of_proto(pairs: &[KeyValue], without: &[&str]) -> String {
        let scalar = |pair: &KeyValue| Some((pair.key.clone(), wire::scalar(pair.value.clone()?)?));
        identity(pairs.iter().filter_map(scalar), without)
    }

    /// The same of a JSON message.
    pub(super) fn identity_of_json(pairs: Option<&Json>, without: &[&str]) -> String {
        let scalar = |pair: &Json| Some((pair.get("key")?.as_str()?.to_owned(), scalar(pair.get("value")?)?));
        identity(pairs.and_then(Json::as_array).into_iter().flatten().filter_map(scalar), without)
    }
}

fn identity(pairs: impl Iterator<Item = (String, Value)>, without: &[&str]) -> String {
    let pairs = pairs.filter(|(key, _)| !without.contains(&key.as_str()));
    let mut pairs: Vec<String> = pairs.map(|(key, value)| format!("{key}={value:?}")).collect();
    pairs.sort();
    pairs.join("\n")
}

fn scalar(value: &Json) -> Option<Value> {
    let get = |camel: &str, snake: &str| value.get(camel).or_else(|| value.get(snake));
    if let Some(text) = get("stringValue", "string_value").and_then(Json::as_str) {
        return Some(Value::text(text));
    }
    if let Some(number) = get("intValue", "int_value") {
        return integer(number).and_then(|number| i64::try_from(number).ok()).map(Value::Int);
    }
    if let Some(number) = get("doubleValue", "double_value") {
        return double(number).map(Value::Double);
    }
    get("boolValue", "bool_value").and_then(Json::as_bool).map(Value::Bool)
}

/// A whole number, written as one or as text.
pub(super) fn integer(value: &Json) -> Option<i128> {
    match value {
        Json::Number(number) => super::json::integer(&number.to_string()),
        Json::String(text) => super::json::integer(text),
        _ => None,
    }
}

/// A double, written as one or as text.
pub(super) fn double(value: &Json) -> Option<f64> {
    match value {
        Json::Number(number) => number.as_f64(),
        Json::String(text) => text.parse().ok(),
        _ => None,
    }
}

/// A member by either spelling.
pub(super) fn member<'a>(value: &'a Json, camel: &str, snake: &str) -> Option<&'a Json> {
    value.get(camel).or_else(|| value.get(snake)).filter(|value| !value.is_null())
}

/// The items of a list under either spelling.
pub(super) fn list<'a>(value: &'a Json, camel: &str, snake: &str) -> &'a [Json] {
    member(value, camel, snake).and_then(Json::as_array).map(Vec::as_slice).unwrap_or_default()
}
