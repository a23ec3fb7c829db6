//! LiteLLM's model price file → one price table for each provider.
//!
//! Kept: every price in dollars with its context tiers, service tiers, batches, daily windows, resolutions and uplifts,
//! and what LiteLLM itself does with an absent price where its file counts on it. Not looked at: what a model supports,
//! its limits, sources and comments. Reported: everything else.

mod card;
mod keys;
mod mcp;
mod names;
mod rules;
mod source;
mod special;

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use super::draft::{Model, Provenance, Rule, Table};
use super::{Import, ImportError, LeftOut, Options, hex, yaml};
use crate::usage::UsageKey;
pub use mcp::convert_mcp;
use names::Names;
use source::Fields;

const GENERATED_BY: &str = "meterd import litellm";

/// Turns the text of LiteLLM's price file into tables and a list of what they do not say.
pub fn convert(json: &str, options: &Options) -> Result<Import, ImportError> {
    let source::File(entries) = source::read(json)?;
    let mut import = Import::default();
    let mut providers: BTreeMap<String, Vec<Model>> = BTreeMap::new();
    let mut names = Names::default();
    for (key, fields) in &entries {
        let seller = fields.get("litellm_provider").and_then(|value| source::text(value));
        let Some(seller) = seller else {
            import.left_out.push(left_out("", key, "model", "no provider is stated"));
            continue;
        };
        let provider = names::provider(&seller);
        match model(&provider, &seller, key, fields, &mut import.left_out) {
            Ok(model) => {
                if names.claim(&provider, key) {
                    providers.entry(provider).or_default().push(model);
                } else {
                    let why = "an earlier key of the provider differs only in upper and lower case";
                    import.left_out.push(left_out(&provider, key, "model", why));
                }
            }
            Err(why) => import.left_out.push(left_out(&provider, key, "model", why)),
        }
    }
    let sha256 = hex(&Sha256::digest(json.as_bytes()));
    for (provider, mut models) in providers {
        for model in &mut models {
            model.patterns = names.patterns(&provider, &model.id);
        }
        let table = table(&provider, options, sha256.clone(), models);
        import.tables.push((provider, yaml::document(&table, GENERATED_BY)));
    }
    Ok(import)
}

fn model(provider: &str, seller: &str, key: &str, fields: &Fields, report: &mut Vec<LeftOut>) -> Result<Model, String> {
    let mut rates = rules::rates(seller, key, fields);
    report.extend(rates.left_out.drain(..).map(|(what, why)| left_out(provider, key, &what, why)));
    if rates.rules.iter().all(|rule| rule.set.is_empty()) {
        return Err("no price is stated, which may mean free or unknown".to_owned());
    }
    Ok(Model {
        provider: provider.to_owned(),
        id: key.to_owned(),
        rates: joined(rates.rules),
        adjusts: rates.adjusts,
        cap: rates.cap,
        ..Model::default()
    })
}

/// LiteLLM bills what was read from a cache at the cache's rate, whatever it is. Where the modality has a rate too, that
/// is said.
fn joined(mut rules: Vec<Rule>) -> Vec<Rule> {
    let has = |rules: &[Rule], key: UsageKey| rules.iter().any(|rule| rule.set.contains_key(&key));
    for key in UsageKey::ALL.iter().copied() {
        let [cache, modality, _] = key.wider() else { continue };
        if has(&rules, key) || !has(&rules, *modality) {
            continue;
        }
        for rule in &mut rules {
            if let Some(rate) = rule.set.get(cache).copied() {
                rule.set.insert(key, rate);
            }
        }
    }
    rules
}

fn table(provider: &str, options: &Options, sha256: String, models: Vec<Model>) -> Table {
    Table {
        // Kubernetes' rule for names, which has no underscore.
        name: format!("litellm-{}", provider.to_lowercase().replace('_', "-")),
        version: options.table_version.clone(),
        provenance: Provenance {
            source: "litellm",
            version: options.source_version.clone(),
            license: "MIT",
            copyright: "copyright (c) 2023 Berri AI",
            sha256,
        },
        models,
        tools: Vec::new(),
    }
}

fn left_out(provider: &str, key: &str, what: &str, why: impl Into<String>) -> LeftOut {
    LeftOut { provider: provider.to_owned(), model: Some(key.to_owned()), what: what.to_owned(), why: why.into() }
}
