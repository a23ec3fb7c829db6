//! Tables in order, looked up by provider and model, tool or approval: the highest one that has an entry decides alone.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::cost::{Target, Unpriced};
use crate::model::{Answer, canonical_provider, is_router, normal, provider_aliases, region};
use crate::table::{Entry, Part, PriceTable};
use crate::time::Timestamp;

/// Some of a book's tables.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// Their numbers in the book, the lowest first.
    tables: Vec<usize>,
    /// By a provider's own names and its other ones: the tables that know it under that name, the highest first, then
    /// those that know it under its common name.
    providers: FxHashMap<Box<str>, Vec<Known>>,
}

/// A table, and the number under which it knows the provider.
#[derive(Clone, Debug)]
struct Known {
    table: usize,
    provider: usize,
}

/// The entry that answers.
pub(super) struct Hit<'a> {
    /// Number of its table in the book.
    pub(super) table: usize,
    pub(super) part: Part<'a>,
    /// Why this entry, for a model or a tool.
    pub(super) answer: Option<Answer<'a>>,
}

impl Index {
    pub(super) fn new(all: &[Arc<PriceTable>], tables: Vec<usize>) -> Self {
        let mut providers: FxHashMap<Box<str>, Vec<Known>> = FxHashMap::default();
        for (index, table) in tables.iter().rev().filter_map(|index| Some((*index, all.get(*index)?))) {
            for (number, provider) in table.providers().enumerate() {
                let known = Known { table: index, provider: number };
                providers.entry(provider.into()).or_default().push(known);
            }
        }
        // No common name is itself another name of something, so the order of the aliases makes no difference.
        for (alias, provider) in provider_aliases() {
            if let Some(known) = providers.get(provider).cloned() {
                providers.entry(alias.into()).or_default().extend(known);
            }
        }
        Self { tables, providers }
    }

    /// The tables' numbers in the book, the lowest first.
    pub(super) fn tables(&self) -> &[usize] {
        &self.tables
    }

    pub(super) fn find<'a>(
        &'a self,
        all: &'a [Arc<PriceTable>],
        target: Target<'_>,
        at: Timestamp,
    ) -> Result<Hit<'a>, Unpriced> {
        let highest = |entry: &dyn Fn(&'a PriceTable) -> Option<(&'a Entry, Option<Answer<'a>>)>| {
            self.tables.iter().rev().find_map(|index| {
                let table = &**all.get(*index)?;
                let (entry, answer) = entry(table)?;
                Some(Hit { table: *index, part: Part { table, entry }, answer })
            })
        };
        match target {
            Target::Model { provider, model, request_model } => {
                self.model(all, provider, model, request_model, Some(at))
            }
            Target::Tool { tool, mcp_server, .. } => {
                let found = highest(&|table| {
                    let (entry, answer) = table.tool(tool, mcp_server)?;
                    Some((entry, Some(answer)))
                });
                found.ok_or(Unpriced::UnknownTool)
            }
            // Minutes of approval are a unit of one nameless thing: without an entry, that unit has no rate.
            Target::Approval => highest(&|table| Some((table.approval()?, None)))
                .ok_or(Unpriced::NoRateForUnit(crate::usage::UsageKey::Minutes)),
        }
    }

    /// The response's model in every table, then the request's.
    pub(super) fn model<'a>(
        &'a self,
        all: &'a [Arc<PriceTable>],
        provider: &str,
        model: &str,
        request_model: Option<&str>,
        at: Option<Timestamp>,
    ) -> Result<Hit<'a>, Unpriced> {
        let provider = normal(provider);
        let mut reason = Unpriced::UnknownProvider;
        for name in [Some(model), request_model].into_iter().flatten() {
            let name = normal(name);
            let is_routed = is_router(&provider) && self.known(&provider).is_empty();
            let (provider, name) =
                if is_routed { name.split_once('/').unwrap_or(("", &name)) } else { (&*provider, &*name) };
            if let Some(found) = self.named(all, provider, name, at) {
                return Ok(found);
            }
            if !self.known(provider).is_empty() {
                reason = Unpriced::UnknownModel;
            }
        }
        Err(reason)
    }

    /// The name as it is in every table, then without the provider's own name in front (`openai/gpt-5`), then without a
    /// region in front.
    fn named<'a>(
        &'a self,
        all: &'a [Arc<PriceTable>],
        provider: &str,
        name: &str,
        at: Option<Timestamp>,
    ) -> Option<Hit<'a>> {
        let find = |name: &str| {
            self.known(provider).iter().find_map(|known| {
                let table = &**all.get(known.table)?;
                let (entry, answer) = table.model(known.provider, name, at)?;
                Some(Hit { table: known.table, part: Part { table, entry }, answer: Some(answer) })
            })
        };
        let is_own = |owner: &&str| {
            canonical_provider(owner).unwrap_or(owner) == canonical_provider(provider).unwrap_or(provider)
        };
        let found = find(name).or_else(|| {
            let (_, bare) = name.split_once('/').filter(|(owner, _)| is_own(owner))?;
            find(bare)
        });
        // Last, so that a table may price a region by a name of its own.
        found.or_else(|| region::split(provider, name).and_then(|(_, bare)| find(bare)))
    }

    /// Every entry that claims a model's name, as it is and in the forms that `named` tries, the strongest first.
    pub(super) fn claims(
        &self,
        all: &[Arc<PriceTable>],
        provider: &str,
        model: &str,
        at: Timestamp,
        note: &mut dyn FnMut(&PriceTable, &Entry, &Answer<'_>),
    ) {
        let (provider, model) = (normal(provider), normal(model));
        let bare = model.split_once('/').map(|(_, bare)| bare);
        let regionless = region::split(&provider, &model).map(|(_, bare)| bare);
        for name in [Some(&*model), bare, regionless].into_iter().flatten() {
            for known in self.known(&provider) {
                let Some(table) = all.get(known.table) else { continue };
                for (entry, answer) in table.model_claims(known.provider, name, at) {
                    note(table, entry, &answer);
                }
            }
        }
    }

    /// The tables that know a provider, the highest first: under its own name, then under its common one.
    fn known(&self, provider: &str) -> &[Known] {
        self.providers.get(provider).map_or(&[], Vec::as_slice)
    }
}
