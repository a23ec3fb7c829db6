//! Why a model or a tool has the price that it has at some time: the tables, the entries, the name that they answer to,
//! rule by rule.

use std::sync::Arc;

use rust_decimal::Decimal;

use super::{Claim, PriceBook};
use crate::cost::{Call, TableRef, Target, Unpriced};
use crate::document::{self, Node};
use crate::model::Rank;
use crate::table::Part;
use crate::time::Timestamp;
use crate::usage::{Attrs, Usage, UsageKey};

/// What answers for a model or a tool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explained {
    /// The table, or the pile of tables, that costs are named after.
    pub table: TableRef,
    /// The provider as the lowest table spells it; empty for a tool.
    pub provider: Arc<str>,
    /// The entry there.
    pub id: Arc<str>,
    /// How that entry claims the name.
    pub rank: Rank,
    /// The name, prefix, glob or regular expression by which it does.
    pub pattern: String,
    /// The only MCP server that the entry is for.
    pub server: Option<String>,
    /// Every entry of the list that claims the name, the one that answers first.
    pub claims: Vec<Claim>,
    /// The entries that price the model together, the lowest layer first.
    pub layers: Vec<ExplainedLayer>,
    /// Their rules, in order: for each unit, the last one that applies wins.
    pub rules: Vec<ExplainedRule>,
}

/// One entry of those that price a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExplainedLayer {
    /// Its table.
    pub table: TableRef,
    /// What its rates are in, such as `USD`.
    pub currency: Arc<str>,
    /// What the entry says beside its rules, as canonical JSON: factors, minimums, increments, caps, allowances; and the
    /// table's exchange rates.
    pub beside: Vec<(&'static str, String)>,
}

/// One rule of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExplainedRule {
    /// Which of the layers it stands in.
    pub layer: usize,
    /// Its index in the entry.
    pub index: usize,
    /// Its conditions as canonical JSON; empty where it always applies.
    pub when: String,
    /// Does it forget what earlier rules set?
    pub reset: bool,
    /// Does it leave tiers alone?
    pub base_only: bool,
    /// Is it in force?
    pub force: Force,
    /// Unit, price of a block in the layer's currency, block.
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
    /// What prices a model at that time for a namespace and a team, and why.
    pub fn explain(
        &self,
        provider: &str,
        model: &str,
        at: Timestamp,
        namespace: &str,
        team: Option<&str>,
    ) -> Result<Explained, Unpriced> {
        self.explain_target(Target::Model { provider, model, request_model: None }, at, namespace, team)
    }

    /// The same for a model or a tool.
    pub fn explain_target(
        &self,
        target: Target<'_>,
        at: Timestamp,
        namespace: &str,
        team: Option<&str>,
    ) -> Result<Explained, Unpriced> {
        let (usage, attrs) = (Usage::new(), Attrs::new());
        let found = self.lookup(&Call { target, at, usage: &usage, attrs: &attrs, namespace, team })?;
        let answer = found.answer.ok_or(Unpriced::UnknownModel)?;
        let first = found.parts().first().ok_or(Unpriced::UnknownModel)?;
        let (mut layers, mut rules) = (Vec::new(), Vec::new());
        for (layer, part) in found.parts().iter().enumerate() {
            let source = Source::of(part, answer.server.filter(|_| layer == 0));
            layers.push(source.layer(part));
            rules.extend(source.rules(part, layer, at));
        }
        replaced(&mut rules);
        Ok(Explained {
            table: found.reference.clone(),
            provider: Arc::clone(&first.entry.provider),
            id: Arc::clone(&first.entry.id),
            rank: answer.rank,
            pattern: answer.pattern.to_owned(),
            server: answer.server.map(str::to_owned),
            claims: self.claims(target, at, namespace, team),
            layers,
            rules,
        })
    }
}

/// Rules before the last one that forgets for everybody.
fn replaced(rules: &mut [ExplainedRule]) {
    if let Some(last) = rules.iter().rposition(|rule| rule.reset && rule.force == Force::Yes) {
        for rule in rules.iter_mut().take(last).filter(|rule| rule.force != Force::NotNow) {
            rule.force = Force::Replaced;
        }
    }
}

/// An entry as its table wrote it.
struct Source {
    spec: Option<Node>,
    entry: Option<Node>,
}

impl Source {
    /// `server` is the one of a tool's entry.
    fn of(part: &Part<'_>, server: Option<&str>) -> Self {
        let documents = document::parse(&part.table.canonical_json()).unwrap_or_default();
        let spec = documents.first().and_then(|document| document.get("spec")).cloned();
        let list = |name: &str| spec.as_ref().and_then(|spec| spec.get(name)?.as_list()).unwrap_or_default();
        fn text<'a>(node: &'a Node, field: &str) -> Option<&'a str> {
            node.get(field).and_then(Node::text)
        }
        let entry = if part.entry.provider.is_empty() {
            let pattern = |matching: &Node| {
                let named = ["tool", "name", "glob"].iter().find_map(|field| text(matching, field));
                named.unwrap_or("*") == &*part.entry.id && text(matching, "mcpServer") == server
            };
            list("tools").iter().find(|node| node.get("match").is_some_and(pattern))
        } else {
            let is_it = |node: &&Node| {
                text(node, "id") == Some(&part.entry.id)
                    && *crate::model::normal(text(node, "provider").unwrap_or_default()) == *part.entry.provider
            };
            list("models").iter().find(is_it)
        };
        let entry = entry.cloned();
        Self { spec, entry }
    }

    fn layer(&self, part: &Part<'_>) -> ExplainedLayer {
        let beside = ["billOn", "adjust", "minimum", "increment", "cap", "allowances"];
        let beside = beside.into_iter().filter_map(|field| Some((field, self.entry.as_ref()?.get(field)?.to_json())));
        let fx = self.spec.as_ref().and_then(|spec| Some(("fx", spec.get("fx")?.to_json())));
        let currency = part.table.exchange().and_then(|exchange| exchange.currency().cloned());
        ExplainedLayer {
            table: part.table.reference().clone(),
            currency: currency.unwrap_or_else(|| Arc::from("USD")),
            beside: beside.chain(fx).collect(),
        }
    }

    fn rules(&self, part: &Part<'_>, layer: usize, at: Timestamp) -> Vec<ExplainedRule> {
        let written = |index: usize| self.entry.as_ref()?.get("rates")?.as_list()?.get(index)?.get("when");
        let rules = part.entry.rules_at(at).enumerate().map(|(index, rule)| {
            let force = match (rule.in_time, rule.depends) {
                (false, _) => Force::NotNow,
                (true, true) => Force::Depends,
                (true, false) => Force::Yes,
            };
            let rates = rule.set.iter().map(|(unit, rate)| (*unit, rate.amount, rate.per)).collect();
            let when = written(index).map(Node::to_json).unwrap_or_default();
            ExplainedRule { layer, index, when, reset: rule.reset, base_only: rule.base_only, force, rates }
        });
        rules.collect()
    }
}
