//! PriceTable: versioned rates for models and tools, read strictly, digested canonically, immutable once built.
//!
//! Reading compiles: looking a model up afterwards is a hash lookup or two, and running its rules allocates nothing.

mod canonical;
mod cascade;
mod compiled;
mod effective;
mod entry;
mod fx;
mod read;
pub(crate) mod reader;
#[cfg(test)]
mod tests;
mod tools;
mod when;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::cost::TableRef;
use crate::document::{self, Node, Problem};
use crate::model::{Answer, Names, spellings};
use crate::time::Timestamp;

pub(crate) use canonical::{canonical, digest};
pub(crate) use cascade::{Cascade, Circumstances, Multiplier, Part};
pub(crate) use entry::{Allowance, Entry, Shape};
pub(crate) use fx::Exchange;
pub(crate) use read::{API_GROUP_VERSION, Bare};
use tools::Tools;
pub(crate) use when::Served;

/// One immutable version of a price table.
///
/// Its serde form is the compiled table, for a binary format and a cache that the same build of this crate reads: nothing
/// about it is checked on the way in but its shape, and it changes with the code. People read `canonical_json`.
#[derive(Debug, Serialize, Deserialize)]
pub struct PriceTable {
    reference: TableRef,
    json: Arc<str>,
    models: Vec<Entry>,
    /// The models of each provider, sorted by its name: a book remembers where in this list a provider stands.
    providers: Vec<(Box<str>, Names)>,
    tools: Tools,
    approval: Option<Entry>,
    unmatched: UnmatchedPolicy,
    exchange: Option<Exchange>,
    /// Rules that hold for every call and do not say whether they mean the tiers too.
    bare: Vec<Bare>,
}

/// What to do with usage that no entry matches. Pricing says `unpriced` either way; who books it decides by this.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Unmatched {
    /// Keep it aside until a price is known.
    Quarantine,
    /// Book nothing for it, with a flag.
    ZeroWithFlag,
}

impl Unmatched {
    const WORDS: [(&'static str, Self); 2] = [("quarantine", Self::Quarantine), ("zero_with_flag", Self::ZeroWithFlag)];

    /// The meaning of its word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::WORDS.iter().find(|(known, _)| *known == word).map(|(_, meaning)| *meaning)
    }

    /// Its word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Quarantine => "quarantine",
            Self::ZeroWithFlag => "zero_with_flag",
        }
    }
}

/// `spec.unmatched`: what a table says, where it says something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnmatchedPolicy {
    /// For models.
    pub model: Option<Unmatched>,
    /// For tools.
    pub tool: Option<Unmatched>,
}

impl PriceTable {
    /// Reads one PriceTable resource (`kind: PriceTable`). Every problem at once; warnings come with the table.
    pub fn from_node(node: &Node) -> Result<(Self, Vec<Problem>), Vec<Problem>> {
        read::table(node)
    }

    /// Reads every PriceTable of a text; other kinds are errors. Every problem at once; warnings come with the tables.
    pub fn parse(text: &str) -> Result<(Vec<Self>, Vec<Problem>), Vec<Problem>> {
        let mut tables = Vec::new();
        let mut problems = Vec::new();
        let mut refused = false;
        for node in document::parse(text)? {
            match Self::from_node(&node) {
                Ok((table, warnings)) => {
                    tables.push(table);
                    problems.extend(warnings);
                }
                Err(errors) => {
                    refused = true;
                    problems.extend(errors);
                }
            }
        }
        if refused { Err(problems) } else { Ok((tables, problems)) }
    }

    /// Name, version and digest.
    #[must_use]
    pub fn reference(&self) -> &TableRef {
        &self.reference
    }

    /// The canonical JSON of the whole resource: what is pinned beside the ledger, and what `from_node` reads back.
    #[must_use]
    pub fn canonical_json(&self) -> Arc<str> {
        Arc::clone(&self.json)
    }

    /// How many models and tools it prices.
    #[must_use]
    pub fn entries(&self) -> usize {
        self.models.len().saturating_add(self.tools.len()).saturating_add(usize::from(self.approval.is_some()))
    }

    /// The provider and id of each model, in the order of the table.
    pub fn models(&self) -> impl ExactSizeIterator<Item = (&str, &str)> + '_ {
        self.models.iter().map(|entry| (&*entry.provider, &*entry.id))
    }

    /// What it says about usage that nothing matches.
    #[must_use]
    pub const fn unmatched(&self) -> UnmatchedPolicy {
        self.unmatched
    }

    /// The providers it has models of, in the order of their numbers.
    pub(crate) fn providers(&self) -> impl Iterator<Item = &str> + '_ {
        self.providers.iter().map(|(provider, _)| &**provider)
    }

    /// The entry for a model of the provider of that number, at that time or at any; `model` is normalised.
    pub(crate) fn model(&self, provider: usize, model: &str, at: Option<Timestamp>) -> Option<(&Entry, Answer<'_>)> {
        let (_, names) = self.providers.get(provider)?;
        let answer = spellings(model).find_map(|spelling| names.find(spelling, at))?;
        self.models.get(usize::try_from(answer.entry).ok()?).map(|entry| (entry, answer))
    }

    /// The exchange rates of its currency; `None` for US dollars.
    pub(crate) const fn exchange(&self) -> Option<&Exchange> {
        self.exchange.as_ref()
    }

    /// Rules that hold for every call and do not say whether they mean the tiers too; not all, if they are many.
    pub(crate) fn bare(&self) -> &[Bare] {
        &self.bare
    }

    /// Every entry that claims a model's name at that time, the strongest first.
    pub(crate) fn model_claims(&self, provider: usize, model: &str, at: Timestamp) -> Vec<(&Entry, Answer<'_>)> {
        let names = self.providers.get(provider);
        let answers = names.into_iter().flat_map(|(_, names)| spellings(model).flat_map(|name| names.claims(name, at)));
        let entry = |answer: Answer<'_>| self.models.get(usize::try_from(answer.entry).ok()?);
        answers.filter_map(|answer| Some((entry(answer)?, answer))).collect()
    }

    /// The entry for a tool of that server, and why it is that one.
    pub(crate) fn tool<'a>(&'a self, tool: &str, mcp_server: Option<&str>) -> Option<(&'a Entry, Answer<'a>)> {
        self.tools.claims(tool, mcp_server).next()
    }

    /// Every entry that claims it, the strongest first.
    pub(crate) fn tool_claims<'a>(&'a self, tool: &str, mcp_server: Option<&str>) -> Vec<(&'a Entry, Answer<'a>)> {
        self.tools.claims(tool, mcp_server).collect()
    }

    /// Has it any entry for tools?
    pub(crate) const fn has_tools(&self) -> bool {
        self.tools.len() > 0
    }

    pub(crate) const fn approval(&self) -> Option<&Entry> {
        self.approval.as_ref()
    }
}
