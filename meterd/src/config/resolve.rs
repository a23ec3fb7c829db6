//! Settings as written → a `Config`, with every problem at once. Reads no file and no environment itself.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use pricing::document::{Node, Problem, Value};
use pricing::table::{Unmatched, UnmatchedPolicy};

use super::auth::{self, Auth, Tls};
use super::problem::FileProblem;
use super::raw::{KEYS, Origin, Raw, Setting};
use super::signals::{self, Signals};
use super::sinks::{self, ClickHouse};
use super::{Budgets, Config, Ingest, Ledger, Listen, Metrics, Prices, Resources, Server, Sinks, UnixSocket};
use crate::resource::fields::Report;

/// What is wrong with a value, and the way out.
type Refused = (String, Option<String>);

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(86_400);

/// Reads all settings over the defaults; problems are added to `raw.problems`.
pub(crate) fn resolve(raw: Raw) -> (Config, Vec<FileProblem>) {
    let mut reader = Reader { raw };
    reader.refuse_fixed();
    let default = Config::default();
    let config = Config {
        listen: reader.listen(default.listen),
        data_dir: reader.path("dataDir").unwrap_or(default.data_dir),
        ledger: Ledger {
            pack_after: reader.duration("ledger.packAfter", (DAY, DAY * 36_500), default.ledger.pack_after),
            forget_runs_after: reader.duration(
                "ledger.forgetRunsAfter",
                (DAY, DAY * 36_500),
                default.ledger.forget_runs_after,
            ),
            rest_runs_after: reader.duration(
                "ledger.restRunsAfter",
                (DAY, DAY * 36_500),
                default.ledger.rest_runs_after,
            ),
            reserve_bytes: reader.count("ledger.reserveBytes", 65_536, 1 << 40, default.ledger.reserve_bytes),
        },
        prices: Prices {
            dirs: reader.paths("prices.dirs").unwrap_or(default.prices.dirs),
            seed: reader.one("prices.seed", flag).unwrap_or(default.prices.seed),
            unmatched: UnmatchedPolicy {
                model: reader.one("prices.unmatched.model", unmatched).or(default.prices.unmatched.model),
                tool: reader.one("prices.unmatched.tool", unmatched).or(default.prices.unmatched.tool),
            },
        },
        resources: Resources { dir: reader.path("resources.dir").or(default.resources.dir) },
        ingest: Ingest {
            queue_events_max: reader.count("ingest.queueEventsMax", 1, 16_777_216, default.ingest.queue_events_max),
            body_bytes_max: reader.count("ingest.bodyBytesMax", 1_024, 1_073_741_824, default.ingest.body_bytes_max),
            dedup_horizon: reader.duration("ingest.dedupHorizon", (DAY, DAY * 400), default.ingest.dedup_horizon),
            future_skew_max: reader.duration("ingest.futureSkewMax", (SECOND, DAY), default.ingest.future_skew_max),
            sources: reader
                .read("ingest.sources", |read, node, path| super::sources::read(node, path, read.report))
                .unwrap_or_default(),
        },
        budgets: Budgets {
            default_ttl_ms: reader.ttl_ms("budgets.defaultTtl", default.budgets.default_ttl_ms),
            estimate_ceiling: reader.one("budgets.estimateCeilingUsd", usd).or(default.budgets.estimate_ceiling),
            settle_grace: reader.duration("budgets.settleGrace", (Duration::ZERO, DAY), default.budgets.settle_grace),
        },
        signals: reader.signals(),
        sinks: Sinks { clickhouse: reader.clickhouse() },
        metrics: Metrics {
            series_max: reader.count("metrics.seriesMax", 100, 10_000_000, default.metrics.series_max),
            agents_max: reader.count("metrics.agentsMax", 1, 1_000_000, default.metrics.agents_max),
            models_per_provider_max: reader.count(
                "metrics.modelsPerProviderMax",
                1,
                1_000_000,
                default.metrics.models_per_provider_max,
            ),
        },
        server: Server {
            connections_max: reader.count("server.connectionsMax", 1, 1_048_576, default.server.connections_max),
            header_timeout: reader.timeout("server.headerTimeout", default.server.header_timeout),
            body_timeout: reader.timeout("server.bodyTimeout", default.server.body_timeout),
            drain_timeout: reader.timeout("server.drainTimeout", default.server.drain_timeout),
        },
        auth: reader.auth(),
        file: None,
    };
    reader.open_to_strangers(&config);
    (config, reader.raw.problems)
}

struct Reader {
    raw: Raw,
}

impl Reader {
    /// Keys that this version does not honour must not be ignored in silence.
    fn refuse_fixed(&mut self) {
        let fixed = KEYS.iter().filter_map(|spec| Some((spec.path, spec.fixed?)));
        let refused: Vec<FileProblem> = fixed
            .filter_map(|(path, default)| {
                let setting = self.raw.settings.get(path)?;
                if setting.value.to_json() == default {
                    return None;
                }
                let hint = format!("remove it: only {default} is supported");
                Some(problem(setting, path, (format!("{path} is not supported by this version"), Some(hint))))
            })
            .collect();
        self.raw.problems.extend(refused);
    }

    fn listen(&mut self, default: Listen) -> Listen {
        let api = self.one("listen.api", address).unwrap_or(default.api);
        let metrics = self.one("listen.metrics", address).unwrap_or(default.metrics);
        if api == metrics && api.port() != 0 {
            let setting =
                ["listen.metrics", "listen.api"].iter().find_map(|key| Some((*key, self.raw.settings.get(key)?)));
            if let Some((key, setting)) = setting {
                let hint = "give each listener a port of its own".to_owned();
                let message = format!("listen.api and listen.metrics are both {api}");
                let found = problem(setting, key, (message, Some(hint)));
                self.raw.problems.push(found);
            }
        }
        let otlp_grpc = self.one("listen.otlpGrpc", address);
        let tls: Option<Tls> = self.read("listen.tls", |read, node, path| read.tls(node, path)).flatten();
        Listen { api, metrics, otlp_grpc, tls, unix_socket: self.unix_socket() }
    }

    fn auth(&mut self) -> Auth {
        Auth {
            tokens: self.read("auth.tokens", |read, node, path| read.tokens(node, path)).unwrap_or_default(),
            unix_peers: self.read("auth.unixPeers", |read, node, path| read.unix_peers(node, path)).unwrap_or_default(),
            mtls: self.read("auth.mtls", |read, node, path| read.mtls(node, path)).flatten(),
            allow_unauthenticated: self.one("auth.allowUnauthenticated", flag).unwrap_or(false),
        }
    }

    /// A key that is more than one value, by the reader of its part.
    fn read<T>(&mut self, key: &'static str, part: impl Fn(&mut auth::Read<'_>, &Node, &str) -> T) -> Option<T> {
        let setting = self.raw.settings.get(key)?;
        if setting.value.is_null() {
            return None;
        }
        let mut report = Report::default();
        let base = base(setting);
        let value = part(&mut auth::Read { base: base.as_deref(), report: &mut report }, &setting.value, key);
        let file = match &setting.origin {
            Origin::File(file) => file.clone(),
            Origin::Outside(name) => PathBuf::from(name),
        };
        self.raw.problems.extend(FileProblem::in_file(&file, report.problems));
        Some(value)
    }

    /// What only holds for the whole: strangers are let in on loopback only, unless that is said; tenants share nothing.
    fn open_to_strangers(&mut self, config: &Config) {
        let mut found = Vec::new();
        let addresses = [("listen.api", Some(config.listen.api)), ("listen.otlpGrpc", config.listen.otlp_grpc)];
        let open = config.auth.is_open() && !config.auth.allow_unauthenticated;
        for (key, address) in addresses {
            let Some(address) = address.filter(|address| open && !address.ip().is_loopback()) else { continue };
            let Some(setting) = self.raw.settings.get(key) else { continue };
            let message = format!("{address} can be reached from outside, and nobody would have to say who they are");
            let hint = "set auth.tokens, auth.mtls or auth.unixPeers, or listen on 127.0.0.1; \
                        auth.allowUnauthenticated: true lets everybody in";
            found.push(problem(setting, key, (message, Some(hint.to_owned()))));
        }
        if let (Some(_), None, Some(setting)) =
            (&config.auth.mtls, &config.listen.tls, self.raw.settings.get("auth.mtls"))
        {
            let hint = "set listen.tls: { certFile, keyFile }".to_owned();
            found.push(problem(setting, "auth.mtls", ("client certificates need TLS".to_owned(), Some(hint))));
        }
        if let Some((one, other, namespace)) = auth::shared_namespace(&config.auth) {
            let key = ["auth.tokens", "auth.unixPeers", "auth.mtls"];
            if let Some((key, setting)) = key.iter().find_map(|key| Some((*key, self.raw.settings.get(key)?))) {
                let message = format!("{one} and {other} are of different tenants and share namespace {namespace}");
                let hint = "what one tenant may see, no other may: give each its own namespaces".to_owned();
                found.push(problem(setting, key, (message, Some(hint))));
            }
        }
        self.raw.problems.extend(found);
    }

    /// ClickHouse, when its URL is given.
    fn clickhouse(&mut self) -> Option<ClickHouse> {
        let url = self.one("sinks.clickhouse.url", sinks::url)?;
        let ttl = (DAY, DAY * 36_500);
        Some(ClickHouse {
            url,
            database: self.one("sinks.clickhouse.database", sinks::identifier).unwrap_or_else(|| "meterd".to_owned()),
            user: self.one("sinks.clickhouse.user", sinks::word).unwrap_or_else(|| "default".to_owned()),
            password_file: self.path("sinks.clickhouse.passwordFile"),
            ca_file: self.path("sinks.clickhouse.caFile"),
            shard: self.one("sinks.clickhouse.shard", sinks::word).unwrap_or_else(|| "main".to_owned()),
            batch_rows_max: self.count("sinks.clickhouse.batchRowsMax", 1, 262_144, 32_768),
            flush_interval: self.timeout("sinks.clickhouse.flushInterval", Duration::from_millis(500)),
            compress: self.one("sinks.clickhouse.compress", flag).unwrap_or(true),
            ttl: self.one("sinks.clickhouse.ttl", |text| duration_within(text, ttl)),
            rollup_ttl: self.one("sinks.clickhouse.rollupTtl", |text| duration_within(text, ttl)),
            cluster: self.one("sinks.clickhouse.cluster", sinks::word),
            replicated: self.one("sinks.clickhouse.replicated", flag).unwrap_or(false),
        })
    }

    fn unix_socket(&mut self) -> UnixSocket {
        let key = "listen.unixSocket";
        let base = self.raw.settings.get(key).and_then(base);
        if self.raw.settings.get(key).is_some_and(|setting| matches!(setting.value.value, Value::Null)) {
            return UnixSocket::InDataDir;
        }
        let read = |text: &str| match text {
            "off" => Ok(UnixSocket::Off),
            text => path(text, base.as_deref()).map(UnixSocket::At),
        };
        self.one(key, read).unwrap_or_default()
    }

    fn signals(&mut self) -> Signals {
        let default = Signals::default();
        let mut report = Report::default();
        let hosts = self.raw.settings.get("signals.allowedHosts").map(|setting| hosts(setting, &mut report));
        let hosts = hosts.unwrap_or_default();
        let webhooks = self
            .raw
            .settings
            .get("signals.webhooks")
            .map(|setting| signals::webhooks(&setting.value, base(setting).as_deref(), &hosts, &mut report));
        let joch = self
            .raw
            .settings
            .get("signals.joch")
            .and_then(|setting| signals::joch(&setting.value, base(setting).as_deref(), &hosts, &mut report));
        for found in report.problems {
            let origin = ["signals.webhooks", "signals.joch", "signals.allowedHosts"]
                .into_iter()
                .filter(|key| found.path.starts_with(key))
                .find_map(|key| self.raw.settings.get(key))
                .or_else(|| self.raw.settings.get("signals.webhooks"));
            let file = match origin.map(|setting| &setting.origin) {
                Some(Origin::File(file)) => file.clone(),
                Some(Origin::Outside(name)) => PathBuf::from(name),
                None => PathBuf::new(),
            };
            self.raw.problems.push(FileProblem { file, problem: found });
        }
        let most = self.count("signals.perSecondMax", 1, 1_000_000, 0);
        Signals {
            webhooks: webhooks.unwrap_or_default(),
            joch,
            allowed_hosts: hosts,
            per_second_max: u32::try_from(most).ok().and_then(NonZeroU32::new).unwrap_or(default.per_second_max),
        }
    }

    /// The value of a key, read by `parse`; `None` when absent or refused.
    fn one<T>(&mut self, key: &'static str, parse: impl Fn(&str) -> Result<T, Refused>) -> Option<T> {
        let setting = self.raw.settings.get(key)?;
        let result = match &setting.value.value {
            Value::Scalar { text, .. } => parse(text.trim()),
            _ => Err((format!("must be a single value, not {}", setting.value.kind_name()), None)),
        };
        match result {
            Ok(value) => Some(value),
            Err(refused) => {
                let found = problem(setting, key, refused);
                self.raw.problems.push(found);
                None
            }
        }
    }

    fn count(&mut self, key: &'static str, min: usize, max: usize, default: usize) -> usize {
        self.one(key, |text| count(text, min, max)).unwrap_or(default)
    }

    fn duration(&mut self, key: &'static str, range: (Duration, Duration), default: Duration) -> Duration {
        self.one(key, |text| duration_within(text, range)).unwrap_or(default)
    }

    /// The life of a reservation: at most a day.
    fn ttl_ms(&mut self, key: &'static str, default: u64) -> u64 {
        let ttl = self.duration(key, (SECOND, DAY), Duration::from_millis(default));
        u64::try_from(ttl.as_millis()).unwrap_or(default)
    }

    fn timeout(&mut self, key: &'static str, default: Duration) -> Duration {
        self.duration(key, (Duration::from_millis(10), SECOND * 3_600), default)
    }

    fn path(&mut self, key: &'static str) -> Option<PathBuf> {
        let base = self.raw.settings.get(key).and_then(base);
        self.one(key, |text| path(text, base.as_deref()))
    }

    fn paths(&mut self, key: &'static str) -> Option<Vec<PathBuf>> {
        let setting = self.raw.settings.get(key)?;
        let base = base(setting);
        let mut found = Vec::new();
        let mut paths = Vec::new();
        match &setting.value.value {
            Value::List(items) => {
                for item in items {
                    let read = match &item.value {
                        Value::Scalar { text, .. } => path(text, base.as_deref()),
                        _ => Err((format!("must be a path, not {}", item.kind_name()), None)),
                    };
                    match read {
                        Ok(path) => paths.push(path),
                        Err(refused) => found.push(problem_at(setting, item, key, refused)),
                    }
                }
            }
            Value::Scalar { text, .. } => {
                found.push(problem(
                    setting,
                    key,
                    ("must be a list of paths".to_owned(), Some(format!("write [{text}]"))),
                ));
            }
            Value::Null | Value::Map(_) => {
                found.push(problem(setting, key, ("must be a list of paths".to_owned(), None)));
            }
        }
        self.raw.problems.extend(found);
        Some(paths)
    }
}

/// A list of host names.
fn hosts(setting: &Setting, report: &mut Report) -> Vec<String> {
    let Value::List(items) = &setting.value.value else {
        report.error(setting.value.place, "signals.allowedHosts", "must be a list of host names", None);
        return Vec::new();
    };
    let text = |item: &Node| match &item.value {
        Value::Scalar { text, .. } => Some(text.clone()),
        _ => None,
    };
    items.iter().filter_map(text).collect()
}

fn problem(setting: &Setting, key: &str, refused: Refused) -> FileProblem {
    problem_at(setting, &setting.value, key, refused)
}

fn problem_at(setting: &Setting, node: &Node, key: &str, (message, hint): Refused) -> FileProblem {
    let file = match &setting.origin {
        Origin::File(file) => file.clone(),
        Origin::Outside(name) => PathBuf::from(name),
    };
    FileProblem { file, problem: Problem { hint, ..Problem::error(node.place, key, message) } }
}

/// Where relative paths of a setting start: the file's folder, or the working directory.
fn base(setting: &Setting) -> Option<PathBuf> {
    match &setting.origin {
        Origin::File(file) => file.parent().filter(|parent| *parent != Path::new("")).map(Path::to_owned),
        Origin::Outside(_) => None,
    }
}

fn path(text: &str, base: Option<&Path>) -> Result<PathBuf, Refused> {
    if text.is_empty() {
        return Err(("the path is empty".to_owned(), None));
    }
    match base {
        Some(base) => Ok(base.join(Path::new(text).strip_prefix(".").unwrap_or(Path::new(text)))),
        None => Ok(PathBuf::from(text)),
    }
}

fn address(text: &str) -> Result<SocketAddr, Refused> {
    text.parse().map_err(|_| {
        let port = text.rsplit(':').next().filter(|port| port.parse::<u16>().is_ok());
        let hint = format!("write an address and a port, such as 127.0.0.1:{}", port.unwrap_or("7460"));
        (format!("{text:?} is no socket address"), Some(hint))
    })
}

fn usd(text: &str) -> Result<pricing::Money, Refused> {
    match text.parse::<pricing::Money>() {
        Ok(amount) if !amount.is_negative() => Ok(amount),
        _ => {
            Err((format!("{text:?} is no amount in US dollars"), Some("write a plain decimal such as 0.25".to_owned())))
        }
    }
}

fn flag(text: &str) -> Result<bool, Refused> {
    match text.to_ascii_lowercase().as_str() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err((format!("{text:?} is neither true nor false"), None)),
    }
}

fn unmatched(text: &str) -> Result<Unmatched, Refused> {
    Unmatched::parse(text).ok_or_else(|| {
        (
            format!("unknown word {text:?}"),
            Some("write quarantine, or zero_with_flag to book nothing for it".to_owned()),
        )
    })
}

fn count(text: &str, min: usize, max: usize) -> Result<usize, Refused> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse::<usize>() {
        Ok(count) if digits && (min..=max).contains(&count) => Ok(count),
        Ok(_) if digits => Err((format!("{text} is not between {min} and {max}"), None)),
        _ => Err((format!("{text:?} is not a whole number"), Some("write digits only, such as 65536".to_owned()))),
    }
}

fn duration_within(text: &str, (min, max): (Duration, Duration)) -> Result<Duration, Refused> {
    let value = duration(text).ok_or_else(|| {
        let hint = "write a number and a unit: 500ms, 10s, 5m, 2h, 35d".to_owned();
        (format!("{text:?} is not a duration"), Some(hint))
    })?;
    if value < min || value > max {
        return Err((format!("{text} is not between {} and {}", shown(min), shown(max)), None));
    }
    Ok(value)
}

/// `500ms`, `10s`, `5m`, `2h`, `35d`.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    let unit_at = text.find(|c: char| !c.is_ascii_digit())?;
    let (digits, unit) = text.split_at(unit_at);
    let number: u64 = digits.parse().ok()?;
    let millis: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.checked_mul(millis).map(Duration::from_millis)
}

fn shown(duration: Duration) -> String {
    let millis = duration.as_millis();
    let units = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s")];
    let whole = units.iter().find(|(size, _)| millis.is_multiple_of(*size));
    whole.map_or_else(|| format!("{millis}ms"), |(size, unit)| format!("{}{unit}", millis / size))
}
