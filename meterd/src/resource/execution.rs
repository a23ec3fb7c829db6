//! Execution → a run's description, from a joch document or from the short body of the API. Never a run's state.

use std::sync::Arc;

use budget::charge::Subject;
use budget::entry::Opened;
use budget::{Budget, Ref, Scope, Source};
use pricing::document::{self, Node, Place, Problem};

use super::budget::{CARRIED, RUN_LIMITS, carried};
use super::escapes::join_surrogates;
use super::fields::{Fields, Report, Unknown, name_problem};
use super::links::refer;
use super::policy::SLICE;
use super::print::Json;
use super::{API_VERSION, Meta, metadata};

/// Fields of an Execution's spec that joch defines or meterd adds.
const SPEC_KNOWN: [&str; 14] = [
    "agentRef",
    "trigger",
    "input",
    "conversationRef",
    "modelRouteOverride",
    "budgets",
    "observability",
    "team",
    "teamRef",
    "environment",
    "environmentRef",
    "parentRef",
    "parent",
    "agent",
];
/// Fields of the short body.
const SHORT_KNOWN: [&str; 18] = [
    "agentRef",
    "agent",
    "team",
    "teamRef",
    "environment",
    "environmentRef",
    "parent",
    "parentRef",
    "conversation",
    "conversationRef",
    "labels",
    "budgets",
    "name",
    "namespace",
    "trigger",
    "input",
    "modelRouteOverride",
    "observability",
];
/// Keys that only a whole document has.
const WHOLE: [&str; 4] = ["apiVersion", "kind", "metadata", "spec"];

/// Reads the body of `PUT /v1/namespaces/{ns}/executions/{name}`: a whole Execution document, the short form
/// `{"agent": …, "team": …, "budgets": {…}}`, or nothing at all. Every problem at once.
pub fn execution_from_json(namespace: &str, name: &str, body: &[u8]) -> Result<Opened, Vec<Problem>> {
    let mut report = Report::default();
    for (what, given) in [("namespace", namespace), ("name", name)] {
        if let Some(why) = name_problem(given) {
            report.error(Place::default(), what, format!("{given:?} cannot be a {what}: {why}"), None);
        }
    }
    let id = Ref::new(namespace, name);
    let node = match parse_body(body) {
        Ok(node) => node,
        Err(problems) => {
            report.problems.extend(problems);
            return Err(report.problems);
        }
    };
    let opened = match &node {
        None => Some(bare(&id)),
        Some(node) => Fields::of(node, "", &mut report).map(|fields| from_body(&id, node, &fields, &mut report)),
    };
    match opened {
        Some(opened) if !report.has_errors() => Ok(opened),
        _ => Err(errors_only(report)),
    }
}

fn errors_only(report: Report) -> Vec<Problem> {
    let mut problems = report.problems;
    problems.retain(|problem| problem.severity == document::Severity::Error);
    problems.sort_by_key(|problem| problem.place);
    problems
}

fn parse_body(body: &[u8]) -> Result<Option<Node>, Vec<Problem>> {
    let problem = |message: &str| {
        let mut report = Report::default();
        report.error(Place { line: 1, column: 1 }, "", message, None);
        report.problems
    };
    let text = std::str::from_utf8(body).map_err(|_| problem("the body is not UTF-8 text"))?;
    let mut documents = document::parse(&join_surrogates(text))?;
    let node = documents.pop();
    if documents.is_empty() { Ok(node) } else { Err(problem("the body holds more than one document")) }
}

fn from_body(id: &Ref, node: &Node, fields: &Fields<'_>, report: &mut Report) -> Opened {
    let whole = fields.entries.iter().any(|(key, _)| WHOLE.contains(&key.name.as_str()));
    if whole {
        from_document(id, node, fields, report)
    } else {
        fields.known(&SHORT_KNOWN, Unknown::RefuseIfNear, report);
        named_alike(id, fields, report);
        let labels = fields.labels("labels", report);
        let mut opened = opened(id, labels, Some(fields), Unknown::Refuse, report);
        opened.document = Some(Arc::from(long_form(id, node).to_canonical_json()));
        opened
    }
}

fn from_document(id: &Ref, node: &Node, fields: &Fields<'_>, report: &mut Report) -> Opened {
    if let Some(kind) = fields.text("kind", report).filter(|kind| *kind != "Execution") {
        report.error(fields.place, "kind", format!("{kind:?} is not an Execution"), None);
    }
    super::check_api_version(fields, false, report);
    if let Some(meta) = fields.child("metadata", report) {
        named_alike(id, &meta, report);
    }
    let labels = metadata_labels(fields, report);
    let spec = fields.child("spec", report);
    if let Some(spec) = &spec {
        spec.known(&SPEC_KNOWN, Unknown::Warn, report);
    }
    let mut opened = opened(id, labels, spec.as_ref(), Unknown::Refuse, report);
    let mut document = super::stored(node, "Execution", id);
    document.set("apiVersion", fields.get("apiVersion").map_or_else(|| Json::text(API_VERSION), Json::from_node));
    opened.document = Some(Arc::from(document.to_canonical_json()));
    opened
}

/// A name in the body must be the one in the path.
fn named_alike(id: &Ref, fields: &Fields<'_>, report: &mut Report) {
    for (key, expected) in [("name", &id.name), ("namespace", &id.namespace)] {
        if let Some(given) = fields.text(key, report).filter(|given| *given != expected.as_ref()) {
            let place = fields.get(key).map_or(fields.place, |node| node.place);
            let message = format!("{given:?} is not the {key} in the path, {expected:?}");
            report.error(place, &fields.at(key), message, Some(format!("leave {key} out, or make them equal")));
        }
    }
}

/// Reads an Execution resource.
pub(super) fn execution(meta: &Meta, fields: &Fields<'_>, spec: Option<&Fields<'_>>, report: &mut Report) -> Opened {
    let labels = metadata_labels(fields, report);
    if let Some(spec) = spec {
        spec.known(&SPEC_KNOWN, Unknown::Warn, report);
    }
    let mut opened = opened(&meta.id, labels, spec, Unknown::Warn, report);
    opened.document = Some(meta.document.clone());
    opened
}

fn metadata_labels(fields: &Fields<'_>, report: &mut Report) -> Vec<(Arc<str>, Arc<str>)> {
    metadata(fields, report).map(|meta| meta.labels("labels", report)).unwrap_or_default()
}

fn bare(id: &Ref) -> Opened {
    Opened {
        execution: id.clone(),
        subject: Subject::default(),
        parent: None,
        conversation: None,
        inherit_from_agent: true,
        budget: None,
        route: None,
        document: None,
    }
}

fn opened(
    id: &Ref,
    labels: Vec<(Arc<str>, Arc<str>)>,
    spec: Option<&Fields<'_>>,
    unknown_limits: Unknown,
    report: &mut Report,
) -> Opened {
    let mut opened = bare(id);
    opened.subject.labels = labels;
    let Some(spec) = spec else { return opened };
    opened.subject.agent = either(spec, "agentRef", "agent", report);
    opened.subject.team = either(spec, "teamRef", "team", report);
    opened.subject.environment = either(spec, "environmentRef", "environment", report);
    opened.conversation = either(spec, "conversationRef", "conversation", report);
    opened.parent = parent(id, spec, report);
    if opened.parent.as_ref() == Some(id) {
        let place = spec.get("parentRef").or_else(|| spec.get("parent")).map_or(spec.place, |node| node.place);
        report.error(place, &spec.path, "a run cannot be its own parent", None);
    }
    opened.route = spec.child("modelRouteOverride", report).and_then(|route| refer(id, &route, "routeRef", report));
    if let Some(budgets) = spec.child("budgets", report) {
        opened.inherit_from_agent = budgets.flag("inheritFromAgent", report).unwrap_or(true);
        opened.budget = own_budget(id, &budgets, unknown_limits, report);
    }
    opened
}

fn own_budget(id: &Ref, budgets: &Fields<'_>, unknown: Unknown, report: &mut Report) -> Option<Budget> {
    let mut known: Vec<&str> = RUN_LIMITS.iter().map(|(name, ..)| *name).collect();
    known.extend(CARRIED);
    known.extend(["inheritFromAgent", SLICE]);
    budgets.known(&known, unknown, report);
    let scope = Scope { execution: Some(id.clone()), ..Scope::default() };
    carried(Source::Execution, id, scope, &RUN_LIMITS, budgets, report)
}

/// `{name}` under one key, or the bare name under the other.
fn either(fields: &Fields<'_>, reference: &str, plain: &str, report: &mut Report) -> Option<Arc<str>> {
    fields.reference(reference, report).or_else(|| fields.name(plain, report))
}

/// `parentRef`, `parent`, or the source of an upstream trigger; in the run's own namespace unless it says otherwise.
fn parent(id: &Ref, spec: &Fields<'_>, report: &mut Report) -> Option<Ref> {
    let named = |name: Arc<str>| Ref { namespace: id.namespace.clone(), name };
    if let Some(name) = spec.reference("parentRef", report) {
        let namespace = spec.child("parentRef", report).and_then(|fields| fields.name("namespace", report));
        return Some(Ref { namespace: namespace.unwrap_or_else(|| id.namespace.clone()), name });
    }
    if let Some(name) = spec.name("parent", report) {
        return Some(named(name));
    }
    let trigger = spec.child("trigger", report)?;
    let upstream = trigger.text("type", report) == Some("upstream");
    if upstream { trigger.reference("sourceRef", report).map(named) } else { None }
}

/// The joch document that a short body stands for.
fn long_form(id: &Ref, node: &Node) -> Json {
    let mut body = Json::from_node(node);
    body.remove("name");
    body.remove("namespace");
    let labels = body.remove("labels");
    for (plain, reference) in [("agent", "agentRef"), ("conversation", "conversationRef"), ("parent", "parentRef")] {
        let Some(name) = body.remove(plain) else { continue };
        if name != Json::Null && body.get(reference).is_none() {
            body.set(reference, Json::map([("name", name)]));
        }
    }
    let mut metadata = Json::map([("name", Json::text(&id.name)), ("namespace", Json::text(&id.namespace))]);
    if let Some(labels) = labels.filter(|labels| *labels != Json::Null) {
        metadata.set("labels", labels);
    }
    Json::map([
        ("apiVersion", Json::text(API_VERSION)),
        ("kind", Json::text("Execution")),
        ("metadata", metadata),
        ("spec", body),
    ])
}

#[cfg(test)]
mod tests;
