//! `meterd sink status|backfill|pause|resume|schema`: what is carried elsewhere, everything once more, or nothing for a while.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use super::client::Client;
use super::output::{Output, Rows, print};
use super::source::SourceArgs;
use super::{Failure, runtime};
use crate::resource::print::Json;
use crate::sink::clickhouse::rendered;

const TICK: Duration = Duration::from_millis(200);

/// See the command's help.
#[derive(Debug, Subcommand)]
pub(super) enum Sink {
    /// How far each sink has come
    Status {
        /// Form of the answer
        #[arg(short, long, value_enum, default_value_t = Output::Table)]
        output: Output,
        #[command(flatten)]
        source: SourceArgs,
    },
    /// Fill a new or emptied ClickHouse from the ledger; what is there already is not counted twice
    Backfill(Backfill),
    /// Send nothing until `resume`, or until the daemon is started again; intake does not wait
    Pause {
        #[command(flatten)]
        source: SourceArgs,
    },
    /// Go on where it was paused
    Resume {
        #[command(flatten)]
        source: SourceArgs,
    },
    /// Print the tables and views as the daemon makes them
    Schema {
        /// Made on every server of this cluster
        #[arg(long, value_name = "NAME")]
        cluster: Option<String>,
        /// With the Replicated engines
        #[arg(long)]
        replicated: bool,
    },
}

/// See the command's help.
#[derive(Debug, Args)]
pub(super) struct Backfill {
    /// Do not wait for the end
    #[arg(long)]
    no_wait: bool,
    #[command(flatten)]
    source: SourceArgs,
}

impl Sink {
    pub(super) fn run(&self) -> Result<ExitCode, Failure> {
        match self {
            Self::Status { output, source } => {
                let sinks = runtime()?.block_on(async { source.client().get("/v1/sinks").await?.json() })?;
                print(&show(&sinks, *output))?;
            }
            Self::Backfill(backfill) => runtime()?.block_on(backfill.run())?,
            Self::Pause { source } => runtime()?.block_on(hold(source, "pause"))?,
            Self::Resume { source } => runtime()?.block_on(hold(source, "resume"))?,
            Self::Schema { cluster, replicated } => print(&rendered(cluster.as_deref(), *replicated))?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

async fn hold(source: &SourceArgs, what: &str) -> anyhow::Result<()> {
    let sinks = source.client().post(&format!("/v1/sinks/clickhouse/{what}"), &json!({})).await?.json()?;
    print(&show(&sinks, Output::Table))?;
    Ok(())
}

fn show(sinks: &Value, output: Output) -> String {
    const COLUMNS: [&str; 6] = ["name", "state", "delivered", "committed", "shard", "failing"];
    match output {
        Output::Json => sinks.to_string(),
        Output::Yaml => Json::parse(&sinks.to_string()).map(|json| json.to_yaml()).unwrap_or_default(),
        Output::Table | Output::Csv => {
            let mut rows = Rows::new(&COLUMNS);
            for sink in sinks.get("sinks").and_then(Value::as_array).into_iter().flatten() {
                let cell = |name: &&str| match sink.get(*name) {
                    Some(Value::String(text)) => text.clone(),
                    Some(Value::Null) | None => String::new(),
                    Some(value) => value.to_string(),
                };
                rows.rows.push(COLUMNS.iter().map(cell).collect());
            }
            if output == Output::Csv { rows.csv() } else { rows.table() }
        }
    }
}

impl Backfill {
    async fn run(&self) -> anyhow::Result<()> {
        let client = self.source.client();
        let begun = client.post("/v1/sinks/clickhouse/backfill", &json!({})).await?.json()?;
        let number = |name: &str| begun.get(name).and_then(Value::as_u64).unwrap_or_default();
        let (backfill, entries) = (number("backfill"), number("entries"));
        if self.no_wait {
            print(&format!(
                "backfill {backfill} of {entries} entries has begun; `meterd sink status` shows how far it is"
            ))?;
            return Ok(());
        }
        let bar = ProgressBar::new(entries);
        let style = ProgressStyle::with_template("{bar:40} {human_pos} of {human_len} entries, {per_sec}, {eta} left");
        bar.set_style(style.context("the bar's template")?);
        let done = wait(&client, backfill, entries, &bar).await;
        bar.finish_and_clear();
        done?;
        print(&format!("complete: {entries} entries are in ClickHouse"))?;
        Ok(())
    }
}

async fn wait(client: &Client, backfill: u64, entries: u64, bar: &ProgressBar) -> anyhow::Result<()> {
    loop {
        let sinks = client.get("/v1/sinks").await?.json()?;
        let Some(sink) = sinks.get("sinks").and_then(|sinks| sinks.get(0)) else {
            bail!("the daemon has no sink any more")
        };
        let number = |name: &str| sink.get(name).and_then(Value::as_u64).unwrap_or_default();
        if number("backfills") != backfill {
            bail!("another backfill, or a restart, came in between; `meterd sink status` shows how far it is");
        }
        bar.set_position(number("delivered").min(entries));
        if number("delivered") >= entries {
            return Ok(());
        }
        if let Some(failing) = sink.get("failing").and_then(Value::as_str) {
            bar.println(format!("ClickHouse: {failing}"));
        }
        tokio::time::sleep(TICK).await;
    }
}
