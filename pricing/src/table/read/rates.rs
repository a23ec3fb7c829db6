//! `rates`, `adjust`, `minimum`, `increment` and `cap`: what an entry costs.

use std::sync::Arc;

use rust_decimal::Decimal;

use super::super::entry::{ADJUSTS_MAX, Adjust, RULES_MAX, Rate, Rule, Shape, multiply_exactly};
use super::super::reader::{Path, Reader};
use super::when::when;
use super::{Context, family, is_positive};
use crate::document::{Key, Node, nearest};
use crate::usage::{Family, UsageKey};

/// A unit by its name.
pub(super) fn unit(reader: &mut Reader, key: &Key, path: &Path<'_>) -> Option<UsageKey> {
    let unit = UsageKey::parse(&key.name);
    if unit.is_none() {
        let hint = match nearest(&key.name, UsageKey::ALL.iter().map(|key| key.as_str())) {
            Some(near) => format!("did you mean {near}?"),
            None => "units are named as in usage, such as input_tokens".to_owned(),
        };
        reader.error(key.place, path, format!("unknown unit {:?}", key.name), hint);
    }
    unit
}

/// `rates` of an entry.
pub(super) fn rules(reader: &mut Reader, context: &Context, entry: &Node, path: &Path<'_>) -> Vec<Rule> {
    let hint = "give at least one rule: rates: [{ set: { input_tokens: \"0.1\" } }]";
    let Some(node) = reader.required(entry, path, "rates", hint) else { return Vec::new() };
    let path = Path::Key(path, "rates");
    let items = reader.list(node, &path);
    if items.is_empty() && node.as_list().is_some() {
        reader.error(node.place, &path, "no rule at all", hint);
    }
    if items.len() > RULES_MAX {
        reader.error(
            node.place,
            &path,
            format!("{} rules; at most {RULES_MAX} are read", items.len()),
            "split the entry",
        );
        return Vec::new();
    }
    items.iter().enumerate().map(|(index, item)| rule(reader, context, item, &Path::Index(&path, index))).collect()
}

fn rule(reader: &mut Reader, context: &Context, node: &Node, path: &Path<'_>) -> Rule {
    let mut rule = Rule { when: Default::default(), reset: false, base_only: false, set: Vec::new() };
    if !reader.fields(node, path, &["when", "set", "reset", "appliesTo"]) {
        return rule;
    }
    rule.when = when(reader, context, node, path);
    rule.reset = node.get("reset").and_then(|reset| reader.flag(reset, &Path::Key(path, "reset"))).unwrap_or(false);
    if let Some(applies) = node.get("appliesTo").filter(|applies| !applies.is_null()) {
        let path = Path::Key(path, "appliesTo");
        rule.base_only = reader.word(applies, &path, &[("base", true), ("all", false)]).unwrap_or(false);
        if rule.base_only && (!rule.when.is_base() || rule.reset) {
            let message = "a base rate has no conditions but dates, and forgets nothing";
            reader.error(applies.place, &path, message, "remove appliesTo, or the conditions");
        }
    }
    match node.get("set").filter(|set| !set.is_null()) {
        Some(set) => {
            let path = Path::Key(path, "set");
            for (key, value) in reader.pairs(set, &path) {
                let path = Path::Key(&path, &key.name);
                let unit = unit(reader, key, &path);
                let amount = reader.decimal(value, &path);
                rule.set.extend(
                    unit.zip(amount).map(|(unit, amount)| (unit, Rate::new(amount, context.per(unit.family())))),
                );
            }
        }
        None if rule.reset => {}
        None => reader.error(node.place, path, "the rule does nothing", "add set: { … }, or reset: true"),
    }
    rule
}

/// `adjust` of an entry.
pub(super) fn adjusts(reader: &mut Reader, context: &Context, entry: &Node, path: &Path<'_>) -> Vec<Adjust> {
    let Some(node) = entry.get("adjust") else { return Vec::new() };
    let path = Path::Key(path, "adjust");
    let items = reader.list(node, &path);
    if items.len() > ADJUSTS_MAX {
        let message = format!("{} adjustments; at most {ADJUSTS_MAX} are read", items.len());
        reader.error(node.place, &path, message, "merge some, or set the rates themselves");
        return Vec::new();
    }
    let adjusts: Vec<Adjust> = items
        .iter()
        .enumerate()
        .filter_map(|(index, item)| adjust(reader, context, item, &Path::Index(&path, index)))
        .collect();
    let product = adjusts.iter().try_fold(Decimal::ONE, |product, adjust| multiply_exactly(product, adjust.multiply));
    if product.is_none() {
        reader.error(node.place, &path, "together the factors have more than 28 digits", "give them fewer digits");
    }
    adjusts
}

fn adjust(reader: &mut Reader, context: &Context, node: &Node, path: &Path<'_>) -> Option<Adjust> {
    if !reader.fields(node, path, &["name", "when", "multiply", "families"]) {
        return None;
    }
    if let Some(name) = reader.required(node, path, "name", "name the adjustment, such as geo-us") {
        reader.text(name, &Path::Key(path, "name"));
    }
    let when = when(reader, context, node, path);
    let multiply = reader.required(node, path, "multiply", "give the factor, such as \"1.1\"")?;
    let multiply = reader.decimal(multiply, &Path::Key(path, "multiply"))?.normalize();
    let families = match node.get("families") {
        None => Family::ALL.to_vec(),
        Some(list) => {
            let path = Path::Key(path, "families");
            let mut families = Vec::new();
            for (index, item) in reader.list(list, &path).iter().enumerate() {
                let path = Path::Index(&path, index);
                let name = reader.text(item, &path);
                families.extend(name.and_then(|name| family(reader, name, item.place, &path)));
            }
            families
        }
    };
    Some(Adjust { when, multiply, text: Arc::from(multiply.to_string()), families })
}

/// `minimum`, `increment` and `cap` of an entry.
pub(super) fn shapes(reader: &mut Reader, entry: &Node, path: &Path<'_>) -> Vec<Shape> {
    let mut shapes: Vec<Shape> = Vec::new();
    for field in ["minimum", "increment", "cap"] {
        let Some(node) = entry.get(field) else { continue };
        let path = Path::Key(path, field);
        for (key, value) in reader.pairs(node, &path) {
            let path = Path::Key(&path, &key.name);
            let unit = unit(reader, key, &path);
            let Some(number) = reader.decimal(value, &path) else { continue };
            let Some(unit) = unit else { continue };
            if !is_positive(number) || number.normalize().scale() > crate::usage::DECIMALS_MAX {
                reader.error(value.place, &path, format!("{number} is not a quantity above 0"), "leave the field out");
                continue;
            }
            if unit.is_whole() && !number.is_integer() {
                reader.error(value.place, &path, format!("{unit} must be whole, not {number}"), "round it");
                continue;
            }
            let index = shapes.iter().position(|shape| shape.key == unit).unwrap_or_else(|| {
                shapes.push(Shape { key: unit, minimum: None, increment: None, cap: None });
                shapes.len().saturating_sub(1)
            });
            let Some(shape) = shapes.get_mut(index) else { continue };
            let slot = match field {
                "minimum" => &mut shape.minimum,
                "increment" => &mut shape.increment,
                _ => &mut shape.cap,
            };
            *slot = Some(number.normalize());
        }
    }
    shapes
}
