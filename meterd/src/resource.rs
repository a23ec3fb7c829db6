//! joch.dev kinds, YAML or JSON text ↔ types: Budget, Agent, Execution, PriceTable, PriceBook, Model, ModelRoute, Team,
//! Environment; every other kind is handed through.
//!
//! Reads text and prints text: no file, socket or clock. Every problem of a text comes out at once, with its line,
//! column, key path and hint. Fields that nobody knows are kept and named as warnings.

mod budget;
mod escapes;
mod execution;
pub(crate) mod fields;
mod links;
mod model;
pub mod nearest;
mod policy;
pub mod print;
mod routes;
mod status;

use std::sync::Arc;

use ::budget::entry::{Applied, Opened, Origin};
use ::budget::{Budget, Command, Link, Ref};
use pricing::PriceTable;
use pricing::book::Layers;
use pricing::document::{self, Node, Place, Problem};

use self::escapes::join_surrogates;
use self::fields::{Fields, Report, Unknown, name_problem};
use self::nearest::did_you_mean;
use self::print::Json;
use crate::event::DEFAULT_NAMESPACE;

pub use self::budget::{SOFT_LEVEL_DEFAULT, TIME_ZONE_DEFAULT};
pub use self::execution::execution_from_json;
pub(crate) use self::policy::duration_ms;
pub use self::routes::routed_models;
pub use self::status::counters::budget_document;
pub use self::status::{SETTLE_GRACE, execution_document, execution_document_with_kill};

/// The group and version that documents are written in.
pub const API_VERSION: &str = "joch.dev/v1alpha1";
/// Every group that means the same.
const API_VERSIONS: [&str; 5] = [
    API_VERSION,
    "ops.joch.dev/v1alpha1",
    "runtime.joch.dev/v1alpha1",
    "model.joch.dev/v1alpha1",
    "tools.joch.dev/v1alpha1",
];
/// Kinds that prices come from.
pub const PRICE_KINDS: [&str; 3] = ["PriceTable", "PriceBook", "Model"];
/// Kinds of these groups. Those that [`Resource`] names are read; the others are handed through.
const KINDS: [&str; 17] = [
    "Budget",
    "Agent",
    "Execution",
    "PriceTable",
    "PriceBook",
    "Model",
    "ModelRoute",
    "Tool",
    "ToolCall",
    "MCPServer",
    "Team",
    "Environment",
    "Policy",
    "Trace",
    "Conversation",
    "Approval",
    "AgBOM",
];

/// What every resource has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meta {
    /// `Budget`, `Agent` …
    pub kind: Arc<str>,
    /// Namespace (`default` when none is named) and name.
    pub id: Ref,
    /// The whole document as canonical JSON, unknown fields included; without the status that meterd computes.
    pub document: Arc<str>,
    /// Where the document began in its text.
    pub place: Place,
}

/// One resource, read.
#[derive(Clone, Debug)]
pub enum Resource {
    /// A Budget.
    Budget {
        /// Name and document.
        meta: Meta,
        /// The budget; its generation is set where it is applied.
        budget: Box<Budget>,
    },
    /// An Agent.
    Agent {
        /// Name and document.
        meta: Meta,
        /// `spec.budgets`, when it limits anything.
        budget: Option<Box<Budget>>,
        /// Its route.
        link: Link,
    },
    /// A Team, an Environment or a ModelRoute.
    Linked {
        /// Name and document.
        meta: Meta,
        /// A route's constraints, when it has any.
        budget: Option<Box<Budget>>,
        /// The budgets that a team or an environment refers to.
        link: Link,
    },
    /// An Execution.
    Execution {
        /// Name and document.
        meta: Meta,
        /// The run's description.
        opened: Box<Opened>,
    },
    /// A price table.
    PriceTable {
        /// Name and document.
        meta: Meta,
        /// The table.
        table: Arc<PriceTable>,
    },
    /// A price book: which tables are contracts, for whom.
    PriceBook {
        /// Name and document.
        meta: Meta,
        /// Its layers.
        layers: Arc<Layers>,
    },
    /// A Model, whose `pricing` holds for its namespace.
    Model {
        /// Name and document.
        meta: Meta,
        /// Its prices as a table, and the layer that puts it in force.
        prices: Option<(Arc<PriceTable>, Arc<Layers>)>,
    },
    /// A kind that this version does not use.
    Other {
        /// Kind, name and document.
        meta: Meta,
    },
}

impl Resource {
    /// Kind, name, document and place.
    #[must_use]
    pub fn meta(&self) -> &Meta {
        match self {
            Self::Budget { meta, .. }
            | Self::Agent { meta, .. }
            | Self::Linked { meta, .. }
            | Self::Execution { meta, .. }
            | Self::PriceTable { meta, .. }
            | Self::PriceBook { meta, .. }
            | Self::Model { meta, .. }
            | Self::Other { meta } => meta,
        }
    }

    /// The budgets that it carries.
    #[must_use]
    pub fn budgets(&self) -> Vec<Budget> {
        match self {
            Self::Budget { budget, .. } => vec![budget.as_ref().clone()],
            Self::Agent { budget, .. } | Self::Linked { budget, .. } => {
                budget.iter().map(|budget| budget.as_ref().clone()).collect()
            }
            Self::Execution { opened, .. } => opened.budget.iter().cloned().collect(),
            Self::PriceTable { .. } | Self::PriceBook { .. } | Self::Model { .. } | Self::Other { .. } => Vec::new(),
        }
    }

    /// What it says about budgets that other resources carry.
    #[must_use]
    pub fn link(&self) -> Link {
        match self {
            Self::Agent { link, .. } | Self::Linked { link, .. } => link.clone(),
            _ => Link::default(),
        }
    }

    /// Does it change what calls cost?
    #[must_use]
    pub const fn bears_prices(&self) -> bool {
        matches!(self, Self::PriceTable { .. } | Self::PriceBook { .. } | Self::Model { .. })
    }

    /// What the meter is told: `Open` for an Execution, `Apply` for the rest.
    #[must_use]
    pub fn command(&self, origin: Origin) -> Command {
        if let Self::Execution { opened, .. } = self {
            return Command::Open(opened.clone());
        }
        let meta = self.meta();
        Command::Apply(Applied {
            kind: meta.kind.clone(),
            id: meta.id.clone(),
            generation: 0,
            origin,
            document: meta.document.clone(),
            budgets: self.budgets(),
            link: self.link(),
        })
    }
}

/// Reads every resource of a multi-document text. On success the problems are warnings; otherwise every error and
/// warning of the text.
pub fn read(text: &str) -> Result<(Vec<Resource>, Vec<Problem>), Vec<Problem>> {
    let nodes = document::parse(&join_surrogates(text))?;
    let mut report = Report::default();
    let mut resources: Vec<Resource> = Vec::with_capacity(nodes.len());
    for node in &nodes {
        let Some(resource) = read_node(node, &mut report) else { continue };
        let meta = resource.meta();
        let twice = resources.iter().map(Resource::meta).find(|seen| seen.kind == meta.kind && seen.id == meta.id);
        if let Some(first) = twice {
            let message = format!("{} {} is given twice, first on line {}", meta.kind, meta.id, first.place.line);
            report.error(meta.place, "metadata.name", message, Some("keep one of the two".to_owned()));
        }
        resources.push(resource);
    }
    report.problems.sort_by_key(|problem| problem.place);
    if report.has_errors() { Err(report.problems) } else { Ok((resources, report.problems)) }
}

/// Reads one parsed document; `None` after an error was reported.
fn read_node(node: &Node, report: &mut Report) -> Option<Resource> {
    if node.as_map().is_none() {
        let message =
            format!("a resource is a mapping with apiVersion, kind, metadata and spec, not {}", node.kind_name());
        report.error(node.place, "", message, None);
        return None;
    }
    let fields = Fields::of(node, "", report)?;
    let errors_before = errors(report);
    check_api_version(&fields, true, report);
    let kind = kind(&fields, report);
    let id = name_and_namespace(&fields, report);
    let (kind, id) = (kind?, id?);
    let document = Arc::from(stored(node, &kind, &id).to_canonical_json());
    let meta = Meta { kind, id, document, place: node.place };
    let resource = typed(node, meta, &fields, report);
    if errors(report) > errors_before { None } else { resource }
}

fn errors(report: &Report) -> usize {
    report.problems.iter().filter(|problem| problem.severity == document::Severity::Error).count()
}

fn typed(node: &Node, meta: Meta, fields: &Fields<'_>, report: &mut Report) -> Option<Resource> {
    if !matches!(meta.kind.as_ref(), "PriceTable" | "PriceBook") {
        fields.known(&["apiVersion", "kind", "metadata", "spec", "status"], Unknown::Warn, report);
    }
    match meta.kind.as_ref() {
        "Budget" => {
            let spec = fields.child("spec", report);
            let budget = Box::new(budget::budget(&meta.id, node.place, spec.as_ref(), report)?);
            Some(Resource::Budget { meta, budget })
        }
        "Agent" => {
            let spec = fields.child("spec", report);
            let budgets = spec.as_ref().and_then(|spec| spec.child("budgets", report));
            let budget = budgets.and_then(|budgets| budget::of_agent(&meta.id, &budgets, report)).map(Box::new);
            let link = spec.map_or_else(Link::default, |spec| links::of_agent(&meta.id, &spec, report));
            Some(Resource::Agent { meta, budget, link })
        }
        "Execution" => {
            let spec = fields.child("spec", report);
            let opened = Box::new(execution::execution(&meta, fields, spec.as_ref(), report));
            Some(Resource::Execution { meta, opened })
        }
        "PriceTable" => match PriceTable::from_node(node) {
            Ok((table, warnings)) => {
                report.problems.extend(warnings);
                Some(Resource::PriceTable { meta, table: Arc::new(table) })
            }
            Err(problems) => {
                report.problems.extend(problems);
                None
            }
        },
        "PriceBook" => match Layers::from_node(node) {
            Ok(layers) => Some(Resource::PriceBook { meta, layers: Arc::new(layers) }),
            Err(problems) => {
                report.problems.extend(problems);
                None
            }
        },
        "Model" => {
            let spec = fields.child("spec", report);
            let prices = spec.and_then(|spec| model::prices(&meta.id, &spec, report));
            Some(Resource::Model { meta, prices })
        }
        "Team" | "Environment" => {
            let spec = fields.child("spec", report);
            let link = spec.map_or_else(Link::default, |spec| links::budget_refs(&meta, &spec, report));
            Some(Resource::Linked { meta, budget: None, link })
        }
        "ModelRoute" => {
            let spec = fields.child("spec", report);
            let budget = spec.and_then(|spec| links::constraints(&meta.id, &spec, report)).map(Box::new);
            Some(Resource::Linked { meta, budget, link: Link::default() })
        }
        _ => Some(Resource::Other { meta }),
    }
}

fn check_api_version(fields: &Fields<'_>, required: bool, report: &mut Report) {
    let place = fields.get("apiVersion").map_or(fields.place, |node| node.place);
    let hint =
        |given: &str| did_you_mean(given, API_VERSIONS).unwrap_or_else(|| format!("write apiVersion: {API_VERSION}"));
    match fields.text("apiVersion", report) {
        Some(given) if API_VERSIONS.contains(&given) => {}
        Some(given) => {
            report.error(
                place,
                "apiVersion",
                format!("{given:?} is not a version that is read here"),
                Some(hint(given)),
            );
        }
        None if required && fields.get("apiVersion").is_none() => {
            report.error(place, "apiVersion", "apiVersion is missing", Some(hint("")));
        }
        None => {}
    }
}

fn kind(fields: &Fields<'_>, report: &mut Report) -> Option<Arc<str>> {
    let Some(node) = fields.get("kind") else {
        let hint = format!("kinds are {}", KINDS.join(", "));
        report.error(fields.place, "kind", "kind is missing", Some(hint));
        return None;
    };
    let kind = fields.name("kind", report)?;
    if !KINDS.contains(&kind.as_ref()) {
        let hint = did_you_mean(&kind, KINDS);
        report.warn(node.place, "kind", format!("unknown kind {kind}: kept, but it has no effect"), hint);
    }
    Some(kind)
}

fn metadata<'a>(fields: &Fields<'a>, report: &mut Report) -> Option<Fields<'a>> {
    fields.child("metadata", report)
}

fn name_and_namespace(fields: &Fields<'_>, report: &mut Report) -> Option<Ref> {
    let metadata = metadata(fields, report);
    let Some(metadata) = metadata.filter(|metadata| metadata.get("name").is_some()) else {
        let place = fields.get("metadata").map_or(fields.place, |node| node.place);
        report.error(place, "metadata.name", "the resource has no name", Some("add metadata: { name: … }".to_owned()));
        return None;
    };
    let name = metadata.name("name", report)?;
    let namespace = match metadata.get("namespace") {
        Some(_) => metadata.name("namespace", report)?,
        None => Arc::from(DEFAULT_NAMESPACE),
    };
    debug_assert!(name_problem(&name).is_none(), "names are checked where they are read");
    Some(Ref { namespace, name })
}

/// The document as it is kept: its name spelt out, and without the status that meterd itself writes, so that a document
/// that was read back and applied again is the same document.
fn stored(node: &Node, kind: &str, id: &Ref) -> Json {
    let mut document = Json::from_node(node);
    document.set("kind", Json::text(kind));
    let mut metadata = document.remove("metadata").filter(|old| *old != Json::Null).unwrap_or(Json::Map(Vec::new()));
    metadata.set("name", Json::text(&id.name));
    metadata.set("namespace", Json::text(&id.namespace));
    document.set("metadata", metadata);
    let owned: &[&str] = match kind {
        "Execution" => &status::EXECUTION_OWNED,
        "Budget" => &status::counters::BUDGET_OWNED,
        _ => &[],
    };
    if let Some(mut old) = document.remove("status") {
        for key in owned {
            old.remove(key);
        }
        if !matches!(&old, Json::Null) && old != Json::Map(Vec::new()) {
            document.set("status", old);
        }
    }
    document
}

#[cfg(test)]
mod tests;
