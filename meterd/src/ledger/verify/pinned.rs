//! What a digest pins, read back from beside the ledger and held against the digest: a table, or tables in layers.

use std::sync::Arc;

use pricing::book::Layers;
use pricing::cost::TableRef;
use pricing::document::{self, Node};
use pricing::{PriceBook, PriceTable};

use crate::ledger::DataDir;

/// The book that a reference stands for; what is wrong with its pinned copy otherwise.
pub(super) fn book(dir: &DataDir, reference: &TableRef) -> Result<PriceBook, String> {
    let node = read(dir, &reference.digest)?;
    if node.get("kind").and_then(Node::text) != Some("PriceBook") {
        return Ok(PriceBook::new(vec![table(dir, &node, &reference.digest, Some(reference))?]));
    }
    let layers = Layers::from_node(&node).map_err(|_| unreadable(dir, &reference.digest))?;
    let mut tables = Vec::new();
    for (name, digest) in layers.pinned() {
        let digest = digest.ok_or_else(|| format!("whose layer {name} names no digest"))?;
        tables.push(table(dir, &read(dir, digest)?, digest, None)?);
    }
    let book = PriceBook::layered(tables, &[layers]).map_err(|problems| {
        let first = problems.first().map(|found| found.problem.to_string()).unwrap_or_default();
        format!("whose layers do not fit each other: {first}")
    })?;
    // Named after the layers' own digests, so it is this one only if they are what was pinned.
    if book.pins().any(|(found, _)| found == reference) {
        Ok(book)
    } else {
        Err(format!("whose pinned copy {} has another digest", path(dir, &reference.digest)))
    }
}

fn path(dir: &DataDir, digest: &str) -> String {
    dir.prices().join(format!("{digest}.json")).display().to_string()
}

fn unreadable(dir: &DataDir, digest: &str) -> String {
    format!("whose pinned copy {} is not a price table", path(dir, digest))
}

fn read(dir: &DataDir, digest: &str) -> Result<Node, String> {
    let file = dir.prices().join(format!("{digest}.json"));
    let text =
        dir.read(&file).map_err(|error| format!("whose pinned copy {} cannot be read: {error}", file.display()))?;
    let text = String::from_utf8(text).map_err(|_| unreadable(dir, digest))?;
    let nodes = document::parse(&text).map_err(|_| unreadable(dir, digest))?;
    nodes.into_iter().next().ok_or_else(|| unreadable(dir, digest))
}

/// The table, if its content has that digest, and that name and version where they are known.
fn table(dir: &DataDir, node: &Node, digest: &str, wanted: Option<&TableRef>) -> Result<Arc<PriceTable>, String> {
    let (read, _) = PriceTable::from_node(node).map_err(|_| unreadable(dir, digest))?;
    let found = read.reference();
    if *found.digest != *digest || wanted.is_some_and(|wanted| wanted != found) {
        return Err(format!("whose pinned copy {} has digest {}", path(dir, digest), found.digest));
    }
    Ok(Arc::new(read))
}
