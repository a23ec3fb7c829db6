//! `meterd late list` and `meterd late import`: usage refused for its time, through a running daemon.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::json;

use super::client::Client;
use super::get::{at, items};
use super::output::{Output, Rows, print};
use super::source::SourceArgs;
use super::{Failure, runtime};
use crate::resource::print::Json;

/// See the commands' help.
#[derive(Debug, Subcommand)]
pub(super) enum Late {
    /// What is kept and why it was refused; nothing of it is booked
    List(List),
    /// Book dead letters; each is booked once, however often it is asked for
    Import(Import),
}

#[derive(Debug, Args)]
pub(super) struct List {
    /// Form of the answer
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
    #[command(flatten)]
    source: SourceArgs,
}

#[derive(Debug, Args)]
pub(super) struct Import {
    /// Letters by their ids
    #[arg(value_name = "ID", required_unless_present = "all", conflicts_with = "all")]
    ids: Vec<u64>,
    /// Every letter that waits
    #[arg(long)]
    all: bool,
    /// Form of the answer
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
    #[command(flatten)]
    source: SourceArgs,
}

impl Late {
    pub(super) fn run(&self) -> Result<ExitCode, Failure> {
        match self {
            Self::List(list) => list.run(),
            Self::Import(import) => import.run(),
        }
    }
}

impl List {
    fn run(&self) -> Result<ExitCode, Failure> {
        let client = self.source.client();
        let runtime = runtime()?;
        let all = runtime.block_on(pages(&client, "/v1/dead-letters?limit=1000"))?;
        show(self.output, &json!({ "items": all }), "items", &LETTER)
    }
}

impl Import {
    fn run(&self) -> Result<ExitCode, Failure> {
        let body = if self.all { json!({ "all": true }) } else { json!({ "ids": self.ids }) };
        let answer = runtime()?.block_on(self.source.client().post("/v1/dead-letters/import", &body))?.json()?;
        show(self.output, &answer, "results", &[("ID", "id"), ("STATUS", "status"), ("ENTRY", "entry")])?;
        let failed = answer.get("results").and_then(|results| results.as_array()).into_iter().flatten();
        let failed = failed.filter(|result| result.get("entry").is_none_or(serde_json::Value::is_null)).count();
        if failed > 0 {
            return Err(not_all(failed).into());
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// The items of every page of an answer.
pub(super) async fn pages(client: &Client, path: &str) -> anyhow::Result<Vec<serde_json::Value>> {
    let mut all = Vec::new();
    let mut next = String::new();
    loop {
        let answer = client.get(&format!("{path}{next}")).await?.json()?;
        all.extend(answer.get("items").and_then(|items| items.as_array()).cloned().unwrap_or_default());
        match answer.get("continue").and_then(|next| next.as_str()) {
            Some(at) => next = format!("&continue={at}"),
            None => return Ok(all),
        }
    }
}

fn not_all(failed: usize) -> anyhow::Error {
    anyhow::anyhow!("{failed} letter(s) were not booked; the answer says which")
}

const LETTER: [(&str, &str); 9] = [
    ("ID", "id"),
    ("REASON", "reason"),
    ("TIME", "time"),
    ("RECEIVED_AT", "received_at"),
    ("NAMESPACE", "namespace"),
    ("EXECUTION", "execution"),
    ("EVENT_ID", "event_id"),
    ("NAME", "name"),
    ("COST_USD", "cost_usd"),
];

/// Prints the list of an answer.
pub(super) fn show(
    output: Output,
    answer: &serde_json::Value,
    list: &str,
    columns: &[(&'static str, &'static str)],
) -> Result<ExitCode, Failure> {
    let answer = Json::parse(&answer.to_string()).unwrap_or(Json::Null);
    let header: Vec<&'static str> = columns.iter().map(|(header, _)| *header).collect();
    let mut rows = Rows::new(&header);
    for item in &items(&answer, list) {
        rows.rows.push(columns.iter().map(|(_, field)| at(item, &[field])).collect());
    }
    match output {
        Output::Json => print(&answer.to_json())?,
        Output::Yaml => print(&answer.to_yaml())?,
        Output::Csv => print(&rows.csv())?,
        Output::Table => print(&rows.table())?,
    }
    Ok(ExitCode::SUCCESS)
}
