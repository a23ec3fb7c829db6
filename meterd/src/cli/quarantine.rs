//! `meterd quarantine list|show|release`: calls without a price, through a running daemon.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use pricing::Money;
use serde_json::{Value, json};

use super::late::show;
use super::output::{Output, print};
use super::source::SourceArgs;
use super::{Failure, runtime};
use crate::resource::print::Json;

/// See the commands' help.
#[derive(Debug, Subcommand)]
pub(super) enum Quarantine {
    /// Calls that were booked without a price, and why
    List(List),
    /// One of them: its usage, the way out, and what gave it a price since
    Show(Show),
    /// Give one its price: stated, or by the tables in force; booked once, however often it is asked for
    Release(Release),
}

#[derive(Debug, Args)]
pub(super) struct List {
    /// Only this namespace
    #[arg(short, long)]
    namespace: Option<String>,
    /// Form of the answer
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
    #[command(flatten)]
    source: SourceArgs,
}

#[derive(Debug, Args)]
pub(super) struct Show {
    /// The call, by its entry
    #[arg(value_name = "SEQ")]
    seq: u64,
    /// Form of the answer
    #[arg(short, long, value_enum, default_value_t = Output::Yaml)]
    output: Output,
    #[command(flatten)]
    source: SourceArgs,
}

#[derive(Debug, Args)]
pub(super) struct Release {
    /// The call, by its entry
    #[arg(value_name = "SEQ")]
    seq: u64,
    /// Its price in US dollars; without it the tables in force are asked
    #[arg(long, value_name = "USD", requires = "reason")]
    cost_usd: Option<Money>,
    /// Why; it is kept in the ledger
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Form of the answer
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
    #[command(flatten)]
    source: SourceArgs,
}

const COLUMNS: [(&str, &str); 7] = [
    ("SEQ", "seq"),
    ("NAMESPACE", "namespace"),
    ("EXECUTION", "execution"),
    ("TIME", "time"),
    ("PROVIDER", "provider"),
    ("NAME", "name"),
    ("MESSAGE", "message"),
];

const RELEASED: [(&str, &str); 6] = [
    ("SEQ", "seq"),
    ("STATUS", "status"),
    ("COST_USD", "cost_usd"),
    ("BOOKED", "booked"),
    ("NAMESPACE", "namespace"),
    ("EXECUTION", "execution"),
];

impl Quarantine {
    pub(super) fn run(&self) -> Result<ExitCode, Failure> {
        match self {
            Self::List(list) => list.run(),
            Self::Show(show) => show.run(),
            Self::Release(release) => release.run(),
        }
    }
}

impl List {
    fn run(&self) -> Result<ExitCode, Failure> {
        let only = self.namespace.as_deref().map(|name| format!("&namespace={}", super::client::segment(name)));
        let path = format!("/v1/quarantine?limit=1000{}", only.unwrap_or_default());
        let all = runtime()?.block_on(super::late::pages(&self.source.client(), &path))?;
        show(self.output, &json!({ "items": all }), "items", &COLUMNS)
    }
}

impl Show {
    fn run(&self) -> Result<ExitCode, Failure> {
        let answer = runtime()?.block_on(self.source.client().get(&format!("/v1/quarantine/{}", self.seq)))?.json()?;
        match self.output {
            Output::Yaml => print(&Json::parse(&answer.to_string()).unwrap_or(Json::Null).to_yaml())?,
            Output::Json => print(&Json::parse(&answer.to_string()).unwrap_or(Json::Null).to_json())?,
            Output::Table | Output::Csv => return show(self.output, &json!({ "items": [answer] }), "items", &COLUMNS),
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Release {
    fn run(&self) -> Result<ExitCode, Failure> {
        let mut body = json!({});
        if let Some(body) = body.as_object_mut() {
            body.extend(self.cost_usd.map(|cost| ("cost_usd".to_owned(), json!(cost))));
            body.extend(self.reason.as_ref().map(|reason| ("reason".to_owned(), Value::from(reason.as_str()))));
        }
        let path = format!("/v1/quarantine/{}/release", self.seq);
        let answer = runtime()?.block_on(self.source.client().post(&path, &body))?.json()?;
        show(self.output, &json!({ "results": [answer] }), "results", &RELEASED)
    }
}
