//! Patterns for whole names: matched in time linear in the name, bounded when compiled.

use serde::{Deserialize, Serialize};

/// Longest pattern.
const PATTERN_BYTES_MAX: usize = 256;
/// The most memory that one compiled pattern may take.
const COMPILED_BYTES_MAX: usize = 64 << 10;
/// The deepest nesting of groups.
const NESTING_MAX: u32 = 16;

/// A compiled pattern; it covers a name or does not.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "Box<str>", into = "Box<str>")]
pub(crate) struct Regex {
    text: Box<str>,
    compiled: regex_lite::Regex,
}

impl Regex {
    /// Compiles a pattern; says why not.
    pub(crate) fn new(text: &str) -> Result<Self, String> {
        if text.len() > PATTERN_BYTES_MAX {
            return Err(format!("it has more than {PATTERN_BYTES_MAX} bytes"));
        }
        // Alone first: a stray parenthesis must not close the one that is put around.
        regex_lite::Regex::new(text).map_err(|error| error.to_string())?;
        let compiled = regex_lite::RegexBuilder::new(&format!("^(?:{text})$"))
            .case_insensitive(true)
            .size_limit(COMPILED_BYTES_MAX)
            .nest_limit(NESTING_MAX)
            .build()
            .map_err(|error| error.to_string())?;
        Ok(Self { text: text.into(), compiled })
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    pub(crate) fn covers(&self, name: &str) -> bool {
        self.compiled.is_match(name)
    }

    /// Can no name fit both, as far as how they begin and end tells? Whether two patterns meet anywhere is not worth
    /// finding out exactly: what cannot be told apart is refused, and the author makes one of the two longer.
    pub(crate) fn is_apart_from(&self, other: &Self) -> bool {
        let (left, right) = (literal_start(&self.text), literal_start(&other.text));
        let shared = left.len().min(right.len());
        left.get(..shared) != right.get(..shared)
    }
}

impl From<Regex> for Box<str> {
    fn from(regex: Regex) -> Self {
        regex.text
    }
}

impl TryFrom<Box<str>> for Regex {
    type Error = String;

    fn try_from(text: Box<str>) -> Result<Self, String> {
        Self::new(&text)
    }
}

/// The text that every match begins with, as far as it is plain.
fn literal_start(pattern: &str) -> &str {
    // With alternatives outside of a group, nothing is common to all matches.
    let mut depth = 0u32;
    for sign in pattern.chars() {
        match sign {
            '(' | '[' => depth = depth.saturating_add(1),
            ')' | ']' => depth = depth.saturating_sub(1),
            '|' if depth == 0 => return "",
            _ => {}
        }
    }
    let pattern = pattern.strip_prefix('^').unwrap_or(pattern);
    let plain = |sign: char| sign.is_alphanumeric() || matches!(sign, '-' | '_' | ':' | '/' | '@' | ' ');
    let end = pattern.find(|sign| !plain(sign)).unwrap_or(pattern.len());
    let literal = pattern.get(..end).unwrap_or_default();
    // A sign that may be missing is no certain one.
    let optional = pattern.get(end..).is_some_and(|rest| rest.starts_with(['?', '*', '{']));
    match literal.char_indices().next_back() {
        Some((last, _)) if optional => literal.get(..last).unwrap_or_default(),
        _ => literal,
    }
}
