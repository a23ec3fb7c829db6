//! The PriceBook resource: which tables are contracts or overrides over the list, for whom, and by which digest.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::document::{self, Node, Place, Problem, Severity, nearest};
use crate::table::API_GROUP_VERSION;
use crate::table::PriceTable;
use crate::table::reader::{Path, Reader};

use super::scope::{ABOVE_MAX, Layer, Scopes, TooMany};

/// Layers of one book.
const LAYERS_MAX: usize = 4_096;

/// Where a layer stands: each is over those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// List prices: the highest table that has an entry decides alone.
    List,
    /// What was agreed: its rules come after the list's.
    Contract,
    /// What goes before everything.
    Override,
}

impl Kind {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::List => "list",
            Self::Contract => "contract",
            Self::Override => "override",
        }
    }
}

/// A PriceBook as written: names of tables, not yet the tables.
#[derive(Clone, Debug)]
pub struct Layers {
    name: Arc<str>,
    layers: Vec<Written>,
}

#[derive(Clone, Debug)]
struct Written {
    place: Place,
    index: usize,
    kind: Kind,
    table: Box<str>,
    digest: Option<Box<str>>,
    namespaces: BTreeSet<Box<str>>,
    teams: BTreeSet<Box<str>>,
}

/// What is wrong with layers, and in which document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerProblem {
    /// The PriceBook or PriceTable.
    pub resource: Arc<str>,
    /// Is it a PriceTable?
    pub is_table: bool,
    /// The problem, at its place in that document.
    pub problem: Problem,
}

impl Layers {
    /// Reads one PriceBook resource (`kind: PriceBook`). Every problem at once.
    pub fn from_node(node: &Node) -> Result<Self, Vec<Problem>> {
        let mut reader = Reader::default();
        let read = resource(&mut reader, node);
        reader.problems.sort_by_key(|problem| problem.place);
        let refused = reader.problems.iter().any(|problem| problem.severity == Severity::Error);
        read.filter(|_| !refused).ok_or(reader.problems)
    }

    /// Its `metadata.name`.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The name and the digest of every table that it pins.
    pub fn pinned(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        self.layers.iter().map(|layer| (&*layer.table, layer.digest.as_deref()))
    }

    /// Reads every PriceTable and PriceBook of a text; other kinds are errors.
    pub fn parse_all(text: &str) -> Result<(Vec<PriceTable>, Vec<Self>), Vec<Problem>> {
        let (mut tables, mut books, mut problems, mut refused) = (Vec::new(), Vec::new(), Vec::new(), false);
        for node in document::parse(text)? {
            if node.get("kind").and_then(Node::text) == Some("PriceBook") {
                match Self::from_node(&node) {
                    Ok(book) => books.push(book),
                    Err(found) => {
                        refused = true;
                        problems.extend(found);
                    }
                }
                continue;
            }
            match PriceTable::from_node(&node) {
                Ok((table, warnings)) => {
                    tables.push(table);
                    problems.extend(warnings);
                }
                Err(found) => {
                    refused = true;
                    problems.extend(found);
                }
            }
        }
        if refused { Err(problems) } else { Ok((tables, books)) }
    }
}

fn resource(reader: &mut Reader, node: &Node) -> Option<Layers> {
    let root = Path::Root;
    if !reader.fields(node, &root, &["apiVersion", "kind", "metadata", "spec", "status"]) {
        return None;
    }
    let api = reader.required(node, &root, "apiVersion", "write apiVersion: joch.dev/v1alpha1")?;
    let group = api.text().unwrap_or_default().strip_suffix(API_GROUP_VERSION);
    if !group.is_some_and(|group| group.is_empty() || group.ends_with('.')) {
        let message = format!("unknown API version {:?}", api.text().unwrap_or_default());
        reader.error(api.place, &Path::Key(&root, "apiVersion"), message, "write apiVersion: joch.dev/v1alpha1");
    }
    let metadata = reader.required(node, &root, "metadata", "write metadata: { name: … }")?;
    let path = Path::Key(&root, "metadata");
    let name = reader.required(metadata, &path, "name", "give the book a name, such as prices")?;
    let name = reader.text(name, &Path::Key(&path, "name"));
    let spec = reader.required(node, &root, "spec", "give the layers under spec")?;
    let path = Path::Key(&root, "spec");
    if !reader.fields(spec, &path, &["layers"]) {
        return None;
    }
    let hint = "write layers: [{ layer: contract, priceTable: acme-2026, scope: { teams: [research] } }]";
    let list = reader.required(spec, &path, "layers", hint)?;
    let path = Path::Key(&path, "layers");
    let items = reader.list(list, &path);
    if items.len() > LAYERS_MAX {
        let message = format!("{} layers; at most {LAYERS_MAX} are read", items.len());
        reader.error(list.place, &path, message, "merge some of the tables");
        return None;
    }
    let mut layers: Vec<Written> = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let path = Path::Index(&path, index);
        let Some(layer) = written(reader, item, index, &path) else { continue };
        let same = |other: &Written| {
            (other.kind, &other.table, &other.namespaces, &other.teams)
                == (layer.kind, &layer.table, &layer.namespaces, &layer.teams)
        };
        if layers.iter().any(same) {
            reader.error(item.place, &path, "this layer is given twice", "remove one of the two");
        }
        layers.push(layer);
    }
    Some(Layers { name: Arc::from(name?), layers })
}

fn written(reader: &mut Reader, node: &Node, index: usize, path: &Path<'_>) -> Option<Written> {
    if !reader.fields(node, path, &["layer", "priceTable", "digest", "scope"]) {
        return None;
    }
    let kind = reader.required(node, path, "layer", "write layer: list, contract or override");
    let kinds = [Kind::List, Kind::Contract, Kind::Override].map(|kind| (kind.as_str(), kind));
    let kind = kind.and_then(|kind| reader.word(kind, &Path::Key(path, "layer"), &kinds));
    let table = reader.required(node, path, "priceTable", "name the price table");
    let table = table.and_then(|table| reader.text(table, &Path::Key(path, "priceTable")));
    let digest = node.get("digest").filter(|digest| !digest.is_null()).and_then(|digest| {
        let path = Path::Key(path, "digest");
        let text = reader.text(digest, &path)?;
        let hex = text.strip_prefix("sha256:").unwrap_or(text);
        if hex.len() != 64 || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            reader.error(digest.place, &path, "not a digest", "copy it from `meterd tables list`: 64 hex digits");
        }
        Some(Box::from(hex.to_ascii_lowercase()))
    });
    let mut names = [BTreeSet::new(), BTreeSet::new()];
    if let Some(scope) = node.get("scope").filter(|scope| !scope.is_null()) {
        let path = Path::Key(path, "scope");
        reader.fields(scope, &path, &["namespaces", "namespace", "teams", "team"]);
        let [namespaces, teams] = &mut names;
        for (field, names) in [("namespaces", namespaces), ("teams", teams)] {
            if let Some(list) = scope.get(field) {
                let path = Path::Key(&path, field);
                for (index, item) in reader.list(list, &path).iter().enumerate() {
                    names.extend(reader.text(item, &Path::Index(&path, index)).map(Box::from));
                }
            }
            let single = field.strip_suffix('s').unwrap_or(field);
            if let Some(name) = scope.get(single) {
                names.extend(reader.text(name, &Path::Key(&path, single)).map(Box::from));
            }
        }
        if names.iter().all(BTreeSet::is_empty) {
            let hint = "name teams or namespaces, or leave scope out to mean all";
            reader.error(scope.place, &path, "the layer is for nobody", hint);
        }
    }
    let [namespaces, teams] = names;
    let place = node.place;
    Some(Written { place, index, kind: kind?, table: Box::from(table?), digest, namespaces, teams })
}

/// Finds the tables of all layers and piles them up. The layers of one kind apply in the order of the books' names, and
/// in each book as written. Gives the scopes, where any layer is more than a list price for all, and the list's tables.
pub(super) fn resolve(
    tables: &[Arc<PriceTable>],
    books: &[Layers],
) -> Result<(Option<Scopes>, Vec<usize>), Vec<LayerProblem>> {
    let mut problems = Vec::new();
    let mut books: Vec<&Layers> = books.iter().collect();
    books.sort_by(|one, other| one.name.cmp(&other.name));
    let mut layers: Vec<Layer> = Vec::new();
    let mut above_list: BTreeSet<usize> = BTreeSet::new();
    for (book, written) in books.iter().flat_map(|book| book.layers.iter().map(move |layer| (*book, layer))) {
        let Some(table) = table_of(tables, book, written, &mut problems) else { continue };
        let Written { kind, namespaces, teams, .. } = written.clone();
        if kind != Kind::List || !namespaces.is_empty() || !teams.is_empty() {
            above_list.insert(table);
            layers.push(Layer { kind, table, namespaces, teams });
        }
    }
    layers.sort_by_key(|layer| layer.kind);
    let contracts: BTreeSet<usize> =
        layers.iter().filter(|layer| layer.kind != Kind::List).map(|layer| layer.table).collect();
    problems.extend(contracts.iter().filter_map(|table| tables.get(*table)).flat_map(|table| flattening(table)));
    let list: Vec<usize> = (0..tables.len()).filter(|table| !above_list.contains(table)).collect();
    if !problems.is_empty() {
        return Err(problems);
    }
    if layers.is_empty() {
        return Ok((None, list));
    }
    match Scopes::new(tables, &list, &layers) {
        Ok(scopes) => Ok((Some(scopes), list)),
        Err(too_many) => Err(vec![whole(&books, too_many)]),
    }
}

fn table_of(
    tables: &[Arc<PriceTable>],
    book: &Layers,
    layer: &Written,
    problems: &mut Vec<LayerProblem>,
) -> Option<usize> {
    let mut problem = |field: &str, message: String, hint: String| {
        let path = format!("spec.layers[{}].{field}", layer.index);
        let problem = Problem::error(layer.place, path, message).with_hint(hint);
        problems.push(LayerProblem { resource: Arc::clone(&book.name), is_table: false, problem });
    };
    let Some(found) = tables.iter().rposition(|table| *table.reference().name == *layer.table) else {
        let names = tables.iter().map(|table| &*table.reference().name);
        let hint = match nearest(&layer.table, names) {
            Some(near) => format!("did you mean {near}?"),
            None => "put the table beside the book, or correct the name".to_owned(),
        };
        problem("priceTable", format!("no price table is named {:?}", &*layer.table), hint);
        return None;
    };
    let digest = &tables.get(found)?.reference().digest;
    if let Some(pinned) = layer.digest.as_ref().filter(|pinned| ***pinned != **digest) {
        let message = format!("{} is pinned by digest {pinned}, but the table here has {digest}", layer.table);
        problem("digest", message, "bring back the table that was pinned, or pin this one".to_owned());
    }
    Some(found)
}

/// Rules of a contract that would also replace the list's tiers, and do not say that they are meant to.
fn flattening(table: &PriceTable) -> Vec<LayerProblem> {
    let bare = table.bare().iter().map(|bare| {
        let list = if bare.of_tool { "tools" } else { "models" };
        let path = format!("spec.{list}[{}].rates[{}]", bare.entry, bare.rule);
        let message = "a contract's rate without `when` also replaces the list's tiers, batch and other rates";
        let hint = "say which is meant: appliesTo: base, or appliesTo: all";
        let problem = Problem::error(bare.place, path, message).with_hint(hint);
        LayerProblem { resource: Arc::clone(&table.reference().name), is_table: true, problem }
    });
    bare.collect()
}

fn whole(books: &[&Layers], too_many: TooMany) -> LayerProblem {
    let message = match too_many {
        TooMany::Above(count) => {
            format!("{count} contracts and overrides hold for one team and namespace; at most {ABOVE_MAX} may")
        }
        TooMany::Classes(count) => format!("the layers' namespaces times their teams are {count}, which is too many"),
    };
    let resource = books.first().map_or_else(|| Arc::from(""), |book| Arc::clone(&book.name));
    let problem = Problem::error(Place::default(), "spec.layers", message).with_hint("merge some of the tables");
    LayerProblem { resource, is_table: false, problem }
}
