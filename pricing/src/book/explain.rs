//! Why a model has the price that it has at some time: the table, the entry, the name that it answers to, rule by rule.

use std::sync::Arc;

use rust_decimal::Decimal;

use super::{Match, PriceBook};
use crate::cost::{TableRef, Unpriced};
use crate::document::{self, Node};
use crate::model::Rank;
use crate::time::Timestamp;
use crate::usage::UsageKey;

/// What answers for a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explained {
    /// The table.
    pub table: TableRef,
    /// The provider as the table spells it.
    pub provider: Arc<str>,
    /// The entry.
    pub id: Arc<str>,
    /// How the entry claims the name.
    pub rank: Rank,
    /// The name, prefix or glob by which it does.
    pub pattern: String,
    /// Its rules, in order: for each unit, the last one that applies wins.
    pub rules: Vec<ExplainedRule>,
    /// What the entry says beside its rules, as canonical JSON: factors, minimums, increments, caps.
    pub beside: Vec<(&'static str, String)>,
}

/// One rule of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExplainedRule {
    /// Its conditions as canonical JSON; empty where it always applies.
    pub when: String,
    /// Does it forget what earlier rules set?
    pub reset: bool,
    /// Is it in force?
    pub force: Force,
    /// Unit, USD a block, block.
    pub rates: Vec<(UsageKey, Decimal, u32)>,
}

/// Whether a rule applies at some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Force {
    /// To every call.
    Yes,
    /// To calls that meet its conditions.
    Depends,
    /// Not at this time.
    NotNow,
    /// A later rule, in force for every call, makes it forgotten.
    Replaced,
}

impl Force {
    /// In a word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Yes => "yes",
            Self::Depends => "depends",
            Self::NotNow => "not-now",
            Self::Replaced => "replaced",
        }
    }
}

impl PriceBook {
    /// What prices a model at that time, and why.
    pub fn explain(&self, provider: &str, model: &str, at: Timestamp) -> Result<Explained, Unpriced> {
        let Match { table, entry, answer } = self.model(provider, model, None, Some(at))?;
        let answer = answer.ok_or(Unpriced::UnknownModel)?;
        let source = source(&table.canonical_json(), answer.entry);
        let rules = entry.rules_at(at).enumerate().map(|(index, rule)| {
            let written = source.as_ref().and_then(|entry| entry.get("rates")?.as_list()?.get(index)?.get("when"));
            let force = match (rule.in_time, rule.depends) {
                (false, _) => Force::NotNow,
                (true, true) => Force::Depends,
                (true, false) => Force::Yes,
            };
            let rates = rule.set.iter().map(|(unit, rate)| (*unit, rate.amount, rate.per)).collect();
            ExplainedRule { when: written.map(Node::to_json).unwrap_or_default(), reset: rule.reset, force, rates }
        });
        let mut rules: Vec<ExplainedRule> = rules.collect();
        if let Some(last) = rules.iter().rposition(|rule| rule.reset && rule.force == Force::Yes) {
            for rule in rules.iter_mut().take(last).filter(|rule| rule.force != Force::NotNow) {
                rule.force = Force::Replaced;
            }
        }
        let beside = ["adjust", "minimum", "increment", "cap"]
            .into_iter()
            .filter_map(|field| Some((field, source.as_ref()?.get(field)?.to_json())));
        Ok(Explained {
            table: table.reference().clone(),
            provider: Arc::clone(&entry.provider),
            id: Arc::clone(&entry.id),
            rank: answer.rank,
            pattern: answer.pattern.to_owned(),
            rules,
            beside: beside.collect(),
        })
    }
}

/// The entry as the table wrote it. Its place there is its index.
fn source(json: &str, index: u32) -> Option<Node> {
    let documents = document::parse(json).ok()?;
    let models = documents.first()?.get("spec")?.get("models")?.as_list()?;
    models.get(usize::try_from(index).ok()?).cloned()
}
