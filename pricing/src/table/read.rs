//! A tree → a compiled PriceTable, or every problem found in it.

mod allowances;
mod fx;
mod lint;
mod models;
mod rates;
mod tools;
mod when;

use std::sync::Arc;

use rust_decimal::Decimal;
use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

use super::reader::{Path, Reader};
use super::when::Calendar;
use super::{PriceTable, Unmatched, UnmatchedPolicy, canonical};
use crate::cost::TableRef;
use crate::document::{Key, Node, Place, Problem, Severity, Value, nearest};
use crate::time::Timestamp;
use crate::usage::Family;

/// The API versions under which a PriceTable is known; the group may have a prefix.
pub(crate) const API_GROUP_VERSION: &str = "joch.dev/v1alpha1";
const SPEC_FIELDS: &[&str] = &[
    "version",
    "currency",
    "fx",
    "per",
    "rounding",
    "provenance",
    "calendars",
    "models",
    "tools",
    "approvals",
    "unmatched",
];
/// The largest block of a rate.
const PER_MAX: u32 = 1_000_000_000;

/// Bare rules that are remembered of one table.
const BARE_MAX: usize = 64;

/// A rule that holds for every call and does not say whether it means the tiers too: fine in a list, not in a contract.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Bare {
    /// Where it stands.
    pub(crate) place: Place,
    /// Of a tool? Else of a model.
    pub(crate) of_tool: bool,
    /// The entry's index there.
    pub(crate) entry: u32,
    /// The rule's index in the entry.
    pub(crate) rule: u32,
}

/// What the parts of a spec need of each other.
pub(super) struct Context {
    pers: Vec<(Family, u32)>,
    calendars: FxHashMap<String, Arc<Calendar>>,
}

impl Context {
    fn per(&self, family: Family) -> u32 {
        let stated = self.pers.iter().find(|(known, _)| *known == family).map(|(_, per)| *per);
        stated.unwrap_or(family.default_per())
    }
}

/// Reads one resource.
pub(super) fn table(node: &Node) -> Result<(PriceTable, Vec<Problem>), Vec<Problem>> {
    let mut reader = Reader::default();
    let table = resource(&mut reader, node);
    reader.problems.sort_by_key(|problem| problem.place);
    let refused = reader.problems.iter().any(|problem| problem.severity == Severity::Error);
    match table {
        Some(table) if !refused => Ok((table, reader.problems)),
        _ => Err(reader.problems),
    }
}

fn resource(reader: &mut Reader, node: &Node) -> Option<PriceTable> {
    let root = Path::Root;
    if !reader.fields(node, &root, &["apiVersion", "kind", "metadata", "spec", "status"]) {
        return None;
    }
    check_kind(reader, node);
    let name = name(reader, node);
    let spec = reader.required(node, &root, "spec", "give the table's rates under spec")?;
    let path = Path::Key(&root, "spec");
    if !reader.fields(spec, &path, SPEC_FIELDS) {
        return None;
    }
    let version = reader.required(spec, &path, "version", "give the table a version, such as \"2026.11.18+1\"");
    let version = version.and_then(|version| reader.text(version, &Path::Key(&path, "version")));
    check_constants(reader, spec, &path);
    let context = Context { pers: pers(reader, spec, &path), calendars: when::calendars(reader, spec, &path) };
    let exchange = fx::exchange(reader, &context, spec, &path);
    let (models, providers) = models::models(reader, &context, spec, &path);
    let mut providers: Vec<_> = providers.into_iter().collect();
    providers.sort_unstable_by(|left, right| left.0.cmp(&right.0));
    let tools = tools::tools(reader, &context, spec, &path);
    let approval = tools::approval(reader, &context, spec, &path);
    let unmatched = unmatched(reader, spec, &path);
    let canonical_spec = canonical::canonical(spec);
    let digest = canonical::digest(&canonical_spec.to_json());
    let (name, version) = (name?, version?);
    let reference = TableRef::new(name, version, digest);
    let json = Arc::from(whole(name, canonical_spec).to_json());
    let bare = bare(spec);
    Some(PriceTable { reference, json, models, providers, tools, approval, unmatched, exchange, bare })
}

fn check_kind(reader: &mut Reader, node: &Node) {
    let root = Path::Root;
    if let Some(kind) = reader.required(node, &root, "kind", "write kind: PriceTable")
        && kind.text() != Some("PriceTable")
    {
        let path = Path::Key(&root, "kind");
        let found = kind.text().unwrap_or(kind.kind_name());
        reader.error(kind.place, &path, format!("not a PriceTable but {found}"), "write kind: PriceTable");
    }
    let hint = "write apiVersion: joch.dev/v1alpha1";
    if let Some(api) = reader.required(node, &root, "apiVersion", hint) {
        let text = api.text().unwrap_or_default();
        let group = text.strip_suffix(API_GROUP_VERSION);
        if !group.is_some_and(|group| group.is_empty() || group.ends_with('.')) {
            reader.error(api.place, &Path::Key(&root, "apiVersion"), format!("unknown API version {text:?}"), hint);
        }
    }
}

fn name<'n>(reader: &mut Reader, node: &'n Node) -> Option<&'n str> {
    let root = Path::Root;
    let metadata = reader.required(node, &root, "metadata", "write metadata: { name: … }")?;
    let path = Path::Key(&root, "metadata");
    let name = reader.required(metadata, &path, "name", "give the table a name, such as list-2026-11-18")?;
    reader.text(name, &Path::Key(&path, "name"))
}

/// What has one value today, and provenance, which is only kept; `published` in it is a time.
fn check_constants(reader: &mut Reader, spec: &Node, path: &Path<'_>) {
    if let Some(rounding) = spec.get("rounding") {
        let path = Path::Key(path, "rounding");
        reader.fields(rounding, &path, &["scale", "mode", "at"]);
        for (field, only) in [("scale", "18"), ("mode", "half_even"), ("at", "line")] {
            if let Some(value) = rounding.get(field)
                && value.text() != Some(only)
            {
                let hint = format!("write {field}: {only}, or leave it out");
                reader.error(value.place, &Path::Key(&path, field), "this rounding is not offered", hint);
            }
        }
    }
    if let Some(provenance) = spec.get("provenance") {
        let path = Path::Key(path, "provenance");
        for (index, source) in reader.list(provenance, &path).iter().enumerate() {
            let path = Path::Index(&path, index);
            for (key, value) in reader.pairs(source, &path) {
                let path = Path::Key(&path, &key.name);
                let text = reader.text(value, &path);
                if key.name == "published"
                    && let Some(text) = text.filter(|text| text.parse::<Timestamp>().is_err())
                {
                    reader.error(value.place, &path, format!("not a time: {text:?}"), "such as 2026-11-18T00:00:00Z");
                }
            }
        }
    }
}

/// The rules that hold for every call and say nothing of the tiers.
fn bare(spec: &Node) -> Vec<Bare> {
    let has = |rule: &Node, field: &str| rule.get(field).is_some_and(|value| !value.is_null());
    let mut bare = Vec::new();
    for list in ["models", "tools"] {
        let entries = spec.get(list).and_then(Node::as_list).unwrap_or(&[]);
        for (entry, node) in (0u32..).zip(entries) {
            let rules = node.get("rates").and_then(Node::as_list).unwrap_or(&[]);
            let found = (0u32..)
                .zip(rules)
                .filter(|(_, rule)| has(rule, "set") && !["when", "appliesTo"].iter().any(|field| has(rule, field)));
            bare.extend(found.map(|(rule, node)| Bare { place: node.place, of_tool: list == "tools", entry, rule }));
            if bare.len() >= BARE_MAX {
                return bare;
            }
        }
    }
    bare
}

fn pers(reader: &mut Reader, spec: &Node, path: &Path<'_>) -> Vec<(Family, u32)> {
    let Some(node) = spec.get("per") else { return Vec::new() };
    let path = Path::Key(path, "per");
    let mut pers = Vec::new();
    for (key, value) in reader.pairs(node, &path) {
        let path = Path::Key(&path, &key.name);
        let family = family(reader, &key.name, key.place, &path);
        let Some(number) = reader.decimal(value, &path) else { continue };
        let per = if number.is_integer() { u32::try_from(number.normalize().mantissa()).ok() } else { None };
        match per.filter(|per| (1..=PER_MAX).contains(per)) {
            Some(per) => pers.extend(family.map(|family| (family, per))),
            None => reader.error(value.place, &path, format!("not a block: {number}"), "a whole number from 1 to 10^9"),
        }
    }
    pers
}

/// A unit family by its name.
fn family(reader: &mut Reader, name: &str, place: crate::document::Place, path: &Path<'_>) -> Option<Family> {
    let family = Family::parse(name);
    if family.is_none() {
        let names = Family::ALL.iter().map(|family| family.as_str());
        let hint = match nearest(name, names.clone()) {
            Some(near) => format!("did you mean {near}?"),
            None => format!("one of {}", names.collect::<Vec<_>>().join(", ")),
        };
        reader.error(place, path, format!("unknown unit family {name:?}"), hint);
    }
    family
}

fn unmatched(reader: &mut Reader, spec: &Node, path: &Path<'_>) -> UnmatchedPolicy {
    let Some(node) = spec.get("unmatched") else { return UnmatchedPolicy::default() };
    let path = Path::Key(path, "unmatched");
    reader.fields(node, &path, &["model", "tool"]);
    let mut read =
        |field: &str| node.get(field).and_then(|value| reader.word(value, &Path::Key(&path, field), &Unmatched::WORDS));
    UnmatchedPolicy { model: read("model"), tool: read("tool") }
}

/// The whole resource around a canonical spec.
fn whole(name: &str, spec: Node) -> Node {
    let place = spec.place;
    let node = |value: Value| Node { place, value };
    let text = |text: &str| node(Value::Scalar { text: text.to_owned(), quoted: true });
    let key = |name: &str| Key { place, name: name.to_owned() };
    node(Value::Map(vec![
        (key("apiVersion"), text(API_GROUP_VERSION)),
        (key("kind"), text("PriceTable")),
        (key("metadata"), node(Value::Map(vec![(key("name"), text(name))]))),
        (key("spec"), spec),
    ]))
}

/// A whole non-negative decimal?
fn is_positive(number: Decimal) -> bool {
    !number.is_zero() && !number.is_sign_negative()
}
