//! `meterd bench`: how fast its parts are on this machine, in this process. Prints figures, judges none.

mod clocks;
mod decide;
mod house;
mod ingest;
mod kill;
mod ledger;
mod metrics;
mod mix;
mod price;
mod reserve;
mod sink;

use std::process::ExitCode;

use clap::Subcommand;
use serde_json::{Map, Value, json};

use super::output::{self, Output, Rows};
use super::{Failure, say};

/// What to measure.
#[derive(Debug, Subcommand)]
pub(super) enum Bench {
    /// Price calls over and over on one core, with all price tables loaded
    Price(price::BenchPrice),
    /// Decide on reservations in memory, with very many runs live, on one core
    Decide(decide::BenchDecide),
    /// Reserve and settle over loopback, each request answered when it is on disk
    Reserve(reserve::BenchReserve),
    /// Kill cooperative children: from the accepted charge to the end of the process
    Kill(kill::BenchKill),
    /// Book events durably, as fast as the disk takes them and at half that load
    Ledger(ledger::BenchLedger),
    /// Post usage over loopback and wait until it is on disk: OTLP spans or native events
    Ingest(ingest::BenchIngest),
    /// Scrape a daemon with many series, and see what senders of usage feel of it
    Metrics(metrics::BenchMetrics),
    /// Deliver a ledger to a real ClickHouse, and ask both what it cost
    Sink(sink::BenchSink),
}

impl Bench {
    pub(super) fn run(&self) -> Result<ExitCode, Failure> {
        match self {
            Self::Price(price) => price.run(),
            Self::Decide(decide) => decide.run(),
            Self::Reserve(reserve) => reserve.run(),
            Self::Kill(kill) => kill.run(),
            Self::Ledger(ledger) => ledger.run(),
            Self::Ingest(ingest) => ingest.run(),
            Self::Metrics(metrics) => metrics.run(),
            Self::Sink(sink) => sink.run(),
        }
    }
}

/// What a benchmark found, in the order in which it is shown, and what it was run with.
struct Report {
    bench: &'static str,
    figures: Vec<(&'static str, Value)>,
    settings: Vec<(&'static str, Value)>,
}

impl Report {
    fn print(self, form: Output) -> Result<ExitCode, Failure> {
        let map = |pairs: &[(&str, Value)]| -> Map<String, Value> {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
        };
        let whole = json!({
            "bench": self.bench, "figures": map(&self.figures), "settings": map(&self.settings),
        });
        let rows = || {
            let mut rows = Rows::new(&["figure", "value"]);
            let cell = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            rows.rows.extend(self.figures.iter().map(|(name, value)| vec![(*name).to_owned(), cell(value)]));
            rows
        };
        let text = match form {
            Output::Json => whole.to_string(),
            Output::Yaml => serde_yaml::to_string(&whole)?,
            Output::Csv => rows().csv(),
            Output::Table => {
                let settings: Vec<String> =
                    self.settings.iter().map(|(name, value)| format!("{name} {value}")).collect();
                say(&format!("bench {}: {}", self.bench, settings.join(", ")));
                rows().table()
            }
        };
        output::print(&text)?;
        Ok(ExitCode::SUCCESS)
    }
}
