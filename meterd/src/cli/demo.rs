//! `meterd demo`: the whole thing with a small simulated fleet. Agents post usage over HTTP as real ones would; one goes
//! wild, reaches its budget, is warned, fenced and killed.

mod agent;
mod script;

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use tokio::task::JoinSet;

use super::client::{Client, execution_path};
use super::get::{at, items};
use super::load::start_failure;
use super::output::{Rows, print};
use super::verify::sentence;
use super::{ConfigArgs, Failure, runtime, say};
use crate::clock::Clock;
use crate::daemon::{self, Daemon, StartError};
use crate::ledger::DataDir;
use crate::ledger::verify::verify;
use crate::resource::print::Json;
use script::{NAMESPACE, RESOURCES, fleet};

/// How often the live table is drawn.
const REFRESH: Duration = Duration::from_millis(500);

/// See the command's help.
#[derive(Debug, Args)]
pub(super) struct Demo {
    /// Run the fleet once, print the final table, verify the ledger, and exit 0
    #[arg(long)]
    once: bool,
    /// Seed of the simulated fleet: the same seed makes the same calls
    #[arg(long, default_value_t = 1, value_name = "N")]
    seed: u64,
    #[command(flatten)]
    config: ConfigArgs,
}

impl Demo {
    pub(super) fn run(&self) -> Result<ExitCode, Failure> {
        let args = self.with_data_dir()?;
        let data_dir = args.resolve()?.data_dir;
        let killed = runtime()?.block_on(async {
            let daemon = start(&args).await?;
            let client = Client::new(&daemon.api_url());
            say(&format!("meterd demo: API      {}", daemon.api_url()));
            say(&format!("             console  {}/", daemon.api_url()));
            say(&format!("             metrics  {}/metrics", daemon.metrics_url()));
            say(&format!("             data     {}\n", data_dir.display()));
            let outcome = self.play(&client).await;
            let table = table(&client).await;
            daemon.stop().await?;
            outcome?;
            let (rows, killed) = table?;
            print(&rows)?;
            Ok::<bool, Failure>(killed)
        })?;
        let proof = verify(&DataDir::new(&data_dir), None, |_, _| {})?;
        print(&format!("\n{}", sentence(&proof)))?;
        // As it was called: whoever built it with cargo has no `meterd` on the path.
        let program = std::env::args().next().unwrap_or_else(|| "meterd".to_owned());
        say(&format!(
            "\nlook closer: {program} describe execution research-wild -n {NAMESPACE} --data-dir {}",
            data_dir.display()
        ));
        if self.once && !killed {
            return Err(anyhow::anyhow!("the wild run was not killed").into());
        }
        Ok(ExitCode::SUCCESS)
    }

    /// A demo begins with an empty ledger of its own, unless told where.
    fn with_data_dir(&self) -> Result<ConfigArgs, Failure> {
        let mut args = self.config.clone();
        if args.data_dir.is_none() {
            let root = std::env::temp_dir();
            let stamp = Clock::wall().now().millis();
            args.data_dir = Some(root.join(format!("meterd-demo-{stamp}-{}", std::process::id())));
        }
        Ok(args)
    }

    async fn play(&self, client: &Client) -> anyhow::Result<()> {
        client.post_text("/v1/resources/apply", "application/yaml", RESOURCES.to_owned()).await?;
        let live = std::io::stderr().is_terminal();
        let mut screen = Screen::default();
        let mut round = 0;
        loop {
            let mut agents = JoinSet::new();
            for plan in fleet(self.seed, round) {
                agents.spawn(agent::run(client.clone(), plan));
            }
            loop {
                tokio::select! {
                    ended = agents.join_next() => match ended {
                        Some(result) => result??,
                        None => break,
                    },
                    () = tokio::time::sleep(REFRESH), if live => screen.draw(&table(client).await?.0),
                    stopped = tokio::signal::ctrl_c() => {
                        stopped?;
                        agents.shutdown().await;
                        screen.clear();
                        return Ok(());
                    }
                }
            }
            if self.once {
                screen.clear();
                return Ok(());
            }
            round += 1;
        }
    }
}

/// The usual ports if they are free, any others if not: a demo must not fail because a daemon runs already.
async fn start(args: &ConfigArgs) -> Result<Daemon, Failure> {
    match daemon::start(&args.resolve()?, Clock::wall()).await {
        Err(StartError::Bind(_)) => {
            let mut args = args.clone();
            let any_port = || Some("127.0.0.1:0".to_owned());
            (args.listen, args.metrics_listen) = (any_port(), any_port());
            daemon::start(&args.resolve()?, Clock::wall()).await.map_err(start_failure)
        }
        started => started.map_err(start_failure),
    }
}

/// The table of executions and budgets as it is now, and whether a run was killed.
async fn table(client: &Client) -> anyhow::Result<(String, bool)> {
    let path = format!("/v1/namespaces/{NAMESPACE}/executions?limit=1000");
    let list = Json::parse(&client.get(&path).await?.text()).unwrap_or(Json::Null);
    let mut runs = Rows::new(&["execution", "agent", "phase", "cost usd", "model calls", "tool calls", "why"]);
    let mut killed = false;
    for run in items(&list, "items") {
        let name = at(&run, &["metadata", "name"]);
        let mut why = String::new();
        if !at(&run, &["status", "kill", "id"]).is_empty() {
            killed = true;
            let path = execution_path(NAMESPACE, &name, "/signals");
            let signals = Json::parse(&client.get(&path).await?.text()).unwrap_or(Json::Null);
            why = items(&signals, "signals").first().map(|kill| at(kill, &["data", "message"])).unwrap_or_default();
        }
        let status = |name: &str| at(&run, &["status", name]);
        let agent = at(&run, &["spec", "agentRef", "name"]);
        runs.rows.push(vec![
            name,
            agent,
            status("phase"),
            status("costUsd"),
            status("modelCalls"),
            status("toolCalls"),
            why,
        ]);
    }
    let list = Json::parse(&client.get("/v1/budgets").await?.text()).unwrap_or(Json::Null);
    let mut budgets = Rows::new(&["budget", "day spent usd", "day limit usd", "phase"]);
    for budget in items(&list, "items") {
        let cell = |path: &[&str]| at(&budget, path);
        budgets.rows.push(vec![
            cell(&["metadata", "name"]),
            cell(&["status", "daySpentUsd"]),
            cell(&["spec", "limits", "dailyUsd"]),
            cell(&["status", "phase"]),
        ]);
    }
    Ok((format!("{}\n{}", runs.table(), budgets.table()), killed))
}

/// Draws over what it drew before.
#[derive(Default)]
struct Screen {
    lines: usize,
}

impl Screen {
    fn draw(&mut self, text: &str) {
        self.clear();
        self.lines = text.lines().count();
        let _ = write!(std::io::stderr().lock(), "{text}");
    }

    fn clear(&mut self) {
        if self.lines > 0 {
            // Up to where the last drawing began, and clear to the end of the screen.
            let _ = write!(std::io::stderr().lock(), "\x1b[{}A\x1b[J", self.lines);
            self.lines = 0;
        }
    }
}
