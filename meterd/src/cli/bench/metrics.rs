//! `meterd bench metrics`: what a scrape of many series costs in time and memory, and what senders of usage and the writer
//! feel of it. A whole daemon in this process, usage over HTTP, scrapes as Prometheus makes them.
//!
//! Commits are timed apart from requests: one small entry after the other through the meter, each until it is durable.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use budget::Command;
use budget::entry::Audit;
use clap::Args;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;

use super::clocks::{Stretch, forget_peak, millis, peak_bytes, resident_bytes};
use super::{Report, house};
use crate::api::App;
use crate::cli::Failure;
use crate::cli::client::Client;
use crate::cli::output::Output;
use crate::clock::Clock;
use crate::config::Config;
use crate::daemon::Daemon;
use crate::meter;
use crate::metrics::{Format, Scraper};

/// Samples that one agent with one model makes, at least.
const SERIES_AN_AGENT: usize = 10;
const EVENTS_A_REQUEST: usize = 500;
const ENCODES: usize = 20;
/// Phases without and with scrapes, in turn: what else the machine does meets both.
const ROUNDS: usize = 4;
const SCRAPE_EVERY: Duration = Duration::from_secs(1);
/// A commit is timed so often, beside the senders' own.
const COMMIT_EVERY: Duration = Duration::from_millis(5);
const ACCEPT: &str = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";

/// See the command's help.
#[derive(Debug, Args)]
pub(in crate::cli) struct BenchMetrics {
    /// Series to fill the exporter with, at least
    #[arg(long, default_value_t = 100_000, value_name = "N")]
    series: usize,
    /// Seconds of usage with scrapes, and as many without
    #[arg(long, default_value_t = 10, value_name = "S")]
    seconds: u64,
    /// Senders of usage, each one event at a time
    #[arg(long, default_value_t = 8, value_name = "N")]
    senders: usize,
    /// Form of the answer
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

impl BenchMetrics {
    pub(in crate::cli) fn run(&self) -> Result<ExitCode, Failure> {
        house::in_a_folder("metrics", self.output, async |dir| self.measure(dir).await)
    }

    async fn measure(&self, dir: &Path) -> Result<Report, Failure> {
        let caps = |config: &mut Config| {
            let caps = &mut config.metrics;
            (caps.series_max, caps.agents_max) = (self.series.max(10_000), self.series);
        };
        let daemon = house::daemon(dir, caps).await?;
        let client = Client::new(&daemon.api_url());
        self.fill(&client).await?;
        let (samples, mut figures) = encode(&daemon.app).await;
        let (quiet, scraped, scrapes) = self.senders(&daemon, &client).await?;
        daemon.stop().await?;
        for (name, percent, latencies) in [
            ("commit_p50_ms_without_scrapes", 50, &quiet.commits),
            ("commit_p50_ms_with_scrapes", 50, &scraped.commits),
            ("commit_p99_ms_without_scrapes", 99, &quiet.commits),
            ("commit_p99_ms_with_scrapes", 99, &scraped.commits),
            ("post_p50_ms_without_scrapes", 50, &quiet.posts),
            ("post_p50_ms_with_scrapes", 50, &scraped.posts),
            ("post_p99_ms_without_scrapes", 99, &quiet.posts),
            ("post_p99_ms_with_scrapes", 99, &scraped.posts),
        ] {
            figures.push((name, json!(millis(percentile(latencies, percent)))));
        }
        figures.push(("peak_rss_bytes_without_scrapes", json!(quiet.peak)));
        figures.push(("peak_rss_bytes_with_scrapes", json!(scraped.peak)));
        let extra = scraped.peak.zip(quiet.peak).map(|(with, without)| with.saturating_sub(without));
        figures.push(("scraping_extra_rss_bytes", json!(extra)));
        figures.push(("commits_timed", json!(quiet.commits.len().min(scraped.commits.len()))));
        figures.push(("posts_without_scrapes", json!(quiet.posts.len())));
        figures.push(("posts_with_scrapes", json!(scraped.posts.len())));
        figures.push(("scrapes", json!(scrapes)));
        Ok(Report {
            bench: "metrics",
            figures,
            settings: vec![
                ("samples", json!(samples)),
                ("senders", json!(self.senders)),
                ("seconds", json!(self.seconds)),
                ("scrape_every_seconds", json!(SCRAPE_EVERY.as_secs())),
            ],
        })
    }

    /// Posts usage of so many agents that there are enough series. Nothing is written out yet: the memory that the
    /// first answer takes is to be seen.
    async fn fill(&self, client: &Client) -> anyhow::Result<()> {
        let agents: Vec<usize> = (0..=self.series / SERIES_AN_AGENT).collect();
        for some in agents.chunks(EVENTS_A_REQUEST) {
            let events: Vec<Value> = some.iter().map(|agent| event(&format!("fill-{agent}"), *agent)).collect();
            client.post("/v1/usage", &Value::Array(events)).await?;
        }
        Ok(())
    }

    /// What was felt without scrapes and with them, and how many scrapes there were.
    async fn senders(&self, daemon: &Daemon, client: &Client) -> anyhow::Result<(Felt, Felt, u64)> {
        let (mut quiet, mut scraped) = (Felt::default(), Felt::default());
        let phase = Duration::from_millis(self.seconds.saturating_mul(1000) / ROUNDS as u64);
        let scrapes = Arc::new(AtomicU64::new(0));
        let numbers = Arc::new(AtomicU64::new(0));
        for _ in 0..ROUNDS {
            for with in [false, true] {
                let stop = Arc::new(AtomicBool::new(false));
                forget_peak();
                let scraper = with
                    .then(|| tokio::spawn(scrape(daemon.metrics.to_string(), Arc::clone(&stop), Arc::clone(&scrapes))));
                let end = Instant::now() + phase;
                let commits = tokio::spawn(commit(daemon.app.meter.clone(), end));
                let mut senders = JoinSet::new();
                for _ in 0..self.senders {
                    senders.spawn(post(client.clone(), Arc::clone(&numbers), end));
                }
                let felt = if with { &mut scraped } else { &mut quiet };
                while let Some(sender) = senders.join_next().await {
                    felt.posts.extend(sender??);
                }
                felt.commits.extend(commits.await??);
                stop.store(true, Ordering::Relaxed);
                if let Some(scraper) = scraper {
                    scraper.await??;
                }
                felt.peak = felt.peak.max(peak_bytes());
            }
        }
        for felt in [&mut quiet, &mut scraped] {
            felt.posts.sort_unstable();
            felt.commits.sort_unstable();
        }
        Ok((quiet, scraped, scrapes.load(Ordering::Relaxed)))
    }
}

/// What was felt while scrapes came, or none.
#[derive(Debug, Default)]
struct Felt {
    posts: Vec<Duration>,
    commits: Vec<Duration>,
    /// The most resident memory of any phase.
    peak: Option<u64>,
}

fn event(id: &str, agent: usize) -> Value {
    json!({
        "id": id, "source": "bench", "time": Clock::wall().now().to_string(), "namespace": "bench",
        "execution": format!("run-{}", agent % 50), "agent": format!("agent-{agent}"), "team": format!("team-{}", agent % 20),
        "kind": "model", "provider": "anthropic", "model": "claude-haiku-4-5",
        "usage": { "input_tokens": 1000 + agent % 977, "output_tokens": 100 + agent % 89 },
    })
}

/// The whole exposition, once everything durable is in it.
async fn exposition(app: &App) -> Vec<u8> {
    app.view.read_fresh(|_| ()).await;
    render(app)
}

fn render(app: &App) -> Vec<u8> {
    let writer = app.ledger_metrics.writer(Format::OpenMetrics);
    let scraper = Some(Scraper { address: None, families: Vec::new() });
    let text = app.view.read(|state| app.ledger_metrics.expose(writer, state, app.clock.now(), &app.metrics, scraper));
    app.ledger_metrics.wrote(text.len());
    text
}

/// Writes the exposition over and over, on this core.
async fn encode(app: &App) -> (usize, Vec<(&'static str, Value)>) {
    let before = resident_bytes();
    let text = exposition(app).await;
    let grown = resident_bytes().zip(before).map(|(after, before)| after.saturating_sub(before));
    let bytes = text.len();
    let samples = text.split(|byte| *byte == b'\n').filter(|line| line.first().is_some_and(|c| *c != b'#')).count();
    drop(text);
    let mut times: Vec<Duration> = Vec::with_capacity(ENCODES);
    for _ in 0..ENCODES {
        let stretch = Stretch::start();
        let text = render(app);
        times.push(stretch.core());
        drop(text);
    }
    times.sort_unstable();
    let figures = vec![
        ("encode_ms_p50", json!(millis(percentile(&times, 50)))),
        ("encode_ms_best", json!(millis(times.first().copied().unwrap_or_default()))),
        ("encode_ms_worst", json!(millis(times.last().copied().unwrap_or_default()))),
        ("exposition_bytes", json!(bytes)),
        ("scrape_memory_bytes", json!(grown)),
    ];
    (samples, figures)
}

/// Posts one event after the other until `end`; how long each took.
async fn post(client: Client, numbers: Arc<AtomicU64>, end: Instant) -> anyhow::Result<Vec<Duration>> {
    let mut times = Vec::new();
    while Instant::now() < end {
        let number = numbers.fetch_add(1, Ordering::Relaxed);
        let body = event(&format!("post-{number}"), usize::try_from(number % 1000).unwrap_or(0));
        let start = Instant::now();
        client.post("/v1/usage", &body).await?;
        times.push(start.elapsed());
    }
    Ok(times)
}

/// Has one small entry after the other made durable until `end`; how long each took.
async fn commit(meter: meter::Handle, end: Instant) -> anyhow::Result<Vec<Duration>> {
    let mut times = Vec::new();
    while Instant::now() < end {
        let name = |text: &str| Arc::<str>::from(text);
        let audit = Audit {
            principal: name("bench"),
            tenant: name("bench"),
            action: name("bench"),
            object: name("bench"),
            status: 200,
        };
        let start = Instant::now();
        meter.command_when_room(Command::Audit(audit)).await?;
        times.push(start.elapsed());
        tokio::time::sleep(COMMIT_EVERY).await;
    }
    Ok(times)
}

/// Scrapes as Prometheus does, one connection kept, until told to stop.
async fn scrape(address: String, stop: Arc<AtomicBool>, scrapes: Arc<AtomicU64>) -> anyhow::Result<()> {
    while !stop.load(Ordering::Relaxed) {
        let mut peer = tokio::net::TcpStream::connect(&address).await?;
        let request = format!(
            "GET /metrics HTTP/1.1\r\nhost: {address}\r\naccept: {ACCEPT}\r\naccept-encoding: gzip\r\nx-prometheus-scrape-timeout-seconds: 1\r\nconnection: close\r\n\r\n"
        );
        peer.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        peer.read_to_end(&mut answer).await?;
        anyhow::ensure!(answer.starts_with(b"HTTP/1.1 200"), "a scrape was refused");
        scrapes.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(SCRAPE_EVERY).await;
    }
    Ok(())
}

fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    let place = sorted.len().saturating_sub(1).saturating_mul(percent) / 100;
    sorted.get(place).copied().unwrap_or_default()
}
