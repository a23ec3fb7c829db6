//! A Model's `pricing` → a price table of one model and the layer that puts it in force for the Model's namespace.
//!
//! Amounts are read from their literal text. A local model costs nothing unless it says a price; a hosted one without
//! `pricing` says nothing about prices.

use std::sync::Arc;

use ::budget::Ref;
use pricing::book::Layers;
use pricing::document::Value;
use pricing::{Money, PriceTable};

use super::fields::{Fields, Report, Unknown, text};
use super::print::Json;

/// The prices of `spec`, where it states any.
pub(super) fn prices(id: &Ref, spec: &Fields<'_>, report: &mut Report) -> Option<(Arc<PriceTable>, Arc<Layers>)> {
    let pricing = spec.child("pricing", report);
    let is_local = spec.child("endpoint", report).and_then(|endpoint| endpoint.text("type", report)) == Some("local");
    if pricing.is_none() && !is_local {
        return None;
    }
    let (mut rates, place) = (Vec::new(), pricing.as_ref().map_or(spec.place, |pricing| pricing.place));
    match &pricing {
        None => rates.extend(["input_tokens", "output_tokens"].map(|unit| (unit, Money::ZERO))),
        Some(pricing) => {
            pricing.known(&["currency", "inputPerMillionTokens", "outputPerMillionTokens"], Unknown::Warn, report);
            currency(pricing, report)?;
            for (unit, field) in
                [("input_tokens", "inputPerMillionTokens"), ("output_tokens", "outputPerMillionTokens")]
            {
                rates.extend(pricing.usd(field, report).map(|rate| (unit, rate)));
            }
        }
    }
    let (Some(provider), Some(model)) = (spec.text("provider", report), spec.text("model", report)) else {
        let hint = "add spec.provider and spec.model, as calls name them".to_owned();
        report.error(place, &spec.at("pricing"), "a price needs the provider and the model that it is for", Some(hint));
        return None;
    };
    if rates.is_empty() {
        return None;
    }
    let name = format!("Model {id}");
    let version: Vec<String> = rates.iter().map(|(_, rate)| rate.to_string()).collect();
    let set = rates.iter().map(|(unit, rate)| (*unit, Json::text(rate)));
    let entry = Json::map([
        ("provider", Json::text(provider)),
        ("id", Json::text(model)),
        ("rates", Json::List(vec![Json::map([("set", Json::map(set))])])),
    ]);
    let spec = Json::map([("version", Json::text(version.join("/"))), ("models", Json::List(vec![entry]))]);
    let namespaces = Json::List(vec![Json::text(&id.namespace)]);
    let layer = Json::map([
        ("layer", Json::text("list")),
        ("priceTable", Json::text(&name)),
        ("scope", Json::map([("namespaces", namespaces)])),
    ]);
    let layers = Json::map([("layers", Json::List(vec![layer]))]);
    let texts = [document("PriceTable", &name, spec), document("PriceBook", &name, layers)];
    match Layers::parse_all(&texts.join("\n---\n")) {
        Ok((mut tables, mut books)) => Some((Arc::new(tables.pop()?), Arc::new(books.pop()?))),
        Err(problems) => {
            for problem in problems {
                report.error(place, "spec.pricing", problem.message, problem.hint);
            }
            None
        }
    }
}

/// Only dollars: another currency needs rates of exchange, which a Model cannot state.
fn currency(pricing: &Fields<'_>, report: &mut Report) -> Option<()> {
    let Some(node) = pricing.get("currency") else { return Some(()) };
    let path = pricing.at("currency");
    if text(node, &path, report)?.eq_ignore_ascii_case("usd") {
        return Some(());
    }
    let shown = if let Value::Scalar { text, .. } = &node.value { text.as_str() } else { "" };
    let hint = "write USD, or a PriceTable with currency and dated fx".to_owned();
    report.error(node.place, &path, format!("{shown:?}: a Model's price is in USD"), Some(hint));
    None
}

fn document(kind: &str, name: &str, spec: Json) -> String {
    let metadata = Json::map([("name", Json::text(name))]);
    let pairs = [
        ("apiVersion", Json::text(super::API_VERSION)),
        ("kind", Json::text(kind)),
        ("metadata", metadata),
        ("spec", spec),
    ];
    Json::map(pairs).to_json()
}
