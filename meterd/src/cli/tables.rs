//! `meterd tables list|show|diff`: which price tables there are, what prices a model at some time and why, and what
//! another set of tables would change. Reads tables; no daemon, no ledger.

mod diff;
mod show;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::anyhow;
use clap::{Args, Subcommand};
use pricing::cost::Target;
use pricing::{PriceBook, Timestamp};

use super::Failure;
use super::output::{Output, Rows, print};
use crate::clock::Clock;
use crate::resource::print::Json;
use crate::watch::{self, Cache};

/// See the command's help.
#[derive(Debug, Subcommand)]
pub(super) enum Tables {
    /// The tables in force, lowest layer first
    List {
        /// List their models instead
        #[arg(long)]
        models: bool,
        #[command(flatten)]
        book: Book,
        #[command(flatten)]
        form: Form,
    },
    /// What prices a model or a tool at some time, which entry of which table claims it first, and its rates rule by rule
    Show {
        /// The model, such as `anthropic:claude-haiku-5-5`
        #[arg(value_name = "PROVIDER:MODEL", required_unless_present = "tool", conflicts_with = "tool")]
        model: Option<String>,
        /// A tool instead, by its name
        #[arg(long, value_name = "NAME")]
        tool: Option<String>,
        /// The MCP server that the tool belongs to
        #[arg(long, value_name = "NAME", requires = "tool")]
        mcp_server: Option<String>,
        /// When (RFC 3339, or a date for its midnight in UTC); by default now
        #[arg(long, value_name = "TIME")]
        at: Option<String>,
        /// For calls of this namespace: layers may be for some only
        #[arg(short, long, value_name = "NS", default_value = crate::event::DEFAULT_NAMESPACE)]
        namespace: String,
        /// For calls of this team
        #[arg(long, value_name = "TEAM")]
        team: Option<String>,
        #[command(flatten)]
        book: Book,
        #[command(flatten)]
        form: Form,
    },
    /// Models added and removed, and rates that differ, from one set of tables to another
    Diff {
        /// A table or a directory of them; `built-in` for the built-in ones
        old: PathBuf,
        /// The same, to compare with
        new: PathBuf,
        #[command(flatten)]
        form: Form,
    },
}

/// Which tables.
#[derive(Debug, Args)]
pub(super) struct Book {
    /// Directories of price tables, over the built-in ones; the last one goes first
    #[arg(long, value_name = "DIR")]
    tables: Vec<PathBuf>,
    /// Leave the built-in tables out
    #[arg(long)]
    no_seed: bool,
}

/// How to print.
#[derive(Debug, Args)]
pub(super) struct Form {
    /// Form of the answer
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

impl Tables {
    pub(super) fn run(&self) -> Result<ExitCode, Failure> {
        match self {
            Self::List { models, book, form } => {
                let book = book.load()?;
                form.print(&if *models { models_of(&book) } else { tables_of(&book) })?;
            }
            Self::Show { model, tool, mcp_server, at, namespace, team, book, form } => {
                let at = at.as_deref().map_or_else(|| Ok(Clock::wall().now()), instant)?;
                let (asked, target) = target(model.as_deref(), tool.as_deref(), mcp_server.as_deref())?;
                let explained = book
                    .load()?
                    .explain_target(target, at, namespace, team.as_deref())
                    .map_err(|reason| anyhow!("{asked} has no price at {at}: {reason}"))?;
                print(&show::text(&explained, &asked, at, form.output))?;
            }
            Self::Diff { old, new, form } => form.print(&diff::rows(&diff::load(old)?, &diff::load(new)?))?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// What is asked for, in words and as pricing takes it.
fn target<'a>(
    model: Option<&'a str>,
    tool: Option<&'a str>,
    mcp_server: Option<&'a str>,
) -> Result<(String, Target<'a>), Failure> {
    if let Some(tool) = tool {
        let asked = mcp_server.map_or_else(|| format!("tool {tool}"), |server| format!("tool {tool} of {server}"));
        return Ok((asked, Target::Tool { tool, mcp_server, outcome: "ok" }));
    }
    let asked = model.unwrap_or_default();
    let (provider, model) = asked
        .split_once(':')
        .ok_or_else(|| anyhow!("{asked:?} has no provider: write PROVIDER:MODEL, such as openai:gpt-5"))?;
    Ok((asked.to_owned(), Target::Model { provider, model, request_model: None }))
}

impl Book {
    fn load(&self) -> Result<PriceBook, Failure> {
        let loaded = watch::load_prices_with(&self.tables, !self.no_seed, &Cache::of_user());
        loaded.map(|(book, _)| book).map_err(|problems| {
            Failure::Config(problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
        })
    }
}

impl Form {
    fn print(&self, rows: &Rows) -> std::io::Result<()> {
        print(&match self.output {
            Output::Table => rows.table(),
            Output::Csv => rows.csv(),
            Output::Json => objects(rows).to_json(),
            Output::Yaml => objects(rows).to_yaml(),
        })
    }
}

/// Each row as an object with the header's names.
fn objects(rows: &Rows) -> Json {
    let object =
        |row: &Vec<String>| Json::map(rows.header.iter().zip(row).map(|(name, cell)| (*name, Json::text(cell))));
    Json::List(rows.rows.iter().map(object).collect())
}

/// An RFC 3339 instant, or a date.
fn instant(text: &str) -> Result<Timestamp, Failure> {
    let instant = text.parse().or_else(|_| format!("{text}T00:00:00Z").parse::<Timestamp>());
    instant.map_err(|_| anyhow!("{text:?} is not a time: write 2026-11-22T10:00:00Z, or 2026-11-22").into())
}

fn tables_of(book: &PriceBook) -> Rows {
    let mut rows = Rows::new(&["name", "version", "entries", "digest"]);
    for table in book.tables() {
        let reference = table.reference();
        let cells = [&*reference.name, &*reference.version, &table.entries().to_string(), &*reference.digest];
        rows.rows.push(cells.map(str::to_owned).into());
    }
    rows
}

fn models_of(book: &PriceBook) -> Rows {
    let mut rows = Rows::new(&["provider", "model", "table", "version"]);
    for table in book.tables() {
        let reference = table.reference();
        for (provider, id) in table.models() {
            rows.rows.push([provider, id, &*reference.name, &*reference.version].map(str::to_owned).into());
        }
    }
    rows
}

#[cfg(test)]
mod tests;
