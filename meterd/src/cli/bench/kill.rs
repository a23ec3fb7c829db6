//! `meterd bench kill`: from the acknowledgement of the charge that crosses a limit to the end of the child's process,
//! with cooperative children that listen to their stream, over loopback HTTP, with every fsync.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::Args;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde_json::{Value, json};

use super::Report;
use crate::cli::client::{Client, execution_path};
use crate::cli::kills::Kills;
use crate::cli::load::start_failure;
use crate::cli::output::Output;
use crate::cli::{ConfigArgs, Failure, runtime};
use crate::clock::Clock;
use crate::daemon;
use crate::signal::process::watched;

/// A child that is not gone by then never will be.
const GONE_MAX: Duration = Duration::from_secs(10);
/// What a child says once it listens.
const READY: &str = "ready";

/// See the command's help.
#[derive(Debug, Args)]
pub(in crate::cli) struct BenchKill {
    /// Kills
    #[arg(long, value_name = "N", default_value_t = 200)]
    kills: u32,
    /// Children that are alive at a time
    #[arg(long, value_name = "N", default_value_t = 4)]
    children: u32,
    /// Form of the answer
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
    /// Be such a child: listen to the run's stream and end at its kill
    #[arg(long, hide = true, num_args = 2, value_names = ["URL", "RUN"])]
    child: Option<Vec<String>>,
    /// Folder for the ledger, which is removed at the end; without it, one in the folder for temporary files
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// What one kill took.
struct Took {
    /// From the charge's sending to its acknowledgement.
    accept: Duration,
    /// From the acknowledgement to the child's end; zero when it was gone before.
    gone: Duration,
    /// From the charge's sending to the child's end.
    whole: Duration,
}

impl BenchKill {
    pub(in crate::cli) fn run(&self) -> Result<ExitCode, Failure> {
        if let Some(child) = &self.child {
            let [url, run] = child.as_slice() else { return Err(anyhow::anyhow!("a child takes URL and RUN").into()) };
            return runtime()?.block_on(be_child(url, run));
        }
        let parent = self.dir.clone().unwrap_or_else(std::env::temp_dir);
        let folder = parent.join(format!("meterd-bench-kill-{}", std::process::id()));
        let took = runtime()?.block_on(self.measure(folder.clone()));
        let _ = std::fs::remove_dir_all(&folder);
        self.report(took?)
    }

    async fn measure(&self, data_dir: PathBuf) -> Result<Vec<Took>, Failure> {
        let any_port = || Some("127.0.0.1:0".to_owned());
        let config =
            ConfigArgs { config: None, data_dir: Some(data_dir), listen: any_port(), metrics_listen: any_port() };
        let daemon = daemon::start(&config.resolve()?, Clock::wall()).await.map_err(start_failure)?;
        let client = Client::new(&daemon.api_url());
        let mut took = Vec::new();
        let mut started = 0;
        while started < self.kills {
            let batch = self.children.clamp(1, self.kills - started);
            let mut children = Vec::new();
            for number in started..started + batch {
                children.push((number, start_child(&client, number).await?));
            }
            started += batch;
            for (number, child) in children {
                took.push(kill(&client, number, child).await?);
            }
        }
        daemon.stop().await?;
        Ok(took)
    }

    fn report(&self, took: Vec<Took>) -> Result<ExitCode, Failure> {
        let of = |part: fn(&Took) -> Duration| {
            let mut all: Vec<Duration> = took.iter().map(part).collect();
            all.sort_unstable();
            let at = |percent: usize| {
                let rank = (all.len() * percent).div_ceil(100).saturating_sub(1);
                json!(all.get(rank).map(|took| (took.as_secs_f64() * 1e5).round() / 100.0))
            };
            (at(50), at(99), at(100))
        };
        let (gone, accept, whole) = (of(|took| took.gone), of(|took| took.accept), of(|took| took.whole));
        Report {
            bench: "kill",
            figures: vec![
                ("accepted_to_gone_p50_ms", gone.0),
                ("accepted_to_gone_p99_ms", gone.1),
                ("accepted_to_gone_max_ms", gone.2),
                ("sent_to_gone_p50_ms", whole.0),
                ("sent_to_gone_p99_ms", whole.1),
                ("charge_p50_ms", accept.0),
                ("charge_p99_ms", accept.1),
                ("kills", json!(took.len())),
            ],
            settings: vec![
                ("kills", json!(self.kills)),
                ("children", json!(self.children)),
                ("channel", json!("stream")),
                ("fsync", json!(true)),
            ],
        }
        .print(self.output)
    }
}

/// A run with a limit that its first charge crosses, and a child that listens to it.
async fn start_child(client: &Client, number: u32) -> anyhow::Result<Child> {
    let run = format!("bench-{number}");
    let description = json!({ "budgets": { "modelCallLimitPerRun": 1, "onHardLimit": "terminate" } });
    client.put(&execution_path("default", &run, ""), &description).await?;
    let mut child = Command::new(std::env::current_exe()?)
        .args(["bench", "kill", "--child", client.base(), &run])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start a child")?;
    let output = child.stdout.take().context("a child without output")?;
    let listens = tokio::task::spawn_blocking(move || {
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line).map(|_| line)
    });
    if listens.await??.trim() != READY {
        bail!("a child did not come up");
    }
    Ok(child)
}

/// Crosses the limit and waits for the child's end.
async fn kill(client: &Client, number: u32, mut child: Child) -> anyhow::Result<Took> {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).context("a child without a pid")?;
    let pidfd = pidfd_open(pid, PidfdFlags::empty()).context("cannot hold a child")?;
    let pidfd = watched(pidfd).context("cannot watch a child")?;
    // Readable once the process has ended. In a task of its own: the end may come before the answer to the charge.
    let gone = tokio::spawn(async move { pidfd.readable().await.map(|_| Instant::now()) });
    let event = json!({
        "id": format!("call-{number}"), "source": "bench", "time": Clock::wall().now().to_string(),
        "execution": format!("bench-{number}"), "agent": "bench", "kind": "model", "provider": "openai", "model": "gpt-4o", "usage": { "input_tokens": 1000, "output_tokens": 100 },
    });
    let begin = Instant::now();
    client.post("/v1/usage", &event).await?;
    let accepted = Instant::now();
    let gone = tokio::time::timeout(GONE_MAX, gone).await.context("a child was not gone in time")???;
    child.wait()?;
    Ok(Took {
        accept: accepted - begin,
        gone: gone.saturating_duration_since(accepted),
        whole: gone.saturating_duration_since(begin),
    })
}

/// A cooperative agent: listens, and ends at its kill.
async fn be_child(url: &str, run: &str) -> Result<ExitCode, Failure> {
    let mut kills = Kills::listen(Client::new(url), execution_path("default", run, "/signals")).await?;
    crate::cli::output::print(&format!("{READY}\n"))?;
    let _: Value = json!(kills.next().await.id);
    Ok(ExitCode::SUCCESS)
}
