//! `meterd bench ledger`: decoded events in, durable acknowledgements out, through the daemon's own meter in this process:
//! priced, hashed, deduplicated, decided, appended with one fsync a batch. Then the same at half that load for the latency,
//! then a start on what was written.

mod load;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use budget::State;
use clap::Args;
use serde_json::{Value, json};

use self::load::{Latencies, Load};
use super::Report;
use super::clocks::{millis, process_core, resident_bytes};
use crate::cli::output::Output;
use crate::cli::{Failure, say};
use crate::clock::Clock;
use crate::daemon::Figures;
use crate::follow::follow;
use crate::ledger::{self, DataDir};
use crate::meter::{self, Commit, Meter, Rules};
use crate::metrics::{Caps, MetricsView};
use crate::reconcile::View;
use crate::watch;

/// Times of fsyncs that are kept.
const FSYNCS_MAX: usize = 1 << 20;

/// See the command's help.
#[derive(Debug, Args)]
pub(in crate::cli) struct BenchLedger {
    /// So many events, each with an id of its own
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    events: u64,
    /// So many clients send at the same time
    #[arg(long, value_name = "N", default_value_t = 16)]
    clients: usize,
    /// Each sends so many events at once
    #[arg(long, value_name = "N", default_value_t = 512)]
    batch: usize,
    /// The events belong to so many runs
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    executions: u64,
    /// Also run the daemon's followers: the view of executions and the metrics
    #[arg(long)]
    followers: bool,
    /// Keep the ledger, in a new directory at this path. Without it: a temporary directory, removed at the end
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Form of the answer
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

/// A ledger of one's own.
struct Place {
    path: PathBuf,
    keep: bool,
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.keep {
            // What cannot be removed is a temporary directory's affair.
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}

type Fsyncs = Arc<Mutex<Vec<Duration>>>;

impl BenchLedger {
    pub(in crate::cli) fn run(&self) -> Result<ExitCode, Failure> {
        let place = self.place()?;
        let dir = DataDir::new(&place.path);
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("no runtime")?;
        let figures = runtime.block_on(self.measure(&dir))?;
        let report = Report {
            bench: "ledger",
            figures,
            settings: vec![
                ("events", json!(self.events)),
                ("clients", json!(self.clients)),
                ("batch", json!(self.batch)),
                ("executions", json!(self.executions)),
                ("followers", json!(self.followers)),
                ("cores", json!(std::thread::available_parallelism().map_or(0, usize::from))),
            ],
        };
        report.print(self.output)
    }

    fn place(&self) -> Result<Place, Failure> {
        let temporary = || std::env::temp_dir().join(format!("meterd-bench-{}", std::process::id()));
        let path = self.data_dir.clone().unwrap_or_else(temporary);
        if path.exists() {
            return Err(
                anyhow::anyhow!("{} is there already; the benchmark wants a new directory", path.display()).into()
            );
        }
        Ok(Place { path, keep: self.data_dir.is_some() })
    }

    async fn measure(&self, dir: &DataDir) -> Result<Vec<(&'static str, Value)>, Failure> {
        let (book, _) = watch::load_prices(&[], true).map_err(|problems| {
            Failure::Config(problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
        })?;
        let load = Arc::new(Load::new(book, self.executions));
        let fsyncs = Fsyncs::default();
        let begin = Instant::now();
        let (meter, reader) = self.start(dir, &fsyncs)?;
        let empty_start = begin.elapsed();
        let idle = resident_bytes();
        let mut per_million = Vec::new();
        let mut core_per_event = Vec::new();
        let mut sent = 0;
        let whole = Instant::now();
        let mut latencies = Latencies::default();
        while sent < self.events {
            let events = (self.events - sent).min(1_000_000);
            let (begin, core) = (Instant::now(), process_core());
            latencies.add(load.full(&meter.handle, sent, events, self.clients, self.batch).await?);
            sent += events;
            let core = process_core().saturating_sub(core).as_secs_f64() * 1e6 / events as f64;
            core_per_event.push((core * 100.0).round() / 100.0);
            per_million.push((events as f64 / begin.elapsed().as_secs_f64()).round());
            say(&format!("{sent} events, {} a second", per_million.last().copied().unwrap_or_default()));
        }
        let rate = self.events as f64 / whole.elapsed().as_secs_f64();
        let resident = resident_bytes();
        let full_fsyncs = take(&fsyncs);
        let half_events = (self.events / 4).clamp(1, 500_000);
        let half = load.paced(&meter.handle, sent, half_events, self.clients, rate / 2.0).await?;
        let half_fsyncs = take(&fsyncs);
        let in_all = sent + half_events;
        meter.handle.stop();
        meter.ended.await.context("the meter has panicked")?.map_err(anyhow::Error::from)?;
        let committed = reader.committed();
        let begin = Instant::now();
        drop(meter::restore(dir).map_err(anyhow::Error::from)?);
        let start = begin.elapsed();
        let replay = replay(dir)?;
        let bytes = |folder: PathBuf| files(&folder) as f64 / in_all as f64;
        Ok(vec![
            ("events_per_second", json!(rate.round())),
            ("events_per_second_by_million", json!(per_million)),
            ("last_to_first_million", json!(ratio(&per_million))),
            // Of all threads together: hardly moved by what else the machine does.
            ("core_us_per_event_by_million", json!(core_per_event)),
            ("commit_p50_ms", json!(millis(latencies.quantile(50)))),
            ("commit_p99_ms", json!(millis(latencies.quantile(99)))),
            ("fsync_p50_ms", json!(millis(quantile(&full_fsyncs, 50)))),
            ("fsync_p99_ms", json!(millis(quantile(&full_fsyncs, 99)))),
            ("half_load_events_per_second", json!(half.rate.round())),
            ("half_load_commit_p50_ms", json!(millis(half.latencies.quantile(50)))),
            ("half_load_commit_p99_ms", json!(millis(half.latencies.quantile(99)))),
            ("half_load_fsync_p99_ms", json!(millis(quantile(&half_fsyncs, 99)))),
            ("ledger_bytes_per_event", json!(tenth(bytes(dir.segments())))),
            ("index_bytes_per_event", json!(tenth(bytes(dir.index())))),
            ("idle_rss_bytes", json!(idle)),
            ("rss_bytes", json!(resident)),
            ("empty_start_ms", json!(millis(empty_start))),
            ("start_ms", json!(millis(start))),
            ("replay_entries_per_second", json!((committed as f64 / replay.0.as_secs_f64()).round())),
            ("replay_core_us_per_entry", json!((replay.1.as_secs_f64() * 1e8 / committed as f64).round() / 100.0)),
        ])
    }

    fn start(&self, dir: &DataDir, fsyncs: &Fsyncs) -> Result<(Meter, ledger::Reader), Failure> {
        let restored = meter::restore(dir).map_err(anyhow::Error::from)?;
        let reader = restored.writer.reader();
        let fsyncs = Arc::clone(fsyncs);
        let on_commit = Box::new(move |commit: Commit| {
            let mut fsyncs = fsyncs.lock().unwrap_or_else(PoisonError::into_inner);
            if fsyncs.len() < FSYNCS_MAX {
                fsyncs.push(commit.fsync);
            }
        });
        if self.followers {
            let stop = tokio_util::sync::CancellationToken::new();
            let (_, reconciler) = View::new(restored.state.clone(), reader.clone());
            let metrics = MetricsView::open(dir, &reader, Caps::default()).map_err(anyhow::Error::from)?;
            let figures = Figures { state: reconciler, metrics: metrics.follower() };
            tokio::spawn(follow("status", reader.clone(), 0, figures, stop));
        }
        let queue_events_max = self.clients.saturating_mul(self.batch).max(65_536);
        let rules = Rules { queue_events_max, dedup_horizon: Duration::from_secs(35 * 86_400) };
        let meter = meter::start(dir.clone(), restored, Clock::wall(), &rules, on_commit).context("no thread")?;
        Ok((meter, reader))
    }
}

/// How long the log takes to be read and folded again from its first entry, on the wall and on all cores.
fn replay(dir: &DataDir) -> Result<(Duration, Duration), Failure> {
    let mut state = State::default();
    let (begin, core) = (Instant::now(), process_core());
    ledger::open(dir, 0, |entry| state.apply(entry)).map_err(anyhow::Error::from)?;
    Ok((begin.elapsed(), process_core().saturating_sub(core)))
}

fn take(fsyncs: &Fsyncs) -> Vec<Duration> {
    let mut taken = std::mem::take(&mut *fsyncs.lock().unwrap_or_else(PoisonError::into_inner));
    taken.sort_unstable();
    taken
}

fn quantile(sorted: &[Duration], percent: usize) -> Duration {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}

/// The last of the millions beside the first.
fn ratio(rates: &[f64]) -> Option<f64> {
    Some((rates.last()? / rates.first()? * 1_000.0).round() / 1_000.0)
}

fn tenth(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

/// Bytes of the files in a folder.
fn files(folder: &std::path::Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| Some(entry.metadata().ok()?.len())).sum()
}
