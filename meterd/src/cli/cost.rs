//! `meterd cost by-…` and `meterd top …`: roll-ups from a running daemon, or from a data directory at rest.

mod show;
mod watch;

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use budget::Ref;
use clap::{Args, Subcommand, ValueEnum};
use serde_json::Value;

use super::client::segment;
use super::output::{Output, print};
use super::source::{Source, SourceArgs};
use super::{Failure, runtime};
use crate::clock::Clock;
use crate::ledger::DataDir;
use crate::rollup::{AtRest, Params, Question};

/// See the command's help.
#[derive(Debug, Subcommand)]
pub(super) enum Cost {
    /// By team
    #[command(name = "by-team")]
    Team(By),
    /// By agent, within its namespace
    #[command(name = "by-agent")]
    Agent(By),
    /// By model, within its provider; model calls only
    #[command(name = "by-model")]
    Model(By),
    /// By tool; tool calls only
    #[command(name = "by-tool")]
    Tool(By),
    /// By namespace
    #[command(name = "by-namespace")]
    Namespace(By),
    /// By environment
    #[command(name = "by-environment")]
    Environment(By),
    /// By execution; --tree adds the cost of the runs below it
    #[command(name = "by-execution")]
    Execution(By),
    /// By the value of a label
    #[command(name = "by-label")]
    Label {
        /// The label's key
        key: String,
        #[command(flatten)]
        by: By,
    },
}

/// See the command's help.
#[derive(Debug, Args)]
pub(super) struct By {
    /// Rows for each civil hour, day or month as well
    #[arg(long, value_enum)]
    bucket: Option<Span>,
    /// The largest first
    #[arg(long, value_enum, default_value_t = Rank::Cost)]
    order: Rank,
    /// Rows at most
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    #[command(flatten)]
    asked: Asked,
}

/// Whom to rank.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Ranked {
    #[value(alias = "agent")]
    Agents,
    #[value(alias = "model")]
    Models,
    #[value(alias = "tool")]
    Tools,
    #[value(alias = "execution")]
    Executions,
    #[value(alias = "team")]
    Teams,
}

/// See the command's help.
#[derive(Debug, Args)]
pub(super) struct Top {
    /// Whom to rank
    #[arg(value_enum)]
    ranked: Ranked,
    /// By what
    #[arg(long, value_enum, default_value_t = Rank::Cost)]
    by: Rank,
    /// How many
    #[arg(short = 'l', long, value_name = "N", default_value_t = 10)]
    limit: usize,
    /// Draw it again every second, with the budgets, the live runs and the kills beside it; q leaves
    #[arg(short, long)]
    watch: bool,
    #[command(flatten)]
    asked: Asked,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Span {
    Hour,
    Day,
    Month,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Rank {
    Cost,
    Tokens,
    Calls,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Origin {
    /// The embedded ledger
    Ledger,
    /// The daemon's ClickHouse
    Clickhouse,
    /// ClickHouse when it has everything that is asked for, else the ledger
    Auto,
}

/// What every question about cost takes.
#[derive(Debug, Args)]
pub(super) struct Asked {
    /// From then on: a time, a date, or an age such as 12h or 30d
    #[arg(long, value_name = "WHEN", default_value = "30d")]
    since: String,
    /// Until then, not included; without it, to the newest
    #[arg(long, value_name = "WHEN")]
    until: Option<String>,
    /// Time zone of dates and buckets
    #[arg(long, value_name = "ZONE", default_value = "UTC")]
    tz: String,
    /// Only this namespace
    #[arg(short, long, value_name = "NS")]
    namespace: Option<String>,
    /// Only this team
    #[arg(long)]
    team: Option<String>,
    /// Only this agent
    #[arg(long)]
    agent: Option<String>,
    /// Only this model: MODEL or PROVIDER:MODEL
    #[arg(long)]
    model: Option<String>,
    /// Only this tool
    #[arg(long)]
    tool: Option<String>,
    /// Only this environment
    #[arg(long)]
    environment: Option<String>,
    /// Only this execution: NAME or NAMESPACE/NAME
    #[arg(long)]
    execution: Option<String>,
    /// Only with this label; may be given several times
    #[arg(long, value_name = "KEY=VALUE")]
    label: Vec<String>,
    /// With rows by execution: add the cost of each run's subtree, and rank by it
    #[arg(long)]
    tree: bool,
    /// Where the sums come from; the same digits from either
    #[arg(long = "source", value_enum, default_value_t = Origin::Auto)]
    origin: Origin,
    /// Round amounts in tables to so many decimals; other forms keep every digit
    #[arg(long, value_name = "DECIMALS", num_args = 0..=1, default_missing_value = "2")]
    round: Option<u32>,
    /// Form of the answer
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
    #[command(flatten)]
    source: SourceArgs,
}

impl Cost {
    pub(super) fn run(&self) -> Result<ExitCode, Failure> {
        let (word, by) = match self {
            Self::Team(by) => ("team".to_owned(), by),
            Self::Agent(by) => ("agent".to_owned(), by),
            Self::Model(by) => ("model".to_owned(), by),
            Self::Tool(by) => ("tool".to_owned(), by),
            Self::Namespace(by) => ("namespace".to_owned(), by),
            Self::Environment(by) => ("environment".to_owned(), by),
            Self::Execution(by) => ("execution".to_owned(), by),
            Self::Label { key, by } => (format!("label:{key}"), by),
        };
        let bucket = by.bucket.map(word_of);
        by.asked.show(Params {
            by: Some(word),
            bucket,
            order: Some(word_of(by.order)),
            limit: by.limit,
            ..Params::default()
        })
    }
}

impl Top {
    pub(super) fn run(&self) -> Result<ExitCode, Failure> {
        if self.watch {
            return self.watched();
        }
        self.asked.show(self.params())
    }

    fn watched(&self) -> Result<ExitCode, Failure> {
        if self.asked.source.data_dir().is_some() {
            return Err(anyhow::anyhow!("--watch asks a running daemon: name its --url instead of --data-dir").into());
        }
        let path = format!("/v1/cost?{}", query(&self.asked.fill(self.params()))?);
        let title = format!("top {} by {}, since {}", word_of(self.ranked), word_of(self.by), self.asked.since);
        watch::watch(&self.asked.source.client(), &path, &title)
    }

    fn params(&self) -> Params {
        let by = match self.ranked {
            Ranked::Agents => "agent",
            Ranked::Models => "model",
            Ranked::Tools => "tool",
            Ranked::Executions => "execution",
            Ranked::Teams => "team",
        };
        let (by, order) = (Some(by.to_owned()), Some(word_of(self.by)));
        Params { by, order, limit: Some(self.limit), ..Params::default() }
    }
}

impl Asked {
    /// Asks and prints.
    fn show(&self, params: Params) -> Result<ExitCode, Failure> {
        let params = self.fill(params);
        let answer = self.answer(&params)?;
        print(&show::show(&answer, self.output, self.round))?;
        Ok(ExitCode::SUCCESS)
    }

    fn fill(&self, params: Params) -> Params {
        let label = (!self.label.is_empty()).then(|| self.label.join(","));
        Params {
            since: Some(self.since.clone()),
            until: self.until.clone(),
            tz: Some(self.tz.clone()),
            namespace: self.namespace.clone(),
            team: self.team.clone(),
            agent: self.agent.clone(),
            model: self.model.clone(),
            tool: self.tool.clone(),
            environment: self.environment.clone(),
            execution: self.execution.clone(),
            label,
            tree: self.tree.then_some(true),
            source: Some(word_of(self.origin)),
            ..params
        }
    }

    fn answer(&self, params: &Params) -> anyhow::Result<Value> {
        match self.source.data_dir() {
            Some(_) if self.origin == Origin::Clickhouse => {
                anyhow::bail!("--source clickhouse asks a running daemon: name its --url instead of --data-dir")
            }
            Some(dir) => self.at_rest(dir, params),
            None => {
                let client = self.source.client();
                let answer = runtime()?.block_on(client.get(&format!("/v1/cost?{}", query(params)?)))?;
                answer.json()
            }
        }
    }

    fn at_rest(&self, dir: &Path, params: &Params) -> anyhow::Result<Value> {
        let question = Question::parse(params, Clock::wall().now())?;
        let data_dir = DataDir::new(dir);
        let rollups = AtRest::open(&data_dir).with_context(|| format!("cannot read {}", dir.display()))?;
        // The state costs a replay; only the tree of runs needs it.
        let state = match question.tree.then(|| self.source.open()).transpose()? {
            Some(Source::AtRest(data)) => Some(data.state),
            Some(Source::Live(_)) | None => None,
        };
        let parent = |run: &Ref| state.as_ref()?.execution(run)?.parent.clone();
        Ok(rollups.ask(&question, parent)?.to_json())
    }
}

/// The word that clap reads for a value.
fn word_of(value: impl ValueEnum) -> String {
    value.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}

/// The query string of these words.
fn query(params: &Params) -> anyhow::Result<String> {
    let Value::Object(words) = serde_json::to_value(params)? else { return Ok(String::new()) };
    let pair = |(name, value): (String, Value)| match value {
        Value::Null => None,
        Value::String(text) => Some(format!("{name}={}", segment(&text))),
        other => Some(format!("{name}={other}")),
    };
    Ok(words.into_iter().filter_map(pair).collect::<Vec<_>>().join("&"))
}
