//! What one response says about itself, whatever its API, and the numbers it is put together from.
//!
//! Snapshots of one response replace each other by the larger number; nothing here ever adds two of them.

use pricing::{Attrs, Money, Quantity, Usage, UsageKey};

use super::object::{Object, count};
use crate::event::Rejection;

/// One response, read.
#[derive(Debug, Default)]
pub(super) struct Reading {
    /// The provider's id of the response.
    pub(super) response_id: Option<String>,
    /// The model that answered.
    pub(super) model: Option<String>,
    /// When the provider began it, RFC 3339.
    pub(super) created: Option<String>,
    /// Inclusive totals with subsets; `None` when the response states none.
    pub(super) usage: Option<Usage>,
    /// Served attributes.
    pub(super) attrs: Attrs,
    /// What the provider says it cost.
    pub(super) reported_cost: Option<Money>,
    /// `error` or `aborted`, where the response says so.
    pub(super) outcome: Option<&'static str>,
    /// Calls made within it that its totals leave out, each billed for itself.
    pub(super) parts: Vec<Part>,
    /// What was settled about the numbers.
    pub(super) notes: Vec<&'static str>,
    /// A chunk with an id and usage went by.
    is_counted: bool,
}

/// A call within a response: an event of its own.
#[derive(Debug)]
pub(super) struct Part {
    /// Unique within the response, such as `compaction/0`.
    pub(super) name: String,
    /// Its model, when it is not the response's.
    pub(super) model: Option<String>,
    /// Its usage.
    pub(super) usage: Option<Usage>,
}

/// Who asked: what a body is read as.
#[derive(Clone, Copy, Debug)]
pub(super) struct Caller<'a> {
    /// Provider, lower case.
    pub(super) provider: &'a str,
    /// The model that was asked for, where the envelope says.
    pub(super) model: Option<&'a str>,
}

impl Reading {
    /// Takes the id of a chunk. Two ids with usage are two responses, and their numbers must not become one.
    pub(super) fn identify(&mut self, id: Option<&str>, has_usage: bool) -> Result<(), Rejection> {
        let Some(id) = id.filter(|id| !id.is_empty()) else { return Ok(()) };
        let is_other = self.response_id.as_deref().is_some_and(|known| known != id);
        if is_other && has_usage && self.is_counted {
            let message = "the chunks of `body` belong to different responses; send one envelope a response";
            return Err(Rejection::new("invalid_value", "/body", message));
        }
        // The chunk with the usage knows best whose it is.
        if has_usage || self.response_id.is_none() {
            self.response_id = Some(id.to_owned());
        }
        self.is_counted |= has_usage;
        Ok(())
    }

    /// Notes something once.
    pub(super) fn note(&mut self, note: &'static str) {
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    /// Takes the served attribute `key` from `value`, if there is one.
    pub(super) fn attr(&mut self, key: &str, value: Option<&str>) {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            self.attrs.set(key, value);
        }
    }
}

/// Numbers of one response by their path; a later snapshot's larger number replaces an earlier one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts(Vec<(&'static str, u64)>);

impl Counts {
    /// Takes every number that stands at one of `paths`; `pointer` is where `object` itself stands.
    pub(super) fn read(
        &mut self,
        object: &Object<'_>,
        pointer: &str,
        paths: &'static [&'static str],
    ) -> Result<(), Rejection> {
        for path in paths {
            // `{}` and `[]` are how some clients print a number that was never set.
            if let Some(raw) = object.at(path).filter(|raw| !raw.starts_with(['{', '['])) {
                let at = || format!("{pointer}/{}", path.replace('.', "/"));
                let count = match count("", raw) {
                    Ok(count) => count,
                    Err(rejection) => return Err(Rejection { pointer: at(), ..rejection }),
                };
                self.raise(path, count);
            }
        }
        Ok(())
    }

    /// At least this much.
    pub(super) fn raise(&mut self, path: &'static str, count: u64) {
        match self.0.iter_mut().find(|(known, _)| *known == path) {
            Some((_, known)) => *known = (*known).max(count),
            None => self.0.push((path, count)),
        }
    }

    /// The number, where it was given.
    pub(super) fn given(&self, path: &str) -> Option<u64> {
        self.0.iter().find(|(known, _)| *known == path).map(|(_, count)| *count)
    }

    /// The number, 0 where none was given.
    pub(super) fn get(&self, path: &str) -> u64 {
        self.given(path).unwrap_or(0)
    }

    /// The first of these that was given.
    pub(super) fn first(&self, paths: &[&str]) -> Option<u64> {
        paths.iter().find_map(|path| self.given(path))
    }

    /// Nothing given?
    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Usage in the making: what was not given stays unsaid.
#[derive(Debug, Default)]
pub(super) struct Totals(Usage);

impl Totals {
    /// Declares a quantity.
    pub(super) fn set(&mut self, key: UsageKey, count: u64) -> Result<(), Rejection> {
        let invalid = |message: String| Rejection::new("invalid_usage", "/body", message);
        let quantity =
            Quantity::from_u64(count).ok_or_else(|| invalid(format!("{key} is {count}; the most is 10^16")))?;
        self.0.set(key, quantity).map_err(|error| invalid(error.to_string()))
    }

    /// Declares a quantity that was given.
    pub(super) fn set_given(&mut self, key: UsageKey, count: Option<u64>) -> Result<(), Rejection> {
        count.map_or(Ok(()), |count| self.set(key, count))
    }

    /// The usage.
    pub(super) fn done(self) -> Usage {
        self.0
    }
}

impl From<Usage> for Totals {
    fn from(usage: Usage) -> Self {
        Self(usage)
    }
}

/// The sum; each number is at most 10¹⁶, so that it is far from the edge.
pub(super) fn sum(counts: &[u64]) -> u64 {
    counts.iter().fold(0, |sum, count| sum.saturating_add(*count))
}

/// Unix seconds, or RFC 3339 text, as RFC 3339.
pub(super) fn created(raw: &str) -> Option<String> {
    if let Some(text) = super::object::text(raw) {
        return text.parse::<pricing::Timestamp>().ok().map(|time| time.to_string());
    }
    let seconds = count("", raw.split('.').next()?).ok().filter(|seconds| *seconds > 0)?;
    let millis = i64::try_from(seconds.checked_mul(1_000)?).ok()?;
    Some(pricing::Timestamp::from_millis(millis).to_string())
}
