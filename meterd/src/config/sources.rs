//! `ingest.sources`: what is known of single sources of telemetry, by their `service.name`.

use std::sync::Arc;

use pricing::document::Node;

use crate::resource::fields::{Fields, Report, Unknown};

/// Most sources.
pub const SOURCES_MAX: usize = 1_024;
/// Most attribute names for one source's executions.
pub const KEYS_MAX: usize = 16;

/// One source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Its `service.name`; a `*` at the end stands for any rest.
    pub name: Arc<str>,
    /// Its metrics are all there is, so they are billed.
    pub metrics_only: bool,
    /// Attributes that name the execution, after the known ones.
    pub execution_keys: Vec<Arc<str>>,
    /// Namespace of what names none.
    pub namespace: Option<Arc<str>>,
    /// Team of what names none.
    pub team: Option<Arc<str>>,
    /// Agent of what names none.
    pub agent: Option<Arc<str>>,
}

/// Reads the mapping of names to settings.
pub(super) fn read(node: &Node, path: &str, report: &mut Report) -> Vec<Source> {
    let Some(fields) = Fields::of(node, path, report) else { return Vec::new() };
    if fields.entries.len() > SOURCES_MAX {
        report.error(node.place, path, format!("has more than {SOURCES_MAX} entries"), None);
    }
    let mut sources = Vec::new();
    for (key, node) in fields.entries {
        let path = fields.at(&key.name);
        let Some(inner) = Fields::of(node, &path, report) else { continue };
        inner.known(&["metrics", "executionKeys", "namespace", "team", "agent"], Unknown::Refuse, report);
        let metrics = inner.word("metrics", &[("only", true), ("ignore", false)], report);
        let execution_keys = inner.names("executionKeys", report);
        if execution_keys.len() > KEYS_MAX {
            report.error(node.place, &inner.at("executionKeys"), format!("has more than {KEYS_MAX} names"), None);
        }
        sources.push(Source {
            name: Arc::from(key.name.as_str()),
            metrics_only: metrics.unwrap_or(false),
            execution_keys,
            namespace: inner.name("namespace", report),
            team: inner.name("team", report),
            agent: inner.name("agent", report),
        });
    }
    sources
}
