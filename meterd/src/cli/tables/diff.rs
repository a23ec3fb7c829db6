//! `meterd tables diff`: two sets of tables, compared entry by entry and rate by rate.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use pricing::{PriceBook, UsageKey};

use crate::cli::Failure;
use crate::cli::output::Rows;
use crate::config::seed;
use crate::resource::print::Json;
use crate::watch;

/// What stands for the built-in tables.
const BUILT_IN: &str = "built-in";

/// An entry's parts by what they are: a rate by its rule's conditions and its unit.
type Parts = BTreeMap<Part, String>;
/// Entries by their name.
pub(super) type Entries = BTreeMap<String, Parts>;

/// A part of an entry that may change.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Part {
    /// How many rules of the entry before it had the same conditions.
    nth: usize,
    when: String,
    unit: String,
}

/// The entries of a file, a folder or the built-in tables.
pub(super) fn load(path: &Path) -> Result<Entries, Failure> {
    let config = |problems: Vec<crate::config::FileProblem>| {
        Failure::Config(problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    };
    let files: Vec<(PathBuf, String)> = if path == Path::new(BUILT_IN) {
        seed::TABLES.iter().map(|(name, text)| (Path::new(BUILT_IN).join(name), (*text).to_owned())).collect()
    } else if path.is_dir() {
        watch::load_dir(path, &watch::EXTENSIONS).map_err(config)?.files
    } else {
        vec![(path.to_owned(), watch::load_file(path).map_err(|problem| config(vec![problem]))?)]
    };
    let (book, _) = watch::prices_from(&[], &files).map_err(config)?;
    Ok(entries(&book))
}

/// Every entry of a book. Of two tables with one model, the higher one's counts.
fn entries(book: &PriceBook) -> Entries {
    let mut entries = Entries::new();
    for table in book.tables() {
        let document = Json::parse(&table.canonical_json()).unwrap_or(Json::Null);
        let spec = document.get("spec").cloned().unwrap_or(Json::Null);
        for model in list(&spec, "models") {
            let name = format!("{}:{}", text(&model, "provider"), text(&model, "id"));
            entries.insert(name, parts(&model, &spec));
        }
        for tool in list(&spec, "tools") {
            let name = format!("tool {}", tool.get("match").map(Json::to_canonical_json).unwrap_or_default());
            entries.insert(name, parts(&tool, &spec));
        }
        if let Some(approvals) = spec.get("approvals") {
            let entry = if let Json::List(items) = approvals { items.first().unwrap_or(approvals) } else { approvals };
            entries.insert("approvals".to_owned(), parts(entry, &spec));
        }
    }
    entries
}

fn parts(entry: &Json, spec: &Json) -> Parts {
    let mut parts = Parts::new();
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for rule in list(entry, "rates") {
        let mut when = rule.get("when").map(Json::to_canonical_json).unwrap_or_default();
        if rule.get("reset") == Some(&Json::Bool(true)) {
            when.push_str(", forgetting all above");
        }
        let count = seen.entry(when.clone()).or_default();
        let nth = *count;
        *count += 1;
        let Some(Json::Map(rates)) = rule.get("set") else { continue };
        for (unit, rate) in rates {
            let part = Part { nth, when: when.clone(), unit: unit.clone() };
            parts.insert(part, format!("{} per {}", scalar(rate), per(unit, spec)));
        }
    }
    for field in ["match", "billOn", "adjust", "minimum", "increment", "cap"] {
        if let Some(value) = entry.get(field) {
            let part = Part { nth: 0, when: String::new(), unit: field.to_owned() };
            parts.insert(part, value.to_canonical_json());
        }
    }
    parts
}

/// The block of a unit's rate.
fn per(unit: &str, spec: &Json) -> String {
    let Some(family) = UsageKey::parse(unit).map(UsageKey::family) else { return String::new() };
    let stated = spec.get("per").and_then(|per| per.get(family.as_str())).map(scalar);
    stated.unwrap_or_else(|| family.default_per().to_string())
}

/// One row for each entry added or removed, and for each part that differs.
pub(super) fn rows(old: &Entries, new: &Entries) -> Rows {
    let mut rows = Rows::new(&["change", "entry", "unit", "old", "new", "when"]);
    let names: std::collections::BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    for name in names {
        let mut row = |change: &str, unit: &str, before: &str, after: &str, when: &str| {
            rows.rows.push([change, name, unit, before, after, when].map(str::to_owned).into());
        };
        match (old.get(name), new.get(name)) {
            (None, Some(_)) => row("added", "-", "-", "-", "-"),
            (Some(_), None) => row("removed", "-", "-", "-", "-"),
            (Some(before), Some(after)) => {
                let parts: std::collections::BTreeSet<&Part> = before.keys().chain(after.keys()).collect();
                for part in parts.into_iter().filter(|part| before.get(part) != after.get(part)) {
                    let cell = |parts: &Parts| parts.get(part).cloned().unwrap_or_else(|| "-".to_owned());
                    let when = if part.when.is_empty() { "always" } else { &part.when };
                    row("changed", &part.unit, &cell(before), &cell(after), when);
                }
            }
            (None, None) => {}
        }
    }
    rows
}

fn list(value: &Json, key: &str) -> Vec<Json> {
    if let Some(Json::List(items)) = value.get(key) { items.clone() } else { Vec::new() }
}

fn text(value: &Json, key: &str) -> String {
    value.get(key).map(scalar).unwrap_or_default()
}

fn scalar(value: &Json) -> String {
    match value {
        Json::String(text) | Json::Number(text) => text.clone(),
        other => other.to_canonical_json(),
    }
}
