//! PriceBook: the tables in force, in layers (list → contract → override), looked up by provider and model.

mod explain;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::cost::{Target, Unpriced};
use crate::model::{Answer, canonical_provider, is_router, normal, provider_aliases};
use crate::table::{Entry, PriceTable, Unmatched};
use crate::time::Timestamp;
pub use explain::{Explained, ExplainedRule, Force};

/// The tables in force. Cheap to share; never changes once built: a reload builds another.
#[derive(Debug, Default)]
pub struct PriceBook {
    tables: Vec<Arc<PriceTable>>,
    /// By a provider's own names and its other ones: the tables that know it under that name, the highest layer first,
    /// then those that know it under its common name.
    providers: FxHashMap<Box<str>, Vec<Layer>>,
}

/// A table, and the name under which it knows the provider.
#[derive(Clone, Debug)]
struct Layer {
    table: usize,
    provider: Arc<str>,
}

/// An entry and the table it stands in.
pub(crate) struct Match<'a> {
    pub(crate) table: &'a PriceTable,
    pub(crate) entry: &'a Entry,
    /// Why this entry, for a model.
    pub(crate) answer: Option<Answer<'a>>,
}

impl PriceBook {
    /// A book of these tables. A later table's entry for a model goes before an earlier one's.
    #[must_use]
    pub fn new(tables: Vec<Arc<PriceTable>>) -> Self {
        let mut providers: FxHashMap<Box<str>, Vec<Layer>> = FxHashMap::default();
        for (index, table) in tables.iter().enumerate().rev() {
            for provider in table.providers() {
                let layer = Layer { table: index, provider: Arc::from(provider) };
                providers.entry(provider.into()).or_default().push(layer);
            }
        }
        // No common name is itself another name of something, so the order of the aliases makes no difference.
        for (alias, provider) in provider_aliases() {
            if let Some(layers) = providers.get(provider).cloned() {
                providers.entry(alias.into()).or_default().extend(layers);
            }
        }
        Self { tables, providers }
    }

    /// The tables, lowest layer first.
    #[must_use]
    pub fn tables(&self) -> &[Arc<PriceTable>] {
        &self.tables
    }

    /// The table with that digest.
    #[must_use]
    pub fn find(&self, digest: &str) -> Option<&Arc<PriceTable>> {
        self.tables.iter().rev().find(|table| *table.reference().digest == *digest)
    }

    /// Does any table price this model at some time or other? For bounding what becomes a metric label.
    #[must_use]
    pub fn has_model(&self, provider: &str, model: &str) -> bool {
        self.model(provider, model, None, None).is_ok()
    }

    /// What the highest table that says so wants done with a model that no table prices. Aside, where none says.
    #[must_use]
    pub fn unmatched_model(&self) -> Unmatched {
        self.tables.iter().rev().find_map(|table| table.unmatched().model).unwrap_or(Unmatched::Quarantine)
    }

    /// What the highest table that says so wants done with a tool that no table prices. Nothing booked, where none says.
    #[must_use]
    pub fn unmatched_tool(&self) -> Unmatched {
        self.tables.iter().rev().find_map(|table| table.unmatched().tool).unwrap_or(Unmatched::ZeroWithFlag)
    }

    pub(crate) fn lookup(&self, target: Target<'_>, at: Timestamp) -> Result<Match<'_>, Unpriced> {
        let layers = || self.tables.iter().rev().map(|table| &**table);
        match target {
            Target::Model { provider, model, request_model } => self.model(provider, model, request_model, Some(at)),
            Target::Tool { tool, mcp_server, .. } => layers()
                .find_map(|table| table.tool(tool, mcp_server).map(|entry| Match { table, entry, answer: None }))
                .ok_or(Unpriced::UnknownTool),
            // Minutes of approval are a unit of one nameless thing: without an entry, that unit has no rate.
            Target::Approval => layers()
                .find_map(|table| table.approval().map(|entry| Match { table, entry, answer: None }))
                .ok_or(Unpriced::NoRateForUnit(crate::usage::UsageKey::Minutes)),
        }
    }

    /// The response's model in every layer, then the request's.
    fn model(
        &self,
        provider: &str,
        model: &str,
        request_model: Option<&str>,
        at: Option<Timestamp>,
    ) -> Result<Match<'_>, Unpriced> {
        let provider = normal(provider);
        let mut reason = Unpriced::UnknownProvider;
        for name in [Some(model), request_model].into_iter().flatten() {
            let name = normal(name);
            let is_routed = is_router(&provider) && self.layers(&provider).is_empty();
            let (provider, name) =
                if is_routed { name.split_once('/').unwrap_or(("", &name)) } else { (&*provider, &*name) };
            if let Some(found) = self.named(provider, name, at) {
                return Ok(found);
            }
            if !self.layers(provider).is_empty() {
                reason = Unpriced::UnknownModel;
            }
        }
        Err(reason)
    }

    /// The name as it is in every layer, then without the provider's own name in front (`openai/gpt-5`).
    fn named(&self, provider: &str, name: &str, at: Option<Timestamp>) -> Option<Match<'_>> {
        let layers = self.layers(provider);
        let find = |name: &str| {
            layers.iter().find_map(|layer| {
                let table = self.tables.get(layer.table)?;
                let (entry, answer) = table.model(&layer.provider, name, at)?;
                Some(Match { table, entry, answer: Some(answer) })
            })
        };
        let is_own = |owner: &&str| {
            canonical_provider(owner).unwrap_or(owner) == canonical_provider(provider).unwrap_or(provider)
        };
        find(name).or_else(|| {
            let (_, bare) = name.split_once('/').filter(|(owner, _)| is_own(owner))?;
            find(bare)
        })
    }

    /// The tables that know a provider, the highest first: under its own name, then under its common one.
    fn layers(&self, provider: &str) -> &[Layer] {
        self.providers.get(provider).map_or(&[], Vec::as_slice)
    }
}
