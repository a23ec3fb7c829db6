//! The command line: one file a subcommand. Data on stdout, words on stderr, exit codes 0, 1, 2 (clap's) and 78.

mod adjust;
mod apply;
mod bench;
pub mod check;
mod client;
mod cost;
mod demo;
mod describe;
mod export;
mod get;
mod import;
mod kills;
mod late;
mod load;
mod output;
mod price;
mod quarantine;
mod reconcile;
mod reprice;
mod run;
mod serve;
mod simulate;
mod sink;
mod source;
mod tables;
mod verify;

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand};

use crate::config::{self, Config, ConfigError};
use output::Output;

/// Bad configuration, prices or resources (sysexits' `EX_CONFIG`).
const EXIT_CONFIG: u8 = 78;

/// Cost and budget metering for fleets of AI agents.
#[derive(Debug, Parser)]
#[command(name = "meterd", version, max_term_width = 120, subcommand_required = true, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// What to log, such as `info` or `meterd::meter=debug` (logs go to stderr)
    #[arg(long, global = true, env = "METERD_LOG", value_name = "FILTER")]
    log: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon; without a file: embedded ledger in ./meterd-data, loopback, seed prices
    Serve(serve::Serve),
    /// Watch a small simulated fleet being metered, budgeted and killed
    Demo(demo::Demo),
    /// Run a program under a budget: `timeout` for dollars
    Run(run::Run),
    /// Validate configuration, price tables and resources; exit 78 if anything is wrong
    Check {
        /// Configuration file
        #[arg(short, long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// Price tables, resources, or directories of them
        #[arg(value_name = "PATH")]
        paths: Vec<PathBuf>,
    },
    /// Price events offline: NDJSON in, one JSON line out for each
    Price(price::Price),
    /// Which price tables there are, what prices a model or a tool and why, what other tables would change
    #[command(subcommand)]
    Tables(tables::Tables),
    /// Make price tables from other people's price files, with a report of what they leave out
    #[command(subcommand)]
    Import(import::Import),
    /// Create or change resources in a running daemon
    Apply(apply::Apply),
    /// Take away a resource that was applied
    Delete(apply::Delete),
    /// Kill a run: fence it and signal it
    Kill(apply::Kill),
    /// Price booked usage again from other tables: the difference by team, agent and model, and its booking
    Reprice(reprice::Reprice),
    /// Calls without a price: what waits, and the price that a person states for one
    #[command(subcommand)]
    Quarantine(quarantine::Quarantine),
    /// Usage refused for its time: what is kept, and the booking of it
    #[command(subcommand)]
    Late(late::Late),
    /// State what a booked call costs: a refund or a correction, kept with its reason and who asked
    Adjust(adjust::Adjust),
    /// What it cost, by team, agent, model, tool, namespace, environment, execution or label
    #[command(subcommand)]
    Cost(cost::Cost),
    /// The most expensive agents, models, tools, executions or teams
    Top(cost::Top),
    /// Try a budget on past runs: which would have been alerted, denied, killed, and what that would have saved
    Simulate(simulate::Simulate),
    /// Compare a provider's bill with what was metered: captured share, differences, likely causes
    Reconcile(reconcile::Reconcile),
    /// ClickHouse: how far it is, and everything once more
    #[command(subcommand)]
    Sink(sink::Sink),
    /// Show executions, budgets, reservations, kills or usage without a price
    Get(get::Get),
    /// Show one thing with everything behind it
    #[command(subcommand)]
    Describe(describe::Describe),
    /// Write the lines of the ledger out: NDJSON or CSV
    #[command(subcommand)]
    Export(export::Export),
    /// Prove the ledger: hash chain, sums, costs recomputed from pinned tables
    Verify(verify::Verify),
    /// Metric families
    Metrics {
        /// Print every family: name, type, labels, help
        #[arg(long, required = true)]
        catalog: bool,
        /// Form of the answer
        #[arg(short, long, value_enum, default_value_t = Output::Table)]
        output: Output,
    },
    /// Measure how fast this machine runs a part of meterd
    #[command(subcommand)]
    Bench(bench::Bench),
    /// Print completions for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// Where the daemon's configuration comes from.
#[derive(Clone, Debug, Default, Args)]
struct ConfigArgs {
    /// Configuration file (YAML)
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Data directory
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Address of the API; port 0 takes any free one
    #[arg(long, value_name = "ADDR")]
    listen: Option<String>,
    /// Address of the metrics page; port 0 takes any free one
    #[arg(long, value_name = "ADDR")]
    metrics_listen: Option<String>,
}

impl ConfigArgs {
    /// The file, with the environment and these flags over it. Warnings are logged.
    fn resolve(&self) -> Result<Config, ConfigError> {
        let data_dir = self.data_dir.as_ref().map(|dir| dir.display().to_string());
        let given = [
            ("dataDir", data_dir),
            ("listen.api", self.listen.clone()),
            ("listen.metrics", self.metrics_listen.clone()),
        ];
        let flags: Vec<(&str, String)> = given.into_iter().filter_map(|(key, value)| Some((key, value?))).collect();
        Config::load(self.config.as_deref(), config::environment(), &flags)
    }
}

/// What a command says when it cannot go on.
#[derive(Debug)]
enum Failure {
    /// Exit 78, with every problem already worded.
    Config(String),
    /// Exit 1.
    Other(anyhow::Error),
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        // Bad configuration has an exit code of its own, wherever it comes up.
        match error.into().downcast::<ConfigError>() {
            Ok(config) => Self::Config(config.to_string().trim_end().to_owned()),
            Err(other) => Self::Other(other),
        }
    }
}

/// Runs the program; the whole of `main`.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    logs(cli.log.as_deref(), &cli.command);
    match dispatch(cli.command) {
        Ok(code) => code,
        Err(Failure::Config(text)) => {
            say(&text);
            ExitCode::from(EXIT_CONFIG)
        }
        Err(Failure::Other(error)) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(Failure::Other(error)) => {
            say(&format!("meterd: {}", sentence(&error)));
            ExitCode::FAILURE
        }
    }
}

fn dispatch(command: Command) -> Result<ExitCode, Failure> {
    match command {
        Command::Serve(serve) => serve.run(),
        Command::Demo(demo) => demo.run(),
        Command::Run(run) => run.run(),
        Command::Check { config, paths } => {
            let outcome = check::run(config.as_deref(), &paths, &mut std::io::stdout().lock());
            Ok(if outcome.errors > 0 { ExitCode::from(EXIT_CONFIG) } else { ExitCode::SUCCESS })
        }
        Command::Price(price) => price.run(),
        Command::Tables(tables) => tables.run(),
        Command::Import(import) => import.run(),
        Command::Apply(apply) => apply.run(),
        Command::Delete(delete) => delete.run(),
        Command::Kill(kill) => kill.run(),
        Command::Reprice(reprice) => reprice.run(),
        Command::Quarantine(quarantine) => quarantine.run(),
        Command::Late(late) => late.run(),
        Command::Adjust(adjust) => adjust.run(),
        Command::Cost(cost) => cost.run(),
        Command::Top(top) => top.run(),
        Command::Simulate(simulate) => simulate.run(),
        Command::Reconcile(reconcile) => reconcile.run(),
        Command::Sink(sink) => sink.run(),
        Command::Get(get) => get.run(),
        Command::Describe(describe) => describe.run(),
        Command::Export(export) => export.run(),
        Command::Verify(verify) => verify.run(),
        Command::Metrics { catalog: _, output } => {
            output::catalog(output, &mut std::io::stdout().lock())?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Bench(bench) => bench.run(),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "meterd", &mut std::io::stdout().lock());
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// An error and its causes in one line; a cause that was said already is not said again.
fn sentence(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |said, cause| match said {
        said if said.contains(&cause) => said,
        said if said.is_empty() => cause,
        said => format!("{said}: {cause}"),
    })
}

/// A reader that closed the pipe has what it wanted.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}

/// A line for people, on stderr.
fn say(line: &str) {
    // Nothing can be done about a closed stderr.
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

/// Logs go to stderr; commands that talk to people by themselves log warnings only.
fn logs(filter: Option<&str>, command: &Command) {
    let default = if matches!(command, Command::Serve(_)) { "info" } else { "error" };
    let filter = tracing_subscriber::EnvFilter::new(filter.unwrap_or(default));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .init();
}

/// A runtime for a command.
fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    #[test]
    fn a_cause_is_said_once() {
        let check = |error: anyhow::Error, expected: &str| assert_eq!(super::sentence(&error), expected);
        check(anyhow::anyhow!("no room"), "no room");
        let cause = || std::io::Error::other("no room");
        check(anyhow::Error::from(cause()).context("cannot write"), "cannot write: no room");
        let repeated = Err::<(), _>(cause()).context("cannot write: no room");
        check(repeated.unwrap_err(), "cannot write: no room");
    }
}
