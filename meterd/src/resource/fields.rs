//! Walks a parsed document field by field and gathers every problem with its place and key path.
//!
//! Reads amounts, shares and counts from their literal text, exactly. Knows no kind of resource.

use std::sync::Arc;

use budget::Fraction;
use pricing::Money;
use pricing::document::{Key, Node, Place, Problem, Severity, Value};

use super::nearest::did_you_mean;

/// Parts per million in one whole.
pub(crate) const WHOLE: u32 = 1_000_000;
/// Longest name of anything, as in Kubernetes.
const NAME_BYTES_MAX: usize = 253;

/// Problems found so far.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) problems: Vec<Problem>,
}

impl Report {
    pub(crate) fn error(&mut self, place: Place, path: &str, message: impl Into<String>, hint: Option<String>) {
        self.problems.push(Problem { hint, ..Problem::error(place, path, message) });
    }

    pub(crate) fn warn(&mut self, place: Place, path: &str, message: impl Into<String>, hint: Option<String>) {
        self.problems.push(Problem { hint, ..Problem::warning(place, path, message) });
    }

    pub(crate) fn has_errors(&self) -> bool {
        self.problems.iter().any(|problem| problem.severity == Severity::Error)
    }
}

/// What an unknown key is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unknown {
    /// Kept and handed through; said once.
    Warn,
    /// Refused.
    Refuse,
    /// Handed through; refused only where it looks like a misspelt known key.
    RefuseIfNear,
}

/// One mapping of a document and the path that leads to it.
#[derive(Clone, Debug)]
pub(crate) struct Fields<'a> {
    pub(crate) place: Place,
    pub(crate) path: String,
    pub(crate) entries: &'a [(Key, Node)],
}

impl<'a> Fields<'a> {
    /// The mapping at `node`; `None` for nothing at all, and for anything else after saying so.
    pub(crate) fn of(node: &'a Node, path: &str, report: &mut Report) -> Option<Self> {
        match &node.value {
            Value::Map(entries) => Some(Self { place: node.place, path: path.to_owned(), entries }),
            Value::Null => None,
            _ => {
                let message = format!("must be a mapping of keys to values, not {}", node.kind_name());
                report.error(node.place, path, message, None);
                None
            }
        }
    }

    /// The path of a key in here.
    pub(crate) fn at(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    /// The value of a key; an explicit null is as good as absent.
    pub(crate) fn get(&self, name: &str) -> Option<&'a Node> {
        let (_, node) = self.entries.iter().find(|(key, _)| key.name == name)?;
        (node.value != Value::Null).then_some(node)
    }

    /// The mapping under a key.
    pub(crate) fn child(&self, name: &str, report: &mut Report) -> Option<Self> {
        Self::of(self.get(name)?, &self.at(name), report)
    }

    /// Says which keys nobody reads.
    pub(crate) fn known(&self, known: &[&str], unknown: Unknown, report: &mut Report) {
        for (key, _) in self.entries {
            if known.contains(&key.name.as_str()) {
                continue;
            }
            let hint = did_you_mean(&key.name, known.iter().copied());
            match unknown {
                Unknown::Warn => {
                    report.warn(key.place, &self.at(&key.name), "unknown field: kept, but it has no effect", hint);
                }
                Unknown::RefuseIfNear if hint.is_none() => {}
                Unknown::Refuse | Unknown::RefuseIfNear => {
                    let hint = hint.or_else(|| Some(format!("known keys here: {}", known.join(", "))));
                    report.error(key.place, &self.at(&key.name), "unknown key", hint);
                }
            }
        }
    }

    /// Says that keys are understood but do nothing in this version.
    pub(crate) fn without_effect(&self, names: &[&str], report: &mut Report) {
        for (key, node) in self.entries {
            if names.contains(&key.name.as_str()) && node.value != Value::Null {
                let message = "not enforced by this version: kept, but it has no effect";
                report.warn(key.place, &self.at(&key.name), message, None);
            }
        }
    }

    /// The text of a scalar.
    pub(crate) fn text(&self, name: &str, report: &mut Report) -> Option<&'a str> {
        text(self.get(name)?, &self.at(name), report)
    }

    /// A name: not empty, no spaces, no slashes.
    pub(crate) fn name(&self, name: &str, report: &mut Report) -> Option<Arc<str>> {
        self::name(self.get(name)?, &self.at(name), report)
    }

    /// `{ name: … }` under a key.
    pub(crate) fn reference(&self, name: &str, report: &mut Report) -> Option<Arc<str>> {
        let node = self.get(name)?;
        let inner = Self::of(node, &self.at(name), report)?;
        let found = inner.name("name", report);
        if inner.get("name").is_none() {
            report.error(node.place, &inner.at("name"), "the reference names nothing", None);
        }
        found
    }

    /// Names in a list.
    pub(crate) fn names(&self, name: &str, report: &mut Report) -> Vec<Arc<str>> {
        let Some(node) = self.get(name) else { return Vec::new() };
        let path = self.at(name);
        let Value::List(items) = &node.value else {
            let message = format!("must be a list of names, not {}", node.kind_name());
            let hint = match &node.value {
                Value::Scalar { text, .. } => Some(format!("write [{text}]")),
                _ => None,
            };
            report.error(node.place, &path, message, hint);
            return Vec::new();
        };
        let named = items.iter().enumerate();
        named.filter_map(|(index, item)| self::name(item, &format!("{path}[{index}]"), report)).collect()
    }

    /// Pairs of texts, sorted by key.
    pub(crate) fn labels(&self, name: &str, report: &mut Report) -> Vec<(Arc<str>, Arc<str>)> {
        let Some(map) = self.child(name, report) else { return Vec::new() };
        let mut labels: Vec<(Arc<str>, Arc<str>)> = Vec::with_capacity(map.entries.len());
        for (key, node) in map.entries {
            if let Some(value) = text(node, &map.at(&key.name), report) {
                labels.push((Arc::from(key.name.as_str()), Arc::from(value)));
            }
        }
        labels.sort();
        labels
    }

    /// `true` or `false`.
    pub(crate) fn flag(&self, name: &str, report: &mut Report) -> Option<bool> {
        let node = self.get(name)?;
        match &node.value {
            Value::Scalar { text, .. } if text.eq_ignore_ascii_case("true") => Some(true),
            Value::Scalar { text, .. } if text.eq_ignore_ascii_case("false") => Some(false),
            _ => {
                report.error(node.place, &self.at(name), "must be true or false", None);
                None
            }
        }
    }

    /// One of a few words.
    pub(crate) fn word<T: Copy>(&self, name: &str, words: &[(&str, T)], report: &mut Report) -> Option<T> {
        let node = self.get(name)?;
        let path = self.at(name);
        let given = text(node, &path, report)?;
        if let Some((_, value)) = words.iter().find(|(word, _)| *word == given) {
            return Some(*value);
        }
        let list: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        let hint = did_you_mean(given, list.iter().copied());
        report.error(node.place, &path, format!("{given:?} is none of {}", list.join(", ")), hint);
        None
    }

    /// An amount in US dollars, not negative.
    pub(crate) fn usd(&self, name: &str, report: &mut Report) -> Option<Money> {
        let node = self.get(name)?;
        let path = self.at(name);
        let given = text(node, &path, report)?;
        match given.parse::<Money>() {
            Ok(amount) if amount.is_negative() => {
                report.error(
                    node.place,
                    &path,
                    format!("{given} is negative"),
                    Some("write 0 to allow nothing".into()),
                );
                None
            }
            Ok(amount) => Some(amount),
            Err(error) => {
                report.error(
                    node.place,
                    &path,
                    error.to_string(),
                    Some("write a plain decimal such as 5 or 0.25".into()),
                );
                None
            }
        }
    }

    /// A count: whole, not negative.
    pub(crate) fn count(&self, name: &str, report: &mut Report) -> Option<u64> {
        let node = self.get(name)?;
        let path = self.at(name);
        let given = text(node, &path, report)?;
        if given.starts_with('-') {
            report.error(node.place, &path, format!("{given} is negative"), Some("write 0 to allow nothing".into()));
            return None;
        }
        let digits = !given.is_empty() && given.bytes().all(|byte| byte.is_ascii_digit());
        match given.parse::<u64>() {
            Ok(count) if digits => Some(count),
            _ => {
                let hint = "write digits only, such as 10000000".to_owned();
                report.error(node.place, &path, format!("{given:?} is not a whole number"), Some(hint));
                None
            }
        }
    }
}

/// A share from 0 to 1 in parts per million, exactly.
pub(crate) fn fraction(node: &Node, path: &str, report: &mut Report) -> Option<Fraction> {
    let given = text(node, path, report)?;
    let ppm = match given.parse::<Money>() {
        Ok(share) if share.is_negative() => Err("is negative"),
        // Money counts 10⁻¹⁸, a share 10⁻⁶.
        Ok(share) if share.scaled() % 1_000_000_000_000 != 0 => Err("has more than 6 decimals"),
        Ok(share) => u32::try_from(share.scaled() / 1_000_000_000_000).map_err(|_| "is more than 1"),
        Err(_) => Err("is not a plain decimal"),
    };
    match ppm {
        Ok(ppm) if ppm <= WHOLE => Some(Fraction(ppm)),
        Ok(_) => {
            let hint = "a share is between 0 and 1: write 0.8 for 80 %".to_owned();
            report.error(node.place, path, format!("{given} is more than 1"), Some(hint));
            None
        }
        Err(why) => {
            let hint = "a share is between 0 and 1 with up to 6 decimals, such as 0.8".to_owned();
            report.error(node.place, path, format!("{given:?} {why}"), Some(hint));
            None
        }
    }
}

/// The text of a scalar.
pub(crate) fn text<'a>(node: &'a Node, path: &str, report: &mut Report) -> Option<&'a str> {
    match &node.value {
        Value::Scalar { text, .. } => Some(text),
        _ => {
            report.error(node.place, path, format!("must be a single value, not {}", node.kind_name()), None);
            None
        }
    }
}

pub(crate) fn name(node: &Node, path: &str, report: &mut Report) -> Option<Arc<str>> {
    let given = text(node, path, report)?;
    match name_problem(given) {
        None => Some(Arc::from(given)),
        Some(why) => {
            report.error(node.place, path, format!("{given:?} cannot be a name: {why}"), None);
            None
        }
    }
}

/// Why a text cannot be a name, if it cannot.
pub(crate) fn name_problem(name: &str) -> Option<&'static str> {
    if name.is_empty() {
        return Some("it is empty");
    }
    if name.len() > NAME_BYTES_MAX {
        return Some("it is longer than 253 bytes");
    }
    let refused = |c: char| c.is_control() || c.is_whitespace() || c == '/';
    name.chars().any(refused).then_some("names hold no spaces, slashes or control characters")
}
