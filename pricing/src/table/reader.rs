//! Strict reading of a tree: every field known, every value of its kind, every problem with its place, path and hint.

use std::fmt;

use rust_decimal::Decimal;

use crate::decimal;
use crate::document::{Node, Place, Problem, nearest};
use crate::time::Timestamp;

/// Where a value stands, built on the way down; turned into text only for a problem.
#[derive(Clone, Copy)]
pub(crate) enum Path<'a> {
    /// The whole document.
    Root,
    /// Under a key.
    Key(&'a Path<'a>, &'a str),
    /// In a list.
    Index(&'a Path<'a>, usize),
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Key(Path::Root, name) => f.write_str(name),
            Self::Key(parent, name) => write!(f, "{parent}.{name}"),
            Self::Index(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}

/// Collects problems while a document is read.
#[derive(Default)]
pub(crate) struct Reader {
    pub(crate) problems: Vec<Problem>,
}

impl Reader {
    pub(crate) fn error(&mut self, place: Place, path: &Path<'_>, message: impl Into<String>, hint: impl Into<String>) {
        self.problems.push(Problem::error(place, path.to_string(), message).with_hint(hint));
    }

    pub(crate) fn warn(&mut self, place: Place, path: &Path<'_>, message: impl Into<String>, hint: impl Into<String>) {
        self.problems.push(Problem::warning(place, path.to_string(), message).with_hint(hint));
    }

    fn expected(&mut self, node: &Node, path: &Path<'_>, what: &str, hint: &str) {
        self.error(node.place, path, format!("expected {what}, found {}", node.kind_name()), hint);
    }

    /// A mapping whose fields are all among `known`.
    pub(crate) fn fields(&mut self, node: &Node, path: &Path<'_>, known: &[&str]) -> bool {
        let Some(pairs) = node.as_map() else {
            self.expected(node, path, "a mapping", &format!("its fields are {}", known.join(", ")));
            return false;
        };
        for (key, _) in pairs {
            if !known.contains(&key.name.as_str()) {
                let hint = match nearest(&key.name, known.iter().copied()) {
                    Some(near) => format!("did you mean {near}?"),
                    None => format!("the fields here are {}", known.join(", ")),
                };
                self.error(key.place, &Path::Key(path, &key.name), "unknown field", hint);
            }
        }
        true
    }

    /// A field that must be there.
    pub(crate) fn required<'n>(&mut self, node: &'n Node, path: &Path<'_>, name: &str, hint: &str) -> Option<&'n Node> {
        let found = node.get(name).filter(|value| !value.is_null());
        if found.is_none() {
            self.error(node.place, &Path::Key(path, name), "missing", hint);
        }
        found
    }

    /// Text that is not empty. A number or a truth value counts as its text.
    pub(crate) fn text<'n>(&mut self, node: &'n Node, path: &Path<'_>) -> Option<&'n str> {
        let text = node.text().map(str::trim).filter(|text| !text.is_empty());
        if text.is_none() {
            self.expected(node, path, "text", "write a word, in quotes if in doubt");
        }
        text
    }

    /// A list.
    pub(crate) fn list<'n>(&mut self, node: &'n Node, path: &Path<'_>) -> &'n [Node] {
        node.as_list().unwrap_or_else(|| {
            self.expected(node, path, "a list", "write [a, b], or one item a line after a dash");
            &[]
        })
    }

    /// The pairs of a mapping whose keys are data.
    pub(crate) fn pairs<'n>(&mut self, node: &'n Node, path: &Path<'_>) -> &'n [(crate::document::Key, Node)] {
        node.as_map().unwrap_or_else(|| {
            self.expected(node, path, "a mapping", "write name: value");
            &[]
        })
    }

    /// `true` or `false`.
    pub(crate) fn flag(&mut self, node: &Node, path: &Path<'_>) -> Option<bool> {
        let flag = node.as_bool();
        if flag.is_none() {
            self.expected(node, path, "true or false", "write true or false without quotes");
        }
        flag
    }

    /// A non-negative decimal within bounds.
    pub(crate) fn decimal(&mut self, node: &Node, path: &Path<'_>) -> Option<Decimal> {
        let text = self.text(node, path)?;
        decimal::authored(text)
            .map_err(|refused| self.error(node.place, path, format!("{text:?} {refused}"), refused.hint()))
            .ok()
    }

    /// An RFC 3339 instant, or a date that stands for its midnight in UTC.
    pub(crate) fn instant(&mut self, node: &Node, path: &Path<'_>) -> Option<Timestamp> {
        let text = self.text(node, path)?;
        let instant = text.parse().or_else(|_| format!("{text}T00:00:00Z").parse());
        instant
            .map_err(|_| {
                let hint = "write 2026-11-22T10:00:00Z, or 2026-11-22 for midnight in UTC";
                self.error(node.place, path, format!("{text:?} is not an instant"), hint);
            })
            .ok()
    }

    /// One of a few words.
    pub(crate) fn word<T: Copy>(&mut self, node: &Node, path: &Path<'_>, words: &[(&str, T)]) -> Option<T> {
        let text = self.text(node, path)?;
        let found = words.iter().find(|(word, _)| *word == text).map(|(_, meaning)| *meaning);
        if found.is_none() {
            let hint = match nearest(text, words.iter().map(|(word, _)| *word)) {
                Some(near) => format!("did you mean {near}?"),
                None => format!("one of {}", words.iter().map(|(word, _)| *word).collect::<Vec<_>>().join(", ")),
            };
            self.error(node.place, path, format!("unknown word {text:?}"), hint);
        }
        found
    }
}
