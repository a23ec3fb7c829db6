//! `meterd bench sink`: a ledger of its own into a real ClickHouse: rows a second, beside what the engine itself writes; how far
//! behind it is at a steady rate; and how long the question of a month takes from the roll-ups and from ClickHouse.

mod fleet;

use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::Args;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use self::fleet::Fleet;
use super::Report;
use super::clocks::millis;
use crate::cli::output::Output;
use crate::cli::{Failure, runtime, say};
use crate::clock::Clock;
use crate::config::ClickHouse;
use crate::follow::follow;
use crate::ledger::{DataDir, Reader};
use crate::metrics::DaemonMetrics;
use crate::rollup::{Params, Question, RollupView};
use crate::sink::clickhouse::{ClickHouseSink, Client};

/// Questions asked for each figure; the best counts.
const QUESTIONS: usize = 5;
const QUESTION_MAX: Duration = Duration::from_secs(120);
/// Entries of one commit of the steady load.
const COMMITS_PER_SECOND: u64 = 20;

/// See the command's help.
#[derive(Debug, Args)]
pub(in crate::cli) struct BenchSink {
    /// ClickHouse's HTTP interface; a database of its own is made there and dropped at the end
    #[arg(long, value_name = "URL")]
    clickhouse: String,
    /// Its user
    #[arg(long, default_value = "default")]
    user: String,
    /// So many entries, spread over 30 days
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    entries: u64,
    /// Entries of one batch, at most
    #[arg(long, value_name = "N", default_value_t = 65_536)]
    batch: usize,
    /// Events a second of the steady load; 0 leaves it out
    #[arg(long, value_name = "N", default_value_t = 20_000)]
    rate: u64,
    /// Seconds of the steady load
    #[arg(long, value_name = "S", default_value_t = 10)]
    seconds: u64,
    /// Form of the answer
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

type Figures = Vec<(&'static str, Value)>;

impl BenchSink {
    pub(in crate::cli) fn run(&self) -> Result<ExitCode, Failure> {
        let place = std::env::temp_dir().join(format!("meterd-bench-sink-{}", std::process::id()));
        let figures = runtime()?.block_on(self.measure(&DataDir::new(&place)));
        // What cannot be removed is a temporary directory's affair.
        let _ = std::fs::remove_dir_all(&place);
        let settings = vec![
            ("entries", json!(self.entries)),
            ("batch", json!(self.batch)),
            ("rate", json!(self.rate)),
            ("seconds", json!(self.seconds)),
        ];
        Report { bench: "sink", figures: figures?, settings }.print(self.output)
    }

    async fn measure(&self, dir: &DataDir) -> anyhow::Result<Figures> {
        say(&format!("bench sink: writing a ledger of {} entries", self.entries));
        let mut fleet = Fleet::open(dir, Clock::wall().now(), self.entries)?;
        fleet.fill(self.entries)?;
        let reader = fleet.reader();
        let settings = self.settings();
        let client = Client::new(&settings)?;
        let mut figures = Figures::new();
        let done = async {
            let sink = self.deliver(dir, &reader, &settings, &mut figures).await?;
            self.engine(&client, &settings.database, &mut figures).await?;
            self.ask(dir, &reader, &client, &mut figures).await?;
            if self.rate > 0 {
                self.steady(&mut fleet, &sink.0, &mut figures).await?;
            }
            sink.1.cancel();
            Ok(figures)
        };
        let done = done.await;
        client.run("drop the database", &format!("DROP DATABASE IF EXISTS {} SYNC", settings.database)).await?;
        done
    }

    fn settings(&self) -> ClickHouse {
        ClickHouse {
            url: self.clickhouse.clone(),
            database: format!("meterd_bench_{}", std::process::id()),
            user: self.user.clone(),
            password_file: None,
            ca_file: None,
            shard: "bench".to_owned(),
            batch_rows_max: self.batch,
            flush_interval: Duration::from_millis(200),
            compress: true,
            ttl: None,
            rollup_ttl: None,
            cluster: None,
            replicated: false,
        }
    }

    async fn deliver(
        &self,
        dir: &DataDir,
        reader: &Reader,
        settings: &ClickHouse,
        figures: &mut Figures,
    ) -> anyhow::Result<(ClickHouseSink, CancellationToken)> {
        let metrics = DaemonMetrics::new()?;
        let sink = ClickHouseSink::new(settings.clone(), dir.clone(), reader.clone(), metrics);
        let stop = CancellationToken::new();
        let begin = Instant::now();
        tokio::spawn(sink.clone().run(stop.clone()));
        let mut status = sink.status();
        let all = reader.committed();
        let wanted = status.wait_for(|status| status.delivered >= all || status.failing.is_some());
        if let Some(failing) = wanted.await.map(|status| status.failing.clone())? {
            bail!("ClickHouse does not take it: {failing}");
        }
        let seconds = begin.elapsed().as_secs_f64();
        figures.push(("rows_per_second", json!(rounded(all as f64 / seconds))));
        figures.push(("seconds", json!(seconds)));
        Ok((sink, stop))
    }

    /// What the engine writes by itself: the same rows from one table to another, and nothing on the wire.
    async fn engine(&self, client: &Client, database: &str, figures: &mut Figures) -> anyhow::Result<()> {
        client.run("make a table", &format!("CREATE TABLE {database}.copy AS {database}.entries_raw")).await?;
        let begin = Instant::now();
        let copy = format!("INSERT INTO {database}.copy SELECT * FROM {database}.entries_raw");
        client.run("copy the rows", &copy).await?;
        let rate = self.entries as f64 / begin.elapsed().as_secs_f64();
        figures.push(("engine_rows_per_second", json!(rounded(rate))));
        client.run("drop the copy", &format!("DROP TABLE {database}.copy SYNC")).await?;
        Ok(())
    }

    /// `cost by-team --since 31d`: from the roll-ups, from roll-ups read back from their file, and from ClickHouse.
    async fn ask(&self, dir: &DataDir, reader: &Reader, client: &Client, figures: &mut Figures) -> anyhow::Result<()> {
        let view = RollupView::open(dir, reader);
        let stop = CancellationToken::new();
        stop.cancel();
        let begin = Instant::now();
        follow("rollups", reader.clone(), view.cursor(), view.follower(), stop).await;
        figures.push((
            "rollups_fold_rows_per_second",
            json!(rounded(self.entries as f64 / begin.elapsed().as_secs_f64())),
        ));
        let params = Params { by: Some("team".to_owned()), since: Some("31d".to_owned()), ..Params::default() };
        let question = Question::parse(&params, Clock::wall().now())?;
        let (mut ledger, mut clickhouse) = (Duration::MAX, Duration::MAX);
        let mut totals = Vec::new();
        for _ in 0..QUESTIONS {
            let begin = Instant::now();
            let answer = view.ask(question.clone(), |_| None).await?;
            ledger = ledger.min(begin.elapsed());
            totals.push(answer.total);
            let begin = Instant::now();
            let asked = tokio::time::timeout(QUESTION_MAX, client.ask(&question, |_| None)).await;
            clickhouse = clickhouse.min(begin.elapsed());
            totals.push(asked.context("ClickHouse does not answer")??.total);
        }
        if totals.windows(2).any(|pair| pair.first() != pair.last()) {
            bail!("the ledger and ClickHouse disagree: {totals:?}");
        }
        view.save()?;
        let begin = Instant::now();
        let at_rest = crate::rollup::AtRest::open(dir)?.ask(&question, |_| None)?;
        figures.push(("cost_by_team_at_rest_ms", json!(millis(begin.elapsed()))));
        figures.push(("cost_by_team_ledger_ms", json!(millis(ledger))));
        figures.push(("cost_by_team_clickhouse_ms", json!(millis(clickhouse))));
        figures.push(("total_usd", json!(at_rest.total.cost)));
        Ok(())
    }

    /// A steady load: from the commit of an entry until ClickHouse has it.
    async fn steady(&self, fleet: &mut Fleet, sink: &ClickHouseSink, figures: &mut Figures) -> anyhow::Result<()> {
        let commits: Arc<Mutex<Vec<(u64, Instant)>>> = Arc::default();
        let seen = Arc::clone(&commits);
        let mut status = sink.status();
        let watching = tokio::spawn(async move {
            let (mut lags, mut next) = (Vec::new(), 0);
            while status.changed().await.is_ok() {
                let (delivered, now) = (status.borrow_and_update().delivered, Instant::now());
                let commits = seen.lock().unwrap_or_else(PoisonError::into_inner);
                while let Some((_, at)) = commits.get(next).filter(|(seq, _)| *seq <= delivered) {
                    lags.push(now - *at);
                    next += 1;
                }
                if commits.last().is_some_and(|(seq, _)| *seq == u64::MAX) && next + 1 == commits.len() {
                    break;
                }
            }
            lags
        });
        let mut tick = tokio::time::interval(Duration::from_millis(1_000 / COMMITS_PER_SECOND));
        for _ in 0..self.seconds * COMMITS_PER_SECOND {
            tick.tick().await;
            let last = fleet.fill(self.rate / COMMITS_PER_SECOND)?;
            commits.lock().unwrap_or_else(PoisonError::into_inner).push((last, Instant::now()));
        }
        commits.lock().unwrap_or_else(PoisonError::into_inner).push((u64::MAX, Instant::now()));
        fleet.fill(1)?;
        let mut lags = tokio::time::timeout(QUESTION_MAX, watching).await.context("ClickHouse falls behind")??;
        lags.sort_unstable();
        let at = |share: usize| lags.get(lags.len().saturating_sub(1) * share / 100).copied().unwrap_or_default();
        figures.push(("lag_p50_ms", json!(millis(at(50)))));
        figures.push(("lag_p99_ms", json!(millis(at(99)))));
        figures.push(("lag_max_ms", json!(millis(at(100)))));
        Ok(())
    }
}

fn rounded(rate: f64) -> u64 {
    // A rate is far below what 64 bits hold, and never negative.
    rate.round() as u64
}
