//! Warnings about an entry that can be read but can hardly be meant: rules that never count, units that no rate reaches,
//! parts that have a rate where their whole has none, cached parts with two rates to fall back to.

use super::super::entry::{Entry, Rule};
use super::super::reader::{Path, Reader};
use crate::document::{Node, Place};
use crate::usage::{Family, UsageKey};

/// Warns of what is wrong with one entry.
pub(super) fn entry(reader: &mut Reader, node: &Node, entry: &Entry, path: &Path<'_>) {
    parts_without_whole(reader, node, &entry.rules, path);
    ambiguous_joins(reader, node, &entry.rules, path);
    rules_that_never_count(reader, node, &entry.rules, path);
    unreached(reader, node, entry, path);
}

fn has_rate(rules: &[Rule], key: UsageKey) -> bool {
    rules.iter().any(|rule| rule.set.iter().any(|(unit, _)| *unit == key))
}

/// Token subsets that have a rate where their total has none: usage of the total would be unpriced.
fn parts_without_whole(reader: &mut Reader, node: &Node, rules: &[Rule], path: &Path<'_>) {
    for key in UsageKey::ALL.iter().copied().filter(|key| key.family() == Family::Tokens) {
        if let Some(total) = key.wider().last().copied()
            && has_rate(rules, key)
            && !has_rate(rules, total)
        {
            let message = format!("{key} has a rate but {total}, which contains it, never has");
            reader.warn(node.place, path, message, format!("set {total} too, to 0 if it is free"));
        }
    }
}

/// Cached tokens of a modality, where the cache and the modality have a rate each and the two together have none.
fn ambiguous_joins(reader: &mut Reader, node: &Node, rules: &[Rule], path: &Path<'_>) {
    for key in UsageKey::ALL.iter().copied() {
        let [cache, modality, _] = key.wider() else { continue };
        if has_rate(rules, *cache) && has_rate(rules, *modality) && !has_rate(rules, key) {
            let message =
                format!("{key} lies within {cache} and {modality}, which have a rate each; {cache}'s is taken");
            reader.warn(node.place, path, message, format!("set {key} to say what it costs"));
        }
    }
}

/// Rules whose every rate a later rule replaces whenever they hold.
fn rules_that_never_count(reader: &mut Reader, node: &Node, rules: &[Rule], path: &Path<'_>) {
    let path = Path::Key(path, "rates");
    let written = node.get("rates").and_then(Node::as_list).unwrap_or(&[]);
    let condition = |index: usize| written.get(index).and_then(|rule| rule.get("when")).map(Node::to_json);
    for (index, rule) in rules.iter().enumerate() {
        let place = written.get(index).map_or(node.place, |rule| rule.place);
        let after = rules.iter().enumerate().skip(index.saturating_add(1));
        let replacing: Vec<&Rule> = after
            .filter(|(other, later)| later.when.is_always() || condition(*other) == condition(index))
            .map(|(_, later)| later)
            .filter(|later| !later.base_only || rule.when.is_base())
            .collect();
        let is_replaced = |key: UsageKey| replacing.iter().any(|later| later.set.iter().any(|(unit, _)| *unit == key));
        let forgotten = replacing.iter().any(|later| later.reset);
        if !rule.set.is_empty() && (forgotten || rule.set.iter().all(|(key, _)| is_replaced(*key))) {
            let message = "this rule never counts: a later one replaces all that it sets";
            reader.warn(place, &Path::Index(&path, index), message, "remove it, or put it after the other");
        }
        overlaps(reader, rules, index, place, &path);
    }
}

/// Two stretches of time with a beginning and an end that share only a part, for the same unit.
fn overlaps(reader: &mut Reader, rules: &[Rule], index: usize, place: Place, path: &Path<'_>) {
    let span = |rule: &Rule| match (rule.when.from, rule.when.until) {
        (Some(from), Some(until)) if rule.when.is_base() => Some((from, until)),
        _ => None,
    };
    let Some(rule) = rules.get(index) else { return };
    let Some((from, until)) = span(rule) else { return };
    for (other, earlier) in rules.iter().enumerate().take(index) {
        let Some((start, end)) = span(earlier) else { continue };
        let crosses = (start < from && from < end && end < until) || (from < start && start < until && until < end);
        if crosses && rule.set.iter().any(|(key, _)| earlier.set.iter().any(|(unit, _)| unit == key)) {
            let message = format!("its dates overlap those of rates[{other}]; where both hold, this one counts");
            reader.warn(place, &Path::Index(path, index), message, "let one end where the other begins");
        }
    }
}

/// Minimums, steps, caps, allowances and factors for what has no rate here.
fn unreached(reader: &mut Reader, node: &Node, entry: &Entry, path: &Path<'_>) {
    let priced = |key: UsageKey| {
        entry.rules.iter().flat_map(|rule| &rule.set).any(|(unit, _)| unit.is_within(key) || key.is_within(*unit))
    };
    let mut warn = |field: &str, what: String| {
        let place = node.get(field).map_or(node.place, |field| field.place);
        reader.warn(place, &Path::Key(path, field), what, "give it a rate here, or leave this out");
    };
    // An entry without rates of its own stands on another's.
    if entry.rules.iter().all(|rule| rule.set.is_empty()) {
        return;
    }
    for shape in entry.shapes.iter().filter(|shape| !priced(shape.key)) {
        let fields = [("minimum", shape.minimum), ("increment", shape.increment), ("cap", shape.cap)];
        for (field, _) in fields.iter().filter(|(_, value)| value.is_some()) {
            warn(field, format!("{} never has a rate", shape.key));
        }
    }
    for allowance in entry.allowances.iter().filter(|allowance| !priced(allowance.unit)) {
        warn("allowances", format!("{} never has a rate", allowance.unit));
    }
    let families = |adjust: &super::super::entry::Adjust| adjust.families.len() < Family::ALL.len();
    for adjust in entry.adjusts.iter().filter(|adjust| families(adjust)) {
        let reached =
            entry.rules.iter().flat_map(|rule| &rule.set).any(|(unit, _)| adjust.families.contains(&unit.family()));
        if !reached {
            warn("adjust", "no unit of the families that it multiplies ever has a rate".to_owned());
        }
    }
}
