//! The configuration in force, as YAML that can be read back: what file, environment and flags came to together.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;

use super::auth::{Client, Grant, Secret, Token, UnixPeer};
use super::{Config, UnixSocket};
use crate::signal::webhook::Secret as Place;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    signals: Signals,
    listen: Listen,
    data_dir: PathBuf,
    ledger: Ledger,
    prices: Prices,
    resources: Resources,
    ingest: Ingest,
    budgets: Budgets,
    sinks: Sinks,
    metrics: Metrics,
    server: Server,
    auth: Auth,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Listen {
    unix_socket: Option<PathBuf>,
    api: String,
    metrics: String,
    otlp_grpc: Option<String>,
    tls: Option<Tls>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Tls {
    cert_file: PathBuf,
    key_file: PathBuf,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Ledger {
    pack_after: String,
    forget_runs_after: String,
    rest_runs_after: String,
    reserve_bytes: usize,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Auth {
    tokens: Vec<Principal>,
    unix_peers: Vec<Principal>,
    mtls: Option<Mtls>,
    allow_unauthenticated: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Mtls {
    client_ca_file: PathBuf,
    required: bool,
    clients: Vec<Principal>,
}

/// Anyone who may come in: how they are known, and what they may do.
#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Principal {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_file: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_env: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    san: Option<String>,
    tenant: String,
    roles: Vec<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    namespaces: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    agents: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    executions: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    requests_per_second: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    burst: Option<u32>,
}

impl From<&Grant> for Principal {
    fn from(grant: &Grant) -> Self {
        let texts = |names: &[std::sync::Arc<str>]| names.iter().map(ToString::to_string).collect();
        Self {
            name: grant.name.to_string(),
            tenant: grant.tenant.to_string(),
            roles: grant.roles.iter().map(|role| role.as_str()).collect(),
            namespaces: texts(&grant.namespaces),
            agents: texts(&grant.agents),
            executions: texts(&grant.executions),
            requests_per_second: grant.requests_per_second,
            burst: grant.burst,
            ..Self::default()
        }
    }
}

impl From<&Token> for Principal {
    fn from(token: &Token) -> Self {
        let (token_file, token_env) = match &token.secret {
            Secret::File(file) => (Some(file.clone()), None),
            Secret::Env(name) => (None, Some(name.clone())),
        };
        Self { token_file, token_env, ..Self::from(&token.grant) }
    }
}

impl From<&UnixPeer> for Principal {
    fn from(peer: &UnixPeer) -> Self {
        Self { uid: peer.uid, gid: peer.gid, ..Self::from(&peer.grant) }
    }
}

impl From<&Client> for Principal {
    fn from(client: &Client) -> Self {
        Self { san: Some(client.san.to_string()), ..Self::from(&client.grant) }
    }
}

impl From<&super::auth::Auth> for Auth {
    fn from(auth: &super::auth::Auth) -> Self {
        Self {
            tokens: auth.tokens.iter().map(Principal::from).collect(),
            unix_peers: auth.unix_peers.iter().map(Principal::from).collect(),
            mtls: auth.mtls.as_ref().map(|mtls| Mtls {
                client_ca_file: mtls.client_ca_file.clone(),
                required: mtls.required,
                clients: mtls.clients.iter().map(Principal::from).collect(),
            }),
            allow_unauthenticated: auth.allow_unauthenticated,
        }
    }
}

#[derive(Serialize)]
struct Prices {
    dirs: Vec<PathBuf>,
    seed: bool,
    unmatched: Unmatched,
}

#[derive(Serialize)]
struct Unmatched {
    model: Option<&'static str>,
    tool: Option<&'static str>,
}

#[derive(Serialize)]
struct Resources {
    dir: Option<PathBuf>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Ingest {
    queue_events_max: usize,
    body_bytes_max: usize,
    dedup_horizon: String,
    future_skew_max: String,
    sources: BTreeMap<String, Source>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Source {
    metrics: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    execution_keys: Vec<String>,
    namespace: Option<String>,
    team: Option<String>,
    agent: Option<String>,
}

impl From<&super::sources::Source> for Source {
    fn from(source: &super::sources::Source) -> Self {
        let text = |name: &Option<std::sync::Arc<str>>| name.as_ref().map(ToString::to_string);
        Self {
            metrics: if source.metrics_only { "only" } else { "ignore" },
            execution_keys: source.execution_keys.iter().map(ToString::to_string).collect(),
            namespace: text(&source.namespace),
            team: text(&source.team),
            agent: text(&source.agent),
        }
    }
}

#[derive(Serialize)]
struct Sinks {
    clickhouse: Option<ClickHouse>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ClickHouse {
    url: String,
    database: String,
    user: String,
    password_file: Option<PathBuf>,
    ca_file: Option<PathBuf>,
    shard: String,
    batch_rows_max: usize,
    flush_interval: String,
    compress: bool,
    ttl: Option<String>,
    rollup_ttl: Option<String>,
    cluster: Option<String>,
    replicated: bool,
}

impl From<&super::ClickHouse> for ClickHouse {
    fn from(of: &super::ClickHouse) -> Self {
        Self {
            url: of.url.clone(),
            database: of.database.clone(),
            user: of.user.clone(),
            password_file: of.password_file.clone(),
            ca_file: of.ca_file.clone(),
            shard: of.shard.clone(),
            batch_rows_max: of.batch_rows_max,
            flush_interval: text(of.flush_interval),
            compress: of.compress,
            ttl: of.ttl.map(text),
            rollup_ttl: of.rollup_ttl.map(text),
            cluster: of.cluster.clone(),
            replicated: of.replicated,
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Budgets {
    default_ttl: String,
    estimate_ceiling_usd: Option<String>,
    settle_grace: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Metrics {
    series_max: usize,
    agents_max: usize,
    models_per_provider_max: usize,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Server {
    connections_max: usize,
    header_timeout: String,
    body_timeout: String,
    drain_timeout: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Signals {
    webhooks: Vec<Webhook>,
    joch: Option<Joch>,
    allowed_hosts: Vec<String>,
    per_second_max: u32,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Webhook {
    url: String,
    secret_files: Vec<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret_env: Option<String>,
    events: Vec<&'static str>,
    namespaces: Vec<String>,
    allow_private: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    ca_file: Option<PathBuf>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Joch {
    url: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_file: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_env: Option<String>,
    allow_private: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    ca_file: Option<PathBuf>,
}

impl From<&super::Signals> for Signals {
    fn from(signals: &super::Signals) -> Self {
        let file = |secret: &Place| match secret {
            Place::File(path) => Some(path.clone()),
            Place::Env(_) => None,
        };
        let env = |secret: &Place| match secret {
            Place::Env(name) => Some(name.clone()),
            Place::File(_) => None,
        };
        let webhooks = signals.webhooks.iter().map(|hook| Webhook {
            url: hook.target.url(),
            secret_files: hook.secrets.iter().filter_map(file).collect(),
            secret_env: hook.secrets.iter().find_map(env),
            events: hook.topics.iter().map(|topic| topic.as_str()).collect(),
            namespaces: hook.namespaces.clone(),
            allow_private: hook.target.allow_private(),
            ca_file: hook.target.ca_file().map(Path::to_owned),
        });
        let joch = signals.joch.as_ref().map(|joch| Joch {
            url: joch.target.url(),
            token_file: joch.token.as_ref().and_then(file),
            token_env: joch.token.as_ref().and_then(env),
            allow_private: joch.target.allow_private(),
            ca_file: joch.target.ca_file().map(Path::to_owned),
        });
        let (allowed_hosts, per_second_max) = (signals.allowed_hosts.clone(), signals.per_second_max.get());
        Self { webhooks: webhooks.collect(), joch, allowed_hosts, per_second_max }
    }
}

impl Config {
    /// The settings in force as YAML, with units as a file writes them. Holds no secret: they are only referred to.
    pub fn to_yaml(&self) -> Result<String, serde_yaml::Error> {
        serde_yaml::to_string(&Shown {
            signals: Signals::from(&self.signals),
            listen: Listen {
                unix_socket: match &self.listen.unix_socket {
                    UnixSocket::InDataDir => None,
                    UnixSocket::At(path) => Some(path.clone()),
                    UnixSocket::Off => Some(PathBuf::from("off")),
                },
                api: self.listen.api.to_string(),
                metrics: self.listen.metrics.to_string(),
                otlp_grpc: self.listen.otlp_grpc.map(|address| address.to_string()),
                tls: self
                    .listen
                    .tls
                    .as_ref()
                    .map(|tls| Tls { cert_file: tls.cert_file.clone(), key_file: tls.key_file.clone() }),
            },
            data_dir: self.data_dir.clone(),
            ledger: Ledger {
                pack_after: text(self.ledger.pack_after),
                forget_runs_after: text(self.ledger.forget_runs_after),
                rest_runs_after: text(self.ledger.rest_runs_after),
                reserve_bytes: self.ledger.reserve_bytes,
            },
            prices: Prices {
                dirs: self.prices.dirs.clone(),
                seed: self.prices.seed,
                unmatched: Unmatched {
                    model: self.prices.unmatched.model.map(|word| word.as_str()),
                    tool: self.prices.unmatched.tool.map(|word| word.as_str()),
                },
            },
            resources: Resources { dir: self.resources.dir.clone() },
            ingest: Ingest {
                queue_events_max: self.ingest.queue_events_max,
                body_bytes_max: self.ingest.body_bytes_max,
                dedup_horizon: text(self.ingest.dedup_horizon),
                future_skew_max: text(self.ingest.future_skew_max),
                sources: self.ingest.sources.iter().map(|one| (one.name.to_string(), Source::from(one))).collect(),
            },
            budgets: Budgets {
                default_ttl: text(Duration::from_millis(self.budgets.default_ttl_ms)),
                estimate_ceiling_usd: self.budgets.estimate_ceiling.map(|amount| amount.to_string()),
                settle_grace: text(self.budgets.settle_grace),
            },
            sinks: Sinks { clickhouse: self.sinks.clickhouse.as_ref().map(ClickHouse::from) },
            metrics: Metrics {
                series_max: self.metrics.series_max,
                agents_max: self.metrics.agents_max,
                models_per_provider_max: self.metrics.models_per_provider_max,
            },
            server: Server {
                connections_max: self.server.connections_max,
                header_timeout: text(self.server.header_timeout),
                body_timeout: text(self.server.body_timeout),
                drain_timeout: text(self.server.drain_timeout),
            },
            auth: Auth::from(&self.auth),
        })
    }
}

/// A duration in its largest whole unit: `35d`, `90s`, `1500ms`.
fn text(duration: Duration) -> String {
    let millis = duration.as_millis();
    let units = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)];
    let whole = units.iter().find(|(_, length)| millis > 0 && millis.is_multiple_of(*length));
    whole.map_or_else(|| format!("{millis}ms"), |(unit, length)| format!("{}{unit}", millis / length))
}
