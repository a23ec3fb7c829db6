//! `meterd reconcile --provider … FILE`: a provider's bill beside what was metered, by day and model.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::output::{Output, Rows, print};
use super::source::SourceArgs;
use super::{Failure, runtime, say};
use crate::api::{metered, metered_question};
use crate::bill::{BILL_BYTES_MAX, Provider, compare, read};
use crate::clock::Clock;
use crate::ledger::DataDir;
use crate::resource::print::Json;
use crate::rollup::AtRest;

/// Booking a month takes its time.
const ANSWER_MAX: Duration = Duration::from_secs(600);

/// See the command's help.
#[derive(Debug, Args)]
pub(super) struct Reconcile {
    /// Whose report it is
    #[arg(long, value_enum)]
    provider: Whose,
    /// The report: JSON as the provider's cost API answers, or CSV
    file: PathBuf,
    /// Book the differences as adjustments, spread over the calls; asks a running daemon
    #[arg(long)]
    book: bool,
    /// Form of the answer
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
    #[command(flatten)]
    source: SourceArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Whose {
    /// GET /v1/organization/costs, grouped by line_item
    Openai,
    /// GET /v1/organizations/cost_report, grouped by description
    Anthropic,
    /// Cost and Usage Report, or FOCUS, as CSV
    Aws,
    /// CSV with the columns date, model and cost_usd
    Generic,
}

impl Reconcile {
    pub(super) fn run(&self) -> Result<ExitCode, Failure> {
        let provider = match self.provider {
            Whose::Openai => Provider::OpenAi,
            Whose::Anthropic => Provider::Anthropic,
            Whose::Aws => Provider::Aws,
            Whose::Generic => Provider::Generic,
        };
        let shown = self.file.display();
        let size = std::fs::metadata(&self.file).with_context(|| format!("cannot read {shown}"))?.len();
        if size > BILL_BYTES_MAX as u64 {
            return Err(anyhow::anyhow!("{shown} is longer than {BILL_BYTES_MAX} bytes: split it by month").into());
        }
        let text = std::fs::read_to_string(&self.file).with_context(|| format!("cannot read {shown}"))?;
        let billed = read(provider, &text).with_context(|| format!("{shown} is no report of {}", provider.as_str()))?;
        if billed.is_empty() {
            return Err(anyhow::anyhow!("{shown} bills nothing").into());
        }
        let report = match self.source.data_dir() {
            Some(_) if self.book => {
                return Err(
                    anyhow::anyhow!("--book asks a running daemon: name its --url instead of --data-dir").into()
                );
            }
            Some(dir) => {
                let rollups =
                    AtRest::open(&DataDir::new(dir)).with_context(|| format!("cannot read {}", dir.display()))?;
                let answer = rollups.ask(&metered_question(&billed, Clock::wall().now())?, |_| None)?;
                json!(compare(&billed, &metered(&answer, provider)))
            }
            None => {
                let body = json!({ "provider": provider, "billed": billed, "book": self.book });
                runtime()?.block_on(async {
                    self.source.client().post_within("/v1/reconcile", &body, ANSWER_MAX).await?.json()
                })?
            }
        };
        print(&self.show(&report))?;
        self.summary(&report);
        Ok(ExitCode::SUCCESS)
    }

    fn show(&self, report: &Value) -> String {
        match self.output {
            Output::Json => report.to_string(),
            Output::Yaml => Json::parse(&report.to_string()).map(|json| json.to_yaml()).unwrap_or_default(),
            Output::Table => rows(report).table(),
            Output::Csv => rows(report).csv(),
        }
    }

    fn summary(&self, report: &Value) {
        let text = |name: &str| report.get(name).map(cell).unwrap_or_default();
        say(&format!(
            "billed {} USD, metered {} USD, difference {} USD, captured {}",
            text("billed_usd"),
            text("metered_usd"),
            text("difference_usd"),
            text("captured"),
        ));
        if self.book {
            say(&format!(
                "{} adjustment(s) booked; {} line(s) have no calls to book on",
                text("booked"),
                text("not_booked")
            ));
        }
    }
}

fn rows(report: &Value) -> Rows {
    const COLUMNS: [&str; 7] = ["day", "model", "billed_usd", "metered_usd", "difference_usd", "captured", "cause"];
    let mut rows = Rows::new(&COLUMNS);
    for row in report.get("rows").and_then(Value::as_array).into_iter().flatten() {
        let of = |name: &&str| row.get(*name).map(cell).unwrap_or_default();
        let mut cells: Vec<String> = COLUMNS.iter().map(of).collect();
        if let Some(day) = cells.first_mut() {
            day.truncate(10);
        }
        rows.rows.push(cells);
    }
    rows
}

fn cell(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "-".to_owned(),
        other => other.to_string(),
    }
}
