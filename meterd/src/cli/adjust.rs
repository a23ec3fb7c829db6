//! `meterd adjust SEQ --cost-usd AMOUNT --reason TEXT`: a refund or a correction of one booked charge, in a running daemon.

use std::process::ExitCode;

use clap::Args;
use pricing::Money;
use serde_json::json;

use super::get::at;
use super::output::{Output, Rows, print};
use super::source::SourceArgs;
use super::{Failure, runtime};
use crate::resource::print::Json;

/// See the command's help.
#[derive(Debug, Args)]
pub(super) struct Adjust {
    /// Sequence number of the charge, as its execution's entries and `meterd get quarantine` show it
    #[arg(value_name = "SEQ")]
    of: u64,
    /// What the call costs from now on: 0 for a full refund
    #[arg(long, value_name = "USD")]
    cost_usd: Money,
    /// Why: kept in the ledger with who asked
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Form of the answer
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
    #[command(flatten)]
    source: SourceArgs,
}

impl Adjust {
    pub(super) fn run(&self) -> Result<ExitCode, Failure> {
        let body = json!({ "of": self.of, "cost_usd": self.cost_usd, "reason": self.reason });
        let answer = runtime()?.block_on(self.source.client().post("/v1/adjustments", &body))?;
        let stated = Json::parse(&answer.text()).unwrap_or(Json::Null);
        match self.output {
            Output::Json => print(&stated.to_json())?,
            Output::Yaml => print(&stated.to_yaml())?,
            Output::Csv => print(&rows(&stated).csv())?,
            Output::Table => print(&rows(&stated).table())?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn rows(stated: &Json) -> Rows {
    const COLUMNS: [&str; 8] =
        ["status", "of", "event_id", "namespace", "execution", "before_usd", "cost_usd", "difference_usd"];
    let mut rows = Rows::new(&COLUMNS);
    rows.rows.push(COLUMNS.iter().map(|name| at(stated, &[name])).collect());
    rows
}
