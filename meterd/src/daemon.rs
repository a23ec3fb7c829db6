//! The composition root: builds every room, starts them in order, reloads, drains. The only file that sees all rooms.

mod credentials;
mod expire;
mod figures;
mod kills;
mod listeners;
mod prices;
mod reload;
mod selectors;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use budget::{Command, Verdict};
use pricing::PriceBook;
use serde_json::json;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use self::figures::Figures;
use self::listeners::Listeners;
use self::prices::Pricer;
use crate::api::{App, Order, PriceDesk, Readiness, ReservationDefaults, Rooms, Telemetry};
use crate::auth::{self, Auth};
use crate::clock::Clock;
use crate::config::{self, Config};
use crate::follow::follow;
use crate::late::Late;
use crate::ledger::{DataDir, LedgerError};
use crate::meter::{self, Commit, Rules, Upkeep};
use crate::metrics::{Caps, DaemonMetrics, MetricsView};
use crate::pulse::Pulse;
use crate::reconcile::View;
use crate::resource::Resource;
use crate::rollup::RollupView;
use crate::server::body::BodyLimits;
use crate::server::{BindError, tls::TlsError};
use crate::settle::Settler;
use crate::signal::Hub;
use crate::sink::clickhouse::ClickHouseSink;
use crate::watch::{self, FileProblem, WatchGuard};

/// Why the daemon could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Price tables or resources are wrong: each with file, line and hint.
    #[error("{} problem(s) in prices or resources", .0.len())]
    Files(Vec<FileProblem>),
    /// A port cannot be opened.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The Unix socket cannot be opened.
    #[error(transparent)]
    Unix(#[from] crate::server::unix::UnixError),
    /// The data directory cannot be used.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// A directory cannot be watched.
    #[error(transparent)]
    Watch(#[from] watch::WatchError),
    /// The metric families contradict each other.
    #[error("cannot register the metrics: {0}")]
    Metrics(String),
    /// A certificate or its key cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A secret cannot be read, or is none.
    #[error("{0}")]
    Auth(#[from] auth::LoadError),
    /// The system refused a thread.
    #[error("cannot start the meter's thread: {0}")]
    Thread(std::io::Error),
}

/// A running daemon.
pub struct Daemon {
    /// Where the API listens.
    pub api: SocketAddr,
    /// Where Prometheus scrapes.
    pub metrics: SocketAddr,
    /// Where OTLP/gRPC listens, if it does.
    pub grpc: Option<SocketAddr>,
    encrypted: bool,
    /// Handles, for callers in the same process.
    pub app: App,
    dir: DataDir,
    /// How the meter ended; gone once it was told.
    ended: Option<tokio::sync::oneshot::Receiver<Result<(), LedgerError>>>,
    servers: JoinSet<()>,
    followers: JoinSet<()>,
    serving: CancellationToken,
    following: CancellationToken,
    _watches: Vec<WatchGuard>,
}

/// Builds everything and starts listening.
pub async fn start(config: &Config, clock: Clock) -> Result<Daemon, StartError> {
    let files = files_of(config)?;
    let auth = Auth::new(auth::load(&config.auth, credentials::owner())?);
    let mut listeners = Listeners::open(config).await?;
    let dir = DataDir::new(&config.data_dir);
    let restored = restore(config, &dir, &clock)?;
    listeners.socket = kills::socket(config, &dir).await?;
    let (reader, metrics) = (restored.writer.reader(), own_metrics(&restored)?);
    let (ledger_metrics, rollups) = (MetricsView::open(&dir, &reader, caps(config))?, RollupView::open(&dir, &reader));
    ledger_metrics.begin(&restored.state, clock.now());
    let (view, reconciler) = View::new(restored.state.clone(), reader.clone());
    let cursor = restored.state.seq();
    let meter = meter::start(dir.clone(), restored, clock.clone(), &rules(config), on_commit(metrics.clone()))
        .map_err(StartError::Thread)?;
    let late = Late::open(&dir, meter.handle.clone(), reader.clone())?;
    let ((hub, feed), (pulse, beat), (desk, orders)) = (Hub::new(), Pulse::new(cursor, clock.now()), PriceDesk::new());
    let (serving, following, mut followers) = (CancellationToken::new(), CancellationToken::new(), JoinSet::new());
    let figures = Figures { state: reconciler, metrics: ledger_metrics.follower() };
    followers.spawn(follow("status", reader.clone(), cursor, figures, following.clone()));
    followers.spawn(follow("events", reader.clone(), cursor, beat, following.clone()));
    followers.spawn(follow("signals", reader.clone(), cursor, feed, following.clone()));
    followers.spawn(follow("rollups", reader, rollups.cursor(), rollups.follower(), following.clone()));
    let clickhouse = clickhouse(config, &metrics, &view, &dir, (&mut followers, &following));
    let prices = Arc::new(ArcSwap::from_pointee(PriceBook::default()));
    let settler = Settler::new(meter.handle.clone(), view.clone(), dir.clone(), Arc::clone(&prices));
    let app = App::new(Rooms {
        meter: meter.handle,
        view,
        rollups,
        clickhouse,
        hub,
        pulse,
        prices,
        desk,
        settler,
        late,
        clock,
        budgets: reservation_defaults(config),
        body: body_limits(config),
        dedup_horizon: config.ingest.dedup_horizon,
        future_skew_max: config.ingest.future_skew_max,
        metrics,
        ledger_metrics,
        telemetry: Telemetry::open(listeners::sources(config), &dir)?,
        auth,
        open_to_all: config.auth.allow_unauthenticated,
        readiness: Readiness::default(),
        stop: serving.clone(),
    });
    let pricer = begin(config, &app, &dir, files, orders, cursor, (&mut followers, &following)).await?;
    let watches = reload::watch_all(&pricer, &app, config, &listeners).await?;
    let addresses = listeners.addresses(config);
    let mut daemon = Daemon {
        api: addresses.api,
        metrics: addresses.metrics,
        grpc: addresses.grpc,
        encrypted: listeners.is_encrypted(),
        app,
        dir,
        ended: Some(meter.ended),
        servers: JoinSet::new(),
        followers,
        serving,
        following,
        _watches: watches,
    };
    listeners.serve(&daemon.app, config, &daemon.serving, &mut daemon.servers);
    daemon.announce()?;
    Ok(daemon)
}

/// Puts resources and prices in force, then starts what acts on them.
async fn begin(
    config: &Config,
    app: &App,
    dir: &DataDir,
    (book, resources): (PriceBook, Vec<(PathBuf, Resource)>),
    orders: tokio::sync::mpsc::Receiver<Order>,
    cursor: u64,
    (followers, following): (&mut JoinSet<()>, &CancellationToken),
) -> Result<Pricer, StartError> {
    reload::sync_resources(app, &resources).await?;
    let pricer = Pricer::new(app.clone(), dir.clone(), config.prices.clone());
    pricer.begin(book).await?.map_err(StartError::Files)?;
    followers.spawn(pricer.clone().serve(orders, app.stop.clone()));
    followers.spawn(app.settler.clone().run(app.stop.clone()));
    followers.spawn(expire::expire(app.clone(), dir.clone(), app.stop.clone()));
    followers.spawn(selectors::watch(app.clone(), app.stop.clone()));
    kills::drive(config, app, dir, cursor, followers, following)?;
    Ok(pricer)
}

impl Daemon {
    /// The API's base URL.
    #[must_use]
    pub fn api_url(&self) -> String {
        let scheme = if self.encrypted { "https" } else { "http" };
        format!("{scheme}://{}", self.api)
    }

    /// The metrics page's base URL.
    #[must_use]
    pub fn metrics_url(&self) -> String {
        format!("http://{}", self.metrics)
    }

    /// Waits until the ledger fails; a daemon that is well never returns from this.
    pub async fn failed(&mut self) -> Option<LedgerError> {
        let Some(ended) = &mut self.ended else { return std::future::pending().await };
        let result = ended.await;
        self.ended = None;
        // A thread that ended without a word has panicked.
        result.unwrap_or(Err(LedgerError::Stopped)).err()
    }

    /// Stops taking requests, lets those under way finish, makes everything durable and releases the directory.
    pub async fn stop(mut self) -> Result<(), LedgerError> {
        self.serving.cancel();
        while self.servers.join_next().await.is_some() {}
        self.app.meter.stop();
        // A failure that `failed` has told already is not told twice.
        let ended = match self.ended.take() {
            Some(ended) => ended.await.unwrap_or(Err(LedgerError::Stopped)),
            None => Ok(()),
        };
        self.following.cancel();
        while self.followers.join_next().await.is_some() {}
        let _ = self.dir.remove(&self.dir.endpoints());
        let _ = self.dir.remove(&self.dir.socket());
        let saved = self.app.ledger_metrics.save().and(self.app.rollups.save());
        ended.and(saved)
    }

    /// Writes where this daemon listens into its data directory, for clients on this machine.
    fn announce(&self) -> Result<(), LedgerError> {
        let mut text = json!({ "api": self.api_url(), "metrics": self.metrics_url(), "pid": std::process::id() });
        if let (Some(text), Some(grpc)) = (text.as_object_mut(), self.grpc) {
            text.insert("otlp_grpc".to_owned(), grpc.to_string().into());
        }
        self.dir.write_durably(&self.dir.endpoints(), text.to_string().as_bytes())
    }
}

/// The sink that the configuration names, if it names one, on its way.
fn clickhouse(
    config: &Config,
    metrics: &DaemonMetrics,
    view: &View,
    dir: &DataDir,
    (followers, following): (&mut JoinSet<()>, &CancellationToken),
) -> Option<ClickHouseSink> {
    let settings = config.sinks.clickhouse.clone()?;
    let sink = ClickHouseSink::new(settings, dir.clone(), view.ledger().clone(), metrics.clone());
    followers.spawn(sink.clone().run(following.clone()));
    Some(sink)
}

/// The price tables and resources that the configuration names, read and checked.
fn files_of(config: &Config) -> Result<(PriceBook, Vec<(PathBuf, Resource)>), StartError> {
    let resources = match &config.resources.dir {
        Some(dir) => {
            let (resources, warnings) = watch::load_resources_in(dir).map_err(StartError::Files)?;
            warn_all(&warnings);
            resources
        }
        None => Vec::new(),
    };
    let dir = DataDir::new(&config.data_dir);
    let (book, warnings) = prices::load(&config.prices, &dir, &prices::given(&resources)).map_err(StartError::Files)?;
    warn_all(&warnings);
    Ok((book, resources))
}

/// The ledger as it was left.
fn restore(config: &Config, dir: &DataDir, clock: &Clock) -> Result<meter::Restored, LedgerError> {
    let mut restored = meter::restore(dir)?;
    expire::resume(clock, dir);
    restored.upkeep = Upkeep {
        pack_after: Some(config.ledger.pack_after),
        // An event that is not too old may still come for it.
        forget_after: Some(config.ledger.forget_runs_after.max(config.ingest.dedup_horizon)),
        rest_after: Some(config.ledger.rest_runs_after.max(config.ingest.dedup_horizon)),
        reserve_bytes: config.ledger.reserve_bytes as u64,
    };
    told_of(&restored);
    Ok(restored)
}

fn own_metrics(restored: &meter::Restored) -> Result<DaemonMetrics, StartError> {
    let metrics = DaemonMetrics::new().map_err(|error| StartError::Metrics(error.to_string()))?;
    metrics.wal_replayed(restored.replayed);
    metrics.wal_bytes(restored.writer.bytes());
    Ok(metrics)
}

fn reservation_defaults(config: &Config) -> ReservationDefaults {
    let config::Budgets { default_ttl_ms, estimate_ceiling, settle_grace } = config.budgets;
    ReservationDefaults { default_ttl_ms, estimate_ceiling, settle_grace }
}

fn rules(config: &Config) -> Rules {
    Rules { queue_events_max: config.ingest.queue_events_max, dedup_horizon: config.ingest.dedup_horizon }
}

fn body_limits(config: &Config) -> BodyLimits {
    BodyLimits { bytes_max: config.ingest.body_bytes_max, timeout: config.server.body_timeout }
}

fn caps(config: &Config) -> Caps {
    Caps {
        series_max: config.metrics.series_max,
        agents_max: config.metrics.agents_max,
        models_per_provider_max: config.metrics.models_per_provider_max,
        ..Caps::default()
    }
}

fn on_commit(metrics: DaemonMetrics) -> meter::OnCommit {
    Box::new(move |commit: Commit| {
        if commit.failed {
            metrics.wal_error("append");
        } else {
            metrics.fsync(commit.fsync.as_secs_f64());
            metrics.wal_bytes(commit.ledger_bytes);
        }
    })
}

fn told_of(restored: &meter::Restored) {
    if let Some(repair) = &restored.repair {
        tracing::warn!(
            file = %repair.path.display(), kept_bytes = repair.kept_bytes, cut_bytes = repair.cut_bytes,
            "the last write was torn; it was never acknowledged and is cut off"
        );
    }
    tracing::info!(
        entries = restored.state.seq(),
        snapshot = restored.snapshot_seq,
        replayed = restored.replayed,
        "ledger open"
    );
}

fn warn_all(warnings: &[FileProblem]) {
    for warning in warnings {
        tracing::warn!("{warning}");
    }
}

/// A problem's line in a log or a readiness warning.
fn first_problem(problems: &[FileProblem]) -> String {
    let more = problems.len().saturating_sub(1);
    match problems.first() {
        Some(first) if more > 0 => format!("{first} (and {more} more)"),
        Some(first) => first.to_string(),
        None => "unknown problem".to_owned(),
    }
}

/// Records what the daemon itself has to say. Waits for room in the queue: nobody would say it again.
async fn tell(app: &App, command: Command) -> Result<Verdict, LedgerError> {
    app.meter.command_when_room(command).await.map_err(|_| LedgerError::Stopped)
}
