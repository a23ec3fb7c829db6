//! `meterd run -- CMD`: `timeout` for dollars. Opens an execution with the given limits, starts the program in a process
//! group of its own, and ends the group when the kill comes. Starts a daemon inside itself where none runs.

mod child;
mod passed;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde_json::{Map, Value, json};

use super::client::{Client, DEFAULT_URL, announced, execution_path};
use super::get::at;
use super::kills::Kills;
use super::load::start_failure;
use super::{ConfigArgs, Failure, runtime, say};
use crate::clock::Clock;
use crate::daemon::{self, Daemon};
use crate::resource::print::Json;
use child::{Child, Ended};
use passed::Passed;

/// The exit code of `timeout`, for the same reason: the limit ended it.
const EXIT_KILLED: u8 = 124;

/// See the command's help.
#[derive(Debug, Args)]
#[command(after_help = "Exit code: the program's own (128 + N when a signal ended it), 124 when a budget ended it,\n\
    126 or 127 when it could not be started.\n\
    The program finds METERD_URL, METERD_EXECUTION, METERD_NAMESPACE, JOCH_EXECUTION_ID and OTEL_EXPORTER_OTLP_* set.")]
pub(super) struct Run {
    /// Name of the execution
    #[arg(long, value_name = "NAME")]
    execution: String,
    /// Namespace
    #[arg(short, long, default_value = crate::event::DEFAULT_NAMESPACE, value_name = "NS")]
    namespace: String,
    /// Agent whose run this is: its budgets apply too
    #[arg(long, value_name = "AGENT")]
    agent: Option<String>,
    /// Team
    #[arg(long, value_name = "TEAM")]
    team: Option<String>,
    /// Limit in US dollars, exact: 5, 0.05
    #[arg(long, value_name = "USD")]
    max_usd: Option<pricing::Money>,
    /// Limit in tokens, input and output
    #[arg(long, value_name = "N")]
    max_tokens: Option<u64>,
    /// Limit in tool calls
    #[arg(long, value_name = "N")]
    max_tool_calls: Option<u64>,
    /// Seconds between SIGTERM and SIGKILL
    #[arg(long, default_value_t = 5, value_name = "SECONDS")]
    grace: u64,
    /// One last turn before the kill that may cost so much in US dollars, for a program that listens to its signals
    #[arg(long, value_name = "USD")]
    wind_down_usd: Option<pricing::Money>,
    /// Seconds that the last turn may take
    #[arg(long, default_value_t = 30, value_name = "SECONDS", requires = "wind_down_usd")]
    wind_down_grace: u64,
    /// Look for no running daemon: start one inside this command
    #[arg(long, conflicts_with = "url")]
    embedded: bool,
    /// A running daemon's API; without it, one that is found on this machine, else one inside this command
    #[arg(long, env = "METERD_URL", value_name = "URL")]
    url: Option<String>,
    /// Data directory of the daemon inside this command
    #[arg(long, default_value = "meterd-data", value_name = "DIR")]
    data_dir: PathBuf,
    /// The program and its arguments
    #[arg(last = true, required = true, value_name = "CMD")]
    command: Vec<String>,
}

/// How the run ended.
struct Finished {
    code: u8,
    killed: Option<String>,
}

/// The exit code of shells and of `timeout` for a program that is not there, or is no program.
fn not_started(error: &anyhow::Error) -> u8 {
    let kind = error.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
    if kind == Some(std::io::ErrorKind::NotFound) { 127 } else { 126 }
}

impl Run {
    pub(super) fn run(&self) -> Result<ExitCode, Failure> {
        runtime()?.block_on(async {
            let (client, inside) = self.daemon().await?;
            let finished = self.metered(&client).await;
            if let Some(daemon) = inside {
                daemon.stop().await?;
            }
            Ok(ExitCode::from(finished?.code))
        })
    }

    /// The daemon to report to, and the one that was started for it.
    async fn daemon(&self) -> Result<(Client, Option<Daemon>), Failure> {
        if let Some(url) = self.url.as_ref().filter(|_| !self.embedded) {
            return Ok((Client::new(url), None));
        }
        let known = announced(&self.data_dir).into_iter().chain([DEFAULT_URL.to_owned()]);
        for url in known.filter(|_| !self.embedded) {
            let client = Client::new(&url);
            if client.is_up().await {
                return Ok((client, None));
            }
        }
        let any_port = || Some("127.0.0.1:0".to_owned());
        let config = ConfigArgs {
            config: None,
            data_dir: Some(self.data_dir.clone()),
            listen: any_port(),
            metrics_listen: any_port(),
        };
        let daemon = daemon::start(&config.resolve()?, Clock::wall()).await.map_err(start_failure)?;
        Ok((Client::new(&daemon.api_url()), Some(daemon)))
    }

    async fn metered(&self, client: &Client) -> anyhow::Result<Finished> {
        let path = |rest: &str| execution_path(&self.namespace, &self.execution, rest);
        client.put(&path(""), &self.description()).await?;
        // Listens before the program starts: no kill can come unheard.
        let mut kills = Kills::listen(client.clone(), path("/signals")).await?;
        let mut passed = Passed::new()?;
        // What the program leaves without a parent becomes this command's child, and is found again.
        rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
        let mut child = match Child::spawn(&self.command, &self.environment(client.base())) {
            Ok(child) => child,
            Err(error) => {
                // The run is open by now: a program that never started has failed, not gone missing.
                client.post(&path("/complete"), &json!({ "phase": "Failed" })).await?;
                say(&format!("meterd: {error:#}"));
                return Ok(Finished { code: not_started(&error), killed: None });
            }
        };
        let mut killed: Option<String> = None;
        let mut deadline = None;
        let ended = loop {
            let grace_is_over = async {
                match deadline {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                ended = child.ended() => break ended?,
                kill = kills.next(), if killed.is_none() => {
                    child.terminate()?;
                    deadline = Some(tokio::time::Instant::now() + Duration::from_secs(self.grace));
                    say(&format!("meterd: {}/{}: {}", self.namespace, self.execution, kill.message));
                    self.acknowledge(client, &kill.id);
                    killed = Some(kill.id);
                }
                () = grace_is_over => { child.kill()?; deadline = None; }
                signal = passed.next() => child.forward(signal)?,
            }
        };
        // What the program left behind in its group goes with it; after a kill, so does what has left the group.
        child.sweep(killed.is_some()).await;
        let phase = match (&killed, &ended) {
            (Some(_), _) => "Cancelled",
            (None, Ended { code: 0 }) => "Succeeded",
            (None, _) => "Failed",
        };
        let finished = Finished { code: if killed.is_some() { EXIT_KILLED } else { ended.code }, killed };
        // What the program did is its own: a daemon that is gone by now does not change how it ended.
        if let Err(error) = self.close(client, phase, &finished).await {
            say(&format!(
                "meterd: warning: {}/{} is over ({phase}) and the daemon was not told: {error:#}",
                self.namespace, self.execution
            ));
        }
        Ok(finished)
    }

    /// Tells the daemon how it ended, and shows what it cost.
    async fn close(&self, client: &Client, phase: &str, finished: &Finished) -> anyhow::Result<()> {
        let path = |rest: &str| execution_path(&self.namespace, &self.execution, rest);
        if let Some(id) = &finished.killed {
            let ack = json!({ "channel": "process", "proof": "process_gone" });
            client.post(&path(&format!("/signals/{id}/ack")), &ack).await?;
        }
        client.post(&path("/complete"), &json!({ "phase": phase })).await?;
        self.receipt(client, finished).await
    }

    /// Says that the kill is known and the program is being ended, without making either wait.
    fn acknowledge(&self, client: &Client, kill: &str) {
        let path = execution_path(&self.namespace, &self.execution, &format!("/signals/{kill}/ack"));
        let client = client.clone();
        tokio::spawn(async move {
            // The proof that follows says the same once more.
            let _ = client.post(&path, &json!({ "channel": "process" })).await;
        });
    }

    /// The execution as it is opened.
    fn description(&self) -> Value {
        let mut budgets = Map::new();
        if let Some(usd) = self.max_usd {
            budgets.insert("perRunUsd".to_owned(), Value::from(usd.to_string()));
        }
        if let Some(tokens) = self.max_tokens {
            budgets.insert("tokenLimitPerRun".to_owned(), Value::from(tokens));
        }
        if let Some(calls) = self.max_tool_calls {
            budgets.insert("toolCallLimitPerRun".to_owned(), Value::from(calls));
        }
        let mut description = Map::new();
        if !budgets.is_empty() {
            budgets.insert("onHardLimit".to_owned(), Value::from("terminate"));
            if let Some(usd) = self.wind_down_usd {
                let grace = format!("{}s", self.wind_down_grace);
                budgets.insert("windDown".to_owned(), json!({ "allowanceUsd": usd.to_string(), "grace": grace }));
            }
            description.insert("budgets".to_owned(), Value::Object(budgets));
        }
        if let Some(agent) = &self.agent {
            description.insert("agent".to_owned(), Value::from(agent.as_str()));
        }
        if let Some(team) = &self.team {
            description.insert("team".to_owned(), Value::from(team.as_str()));
        }
        Value::Object(description)
    }

    /// What the program is told, so that unmodified instrumentation reports here.
    fn environment(&self, url: &str) -> Vec<(&'static str, String)> {
        let attributes = |more: &str| {
            let own = format!("joch.execution.id={},joch.agent.namespace={}", self.execution, self.namespace);
            let agent = self.agent.as_deref().map(|agent| format!(",joch.agent.name={agent}")).unwrap_or_default();
            if more.is_empty() { format!("{own}{agent}") } else { format!("{more},{own}{agent}") }
        };
        let before = std::env::var("OTEL_RESOURCE_ATTRIBUTES").unwrap_or_default();
        vec![
            ("METERD_URL", url.to_owned()),
            ("METERD_EXECUTION", self.execution.clone()),
            ("METERD_NAMESPACE", self.namespace.clone()),
            ("JOCH_EXECUTION_ID", self.execution.clone()),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", url.to_owned()),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf".to_owned()),
            ("OTEL_RESOURCE_ATTRIBUTES", attributes(&before)),
        ]
    }

    /// What it cost, on stderr.
    async fn receipt(&self, client: &Client, finished: &Finished) -> anyhow::Result<()> {
        let document = client.get(&execution_path(&self.namespace, &self.execution, "")).await?;
        let document = Json::parse(&document.text()).unwrap_or(Json::Null);
        let status = |name: &str| at(&document, &["status", name]);
        let tokens: u64 = ["input", "cacheRead", "cacheWrite", "output", "reasoning"]
            .iter()
            .filter_map(|kind| at(&document, &["status", "tokens", kind]).parse::<u64>().ok())
            .sum();
        let limit = self.max_usd.map(|usd| format!(" of {usd} USD")).unwrap_or_else(|| " USD".to_owned());
        let name = format!("{}/{}", self.namespace, self.execution);
        let bold = if std::io::stderr().is_terminal() { ("\x1b[1m", "\x1b[0m") } else { ("", "") };
        say(&format!(
            "meterd: {name}: {}{}{}{limit}, {} model calls, {} tool calls, {tokens} tokens, {}{}",
            bold.0,
            status("costUsd"),
            bold.1,
            status("modelCalls"),
            status("toolCalls"),
            status("phase"),
            finished.killed.as_deref().map(|kill| format!(" ({kill})")).unwrap_or_default(),
        ));
        Ok(())
    }
}
