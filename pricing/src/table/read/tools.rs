//! `tools` and `approvals`.

use std::sync::Arc;

use super::super::entry::Entry;
use super::super::reader::{Path, Reader};
use super::super::tools::{Pattern, Tools};
use super::{Context, allowances, lint, rates};
use crate::document::Node;

const FIELDS: &[&str] =
    &["match", "billOn", "rates", "adjust", "minimum", "increment", "cap", "allowances", "annotations"];
/// How a call ended, as a table says it → as an event says it.
const OUTCOMES: &[(&str, &str)] = &[
    ("Succeeded", "ok"),
    ("Failed", "error"),
    ("Cancelled", "aborted"),
    ("Aborted", "aborted"),
    ("ok", "ok"),
    ("error", "error"),
    ("aborted", "aborted"),
];

/// `spec.tools`.
pub(super) fn tools(reader: &mut Reader, context: &Context, spec: &Node, path: &Path<'_>) -> Tools {
    let mut tools = Tools::default();
    let Some(node) = spec.get("tools") else { return tools };
    let path = Path::Key(path, "tools");
    for (index, item) in reader.list(node, &path).iter().enumerate() {
        tool(reader, context, item, &Path::Index(&path, index), &mut tools);
    }
    tools
}

fn tool(reader: &mut Reader, context: &Context, node: &Node, path: &Path<'_>, tools: &mut Tools) {
    if !reader.fields(node, path, FIELDS) {
        return;
    }
    let rated = entry(reader, context, node, path);
    let hint = "say which tools: match: { mcpServer: github, tool: search_issues }";
    let Some(matching) = reader.required(node, path, "match", hint) else { return };
    let path = Path::Key(path, "match");
    if !reader.fields(matching, &path, &["tool", "name", "mcpServer", "glob"]) {
        return;
    }
    let mut field = |name: &str| matching.get(name).and_then(|value| reader.text(value, &Path::Key(&path, name)));
    let (tool, name, glob, server) = (field("tool"), field("name"), field("glob"), field("mcpServer"));
    let given = [tool, name, glob].into_iter().flatten().count();
    if given > 1 {
        reader.error(matching.place, &path, "more than one of tool, name and glob", "keep one of them");
        return;
    }
    let pattern = match (tool.or(name), glob) {
        (Some(name), _) => Pattern::Name(name),
        (None, Some(glob)) => Pattern::Glob(glob),
        (None, None) if server.is_some() => Pattern::Glob("*"),
        (None, None) => return reader.error(matching.place, &path, "nothing to match", hint),
    };
    let id = match pattern {
        Pattern::Name(text) | Pattern::Glob(text) => Arc::from(text),
    };
    if let Err(other) = tools.add(&pattern, server, Entry { id, ..rated }) {
        let message = format!("an entry for {other:?} matches the same tools");
        reader.error(matching.place, &path, message, "every tool must lead to one entry; remove one of the two");
    }
}

/// `spec.approvals`: one entry, alone or in a list.
pub(super) fn approval(reader: &mut Reader, context: &Context, spec: &Node, path: &Path<'_>) -> Option<Entry> {
    let node = spec.get("approvals").filter(|node| !node.is_null())?;
    let path = Path::Key(path, "approvals");
    let items = node.as_list().unwrap_or(std::slice::from_ref(node));
    if items.len() > 1 {
        let hint = "keep one entry; tell cases apart with `when` in its rates";
        reader.error(node.place, &path, format!("{} entries for approvals", items.len()), hint);
    }
    let item = items.first()?;
    let known: Vec<&str> = FIELDS.iter().copied().filter(|field| !matches!(*field, "match" | "billOn")).collect();
    reader.fields(item, &path, &known).then(|| entry(reader, context, item, &path))
}

fn entry(reader: &mut Reader, context: &Context, node: &Node, path: &Path<'_>) -> Entry {
    let bill_on = node.get("billOn").map(|list| {
        let path = Path::Key(path, "billOn");
        let mut outcomes: Vec<Box<str>> = Vec::new();
        for (index, item) in reader.list(list, &path).iter().enumerate() {
            outcomes.extend(reader.word(item, &Path::Index(&path, index), OUTCOMES).map(Box::from));
        }
        outcomes
    });
    let owner = node.get("match").map_or_else(|| "approvals".to_owned(), |matching| matching.to_json());
    let entry = Entry {
        provider: Arc::from(""),
        id: Arc::from(""),
        rules: rates::rules(reader, context, node, path),
        adjusts: rates::adjusts(reader, context, node, path),
        shapes: rates::shapes(reader, node, path),
        allowances: allowances::allowances(reader, context, node, &owner, path),
        bill_on,
    };
    lint::entry(reader, node, &entry, path);
    entry
}
