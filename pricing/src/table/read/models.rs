//! `models`: entries and the names they answer to.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::super::entry::Entry;
use super::super::reader::{Path, Reader};
use super::{Context, allowances, lint, rates};
use crate::document::{Node, Place};
use crate::model::{Clash, Glob, Names, Regex, normal};

/// Entries of one table.
const MODELS_MAX: usize = 100_000;
const FIELDS: &[&str] = &[
    "provider",
    "id",
    "name",
    "match",
    "rates",
    "adjust",
    "minimum",
    "increment",
    "cap",
    "allowances",
    "annotations",
    "inherited",
];

type Providers = FxHashMap<Box<str>, Names>;

/// `spec.models`.
pub(super) fn models(reader: &mut Reader, context: &Context, spec: &Node, path: &Path<'_>) -> (Vec<Entry>, Providers) {
    let mut models = Models { entries: Vec::new(), providers: Providers::default(), ids: FxHashMap::default() };
    let path = Path::Key(path, "models");
    let items = spec.get("models").map_or(&[][..], |node| reader.list(node, &path));
    if items.len() > MODELS_MAX {
        let place = items.first().map_or(spec.place, |item| item.place);
        reader.error(place, &path, format!("{} models; at most {MODELS_MAX} are read", items.len()), "split the table");
        return (models.entries, models.providers);
    }
    for (index, item) in items.iter().enumerate() {
        models.read(reader, context, item, &Path::Index(&path, index));
    }
    (models.entries, models.providers)
}

struct Models {
    entries: Vec<Entry>,
    providers: Providers,
    /// Where each provider's id first stood.
    ids: FxHashMap<(Arc<str>, Arc<str>), Place>,
}

impl Models {
    fn read(&mut self, reader: &mut Reader, context: &Context, node: &Node, path: &Path<'_>) {
        if !reader.fields(node, path, FIELDS) {
            return;
        }
        let provider = reader.required(node, path, "provider", "name the provider, such as anthropic");
        let provider = provider.and_then(|provider| reader.text(provider, &Path::Key(path, "provider")));
        let id = reader.required(node, path, "id", "name the model, such as claude-haiku-5-5");
        let id = id.and_then(|id| reader.text(id, &Path::Key(path, "id")));
        let rules = rates::rules(reader, context, node, path);
        let adjusts = rates::adjusts(reader, context, node, path);
        let shapes = rates::shapes(reader, node, path);
        let owner = format!("{}:{}", provider.unwrap_or_default(), id.unwrap_or_default());
        let allowances = allowances::allowances(reader, context, node, &owner, path);
        let (Some(provider), Some(id)) = (provider, id) else { return };
        let provider: Arc<str> = Arc::from(&*normal(provider));
        let id: Arc<str> = Arc::from(id);
        if let Some(first) = self.ids.insert((Arc::clone(&provider), Arc::clone(&id)), node.place) {
            let message = format!("{provider}:{id} is given twice, first on line {}", first.line);
            reader.error(node.place, path, message, "put all its rates into one entry");
        }
        let entry = Entry { provider, id, rules, adjusts, shapes, allowances, bill_on: None };
        lint::entry(reader, node, &entry, path);
        self.entries.push(entry);
        self.names(reader, node, path);
    }

    /// Registers the names of the entry read last.
    fn names(&mut self, reader: &mut Reader, node: &Node, path: &Path<'_>) {
        let Some((index, entry)) = self.entries.iter().enumerate().next_back() else { return };
        let (Ok(index), provider) = (u32::try_from(index), Arc::clone(&entry.provider)) else { return };
        let names = self.providers.entry((&*provider).into()).or_default();
        let entries = &self.entries;
        let note = |reader: &mut Reader, place: Place, path: &Path<'_>, what: &str, clash: Result<(), Clash>| {
            let Err(clash) = clash else { return };
            let other = usize::try_from(clash.entry).ok().and_then(|other| entries.get(other));
            let other = other.map_or("another entry", |other| &*other.id);
            let message = match clash.pattern {
                Some(pattern) => format!("{what} and {pattern:?} of {other} can match the same name"),
                None => format!("{other} answers to {what} too"),
            };
            reader.error(place, path, message, "every name must lead to one entry; remove one of the two");
        };
        let Some(matching) = node.get("match").filter(|matching| !matching.is_null()) else {
            let id = entries.last().map(|entry| normal(&entry.id).into_owned()).unwrap_or_default();
            return note(reader, node.place, path, &format!("{id:?}"), names.add_exact(&id, index));
        };
        let path = Path::Key(path, "match");
        if !reader.fields(matching, &path, &["exact", "alias", "prefix", "glob", "regex"]) {
            return;
        }
        for kind in ["exact", "prefix", "glob", "regex"] {
            let Some(list) = matching.get(kind) else { continue };
            let path = Path::Key(&path, kind);
            for (position, item) in reader.list(list, &path).iter().enumerate() {
                let path = Path::Index(&path, position);
                let Some(text) = reader.text(item, &path) else { continue };
                // A regular expression tells \d from \D: it is matched without regard to case instead.
                let text = if kind == "regex" { std::borrow::Cow::Borrowed(text) } else { normal(text) };
                let clash = match kind {
                    "exact" => names.add_exact(&text, index),
                    "prefix" => names.add_prefix(&text, index),
                    "regex" => match Regex::new(&text) {
                        Ok(regex) => names.add_regex(regex, index),
                        Err(why) => {
                            let hint = "write it as for the whole name, such as gpt-5(-mini)?";
                            reader.error(item.place, &path, format!("{text:?} is not a pattern: {why}"), hint);
                            continue;
                        }
                    },
                    _ => names.add_glob(Glob::new(&text), index),
                };
                note(reader, item.place, &path, &format!("{text:?}"), clash);
            }
        }
        if let Some(list) = matching.get("alias") {
            let path = Path::Key(&path, "alias");
            for (position, item) in reader.list(list, &path).iter().enumerate() {
                let path = Path::Index(&path, position);
                let Some((name, from, until)) = alias(reader, item, &path) else { continue };
                note(reader, item.place, &path, &format!("{name:?}"), names.add_alias(&name, from, until, index));
            }
        }
        if matching.as_map().is_some_and(<[_]>::is_empty) {
            reader.error(matching.place, &path, "nothing to match", "leave match out to match the id itself");
        }
    }
}

type Alias = (String, Option<crate::time::Timestamp>, Option<crate::time::Timestamp>);

/// A name, or `{ name, from, until }`.
fn alias(reader: &mut Reader, node: &Node, path: &Path<'_>) -> Option<Alias> {
    if node.as_map().is_none() {
        return reader.text(node, path).map(|name| (normal(name).into_owned(), None, None));
    }
    reader.fields(node, path, &["name", "from", "until"]);
    let name = reader.required(node, path, "name", "name the alias")?;
    let name = reader.text(name, &Path::Key(path, "name"))?;
    let from = node.get("from").and_then(|from| reader.instant(from, &Path::Key(path, "from")));
    let until = node.get("until").and_then(|until| reader.instant(until, &Path::Key(path, "until")));
    Some((normal(name).into_owned(), from, until))
}
