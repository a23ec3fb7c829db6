//! The canonical form of a table's `spec`: what is hashed and pinned. Formatting, key order, quotes and trailing zeros
//! make no difference to it; the order of lists does, because rules are ordered.

use sha2::{Digest, Sha256};

use crate::decimal;
use crate::document::{Key, Node, Value};

/// Fields whose scalars, at any depth, are exact decimals.
const DECIMAL_FIELDS: &[&str] =
    &["set", "per", "multiply", "usage", "gt", "gte", "minimum", "increment", "cap", "scale", "usd", "free"];

/// The tree with every scalar but truth values as text, decimals in their shortest form, and nothing that is null.
pub(crate) fn canonical(node: &Node) -> Node {
    convert(node, false)
}

fn convert(node: &Node, decimals: bool) -> Node {
    let value = match &node.value {
        Value::Null => Value::Null,
        Value::Scalar { text, quoted } => scalar(node, text, *quoted, decimals),
        Value::List(items) => Value::List(items.iter().map(|item| convert(item, decimals)).collect()),
        Value::Map(pairs) => Value::Map(
            pairs
                .iter()
                .filter(|(_, value)| !value.is_null())
                .map(|(key, value)| {
                    let decimals = decimals || DECIMAL_FIELDS.contains(&key.name.as_str());
                    (Key { place: key.place, name: key.name.clone() }, convert(value, decimals))
                })
                .collect(),
        ),
    };
    Node { place: node.place, value }
}

fn scalar(node: &Node, text: &str, quoted: bool, decimals: bool) -> Value {
    if let Some(flag) = node.as_bool() {
        return Value::Scalar { text: flag.to_string(), quoted: false };
    }
    let exact = if decimals { decimal::authored(text).ok() } else { None };
    let text = match exact {
        Some(decimal) => decimal.normalize().to_string(),
        None if quoted => text.to_owned(),
        None => text.trim().to_owned(),
    };
    Value::Scalar { text, quoted: true }
}

/// sha256 in 64 hex digits.
pub(crate) fn digest(json: &str) -> String {
    let mut hex = String::with_capacity(64);
    for byte in Sha256::digest(json.as_bytes()) {
        for nibble in [byte >> 4, byte & 15] {
            hex.extend(char::from_digit(u32::from(nibble), 16));
        }
    }
    hex
}
