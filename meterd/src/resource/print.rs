//! A small ordered tree that prints as JSON and as block-style YAML with every digit as it was written.
//!
//! Numbers are text from end to end, so none ever passes through a binary float (invariant I1). Printing is
//! deterministic: the same tree gives the same bytes. Knows no kind of resource.

use std::fmt::{self, Write as _};

use pricing::Money;
use pricing::document::{Node, Value};
use serde::ser::{Error as _, SerializeMap as _, SerializeSeq as _};
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

/// A value to print. Serialises through `serde_json`'s writers with its digits; never turn it into a `serde_json::Value`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Json {
    /// Nothing.
    Null,
    /// A truth value.
    Bool(bool),
    /// A JSON number's literal text.
    Number(String),
    /// Text.
    String(String),
    /// Values in order.
    List(Vec<Json>),
    /// Pairs in order; keys are unique.
    Map(Vec<(String, Json)>),
}

impl Json {
    /// Text.
    #[must_use]
    pub fn text(text: impl fmt::Display) -> Self {
        Self::String(text.to_string())
    }

    /// A whole number.
    #[must_use]
    pub fn count(count: impl Into<i128>) -> Self {
        Self::Number(count.into().to_string())
    }

    /// An amount as a number: the shortest exact decimal.
    #[must_use]
    pub fn usd(amount: Money) -> Self {
        Self::Number(amount.to_string())
    }

    /// A map of these pairs.
    #[must_use]
    pub fn map<K: Into<String>>(pairs: impl IntoIterator<Item = (K, Self)>) -> Self {
        Self::Map(pairs.into_iter().map(|(key, value)| (key.into(), value)).collect())
    }

    /// What a parsed document says, numbers in their shortest exact form.
    #[must_use]
    pub fn from_node(node: &Node) -> Self {
        match &node.value {
            Value::Null => Self::Null,
            Value::Scalar { text, quoted: true } => Self::String(text.clone()),
            Value::Scalar { text, quoted: false } => scalar(node, text),
            Value::List(items) => Self::List(items.iter().map(Self::from_node).collect()),
            Value::Map(pairs) => {
                Self::Map(pairs.iter().map(|(key, value)| (key.name.clone(), Self::from_node(value))).collect())
            }
        }
    }

    /// Reads JSON text back, digits and all; `None` when it is not one document.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let documents = pricing::document::parse(text).ok()?;
        let [node] = documents.as_slice() else { return None };
        Some(Self::from_node(node))
    }

    /// The value under a key of a map.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Self> {
        match self {
            Self::Map(pairs) => pairs.iter().find(|(name, _)| name == key).map(|(_, value)| value),
            _ => None,
        }
    }

    /// Sets a key of a map in place, or appends it. Anything but a map becomes one.
    pub fn set(&mut self, key: &str, value: Self) {
        if !matches!(self, Self::Map(_)) {
            *self = Self::Map(Vec::new());
        }
        if let Self::Map(pairs) = self {
            match pairs.iter_mut().find(|(name, _)| name == key) {
                Some((_, old)) => *old = value,
                None => pairs.push((key.to_owned(), value)),
            }
        }
    }

    /// Takes a key out of a map.
    pub fn remove(&mut self, key: &str) -> Option<Self> {
        let Self::Map(pairs) = self else { return None };
        let index = pairs.iter().position(|(name, _)| name == key)?;
        Some(pairs.remove(index).1)
    }

    /// One line of JSON, in this tree's order.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut out = String::new();
        write_json(self, false, &mut out);
        out
    }

    /// One line of JSON with keys sorted: equal documents give equal text, whatever order they were written in.
    #[must_use]
    pub fn to_canonical_json(&self) -> String {
        let mut out = String::new();
        write_json(self, true, &mut out);
        out
    }

    /// Block-style YAML, ending with a line break. Strings that could be read as something else are quoted.
    #[must_use]
    pub fn to_yaml(&self) -> String {
        let mut out = String::new();
        write_yaml(self, 0, &mut out);
        out
    }
}

impl fmt::Display for Json {
    /// One line of JSON.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_json())
    }
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Number(text) => RawValue::from_string(text.clone()).map_err(S::Error::custom)?.serialize(serializer),
            Self::String(text) => serializer.serialize_str(text),
            Self::List(items) => {
                let mut list = serializer.serialize_seq(Some(items.len()))?;
                items.iter().try_for_each(|item| list.serialize_element(item))?;
                list.end()
            }
            Self::Map(pairs) => {
                let mut map = serializer.serialize_map(Some(pairs.len()))?;
                pairs.iter().try_for_each(|(key, value)| map.serialize_entry(key, value))?;
                map.end()
            }
        }
    }
}

/// Takes the project's own canonical form of a plain scalar: the shortest exact decimal, or text.
fn scalar(node: &Node, text: &str) -> Json {
    let canonical = node.to_json();
    match canonical.as_str() {
        "true" => Json::Bool(true),
        "false" => Json::Bool(false),
        quoted if quoted.starts_with('"') => Json::String(text.to_owned()),
        _ => Json::Number(canonical),
    }
}

fn write_json(value: &Json, sorted: bool, out: &mut String) {
    match value {
        Json::Null => out.push_str("null"),
        Json::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Json::Number(text) => out.push_str(text),
        Json::String(text) => write_quoted(text, out),
        Json::List(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_json(item, sorted, out);
            }
            out.push(']');
        }
        Json::Map(pairs) => {
            let mut pairs: Vec<&(String, Json)> = pairs.iter().collect();
            if sorted {
                // RFC 8785's order, as `Node::to_json` has it.
                pairs.sort_by(|a, b| a.0.encode_utf16().cmp(b.0.encode_utf16()));
            }
            out.push('{');
            for (index, (key, value)) in pairs.into_iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_quoted(key, out);
                out.push(':');
                write_json(value, sorted, out);
            }
            out.push('}');
        }
    }
}

/// A double-quoted string that JSON and YAML read alike: only what both must have escaped is escaped.
fn write_quoted(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{0}'..='\u{1f}'
            | '\u{7f}'..='\u{9f}'
            | '\u{2028}'
            | '\u{2029}'
            | '\u{feff}'
            | '\u{fffe}'
            | '\u{ffff}' => {
                // Writing to a String cannot fail.
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            _ => out.push(c),
        }
    }
    out.push('"');
}

fn write_yaml(value: &Json, indent: usize, out: &mut String) {
    match value {
        Json::Map(pairs) if !pairs.is_empty() => {
            for (index, (key, value)) in pairs.iter().enumerate() {
                if index > 0 {
                    pad(indent, out);
                }
                write_plain_or_quoted(key, out);
                out.push(':');
                write_member(value, indent, out);
            }
        }
        Json::List(items) if !items.is_empty() => {
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    pad(indent, out);
                }
                out.push_str("- ");
                write_yaml(item, indent + 2, out);
            }
        }
        leaf => {
            write_leaf(leaf, out);
            out.push('\n');
        }
    }
}

/// What follows `key:`. A list starts at the key's own column, as kubectl prints it.
fn write_member(value: &Json, indent: usize, out: &mut String) {
    let inner = match value {
        Json::Map(pairs) if !pairs.is_empty() => indent + 2,
        Json::List(items) if !items.is_empty() => indent,
        leaf => {
            out.push(' ');
            write_leaf(leaf, out);
            out.push('\n');
            return;
        }
    };
    out.push('\n');
    pad(inner, out);
    write_yaml(value, inner, out);
}

fn write_leaf(value: &Json, out: &mut String) {
    match value {
        Json::String(text) => write_plain_or_quoted(text, out),
        other => write_json(other, false, out),
    }
}

fn pad(indent: usize, out: &mut String) {
    out.extend(std::iter::repeat_n(' ', indent));
}

fn write_plain_or_quoted(text: &str, out: &mut String) {
    if is_plain(text) { out.push_str(text) } else { write_quoted(text, out) }
}

/// Every reader, old or new, takes it for a string: starts with a letter, holds nothing that YAML gives a meaning.
fn is_plain(text: &str) -> bool {
    const WORDS: [&str; 10] = ["null", "true", "false", "yes", "no", "on", "off", "y", "n", "nan"];
    let starts = text.chars().next().is_some_and(|c| c.is_ascii_alphabetic() || matches!(c, '/' | '_'));
    let holds =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, ' ' | '_' | '-' | '.' | '/' | '@' | '+' | ':' | '(' | ')');
    starts
        && text.chars().all(holds)
        && !text.ends_with([' ', ':'])
        && !text.contains(": ")
        && !WORDS.iter().any(|word| text.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests;
