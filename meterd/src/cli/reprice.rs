//! `meterd reprice --tables DIR --since TIME`: what booked usage would cost by other tables, and the booking of it.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use pricing::{PriceBook, Timestamp};
use serde_json::{Value, json};

use super::client::Client;
use super::get::{at, items};
use super::output::{Output, Rows, print};
use super::source::SourceArgs;
use super::{Failure, runtime, say};
use crate::clock::Clock;
use crate::config::{self, Config};
use crate::ledger::DataDir;
use crate::meter::{self, Rules};
use crate::resource::print::Json;
use crate::settle::{Asked, Report, reprice};
use crate::watch::{EXTENSIONS, load_dir, prices_from};

/// A daemon walks its whole ledger for an answer.
const ANSWER_MAX: Duration = Duration::from_secs(3_600);

/// See the command's help.
#[derive(Debug, Args)]
pub(super) struct Reprice {
    /// Price tables to price from: these and no others; usage that they do not price stays as it is
    #[arg(long, required = true, value_name = "DIR")]
    tables: Vec<PathBuf>,
    /// Usage of this time or later: an RFC 3339 time, or an age such as 12h or 30d
    #[arg(long, value_name = "TIME")]
    since: String,
    /// Usage before this time
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Show the difference and book nothing
    #[arg(long)]
    dry_run: bool,
    /// Also usage of closed months: those before the UTC month that runs
    #[arg(long)]
    reopen: bool,
    /// Form of the answer
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
    #[command(flatten)]
    source: SourceArgs,
}

impl Reprice {
    pub(super) fn run(&self) -> Result<ExitCode, Failure> {
        let now = Clock::wall().now();
        let since = time("--since", &self.since, now)?;
        let until = self.until.as_deref().map(|text| time("--until", text, now)).transpose()?;
        let (files, prices) = self.files()?;
        let report = match self.source.data_dir() {
            Some(dir) => {
                let prices = Arc::new(prices);
                let asked = Asked { prices, since, until, dry_run: self.dry_run, reopen: self.reopen, now };
                let report = runtime()?.block_on(at_rest(&DataDir::new(dir), &asked))?;
                serde_json::to_value(report)?
            }
            None => {
                let tables: Vec<Value> =
                    files.iter().map(|(name, text)| json!({ "name": name, "text": text })).collect();
                let body = json!({
                    "tables": tables, "since": since, "until": until, "dry_run": self.dry_run, "reopen": self.reopen,
                });
                runtime()?.block_on(live(&self.source.client(), &body))?
            }
        };
        let report = Json::parse(&report.to_string()).unwrap_or(Json::Null);
        match self.output {
            Output::Json => print(&report.to_json())?,
            Output::Yaml => print(&report.to_yaml())?,
            Output::Csv => print(&rows(&report).csv())?,
            Output::Table => print(&rows(&report).table())?,
        }
        say(&summary(&report));
        Ok(ExitCode::SUCCESS)
    }

    /// The files of the directories, checked as a whole before anything is asked.
    fn files(&self) -> Result<(Vec<(String, String)>, PriceBook), Failure> {
        let mut files = Vec::new();
        let mut problems = Vec::new();
        for dir in &self.tables {
            match load_dir(dir, &EXTENSIONS) {
                Ok(loaded) => files.extend(loaded.files),
                Err(found) => problems.extend(found),
            }
        }
        let book = prices_from(&[], &files).map_err(|found| problems.extend(found));
        match book {
            Ok((book, _)) if problems.is_empty() => {
                let named = files.into_iter().map(|(path, text)| (path.display().to_string(), text));
                Ok((named.collect(), book))
            }
            _ => Err(Failure::Config(problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))),
        }
    }
}

async fn live(client: &Client, body: &Value) -> anyhow::Result<Value> {
    client.post_within("/v1/reprice", body, ANSWER_MAX).await?.json()
}

/// On a data directory that no daemon owns: its meter runs for as long as this takes.
async fn at_rest(dir: &DataDir, asked: &Asked) -> anyhow::Result<Report> {
    if asked.dry_run {
        let (_, reader) = meter::read_at_rest(dir).with_context(|| format!("cannot read {}", dir.root().display()))?;
        return Ok(reprice(&reader, asked, None).await?);
    }
    let restored = meter::restore(dir)
        .with_context(|| format!("cannot write {}; if a daemon owns it, name its --url", dir.root().display()))?;
    let reader = restored.writer.reader();
    let ingest = Config::load(None, config::environment(), &[])?.ingest;
    let rules = Rules { queue_events_max: ingest.queue_events_max, dedup_horizon: ingest.dedup_horizon };
    let meter = meter::start(dir.clone(), restored, Clock::wall(), &rules, Box::new(|_| {}))?;
    let report = reprice(&reader, asked, Some((&meter.handle, dir))).await;
    meter.handle.stop();
    meter.ended.await.context("the meter's thread is gone")??;
    Ok(report?)
}

/// An RFC 3339 time, or how long ago.
pub(super) fn time(flag: &str, text: &str, now: Timestamp) -> anyhow::Result<Timestamp> {
    if let Some(ago) = config::duration(text) {
        let nanos = i64::try_from(ago.as_nanos()).unwrap_or(i64::MAX);
        return Ok(now.saturating_add(nanos.saturating_neg()));
    }
    text.parse().with_context(|| format!("{flag} is neither a time nor an age such as 12h or 30d"))
}

fn rows(report: &Json) -> Rows {
    const COLUMNS: [&str; 7] = ["team", "agent", "model", "events", "before_usd", "after_usd", "difference_usd"];
    let mut rows = Rows::new(&COLUMNS);
    for row in items(report, "rows") {
        rows.rows.push(COLUMNS.iter().map(|name| at(&row, &[name])).collect());
    }
    rows
}

fn summary(report: &Json) -> String {
    let text = |name: &str| at(report, &[name]);
    let booked = match text("dry_run").as_str() {
        "true" => "dry run, nothing booked".to_owned(),
        _ => format!("{} adjustment(s) booked as {}", text("booked"), text("run")),
    };
    format!(
        "{} of {} charges change, from {} to {} USD ({}); {} of closed months and {} without a price in these tables stay; {booked}",
        text("changed"),
        text("examined"),
        text("before_usd"),
        text("after_usd"),
        text("difference_usd"),
        text("closed"),
        text("not_priced"),
    )
}
