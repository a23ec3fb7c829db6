//! `meterd simulate -f BUDGET.yaml --since 30d`: what a proposed budget would have done, from a running daemon or a data directory.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use budget::Command;
use budget::entry::Origin;
use clap::Args;
use serde_json::json;

use super::get::{at, items};
use super::output::{Output, Rows, print};
use super::reprice::time;
use super::source::{Source, SourceArgs};
use super::{Failure, runtime, say};
use crate::clock::Clock;
use crate::resource::Resource;
use crate::resource::print::Json;
use crate::simulate::{Asked, simulate};
use crate::watch::{load_file, resources_from};

/// A daemon reads its whole ledger for an answer.
const ANSWER_MAX: Duration = Duration::from_secs(3_600);

/// See the command's help.
#[derive(Debug, Args)]
pub(super) struct Simulate {
    /// Budgets to try, and what else binds them (Agent, ModelRoute, Team, Environment): these and no others are in force
    #[arg(short, long = "file", required = true, value_name = "PATH")]
    files: Vec<PathBuf>,
    /// They come into force then: an RFC 3339 time, or an age such as 12h or 30d
    #[arg(long, value_name = "TIME")]
    since: String,
    /// Look no further than this time
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Form of the answer; a table lists the runs and says the sums beside
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
    #[command(flatten)]
    source: SourceArgs,
}

impl Simulate {
    pub(super) fn run(&self) -> Result<ExitCode, Failure> {
        let now = Clock::wall().now();
        let since = time("--since", &self.since, now)?;
        let until = self.until.as_deref().map(|text| time("--until", text, now)).transpose()?;
        let (documents, resources) = self.read()?;
        let report = match self.source.open()? {
            Source::AtRest(data) => {
                let proposed = resources.iter().filter_map(|resource| match resource.command(Origin::Api) {
                    Command::Apply(applied) => Some(applied),
                    _ => None,
                });
                let asked = Asked { proposed: proposed.collect(), since, until };
                serde_json::to_string(&simulate(&data.reader, &asked)?)?
            }
            Source::Live(client) => {
                let body = json!({ "documents": documents, "since": since, "until": until });
                runtime()?.block_on(client.post_within("/v1/simulate", &body, ANSWER_MAX))?.text()
            }
        };
        let report = Json::parse(&report).context("the daemon's answer cannot be read")?;
        match self.output {
            Output::Json => print(&report.to_json())?,
            Output::Yaml => print(&report.to_yaml())?,
            Output::Csv => print(&runs(&report).csv())?,
            Output::Table => {
                print(&budgets(&report).table())?;
                if !items(&report, "rows").is_empty() {
                    print("\n")?;
                    print(&runs(&report).table())?;
                }
            }
        }
        say(&summary(&report));
        Ok(ExitCode::SUCCESS)
    }

    /// The documents as one text, every problem of them told with its file.
    fn read(&self) -> Result<(String, Vec<Resource>), Failure> {
        let (mut files, mut problems) = (Vec::new(), Vec::new());
        for path in &self.files {
            match load_file(path) {
                Ok(text) => files.push((path.clone(), text)),
                Err(problem) => problems.push(problem),
            }
        }
        let found = if problems.is_empty() {
            resources_from(&files).map_err(|found| problems.extend(found)).ok()
        } else {
            None
        };
        let Some((resources, _)) = found else {
            let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
            return Err(Failure::Config(lines.join("\n")));
        };
        if resources.iter().all(|resource| resource.budgets().is_empty()) {
            return Err(anyhow::anyhow!("nothing in these files limits anything: propose a Budget").into());
        }
        let texts: Vec<&str> = files.iter().map(|(_, text)| text.as_str()).collect();
        Ok((texts.join("\n---\n"), resources))
    }
}

fn table(columns: &[&'static str], of: Vec<Json>) -> Rows {
    let mut rows = Rows::new(columns);
    for item in of {
        rows.rows.push(columns.iter().map(|name| at(&item, &[name])).collect());
    }
    rows
}

fn budgets(report: &Json) -> Rows {
    let columns = ["source", "namespace", "name", "alerts", "calls_denied", "runs_killed", "saved_usd"];
    table(&columns, items(report, "budgets"))
}

fn runs(report: &Json) -> Rows {
    let columns = [
        "namespace",
        "execution",
        "agent",
        "alerts",
        "calls_denied",
        "calls_avoided",
        "killed_at",
        "spent_usd",
        "would_have_spent_usd",
        "saved_usd",
        "reason",
    ];
    table(&columns, items(report, "rows"))
}

fn summary(report: &Json) -> String {
    let text = |name: &str| at(report, &[name]);
    let left_out = match text("rows_left_out").as_str() {
        "0" => String::new(),
        more => format!("; {more} more runs are not listed"),
    };
    format!(
        "of {} runs {} would have been alerted, {} denied a call, {} killed; {} of {} calls would not have been made: {} instead of \
         {} USD, {} saved{left_out}",
        text("runs"),
        text("runs_alerted"),
        text("runs_denied"),
        text("runs_killed"),
        sum(&text("calls_denied"), &text("calls_avoided")),
        text("calls"),
        text("would_have_spent_usd"),
        text("spent_usd"),
        text("saved_usd"),
    )
}

fn sum(a: &str, b: &str) -> u64 {
    let count = |text: &str| text.parse::<u64>().unwrap_or(0);
    count(a).saturating_add(count(b))
}
