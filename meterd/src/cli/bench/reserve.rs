//! `meterd bench reserve`: reservations and their settlements over loopback HTTP into a whole daemon in this process, each request
//! answered when it is on disk. First from many connections at once, then from one.
//!
//! The load generator runs on the same machine and in the same process; it is part of what is measured.

mod wire;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::Args;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use self::wire::Connection;
use super::Report;
use super::clocks::{millis, process_core};
use crate::cli::client::Client;
use crate::cli::load::start_failure;
use crate::cli::output::Output;
use crate::cli::{ConfigArgs, Failure, runtime};
use crate::clock::Clock;
use crate::daemon;

/// The budget that every reservation is held on: each run's own limit and one that all share, neither ever reached.
const BUDGET: &str = "apiVersion: joch.dev/v1alpha1\nkind: Budget\nmetadata: { name: bench, namespace: bench }\nspec:\n  \
    limits: { perRunUsd: 1000000000, dailyUsd: 1000000000 }\n  enforcement: { onHardLimit: deny }\n";

/// See the command's help.
#[derive(Debug, Args)]
pub(in crate::cli) struct BenchReserve {
    /// Reservations in all from many connections, each settled before the next of its connection
    #[arg(long, default_value_t = 200_000, value_name = "N")]
    pairs: u64,
    /// Connections at a time, each with a run of its own
    #[arg(long, default_value_t = 64, value_name = "N")]
    connections: u64,
    /// Reservations from one connection alone, afterwards
    #[arg(long, default_value_t = 5_000, value_name = "N")]
    single_pairs: u64,
    /// Folder for the ledger, which is removed at the end; without it, one in the folder for temporary files
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Form of the answer
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

/// What one load found.
struct Took {
    pairs: u64,
    whole: Duration,
    core: Duration,
    /// Every pair, and every request, ascending.
    pair: Vec<Duration>,
    request: Vec<Duration>,
}

impl BenchReserve {
    pub(in crate::cli) fn run(&self) -> Result<ExitCode, Failure> {
        let parent = self.dir.clone().unwrap_or_else(std::env::temp_dir);
        let folder = parent.join(format!("meterd-bench-reserve-{}", std::process::id()));
        let measured = runtime()?.block_on(self.measure(&folder));
        let _ = std::fs::remove_dir_all(&folder);
        measured?.print(self.output)
    }

    async fn measure(&self, folder: &Path) -> Result<Report, Failure> {
        let any = || Some("127.0.0.1:0".to_owned());
        let data_dir = Some(folder.to_path_buf());
        let args = ConfigArgs { config: None, data_dir, listen: any(), metrics_listen: any() };
        let daemon = daemon::start(&args.resolve()?, Clock::wall()).await.map_err(start_failure)?;
        let client = Client::new(&daemon.api_url());
        client.post_text("/v1/resources/apply", "application/yaml", BUDGET.to_owned()).await?;
        let address = daemon.api.to_string();
        let many = load(&address, "many", self.pairs.max(1), self.connections.max(1)).await?;
        let one = load(&address, "one", self.single_pairs.max(1), 1).await?;
        let (settled, held) = daemon.app.view.read_fresh(|state| (state.seq(), state.held_reservations())).await;
        daemon.stop().await?;
        if held > 0 || settled < many.pairs + one.pairs {
            return Err(anyhow::anyhow!("{held} reservations were not settled").into());
        }
        let figures = vec![
            ("pairs_per_second", json!(many.rate())),
            ("pair_p50_ms", many.at(&many.pair, 50)),
            ("pair_p99_ms", many.at(&many.pair, 99)),
            ("request_p50_ms", many.at(&many.request, 50)),
            ("request_p99_ms", many.at(&many.request, 99)),
            ("core_us_per_pair", json!(many.core_us())),
            ("single_pairs_per_second", json!(one.rate())),
            ("single_pair_p50_ms", one.at(&one.pair, 50)),
            ("single_pair_p99_ms", one.at(&one.pair, 99)),
            ("single_request_p50_ms", one.at(&one.request, 50)),
            ("single_request_p99_ms", one.at(&one.request, 99)),
        ];
        let settings = vec![
            ("pairs", json!(many.pairs)),
            ("connections", json!(self.connections)),
            ("single_pairs", json!(one.pairs)),
            ("counters", json!(2)),
            ("fsync", json!(true)),
            ("cores", json!(std::thread::available_parallelism().map_or(0, usize::from))),
        ];
        Ok(Report { bench: "reserve", figures, settings })
    }
}

impl Took {
    fn rate(&self) -> f64 {
        (self.pairs as f64 / self.whole.as_secs_f64()).round()
    }

    /// Time of all cores for one pair, the load generator's included.
    fn core_us(&self) -> f64 {
        (self.core.as_secs_f64() * 1e7 / self.pairs as f64).round() / 10.0
    }

    fn at(&self, times: &[Duration], percent: usize) -> Value {
        let rank = (times.len() * percent).div_ceil(100).saturating_sub(1);
        json!(times.get(rank).copied().map(millis))
    }
}

/// So many pairs from so many connections, as fast as they are answered.
async fn load(address: &str, name: &'static str, pairs: u64, connections: u64) -> anyhow::Result<Took> {
    let next = Arc::new(AtomicU64::new(0));
    let mut open = Vec::new();
    for number in 0..connections {
        open.push((number, Connection::open(address).await?));
    }
    let (start, core) = (Instant::now(), process_core());
    let mut senders = JoinSet::new();
    for (number, connection) in open {
        senders.spawn(send(connection, name, number, Arc::clone(&next), pairs));
    }
    let (mut pair, mut request) = (Vec::new(), Vec::new());
    while let Some(sender) = senders.join_next().await {
        for [reserved, settled] in sender.context("a sender")?? {
            pair.push(reserved + settled);
            request.extend([reserved, settled]);
        }
    }
    let (whole, core) = (start.elapsed(), process_core().saturating_sub(core));
    pair.sort_unstable();
    request.sort_unstable();
    Ok(Took { pairs: pair.len() as u64, whole, core, pair, request })
}

async fn send(
    mut connection: Connection,
    name: &str,
    run: u64,
    next: Arc<AtomicU64>,
    pairs: u64,
) -> anyhow::Result<Vec<[Duration; 2]>> {
    let mut took = Vec::new();
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if number >= pairs {
            return Ok(took);
        }
        let id = format!("{name}-{number:09}");
        let wish = format!(
            r#"{{"id":"{id}","namespace":"bench","execution":"{name}-{run}","agent":"bench","estimate_usd":"0.002"}}"#
        );
        let begin = Instant::now();
        let status = connection.post("/v1/reservations", &wish).await?;
        let reserved = begin.elapsed();
        if status != 201 {
            bail!("a reservation was answered {status}: {}", connection.answer());
        }
        let begin = Instant::now();
        let status = connection.post(&format!("/v1/reservations/{id}/settle"), r#"{"cost_usd":"0.001"}"#).await?;
        if status != 200 {
            bail!("a settlement was answered {status}: {}", connection.answer());
        }
        took.push([reserved, begin.elapsed()]);
    }
}
