//! `meterd describe execution NAME`: the resource, and the ledger lines behind its cost.

use std::process::ExitCode;

use budget::Ref;
use clap::Subcommand;

use super::client::{Client, execution_path};
use super::get::{at, items, text};
use super::output::{Rows, print};
use super::source::{AtRest, Source, SourceArgs};
use super::{Failure, runtime};
use crate::clock::Clock;
use crate::reconcile::{cost_of, entry_json};
use crate::resource::print::Json;
use crate::resource::{SETTLE_GRACE, execution_document_with_kill};

/// See the command's help.
#[derive(Debug, Subcommand)]
pub(super) enum Describe {
    /// One execution: its resource with live status, and every ledger line behind its cost
    Execution {
        /// Its name
        name: String,
        /// Namespace
        #[arg(short, long, default_value = crate::event::DEFAULT_NAMESPACE, value_name = "NS")]
        namespace: String,
        #[command(flatten)]
        source: SourceArgs,
    },
}

impl Describe {
    pub(super) fn run(&self) -> Result<ExitCode, Failure> {
        let Self::Execution { name, namespace, source } = self;
        let (document, entries) = match source.open()? {
            Source::Live(client) => runtime()?.block_on(live(&client, namespace, name))?,
            Source::AtRest(data) => at_rest(&data, &Ref::new(namespace, name))?,
        };
        print(&document.to_yaml())?;
        print(&format!("---\n{}", lines(&entries).table()))?;
        Ok(ExitCode::SUCCESS)
    }
}

async fn live(client: &Client, namespace: &str, name: &str) -> anyhow::Result<(Json, Vec<Json>)> {
    let document = client.get(&execution_path(namespace, name, "")).await?;
    let document = Json::parse(&document.text()).unwrap_or(Json::Null);
    let mut entries = Vec::new();
    let mut from = String::new();
    loop {
        let page = client.get(&execution_path(namespace, name, &format!("/entries?limit=1000{from}"))).await?;
        let page = Json::parse(&page.text()).unwrap_or(Json::Null);
        entries.extend(items(&page, "entries"));
        match page.get("continue").map(text) {
            Some(at) if !at.is_empty() => from = format!("&continue={at}"),
            _ => return Ok((document, entries)),
        }
    }
}

fn at_rest(data: &AtRest, id: &Ref) -> anyhow::Result<(Json, Vec<Json>)> {
    let remembered = if data.state.execution(id).is_none() { data.remembering(id)? } else { None };
    let state = remembered.as_ref().unwrap_or(&data.state);
    let run = state.execution(id).ok_or_else(|| anyhow::anyhow!("no execution {id} in this ledger"))?;
    let kill = run.kill.as_deref().or(run.winding.as_deref()).and_then(|kill| state.kill(kill));
    let document = execution_document_with_kill(run, kill, Clock::wall().now(), SETTLE_GRACE);
    let mut entries = Vec::new();
    data.reader.scan(1, |entry| {
        if cost_of(entry) == Some(id) {
            entries.extend(entry_json(entry).and_then(|value| Json::parse(&value.to_string())));
        }
        entry.seq < run.last_seq
    })?;
    Ok((document, entries))
}

/// One row a priced line; a call without lines and an adjustment are a row each.
fn lines(entries: &[Json]) -> Rows {
    let mut rows = Rows::new(&["seq", "time", "called", "unit", "quantity", "rate", "per", "amount_usd", "status"]);
    for entry in entries {
        let adjusts = at(entry, &["kind"]) == "adjustment";
        let kind = if adjusts { "called" } else { "kind" };
        let called = match at(entry, &[kind]).as_str() {
            "model" => format!("{}:{}", at(entry, &["provider"]), at(entry, &["model"])),
            "tool" => at(entry, &["tool"]),
            other => other.to_owned(),
        };
        let head = [at(entry, &["seq"]), at(entry, &["time"]), called];
        let status = match items(entry, "flags").iter().map(text).collect::<Vec<_>>().join(",") {
            flags if flags.is_empty() => at(entry, &["status"]),
            flags => format!("{} ({flags})", at(entry, &["status"])),
        };
        let status = if adjusts { format!("{status} (of {})", at(entry, &["of"])) } else { status };
        let lines = items(entry, "lines");
        // An adjustment is one amount: the difference between its lines and those before.
        if lines.is_empty() || adjusts {
            let blank = std::iter::repeat_n(String::new(), 4);
            rows.rows.push(head.iter().cloned().chain(blank).chain([at(entry, &["cost_usd"]), status]).collect());
        } else {
            for line in &lines {
                let cells = ["unit", "quantity", "rate", "per", "amount"].map(|name| at(line, &[name]));
                rows.rows.push(head.iter().cloned().chain(cells).chain([status.clone()]).collect());
            }
        }
    }
    rows
}
