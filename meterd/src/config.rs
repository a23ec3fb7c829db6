//! Configuration: settings as written (file, environment, flags) → one `Config` with a part for each room.
//!
//! Precedence: flag > `METERD_…` > file > default; `config/default.yaml` documents every key. Every problem comes out at
//! once with its place. A setting that this version does not honour is refused, never ignored.

pub mod auth;
mod problem;
mod raw;
mod resolve;
pub mod seed;
mod show;
mod signals;
mod sinks;
pub mod sources;

use pricing::table::{Unmatched, UnmatchedPolicy};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use self::auth::{Auth, Tls};
use self::raw::{KEYS, Raw};

pub use self::problem::{ConfigError, FileProblem};
pub(crate) use self::resolve::duration;
pub use self::signals::Signals;
pub use self::sinks::ClickHouse;

/// The documented defaults, as shipped.
pub const DEFAULT_YAML: &str = include_str!("config/default.yaml");
/// Longest configuration file.
const FILE_BYTES_MAX: u64 = 1_048_576;

/// Everything that can be set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Listeners.
    pub listen: Listen,
    /// The ledger and all other state.
    pub data_dir: PathBuf,
    /// `ledger`.
    pub ledger: Ledger,
    /// Price tables.
    pub prices: Prices,
    /// joch resources.
    pub resources: Resources,
    /// Intake.
    pub ingest: Ingest,
    /// Reservations.
    pub budgets: Budgets,
    /// Where kills go beside the stream.
    pub signals: Signals,
    /// Where entries are carried to.
    pub sinks: Sinks,
    /// Bounds of the metrics.
    pub metrics: Metrics,
    /// Bounds of the server.
    pub server: Server,
    /// Who may do what.
    pub auth: Auth,
    /// The file that all this was read from, for what is read again while the daemon runs.
    pub file: Option<PathBuf>,
}

/// `listen`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// API, OTLP/HTTP, console.
    pub api: SocketAddr,
    /// `/metrics`, `/healthz`, `/readyz`.
    pub metrics: SocketAddr,
    /// OTLP/gRPC.
    pub otlp_grpc: Option<SocketAddr>,
    /// Certificate and key of the API's and the gRPC listener.
    pub tls: Option<Tls>,
    /// The Unix socket.
    pub unix_socket: UnixSocket,
}

/// Where the Unix socket is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum UnixSocket {
    /// `meterd.sock` in the data directory.
    #[default]
    InDataDir,
    /// There.
    At(PathBuf),
    /// Nowhere.
    Off,
}

/// `ledger`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ledger {
    /// Closed segments are packed after so long.
    pub pack_after: Duration,
    /// Runs leave the state so long after their end, or at rest.
    pub forget_runs_after: Duration,
    /// Runs that nobody ends are put to rest when nothing has named them for so long.
    pub rest_runs_after: Duration,
    /// Room on the disk that only what ends or settles something may use.
    pub reserve_bytes: usize,
}

/// `prices`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prices {
    /// Folders of price tables, lowest layer first.
    pub dirs: Vec<PathBuf>,
    /// Start from the built-in tables.
    pub seed: bool,
    /// What becomes of usage that no table prices, where no table says.
    pub unmatched: UnmatchedPolicy,
}

/// `resources`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resources {
    /// Folder of joch resources.
    pub dir: Option<PathBuf>,
}

/// `ingest`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ingest {
    /// Events that may wait for the ledger.
    pub queue_events_max: usize,
    /// Longest body, before and after decompression.
    pub body_bytes_max: usize,
    /// Older events are refused.
    pub dedup_horizon: Duration,
    /// Events further in the future are refused.
    pub future_skew_max: Duration,
    /// What is known of single sources of telemetry.
    pub sources: Vec<sources::Source>,
}

/// `sinks`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sinks {
    /// ClickHouse.
    pub clickhouse: Option<ClickHouse>,
}

/// `budgets`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budgets {
    /// Life of a reservation that names none, in milliseconds.
    pub default_ttl_ms: u64,
    /// Held for a call without an estimate or without a price, where no budget names a ceiling of its own.
    pub estimate_ceiling: Option<pricing::Money>,
    /// How long after its end a run's cost may still move before it is called final.
    pub settle_grace: Duration,
}

/// `metrics`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metrics {
    /// Series in all.
    pub series_max: usize,
    /// Agents with series of their own.
    pub agents_max: usize,
    /// Models with series of their own, for each provider.
    pub models_per_provider_max: usize,
}

/// `server`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Open connections.
    pub connections_max: usize,
    /// Time for a request's head.
    pub header_timeout: Duration,
    /// Time for a request's body.
    pub body_timeout: Duration,
    /// Time for requests under way when the daemon ends.
    pub drain_timeout: Duration,
}

impl Default for Config {
    fn default() -> Self {
        let loopback = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Self {
            listen: Listen {
                api: loopback(7460),
                metrics: loopback(9460),
                otlp_grpc: None,
                tls: None,
                unix_socket: UnixSocket::InDataDir,
            },
            data_dir: PathBuf::from("./meterd-data"),
            ledger: Ledger {
                pack_after: Duration::from_secs(90 * 86_400),
                forget_runs_after: Duration::from_secs(90 * 86_400),
                rest_runs_after: Duration::from_secs(35 * 86_400),
                reserve_bytes: 8_388_608,
            },
            prices: Prices {
                dirs: Vec::new(),
                seed: true,
                unmatched: UnmatchedPolicy { model: Some(Unmatched::Quarantine), tool: Some(Unmatched::ZeroWithFlag) },
            },
            resources: Resources { dir: None },
            ingest: Ingest {
                queue_events_max: 65_536,
                body_bytes_max: 4_194_304,
                dedup_horizon: Duration::from_secs(35 * 86_400),
                future_skew_max: Duration::from_secs(300),
                sources: Vec::new(),
            },
            budgets: Budgets {
                default_ttl_ms: 600_000,
                estimate_ceiling: None,
                settle_grace: crate::resource::SETTLE_GRACE,
            },
            signals: Signals::default(),
            sinks: Sinks::default(),
            metrics: Metrics { series_max: 10_000, agents_max: 500, models_per_provider_max: 200 },
            server: Server {
                connections_max: 1_024,
                header_timeout: Duration::from_secs(10),
                body_timeout: Duration::from_secs(30),
                drain_timeout: Duration::from_secs(10),
            },
            auth: Auth::default(),
            file: None,
        }
    }
}

/// A usable configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// The settings.
    pub config: Config,
    /// What is worth saying about them.
    pub warnings: Vec<FileProblem>,
}

impl Config {
    /// Reads `file`, if there is one, and puts the environment and then the flags over it: pairs of a key's path, such as
    /// `listen.api`, and its value. Warnings are logged.
    pub fn load(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
        flags: &[(&str, String)],
    ) -> Result<Self, ConfigError> {
        let environment: Vec<(String, String)> = environment.into_iter().collect();
        let Loaded { config, warnings } = load(file, &environment, flags)?;
        for warning in &warnings {
            tracing::warn!("{warning}");
        }
        Ok(config)
    }
}

/// Like `Config::load`, with the warnings.
pub fn load(
    file: Option<&Path>,
    environment: &[(String, String)],
    flags: &[(&str, String)],
) -> Result<Loaded, ConfigError> {
    match file {
        None => resolve(None, environment, flags),
        Some(path) => match read_bounded(path, FILE_BYTES_MAX) {
            Ok(text) => {
                let mut loaded = resolve(Some((path, &text)), environment, flags)?;
                loaded.config.file = Some(path.to_owned());
                Ok(loaded)
            }
            Err(problem) => Err(ConfigError { problems: vec![problem] }),
        },
    }
}

/// The same for a text that was read already; `file` is its path and its text. Pure.
pub fn resolve(
    file: Option<(&Path, &str)>,
    environment: &[(String, String)],
    flags: &[(&str, String)],
) -> Result<Loaded, ConfigError> {
    let mut raw = Raw::default();
    if let Some((path, text)) = file {
        raw.file(path, text);
    }
    raw.environment(environment.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    for (key, value) in flags {
        raw.flag(key, value);
    }
    let (config, mut problems) = resolve::resolve(raw);
    problems.sort_by(|a, b| (&a.file, a.problem.place).cmp(&(&b.file, b.problem.place)));
    if problems.iter().any(FileProblem::is_error) {
        Err(ConfigError { problems })
    } else {
        Ok(Loaded { config, warnings: problems })
    }
}

/// The `METERD_…` variables of this process; what is not UTF-8 is left out.
#[must_use]
pub fn environment() -> Vec<(String, String)> {
    let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
        Some((name.into_string().ok()?, value.into_string().ok()?))
    };
    std::env::vars_os().filter_map(text).filter(|(name, _)| name.starts_with("METERD_")).collect()
}

/// Every key and its variable in the environment, in the order of `default.yaml`.
pub fn keys() -> impl Iterator<Item = (&'static str, String)> {
    KEYS.iter().map(|spec| (spec.path, raw::variable(spec.path)))
}

/// The text of a file of at most `bytes_max` bytes, or what is wrong with it.
pub(crate) fn read_bounded(path: &Path, bytes_max: u64) -> Result<String, FileProblem> {
    use std::io::Read as _;
    let unreadable = |error: std::io::Error| {
        let hint = match error.kind() {
            std::io::ErrorKind::NotFound => Some("check the path"),
            std::io::ErrorKind::PermissionDenied => Some("give the daemon's user permission to read it"),
            std::io::ErrorKind::InvalidData => Some("write it in UTF-8"),
            _ => None,
        };
        FileProblem::of_file(path, format!("cannot be read: {error}"), hint)
    };
    let file = std::fs::File::open(path).map_err(unreadable)?;
    let mut text = String::new();
    // One byte more than allowed tells too long from just long enough.
    file.take(bytes_max.saturating_add(1)).read_to_string(&mut text).map_err(unreadable)?;
    if text.len() as u64 > bytes_max {
        return Err(FileProblem::of_file(path, format!("is longer than {bytes_max} bytes"), Some("split it")));
    }
    Ok(text)
}

#[cfg(test)]
mod tests;
