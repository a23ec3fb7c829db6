//! `meterd export focus`: rows of the FinOps Open Cost and Usage Specification, for finance's own tools.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Args;

use super::super::client::segment;
use super::super::output::print;
use super::super::source::SourceArgs;
use super::super::{Failure, runtime};
use crate::clock::Clock;
use crate::ledger::DataDir;
use crate::rollup::{AtRest, Params, Question, whole_days};

/// See the command's help.
#[derive(Debug, Args)]
pub(in crate::cli) struct Focus {
    /// From the day that holds this time: a time, a date, or an age such as 30d
    #[arg(long, value_name = "WHEN", default_value = "30d")]
    since: String,
    /// Until the end of the day before this time; today without it
    #[arg(long, value_name = "WHEN")]
    until: Option<String>,
    /// Only this namespace
    #[arg(short, long, value_name = "NS")]
    namespace: Option<String>,
    /// Only this team
    #[arg(long)]
    team: Option<String>,
    /// The account whose money it is (BillingAccountId)
    #[arg(long, value_name = "ID", default_value = "default")]
    account: String,
    /// Write here instead of to stdout
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    source: SourceArgs,
}

/// A month of a large fleet takes its time.
const ANSWER_MAX: Duration = Duration::from_secs(300);

impl Focus {
    pub(in crate::cli) fn run(&self) -> Result<ExitCode, Failure> {
        let text = match self.source.data_dir() {
            Some(dir) => self.at_rest(&DataDir::new(dir))?,
            None => runtime()?.block_on(self.live())?,
        };
        match &self.output {
            Some(path) => std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?,
            None => print(&text)?,
        }
        Ok(ExitCode::SUCCESS)
    }

    fn at_rest(&self, dir: &DataDir) -> anyhow::Result<String> {
        let params = Params {
            since: Some(self.since.clone()),
            until: self.until.clone(),
            namespace: self.namespace.clone(),
            team: self.team.clone(),
            ..Params::default()
        };
        let question = whole_days(Question::parse(&params, Clock::wall().now())?);
        let rollups = AtRest::open(dir).with_context(|| format!("cannot read {}", dir.root().display()))?;
        Ok(rollups.focus(&question)?.to_csv(&self.account)?)
    }

    async fn live(&self) -> anyhow::Result<String> {
        let mut path = format!("/v1/export/focus?since={}&account={}", segment(&self.since), segment(&self.account));
        for (name, value) in [("until", &self.until), ("namespace", &self.namespace), ("team", &self.team)] {
            if let Some(value) = value {
                path.push_str(&format!("&{name}={}", segment(value)));
            }
        }
        Ok(self.source.client().get_within(&path, ANSWER_MAX).await?.text())
    }
}
