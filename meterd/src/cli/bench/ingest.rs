//! `meterd bench ingest`: usage over loopback HTTP into a whole daemon in this process, each request answered when it is on disk.
//! The load generator runs on the same machine and its bodies are made before the clock starts.

mod bodies;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use bytes::Bytes;
use clap::{Args, ValueEnum};
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::clocks::{millis, resident_bytes};
use super::{Report, house};
use crate::cli::Failure;
use crate::cli::output::Output;

/// How usage comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Form {
    /// OTLP spans in protobuf
    Otlp,
    /// Native events, one a line
    Ndjson,
}

impl Form {
    /// Events of one request, unless said otherwise.
    const fn batch(self) -> usize {
        match self {
            Self::Otlp => 512,
            Self::Ndjson => 1_000,
        }
    }
}

/// See the command's help.
#[derive(Debug, Args)]
pub(in crate::cli) struct BenchIngest {
    /// How usage comes in
    #[arg(long, value_enum, default_value_t = Form::Otlp)]
    form: Form,
    /// Events in all, each with an id of its own
    #[arg(long, default_value_t = 500_000, value_name = "N")]
    events: u64,
    /// Events of one request; 512 spans or 1,000 lines unless said
    #[arg(long, value_name = "N")]
    batch: Option<usize>,
    /// Senders at a time, each with a connection of its own
    #[arg(long, default_value_t = 8, value_name = "N")]
    senders: usize,
    /// Form of the answer
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

impl BenchIngest {
    pub(in crate::cli) fn run(&self) -> Result<ExitCode, Failure> {
        house::in_a_folder("ingest", self.output, async |dir| self.measure(dir).await)
    }

    async fn measure(&self, dir: &Path) -> Result<Report, Failure> {
        let daemon = house::daemon(dir, |_| {}).await?;
        let batch = self.batch.unwrap_or(self.form.batch()).max(1);
        let requests = self.events.div_ceil(batch as u64).max(1);
        let template = match self.form {
            Form::Otlp => bodies::Template::otlp(batch),
            Form::Ndjson => bodies::Template::ndjson(batch),
        };
        let template = Arc::new(template);
        let next = Arc::new(AtomicU64::new(0));
        let before = resident_bytes().unwrap_or(0);
        let start = Instant::now();
        let mut senders = JoinSet::new();
        for _ in 0..self.senders.max(1) {
            senders.spawn(send(daemon.api.to_string(), Arc::clone(&template), Arc::clone(&next), requests));
        }
        let (mut latencies, mut half) = (Vec::new(), None);
        while let Some(sender) = senders.join_next().await {
            let sent = sender.context("a sender")??;
            latencies.extend(sent.latencies);
            half = half.max(sent.resident_at_half);
        }
        let took = start.elapsed();
        let after = resident_bytes().unwrap_or(0);
        let events = requests.saturating_mul(batch as u64);
        let booked = daemon.app.view.ledger().committed();
        daemon.stop().await?;
        if booked < events {
            return Err(anyhow::anyhow!("{booked} entries for {events} events: some were not booked").into());
        }
        latencies.sort_unstable();
        let at = |percent: usize| {
            let place = latencies.len().saturating_mul(percent) / 100;
            latencies.get(place.min(latencies.len().saturating_sub(1))).copied().unwrap_or_default()
        };
        let per_second = events as f64 / took.as_secs_f64();
        let figures = vec![
            ("events_per_second", json!(per_second.round())),
            ("request_p50_ms", json!(millis(at(50)))),
            ("request_p99_ms", json!(millis(at(99)))),
            ("body_bytes_per_event", json!(template.bytes() / batch)),
            ("events", json!(events)),
            ("seconds", json!(millis(took) / 1e3)),
            ("resident_before_mb", json!(before >> 20)),
            ("resident_half_mb", json!(half.unwrap_or(0) >> 20)),
            ("resident_after_mb", json!(after >> 20)),
        ];
        let settings = vec![
            ("form", json!(if self.form == Form::Otlp { "otlp" } else { "ndjson" })),
            ("batch", json!(batch)),
            ("senders", json!(self.senders)),
            ("durable", json!(true)),
        ];
        Ok(Report { bench: "ingest", figures, settings })
    }
}

/// What one sender saw.
struct Sent {
    latencies: Vec<Duration>,
    resident_at_half: Option<u64>,
}

async fn send(
    address: String,
    template: Arc<bodies::Template>,
    next: Arc<AtomicU64>,
    requests: u64,
) -> anyhow::Result<Sent> {
    let stream = TcpStream::connect(&address).await?;
    stream.set_nodelay(true)?;
    let (mut client, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let mut sent = Sent { latencies: Vec::new(), resident_at_half: None };
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if number >= requests {
            return Ok(sent);
        }
        if number == requests / 2 {
            sent.resident_at_half = resident_bytes();
        }
        let body = template.body(number);
        let request = Request::post(template.path())
            .header("host", &address)
            .header("content-type", template.content_type())
            .body(Full::new(Bytes::from(body)))?;
        let start = Instant::now();
        let response = client.send_request(request).await?;
        let status = response.status();
        let answer = response.into_body().collect().await?.to_bytes();
        if !status.is_success() {
            bail!("{status}: {}", String::from_utf8_lossy(&answer));
        }
        sent.latencies.push(start.elapsed());
    }
}
