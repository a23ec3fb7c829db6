//! A price table on its way to text: what an importer fills in and the writer prints. Holds no opinion on any source.

use std::collections::BTreeMap;

use rust_decimal::Decimal;

use crate::usage::UsageKey;

/// One PriceTable document.
#[derive(Clone, Debug)]
pub(super) struct Table {
    /// `metadata.name`.
    pub(super) name: String,
    /// `spec.version`.
    pub(super) version: String,
    pub(super) provenance: Provenance,
    pub(super) models: Vec<Model>,
    pub(super) tools: Vec<Tool>,
}

/// Where the rates came from.
#[derive(Clone, Debug)]
pub(super) struct Provenance {
    pub(super) source: &'static str,
    pub(super) version: String,
    pub(super) license: &'static str,
    pub(super) copyright: &'static str,
    /// Of the file that was read, 64 hex digits.
    pub(super) sha256: String,
}

/// One entry of `spec.models`.
#[derive(Clone, Debug, Default)]
pub(super) struct Model {
    pub(super) provider: String,
    pub(super) id: String,
    /// The provider whose entry this repeats.
    pub(super) inherited: Option<String>,
    pub(super) patterns: Vec<Pattern>,
    /// Those of them that fit more ids than the source means, and so take none from another model.
    pub(super) widened: Vec<Pattern>,
    pub(super) rates: Vec<Rule>,
    /// The least that is billed of a unit, once any of it was used.
    pub(super) minimum: Vec<(UsageKey, &'static str)>,
    /// The most that is billed of a unit.
    pub(super) cap: Vec<(UsageKey, &'static str)>,
    pub(super) adjusts: Vec<Adjust>,
}

/// A factor on the rates of the tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Adjust {
    pub(super) name: String,
    pub(super) when: When,
    pub(super) multiply: Decimal,
}

/// One entry of `spec.tools`.
#[derive(Clone, Debug)]
pub(super) struct Tool {
    pub(super) mcp_server: String,
    /// `None` for all of the server's other tools.
    pub(super) tool: Option<String>,
    /// For each call.
    pub(super) calls: Decimal,
}

/// Which ids mean a model. All lower case; the order is the order of precedence.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Pattern {
    Exact(String),
    Prefix(String),
    Glob(String),
}

/// One rule: under these conditions these rates.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Rule {
    /// Drops what earlier rules set.
    pub(super) reset: bool,
    pub(super) when: When,
    pub(super) set: BTreeMap<UsageKey, Decimal>,
}

/// A conjunction of conditions; the default is "always".
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct When {
    /// RFC 3339, inclusive.
    pub(super) from: Option<String>,
    /// Daily windows in UTC, any of them.
    pub(super) windows: Vec<Window>,
    pub(super) attrs: BTreeMap<String, Test>,
    /// This much of a unit in the request: for tokens a total, cached ones among them.
    pub(super) usage: Option<(UsageKey, Bound)>,
}

/// A part of each day.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Window {
    /// Start, inclusive, and end, exclusive, as `HH:MM`; `None` is all day.
    pub(super) hours: Option<(String, String)>,
    pub(super) days: Option<Days>,
}

/// Days of the week where a clock shows them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Days {
    pub(super) on: Vec<&'static str>,
    pub(super) tz: String,
}

/// A condition on an attribute; an attribute that is not there meets none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Test {
    Is(String),
    /// There, and something else.
    IsNot(String),
    Reaches(u64),
}

/// A condition on a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bound {
    Above(u64),
    AtLeast(u64),
}
