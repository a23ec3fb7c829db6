//! genai-prices' data.json → one price table for each provider.
//!
//! Kept: every price with its dates, daily windows, context tiers and variants; which ids mean which model; the models
//! that one provider sells under another's prices; the least that a transcription is billed for. Not looked at: names,
//! descriptions, context windows and comments, and how to tell a provider from a URL. Reported: everything else.

mod matching;
mod narrow;
mod rates;
mod regex;
mod source;

use std::collections::BTreeSet;

use sha2::{Digest, Sha256};

pub use super::Options;
use super::draft::{Model, Pattern, Provenance, Table};
use super::{Import, ImportError, LeftOut, hex, overlap, yaml};
use crate::usage::UsageKey;

/// Transcriptions that are billed for 10 seconds at least. The source has this in its code, not in its data.
const BILLED_SECONDS_MIN: &str = "10";
const BILLED_SECONDS_MIN_MODELS: [(&str, &str); 2] = [("groq", "whisper-large-v3"), ("groq", "whisper-large-v3-turbo")];

const NARROWED: &str = "only ids that begin with it, on the provider's known routes: a table refuses two globs of one \
                        length that could both fit";

/// Turns the text of a data.json into tables and a list of what they do not say.
pub fn convert(json: &str, options: &Options) -> Result<Import, ImportError> {
    let providers = source::read(json)?;
    let mut ids = BTreeSet::new();
    if let Some(twice) = providers.iter().find(|provider| !ids.insert(provider.id.as_str())) {
        return Err(ImportError::DuplicateProvider(twice.id.clone()));
    }
    let sha256 = hex(&Sha256::digest(json.as_bytes()));
    let mut import = Import::default();
    for provider in &providers {
        let mut reader = Reader { provider: &provider.id, left_out: &mut import.left_out };
        reader.about_provider(provider);
        let mut models = reader.own_models(provider);
        reader.inherit(provider, &providers, &mut models);
        reader.resolve_overlaps(&mut models);
        if models.is_empty() {
            continue;
        }
        let table = Table {
            // Kubernetes' rule for names, which has no underscore.
            name: format!("list-{}", provider.id.to_lowercase().replace('_', "-")),
            version: options.table_version.clone(),
            provenance: Provenance {
                source: "genai-prices",
                version: options.source_version.clone(),
                license: "MIT",
                copyright: "copyright (c) Pydantic Services Inc. 2025 to present",
                sha256: sha256.clone(),
            },
            models,
            tools: Vec::new(),
        };
        import.tables.push((provider.id.clone(), yaml::document(&table, "meterd import genai-prices")));
    }
    import.tables.sort();
    Ok(import)
}

/// One provider's models on their way into a table, and what they lose.
struct Reader<'a> {
    provider: &'a str,
    left_out: &'a mut Vec<LeftOut>,
}

impl Reader<'_> {
    fn leave_out(&mut self, model: Option<&str>, what: impl Into<String>, why: impl Into<String>) {
        self.left_out.push(LeftOut {
            provider: self.provider.to_owned(),
            model: model.map(str::to_owned),
            what: what.into(),
            why: why.into(),
        });
    }

    fn about_provider(&mut self, provider: &source::Provider) {
        if provider.has_extractors {
            self.leave_out(None, "extractors", "reading usage out of responses is not a table's business");
        }
        for key in &provider.unknown {
            self.leave_out(None, key, "unknown key");
        }
    }

    fn own_models(&mut self, provider: &source::Provider) -> Vec<Model> {
        let mut models = Vec::new();
        for model in &provider.models {
            for key in &model.unknown {
                self.leave_out(Some(&model.id), key, "unknown key");
            }
            match self.model(model) {
                Ok(entry) => models.push(entry),
                Err(why) => self.leave_out(Some(&model.id), "model", why),
            }
        }
        models
    }

    fn model(&mut self, model: &source::Model) -> Result<Model, String> {
        let body = model.body.as_ref().map_err(Clone::clone)?;
        let rates = rates::rules(body, is_free_by_name(&model.id))?;
        for unit in &rates.unknown_units {
            self.leave_out(Some(&model.id), unit, "no such unit of usage");
        }
        if rates.rules.iter().all(|rule| rule.set.is_empty()) {
            return Err("none of its prices can be said".to_owned());
        }
        let matching = matching::matching(&body.matching);
        for (what, why) in &matching.left_out {
            self.leave_out(Some(&model.id), format!("match {what}"), *why);
        }
        if matching.patterns.is_empty() {
            return Err("nothing is left by which to recognise it".to_owned());
        }
        let is_billed_least = BILLED_SECONDS_MIN_MODELS.contains(&(self.provider, model.id.as_str()));
        Ok(Model {
            provider: self.provider.to_owned(),
            id: model.id.clone(),
            patterns: matching.patterns,
            widened: matching.widened,
            rates: rates.rules,
            minimum: if is_billed_least { vec![(UsageKey::AudioSeconds, BILLED_SECONDS_MIN)] } else { Vec::new() },
            ..Model::default()
        })
    }

    /// Explicit copies of the models that are also sold here. The source tries a provider's own models first, then these
    /// in order, one step deep and without variants.
    fn inherit(&mut self, provider: &source::Provider, all: &[source::Provider], models: &mut Vec<Model>) {
        for fallback in &provider.fallbacks {
            let Some(from) = all.iter().find(|other| other.id == *fallback) else {
                self.leave_out(None, format!("fallback_model_providers {fallback}"), "no such provider in the file");
                continue;
            };
            for model in &from.models {
                let Ok(body) = &model.body else { continue };
                let body = source::Body { variants: Vec::new(), ..body.clone() };
                let bare = source::Model { id: model.id.clone(), body: Ok(body), unknown: Vec::new() };
                match self.model(&bare) {
                    Ok(entry) => models.push(Model { inherited: Some(from.id.clone()), ..entry }),
                    Err(why) => self.leave_out(Some(&model.id), format!("model inherited from {}", from.id), why),
                }
            }
        }
    }

    /// Leaves one model for every pattern, and one entry for every id.
    fn resolve_overlaps(&mut self, models: &mut Vec<Model>) {
        for (index, glob) in narrow::narrow(models) {
            let id = models.get(index).map(|model| model.id.clone());
            self.leave_out(id.as_deref(), format!("match glob {glob}"), NARROWED);
        }
        let shadowed = overlap::resolve(models);
        let mut covered = BTreeSet::new();
        for lost in &shadowed {
            let (Some(loser), Some(by)) = (models.get(lost.model), models.get(lost.by)) else { continue };
            let why = format!("{} comes first in the source", named(by));
            if !loser.patterns.is_empty() {
                self.leave_out(Some(&named(loser)), format!("match {}", pattern_text(&lost.pattern)), why);
            } else if covered.insert(lost.model) {
                self.leave_out(Some(&named(loser)), "model", format!("{why} for every id of it"));
            }
        }
        models.retain(|model| !model.patterns.is_empty());
        let mut taken = BTreeSet::new();
        for model in models.iter_mut() {
            // A copy steps back behind the provider's own.
            if !taken.insert(model.id.to_lowercase())
                && let Some(from) = &model.inherited
            {
                model.id = format!("{from}/{}", model.id);
                taken.insert(model.id.to_lowercase());
            }
        }
    }
}

/// Only a name that says so makes a model free: an empty list of prices may as well be an unknown one.
fn is_free_by_name(id: &str) -> bool {
    id.ends_with(":free")
}

fn named(model: &Model) -> String {
    model.inherited.as_ref().map_or_else(|| model.id.clone(), |from| format!("{} (inherited from {from})", model.id))
}

fn pattern_text(pattern: &Pattern) -> String {
    match pattern {
        Pattern::Exact(text) => format!("exact {text}"),
        Pattern::Prefix(text) => format!("prefix {text}"),
        Pattern::Glob(text) => format!("glob {text}"),
    }
}
