//! `meterd bench price`: `price()` over a mix of calls, on one thread, with the book that the daemon would start with.

use std::hint::black_box;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use pricing::{Outcome, PriceBook, price};
use serde_json::json;

use super::Report;
use super::clocks::{Stretch, millis, process_core, resident_bytes};
use super::mix::{self, Row};
use crate::cli::Failure;
use crate::cli::output::Output;
use crate::watch::{self, Cache};

/// Calls between two looks at the clock: one look costs about as much as a call.
const BATCH_CALLS: usize = 64;
/// Batch times that are kept; later ones count for the mean only.
const BATCHES_MAX: usize = 1 << 20;

/// See the command's help.
#[derive(Debug, Args)]
pub(in crate::cli) struct BenchPrice {
    /// NDJSON of calls to price: provider, model, time or timestamp, usage, attrs or context. Without it: a seeded mix
    #[arg(long, value_name = "NDJSON")]
    file: Option<PathBuf>,
    /// Stop after so many calls
    #[arg(long, value_name = "N")]
    events: Option<u64>,
    /// Stop after so many seconds
    #[arg(long, value_name = "S", default_value_t = 3)]
    seconds: u64,
    /// Seed of the mix
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Directories of price tables, over the seed tables; the last one goes first
    #[arg(long, value_name = "DIR")]
    tables: Vec<PathBuf>,
    /// Form of the answer
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

impl BenchPrice {
    pub(in crate::cli) fn run(&self) -> Result<ExitCode, Failure> {
        let before = resident_bytes();
        let start = Stretch::start();
        let cache = Cache::of_user();
        let book = self.load(&cache)?;
        let load = start.wall();
        let grown = resident_bytes().zip(before).map(|(after, before)| after.saturating_sub(before));
        let rows = match &self.file {
            Some(file) => {
                let text = std::fs::read_to_string(file);
                let text = text.with_context(|| format!("cannot read {}", file.display()))?;
                mix::read(&text).with_context(|| file.display().to_string())?
            }
            None => mix::seeded(&book, self.seed),
        };
        if rows.is_empty() {
            return Err(anyhow::anyhow!("no calls to price").into());
        }
        let (mut priced, mut lines) = (0, 0);
        for row in &rows {
            if let Outcome::Priced(cost) = price(&book, &row.call()) {
                priced += 1;
                lines += cost.lines.len();
            }
        }
        let timed = self.time(&book, &rows);
        let from_yaml = self.time_load(&Cache::none())?;
        let from_cache = self.time_load(&cache)?;
        let models: usize = book.tables().iter().map(|table| table.models().len()).sum();
        let entries: usize = book.tables().iter().map(|table| table.entries()).sum();
        let core = timed.core.as_secs_f64();
        let report = Report {
            bench: "price",
            figures: vec![
                ("events_per_second_core", json!((timed.calls as f64 / core).round())),
                ("ns_per_event", json!((core * 1e10 / timed.calls as f64).round() / 10.0)),
                ("events_per_second_wall", json!((timed.calls as f64 / timed.wall.as_secs_f64()).round())),
                ("p50_ns", json!(timed.quantile(50))),
                ("p99_ns", json!(timed.quantile(99))),
                ("events", json!(timed.calls)),
                ("lines_per_priced_event", json!((lines as f64 / f64::from(priced.max(1)) * 100.0).round() / 100.0)),
                // The tables are read on every core: the time of this one alone would say little.
                ("load_ms", json!(millis(load))),
                ("load_cache_ms", json!(millis(from_cache.0))),
                ("load_cache_core_ms", json!(millis(from_cache.1))),
                ("load_yaml_ms", json!(millis(from_yaml.0))),
                ("load_yaml_core_ms", json!(millis(from_yaml.1))),
                ("tables_rss_bytes", json!(grown)),
            ],
            settings: vec![
                ("rows", json!(rows.len())),
                ("rows_priced", json!(priced)),
                ("tables", json!(book.tables().len())),
                ("entries", json!(entries)),
                ("models", json!(models)),
                ("batch_calls", json!(BATCH_CALLS)),
                ("threads", json!(1)),
                (
                    "source",
                    json!(
                        self.file
                            .as_ref()
                            .map_or_else(|| format!("seed {}", self.seed), |file| file.display().to_string())
                    ),
                ),
            ],
        };
        report.print(self.output)
    }

    fn load(&self, cache: &Cache) -> Result<PriceBook, Failure> {
        let loaded = watch::load_prices_with(&self.tables, true, cache);
        loaded.map(|(book, _)| book).map_err(|problems| {
            Failure::Config(problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
        })
    }

    /// How long all tables take by way of a cache, on the wall and on all cores together.
    fn time_load(&self, cache: &Cache) -> Result<(Duration, Duration), Failure> {
        let (start, core) = (Stretch::start(), process_core());
        black_box(self.load(cache)?);
        Ok((start.wall(), process_core().saturating_sub(core)))
    }

    /// Prices the rows round and round.
    fn time(&self, book: &PriceBook, rows: &[Row]) -> Timed {
        let calls: Vec<_> = rows.iter().map(Row::call).collect();
        let mut round = calls.iter().cycle();
        let mut timed = Timed::default();
        let most = self.events.unwrap_or(u64::MAX);
        let whole = Stretch::start();
        loop {
            let batch = BATCH_CALLS.min(usize::try_from(most - timed.calls).unwrap_or(BATCH_CALLS));
            let start = std::time::Instant::now();
            for call in round.by_ref().take(batch) {
                black_box(price(black_box(book), black_box(call)));
            }
            let took = start.elapsed();
            timed.calls += batch as u64;
            if batch == BATCH_CALLS && timed.batches.len() < BATCHES_MAX {
                timed.batches.push(u32::try_from(took.as_nanos() / BATCH_CALLS as u128).unwrap_or(u32::MAX));
            }
            if timed.calls >= most || whole.wall() >= Duration::from_secs(self.seconds) {
                break;
            }
        }
        (timed.wall, timed.core) = (whole.wall(), whole.core());
        timed.batches.sort_unstable();
        timed
    }
}

/// What a run took.
#[derive(Debug, Default)]
struct Timed {
    calls: u64,
    wall: Duration,
    core: Duration,
    /// Nanoseconds a call, the mean of each batch; sorted.
    batches: Vec<u32>,
}

impl Timed {
    fn quantile(&self, percent: usize) -> Option<u32> {
        let rank = (self.batches.len() * percent).div_ceil(100);
        self.batches.get(rank.saturating_sub(1)).copied()
    }
}
