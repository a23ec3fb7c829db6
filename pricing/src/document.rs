//! YAML (and so JSON) text → a tree that remembers where everything stood, for loaders that name every problem at once.
//!
//! Scalars keep their literal text, so no number ever passes through a binary float. Anchors, aliases, tags, duplicate
//! keys, excess depth and size are refused here. Knows nothing of any kind of document.

mod json;
mod near;
mod read;
#[cfg(test)]
mod tests;

use std::fmt;

use serde::{Deserialize, Serialize};

pub(crate) use json::plain_number;
pub use near::nearest;
pub use read::parse;

/// A text longer than this is refused unread.
pub const TEXT_BYTES_MAX: usize = 64 << 20;
/// Nesting deeper than this is refused.
pub const DEPTH_MAX: usize = 64;
/// More values than this in one text are refused.
pub const NODES_MAX: usize = 2_000_000;
/// After so many problems reading stops: the rest would help nobody.
pub const PROBLEMS_MAX: usize = 100;

/// Where a thing stood in its text; both count from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Place {
    /// Line.
    pub line: u32,
    /// Column.
    pub column: u32,
}

/// A value and its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Where it began.
    pub place: Place,
    /// What it is.
    pub value: Value,
}

/// A parsed value. Scalars are text until a loader reads them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// `null`, `~` or nothing at all.
    Null,
    /// A scalar's literal text; `quoted` tells `"1"` from `1`.
    Scalar {
        /// Text after YAML's escapes.
        text: String,
        /// Written with quotes or as a block scalar.
        quoted: bool,
    },
    /// A sequence.
    List(Vec<Node>),
    /// A mapping, in the order written; keys are unique.
    Map(Vec<(Key, Node)>),
}

/// A mapping's key and its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// Where it stood.
    pub place: Place,
    /// Its text.
    pub name: String,
}

/// How bad a problem is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Severity {
    /// Worth saying; the document is usable.
    Warning,
    /// The document is refused.
    Error,
}

/// One thing wrong with a document: where, what, and the way out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Error or warning.
    pub severity: Severity,
    /// Where.
    pub place: Place,
    /// The key path, such as `spec.limits.dailyUsd`; empty for the whole document.
    pub path: String,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Node {
    /// The pairs of a mapping, in the order written.
    #[must_use]
    pub fn as_map(&self) -> Option<&[(Key, Self)]> {
        if let Value::Map(pairs) = &self.value { Some(pairs) } else { None }
    }

    /// The items of a list.
    #[must_use]
    pub fn as_list(&self) -> Option<&[Self]> {
        if let Value::List(items) = &self.value { Some(items) } else { None }
    }

    /// The value under `name`, when this is a mapping that has it.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Self> {
        self.as_map()?.iter().find(|(key, _)| key.name == name).map(|(_, node)| node)
    }

    /// A scalar's text, quoted or not.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        if let Value::Scalar { text, .. } = &self.value { Some(text) } else { None }
    }

    /// `true` or `false`, written plainly.
    #[must_use]
    pub fn as_bool(&self) -> Option<bool> {
        match &self.value {
            Value::Scalar { text, quoted: false } => json::plain_bool(text),
            _ => None,
        }
    }

    /// `null`, `~` or nothing.
    #[must_use]
    pub const fn is_null(&self) -> bool {
        matches!(self.value, Value::Null)
    }

    /// What this is, in words for a message: `a mapping`, `a list`, `text`, `a number`, `true or false`, `nothing`.
    #[must_use]
    pub fn kind_name(&self) -> &'static str {
        match &self.value {
            Value::Null => "nothing",
            Value::List(_) => "a list",
            Value::Map(_) => "a mapping",
            Value::Scalar { quoted: true, .. } => "text",
            Value::Scalar { text, .. } if json::plain_bool(text).is_some() => "true or false",
            Value::Scalar { text, .. } if json::plain_number(text).is_some() => "a number",
            Value::Scalar { .. } => "text",
        }
    }

    /// Canonical JSON: no spaces, keys sorted by UTF-16 units (RFC 8785), plain numbers in their shortest exact form.
    ///
    /// Only what YAML's core schema writes in decimal counts as a number; `0x1F`, `.inf` and `1_000` stay text. The same
    /// tree prints the same bytes whatever its formatting, and the bytes read back to an equal tree but for places.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut out = String::new();
        json::print(self, &mut out);
        out
    }
}

impl Problem {
    /// An error at `place`.
    #[must_use]
    pub fn error(place: Place, path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { severity: Severity::Error, place, path: path.into(), message: message.into(), hint: None }
    }

    /// A warning at `place`.
    #[must_use]
    pub fn warning(place: Place, path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, place, path: path.into(), message: message.into(), hint: None }
    }

    /// The same problem with a way out.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Warning => "warning",
            Self::Error => "error",
        })
    }
}

impl fmt::Display for Problem {
    /// `12:5: error: spec.models[0].rates: what is wrong (what to do)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: ", self.place, self.severity)?;
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)?;
        match &self.hint {
            Some(hint) => write!(f, " ({hint})"),
            None => Ok(()),
        }
    }
}
