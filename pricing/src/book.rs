//! PriceBook: the tables in force, in layers (list → contract → override), looked up by provider and model.

mod claims;
mod explain;
mod index;
mod layers;
mod scope;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use crate::cost::{Call, TableRef, Unpriced};
use crate::model::Answer;
use crate::table::{Part, PriceTable, Unmatched, UnmatchedPolicy};
pub use claims::Claim;
pub use explain::{Explained, ExplainedLayer, ExplainedRule, Force};
use index::{Hit, Index};
pub use layers::{LayerProblem, Layers};
use scope::Scopes;

/// The tables in force. Cheap to share; never changes once built: a reload builds another.
#[derive(Debug, Default)]
pub struct PriceBook {
    tables: Vec<Arc<PriceTable>>,
    /// List prices for all.
    list: Index,
    /// Where some prices are for some only, or stand over the list.
    scopes: Option<Box<Scopes>>,
    /// Where no table says what to do with what none has.
    unmatched: UnmatchedPolicy,
}

/// What prices a call: an entry, or one of each layer, the lowest first.
pub(crate) struct Match<'a> {
    parts: Parts<'a>,
    /// Names the tables.
    pub(crate) reference: &'a TableRef,
    /// Why the lowest of these entries, for a model.
    pub(crate) answer: Option<Answer<'a>>,
}

enum Parts<'a> {
    One([Part<'a>; 1]),
    Many(Vec<Part<'a>>),
}

impl<'a> Match<'a> {
    fn alone(hit: Hit<'a>) -> Self {
        Self { reference: hit.part.table.reference(), parts: Parts::One([hit.part]), answer: hit.answer }
    }

    pub(crate) fn parts(&self) -> &[Part<'a>] {
        match &self.parts {
            Parts::One(part) => part,
            Parts::Many(parts) => parts,
        }
    }
}

impl PriceBook {
    /// A book of these tables, all of them list prices. A later table's entry for a model goes before an earlier one's.
    #[must_use]
    pub fn new(tables: Vec<Arc<PriceTable>>) -> Self {
        let list = Index::new(&tables, (0..tables.len()).collect());
        Self { tables, list, scopes: None, unmatched: UnmatchedPolicy::default() }
    }

    /// A book of these tables, some of which are contracts or overrides by what `books` say. Every problem at once.
    pub fn layered(tables: Vec<Arc<PriceTable>>, books: &[Layers]) -> Result<Self, Vec<LayerProblem>> {
        let (scopes, list) = layers::resolve(&tables, books)?;
        let list = Index::new(&tables, list);
        Ok(Self { tables, list, scopes: scopes.map(Box::new), unmatched: UnmatchedPolicy::default() })
    }

    /// The same book with a word for what no table has, where no table says one.
    #[must_use]
    pub fn with_unmatched(mut self, unmatched: UnmatchedPolicy) -> Self {
        self.unmatched = unmatched;
        self
    }

    /// The tables, lowest layer first.
    #[must_use]
    pub fn tables(&self) -> &[Arc<PriceTable>] {
        &self.tables
    }

    /// What must be kept for costs to be computed again: every table, and every pile of tables that price together, by
    /// the reference that costs name, with its canonical JSON.
    pub fn pins(&self) -> impl Iterator<Item = (&TableRef, Arc<str>)> {
        let stacks = self.scopes.iter().flat_map(|scopes| scopes.stacks());
        let tables = self.tables.iter().map(|table| (table.reference(), table.canonical_json()));
        tables.chain(stacks.map(|stack| (&stack.reference, Arc::clone(&stack.json))))
    }

    /// The table with that digest.
    #[must_use]
    pub fn find(&self, digest: &str) -> Option<&Arc<PriceTable>> {
        self.tables.iter().rev().find(|table| *table.reference().digest == *digest)
    }

    /// Does the price of a call depend on its team? Then it must be known before the call is priced.
    #[must_use]
    pub fn by_team(&self) -> bool {
        self.scopes.as_ref().is_some_and(|scopes| scopes.by_team())
    }

    /// Does any table price this model at some time or other? For bounding what becomes a metric label.
    #[must_use]
    pub fn has_model(&self, provider: &str, model: &str) -> bool {
        let above = self.scopes.iter().flat_map(|scopes| scopes.above());
        let mut indexes = std::iter::once(&self.list).chain(above);
        indexes.any(|index| index.model(&self.tables, provider, model, None, None).is_ok())
    }

    /// What the highest table for this namespace and team that says so wants done with a model that no table prices.
    /// Aside, where none says.
    #[must_use]
    pub fn unmatched_model(&self, namespace: &str, team: Option<&str>) -> Unmatched {
        let said = self.unmatched_by(namespace, team, |policy| policy.model);
        said.or(self.unmatched.model).unwrap_or(Unmatched::Quarantine)
    }

    /// The same for a tool. Nothing booked, where none says.
    #[must_use]
    pub fn unmatched_tool(&self, namespace: &str, team: Option<&str>) -> Unmatched {
        let said = self.unmatched_by(namespace, team, |policy| policy.tool);
        said.or(self.unmatched.tool).unwrap_or(Unmatched::ZeroWithFlag)
    }

    fn unmatched_by(
        &self,
        namespace: &str,
        team: Option<&str>,
        said: impl Fn(UnmatchedPolicy) -> Option<Unmatched>,
    ) -> Option<Unmatched> {
        let said = |index: usize| self.tables.get(index).and_then(|table| said(table.unmatched()));
        match self.scopes.as_ref().and_then(|scopes| scopes.tables_of(namespace, team)) {
            Some(mut tables) => tables.find_map(said),
            None => self.list.tables().iter().rev().copied().find_map(said),
        }
    }

    pub(crate) fn lookup(&self, call: &Call<'_>) -> Result<Match<'_>, Unpriced> {
        match self.scopes.as_ref().and_then(|scopes| scopes.lookup(&self.tables, call)) {
            Some(found) => found,
            None => self.list.find(&self.tables, call.target, call.at).map(Match::alone),
        }
    }
}
