//! Settings as written, with where each was written: file, then environment, then flags, each over the one before.
//!
//! Knows every key; reads no value. Values become types in `resolve`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use pricing::document::{self, Node, Place, Problem, Value};

use super::problem::FileProblem;
use crate::resource::fields::{Fields, Report, Unknown};
use crate::resource::nearest::nearest;

/// A key of the configuration.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KeySpec {
    /// Path in the file.
    pub(crate) path: &'static str,
    /// Its default as canonical JSON, for keys that this version cannot change.
    pub(crate) fixed: Option<&'static str>,
}

const fn key(path: &'static str) -> KeySpec {
    KeySpec { path, fixed: None }
}

/// Every key there is.
pub(crate) const KEYS: [KeySpec; 51] = [
    key("listen.api"),
    key("listen.metrics"),
    key("listen.otlpGrpc"),
    key("listen.unixSocket"),
    key("listen.tls"),
    key("dataDir"),
    key("ledger.packAfter"),
    key("ledger.forgetRunsAfter"),
    key("ledger.restRunsAfter"),
    key("ledger.reserveBytes"),
    key("prices.dirs"),
    key("prices.seed"),
    key("prices.unmatched.model"),
    key("prices.unmatched.tool"),
    key("resources.dir"),
    key("ingest.queueEventsMax"),
    key("ingest.bodyBytesMax"),
    key("ingest.dedupHorizon"),
    key("ingest.futureSkewMax"),
    key("ingest.sources"),
    key("budgets.defaultTtl"),
    key("budgets.estimateCeilingUsd"),
    key("budgets.settleGrace"),
    key("signals.webhooks"),
    key("signals.joch"),
    key("signals.allowedHosts"),
    key("signals.perSecondMax"),
    key("sinks.clickhouse.url"),
    key("sinks.clickhouse.database"),
    key("sinks.clickhouse.user"),
    key("sinks.clickhouse.passwordFile"),
    key("sinks.clickhouse.caFile"),
    key("sinks.clickhouse.shard"),
    key("sinks.clickhouse.batchRowsMax"),
    key("sinks.clickhouse.flushInterval"),
    key("sinks.clickhouse.compress"),
    key("sinks.clickhouse.ttl"),
    key("sinks.clickhouse.rollupTtl"),
    key("sinks.clickhouse.cluster"),
    key("sinks.clickhouse.replicated"),
    key("auth.tokens"),
    key("auth.unixPeers"),
    key("auth.mtls"),
    key("auth.allowUnauthenticated"),
    key("metrics.seriesMax"),
    key("metrics.agentsMax"),
    key("metrics.modelsPerProviderMax"),
    key("server.connectionsMax"),
    key("server.headerTimeout"),
    key("server.bodyTimeout"),
    key("server.drainTimeout"),
];
/// Keys that have a flag.
const FLAGS: [(&str, &str); 3] =
    [("listen.api", "--listen"), ("listen.metrics", "--metrics-listen"), ("dataDir", "--data-dir")];
/// Keys whose value is a list of paths; the environment separates them with colons.
const LISTS: [&str; 2] = ["prices.dirs", "signals.allowedHosts"];
/// Variables with the prefix that are not keys.
const OTHER_VARIABLES: [&str; 5] = ["METERD_URL", "METERD_CONFIG", "METERD_LOG", "METERD_TOKEN", "METERD_EXECUTION"];

/// Where a setting was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// In the file.
    File(PathBuf),
    /// In the environment or a flag: its name.
    Outside(String),
}

/// One setting.
#[derive(Clone, Debug)]
pub(crate) struct Setting {
    pub(crate) value: Node,
    pub(crate) origin: Origin,
}

/// The settings that were given, by path.
#[derive(Debug, Default)]
pub(crate) struct Raw {
    pub(crate) settings: BTreeMap<&'static str, Setting>,
    pub(crate) problems: Vec<FileProblem>,
}

/// The variable of a key: `listen.otlpGrpc` is `METERD_LISTEN_OTLP_GRPC`.
#[must_use]
pub(crate) fn variable(path: &str) -> String {
    let mut name = "METERD_".to_owned();
    for c in path.chars() {
        match c {
            '.' => name.push('_'),
            c if c.is_ascii_uppercase() => {
                name.push('_');
                name.push(c);
            }
            c => name.push(c.to_ascii_uppercase()),
        }
    }
    name
}

impl Raw {
    /// Adds the settings of a file.
    pub(crate) fn file(&mut self, file: &Path, text: &str) {
        let mut report = Report::default();
        match document::parse(text) {
            Err(problems) => report.problems = problems,
            Ok(documents) => {
                let mut documents = documents.iter();
                if let Some(fields) = documents.next().and_then(|node| Fields::of(node, "", &mut report)) {
                    self.section(file, &fields, &mut report);
                }
                if let Some(second) = documents.next() {
                    let hint = "resources go to resources.dir, price tables to prices.dirs".to_owned();
                    report.error(second.place, "", "the configuration is one document; this is a second", Some(hint));
                }
            }
        }
        report.problems.sort_by_key(|problem| problem.place);
        self.problems.extend(FileProblem::in_file(file, report.problems));
    }

    fn section(&mut self, file: &Path, fields: &Fields<'_>, report: &mut Report) {
        let prefix = if fields.path.is_empty() { String::new() } else { format!("{}.", fields.path) };
        let mut children: Vec<&str> = Vec::new();
        for spec in &KEYS {
            let Some(rest) = spec.path.strip_prefix(&prefix) else { continue };
            let (child, deeper) = rest.split_once('.').map_or((rest, false), |(child, _)| (child, true));
            if children.contains(&child) {
                continue;
            }
            children.push(child);
            let Some(node) = fields.get(child) else { continue };
            if !deeper {
                let origin = Origin::File(file.to_owned());
                self.settings.insert(spec.path, Setting { value: node.clone(), origin });
            } else if let Some(inner) = Fields::of(node, &fields.at(child), report) {
                self.section(file, &inner, report);
            }
        }
        fields.known(&children, Unknown::Refuse, report);
    }

    /// Adds what the environment says. Variables that look like a misspelt key are warned of.
    pub(crate) fn environment<'a>(&mut self, variables: impl IntoIterator<Item = (&'a str, &'a str)>) {
        let names: Vec<(String, &'static str)> = KEYS.iter().map(|spec| (variable(spec.path), spec.path)).collect();
        for (name, value) in variables {
            if !name.starts_with("METERD_") || value.is_empty() {
                continue;
            }
            if let Some((_, path)) = names.iter().find(|(known, _)| known == name) {
                let values: Vec<&str> = if LISTS.contains(path) {
                    value.split(':').filter(|part| !part.is_empty()).collect()
                } else {
                    vec![value]
                };
                self.outside(path, name, &values);
            } else if !OTHER_VARIABLES.contains(&name)
                && let Some(near) = nearest(name, names.iter().map(|(known, _)| known.as_str()))
            {
                let problem =
                    Problem::warning(Place::default(), "", "no setting has this variable, so it has no effect")
                        .with_hint(format!("did you mean {near}?"));
                self.problems.push(FileProblem { file: PathBuf::from(name), problem });
            }
        }
    }

    /// Adds what the flag of a key says. Flags stand for keys that exist; another path is a problem of the caller's, said
    /// all the same.
    pub(crate) fn flag(&mut self, path: &str, value: &str) {
        let flag = FLAGS.iter().find(|(key, _)| *key == path).map_or(path, |(_, flag)| flag);
        match KEYS.iter().find(|spec| spec.path == path) {
            Some(spec) => self.outside(spec.path, flag, &[value]),
            None => self.problems.push(FileProblem::of_file(Path::new(flag), "no setting has this name", None)),
        }
    }

    /// Adds a setting from outside the file: `name` is the flag or the variable.
    fn outside(&mut self, path: &'static str, name: &str, values: &[&str]) {
        let node = |value: Value| Node { place: Place::default(), value };
        let scalar = |text: &str| node(Value::Scalar { text: text.to_owned(), quoted: true });
        let value = match values {
            _ if LISTS.contains(&path) => node(Value::List(values.iter().map(|text| scalar(text)).collect())),
            [one] => scalar(one),
            _ => node(Value::List(values.iter().map(|text| scalar(text)).collect())),
        };
        self.settings.insert(path, Setting { value, origin: Origin::Outside(name.to_owned()) });
    }
}
