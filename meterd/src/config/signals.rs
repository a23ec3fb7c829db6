//! `signals`: where kills go beside the stream. Targets are read here and nowhere else: nobody but the operator names one.

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use pricing::document::{Node, Value};

use crate::resource::fields::{Fields, Report, Unknown};
use crate::signal::joch::Joch;
use crate::signal::target::Target;
use crate::signal::webhook::{Secret, Topic, Webhook};

/// Webhooks of one daemon.
const WEBHOOKS_MAX: usize = 64;
/// Secrets of one webhook: the one in use, and those before it until every receiver has changed.
const SECRETS_MAX: usize = 8;

/// `signals`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signals {
    /// Webhooks.
    pub webhooks: Vec<Webhook>,
    /// joch's control plane.
    pub joch: Option<Joch>,
    /// Hosts that they may be at; empty: those that are written above.
    pub allowed_hosts: Vec<String>,
    /// Signals to the outside in a second; fences know no rate.
    pub per_second_max: NonZeroU32,
}

impl Default for Signals {
    fn default() -> Self {
        let per_second_max = NonZeroU32::MIN.saturating_add(49);
        Self { webhooks: Vec::new(), joch: None, allowed_hosts: Vec::new(), per_second_max }
    }
}

/// Reads `signals.webhooks`. `base` is where relative paths start.
pub(super) fn webhooks(node: &Node, base: Option<&Path>, hosts: &[String], report: &mut Report) -> Vec<Webhook> {
    let path = "signals.webhooks";
    let Value::List(items) = &node.value else {
        if !matches!(node.value, Value::Null) {
            report.error(node.place, path, "must be a list of webhooks", None);
        }
        return Vec::new();
    };
    if items.len() > WEBHOOKS_MAX {
        report.error(node.place, path, format!("more than {WEBHOOKS_MAX} webhooks"), None);
        return Vec::new();
    }
    let items = items.iter().enumerate();
    items.filter_map(|(number, item)| webhook(item, &format!("{path}[{number}]"), base, hosts, report)).collect()
}

fn webhook(item: &Node, path: &str, base: Option<&Path>, hosts: &[String], report: &mut Report) -> Option<Webhook> {
    let fields = Fields::of(item, path, report)?;
    let known = ["url", "secretFile", "secretFiles", "secretEnv", "events", "namespaces", "allowPrivate", "caFile"];
    fields.known(&known, Unknown::Refuse, report);
    let target = target(&fields, base, hosts, report);
    let mut secrets = secret(&fields, "secretFile", "secretEnv", base, report);
    secrets.extend(texts(&fields, "secretFiles", report).into_iter().map(|file| Secret::File(located(&file, base))));
    if secrets.is_empty() || secrets.len() > SECRETS_MAX {
        let hint = "write secretFile, secretFiles or secretEnv: where a secret that begins with whsec_ is".to_owned();
        report.error(fields.place, path, format!("needs 1 to {SECRETS_MAX} secrets"), Some(hint));
    }
    let mut topics = Vec::new();
    for word in texts(&fields, "events", report) {
        match Topic::ALL.into_iter().find(|topic| topic.as_str() == word) {
            Some(topic) => topics.push(topic),
            None => {
                let message = format!("{word:?} is none of kill, wind_down, BudgetExceeded");
                report.error(fields.place, &fields.at("events"), message, None);
            }
        }
    }
    if topics.is_empty() {
        topics.extend(Topic::ALL);
    }
    let namespaces = texts(&fields, "namespaces", report);
    Some(Webhook { target: target?, secrets, topics, namespaces })
}

/// Reads `signals.joch`.
pub(super) fn joch(node: &Node, base: Option<&Path>, hosts: &[String], report: &mut Report) -> Option<Joch> {
    if matches!(node.value, Value::Null) {
        return None;
    }
    let fields = Fields::of(node, "signals.joch", report)?;
    fields.known(&["url", "tokenFile", "tokenEnv", "allowPrivate", "caFile"], Unknown::Refuse, report);
    let target = target(&fields, base, hosts, report);
    let token = secret(&fields, "tokenFile", "tokenEnv", base, report).pop();
    Some(Joch { target: target?, token })
}

fn target(fields: &Fields<'_>, base: Option<&Path>, hosts: &[String], report: &mut Report) -> Option<Target> {
    let allow_private = fields.flag("allowPrivate", report).unwrap_or(false);
    let Some(url) = fields.text("url", report) else {
        report.error(fields.place, &fields.at("url"), "is missing", None);
        return None;
    };
    match Target::parse(url, allow_private, hosts) {
        Ok(target) => {
            let ca_file = fields.text("caFile", report).map(|file| located(file, base));
            if ca_file.is_some() && !target.is_tls() {
                report.error(fields.place, &fields.at("caFile"), "is for an https:// URL", None);
            }
            Some(target.trusting(ca_file))
        }
        Err(message) => {
            report.error(fields.place, &fields.at("url"), message, None);
            None
        }
    }
}

fn secret(fields: &Fields<'_>, file: &str, env: &str, base: Option<&Path>, report: &mut Report) -> Vec<Secret> {
    let file = fields.text(file, report).map(|file| Secret::File(located(file, base)));
    let env = fields.text(env, report).map(|name| Secret::Env(name.to_owned()));
    file.into_iter().chain(env).collect()
}

/// A list of texts, empty when absent.
fn texts(fields: &Fields<'_>, name: &str, report: &mut Report) -> Vec<String> {
    let Some(node) = fields.get(name) else { return Vec::new() };
    let Value::List(items) = &node.value else {
        report.error(node.place, &fields.at(name), "must be a list", None);
        return Vec::new();
    };
    let text = |item: &Node| match &item.value {
        Value::Scalar { text, .. } => Some(text.clone()),
        _ => None,
    };
    items.iter().filter_map(text).collect()
}

fn located(file: &str, base: Option<&Path>) -> PathBuf {
    base.map_or_else(|| PathBuf::from(file), |base| base.join(file))
}
