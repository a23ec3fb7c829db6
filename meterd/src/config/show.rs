//! The configuration in force, as YAML that can be read back: what file, environment and flags came to together.

use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

use super::Config;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    listen: Listen,
    data_dir: PathBuf,
    prices: Prices,
    resources: Resources,
    ingest: Ingest,
    sinks: Sinks,
    metrics: Metrics,
    server: Server,
}

#[derive(Serialize)]
struct Listen {
    api: String,
    metrics: String,
}

#[derive(Serialize)]
struct Prices {
    dirs: Vec<PathBuf>,
    seed: bool,
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

impl Config {
    /// The settings in force as YAML, with units as a file writes them. Holds no secret: there is no key for one.
    pub fn to_yaml(&self) -> Result<String, serde_yaml::Error> {
        serde_yaml::to_string(&Shown {
            listen: Listen { api: self.listen.api.to_string(), metrics: self.listen.metrics.to_string() },
            data_dir: self.data_dir.clone(),
            prices: Prices { dirs: self.prices.dirs.clone(), seed: self.prices.seed },
            resources: Resources { dir: self.resources.dir.clone() },
            ingest: Ingest {
                queue_events_max: self.ingest.queue_events_max,
                body_bytes_max: self.ingest.body_bytes_max,
                dedup_horizon: text(self.ingest.dedup_horizon),
                future_skew_max: text(self.ingest.future_skew_max),
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
