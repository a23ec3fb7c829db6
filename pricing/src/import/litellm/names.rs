//! Whose table a model stands in, and the ids by which it is known. LiteLLM spells a provider in two ways: in
//! `litellm_provider` and in front of the key.

use std::collections::BTreeSet;

use crate::import::draft::Pattern;
use crate::model::canonical_provider;

/// Kinds of models that LiteLLM names as providers of their own: `vertex_ai-anthropic_models`.
const FAMILIES: [&str; 2] = ["vertex_ai", "fireworks_ai"];
/// Providers with prices of their own, although a table without them would stand in for them.
const SEPARATE: [&str; 3] = ["azure_ai", "codestral", "vertex_ai"];

/// LiteLLM's name of the provider, without the kind of model.
pub(super) fn family(seller: &str) -> &str {
    let family = FAMILIES.iter().find(|family| seller.strip_prefix(**family).is_some_and(|rest| rest.starts_with('-')));
    family.copied().unwrap_or(seller)
}

/// The id of the provider in price tables.
pub(super) fn provider(seller: &str) -> String {
    let family = family(seller);
    let known = canonical_provider(family).filter(|_| !SEPARATE.contains(&family));
    known.unwrap_or(family).to_owned()
}

/// The ids of all models so far.
#[derive(Debug, Default)]
pub(super) struct Names {
    taken: BTreeSet<(String, String)>,
}

impl Names {
    /// Takes the key for a provider's model; `false` if it is taken.
    pub(super) fn claim(&mut self, provider: &str, key: &str) -> bool {
        self.taken.insert((provider.to_owned(), key.to_lowercase()))
    }

    /// The key, and what is left of it without the provider in front, unless that means another model. To be asked when
    /// all keys are taken.
    pub(super) fn patterns(&mut self, provider: &str, key: &str) -> Vec<Pattern> {
        let key = key.to_lowercase();
        let bare = key.split_once('/').filter(|(owner, _)| self::provider(owner) == provider).map(|(_, bare)| bare);
        let free = bare.filter(|bare| self.claim(provider, bare)).map(str::to_owned);
        let mut patterns: Vec<Pattern> = [Some(key), free].into_iter().flatten().map(pattern).collect();
        patterns.sort();
        patterns
    }
}

fn pattern(name: String) -> Pattern {
    if name.contains(['*', '?']) { Pattern::Glob(name) } else { Pattern::Exact(name) }
}
