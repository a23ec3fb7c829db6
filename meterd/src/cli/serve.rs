//! `meterd serve`: the daemon in the foreground, until SIGTERM or SIGINT.

use std::process::ExitCode;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use super::load::start_failure;
use super::output::print;
use super::{ConfigArgs, Failure, runtime, say};
use crate::clock::Clock;
use crate::daemon;

/// See the command's help.
#[derive(Debug, Args)]
pub(super) struct Serve {
    #[command(flatten)]
    config: ConfigArgs,
    /// Print the configuration in force as YAML, and end
    #[arg(long)]
    print_config: bool,
}

impl Serve {
    pub(super) fn run(&self) -> Result<ExitCode, Failure> {
        let config = self.config.resolve()?;
        if self.print_config {
            print(&config.to_yaml()?)?;
            return Ok(ExitCode::SUCCESS);
        }
        runtime()?.block_on(async {
            let mut interrupt = signal(SignalKind::interrupt())?;
            let mut terminate = signal(SignalKind::terminate())?;
            let mut daemon = daemon::start(&config, Clock::wall()).await.map_err(start_failure)?;
            tracing::info!(
                api = %daemon.api_url(), metrics = %format!("{}/metrics", daemon.metrics_url()),
                data = %config.data_dir.display(), "meterd {} is up", env!("CARGO_PKG_VERSION")
            );
            if config.listen.api.ip().is_loopback() {
                tracing::info!("listening on loopback only; listen.api in the configuration changes that");
            }
            let failed = tokio::select! {
                failed = daemon.failed() => failed,
                _ = interrupt.recv() => None,
                _ = terminate.recv() => None,
            };
            if failed.is_none() {
                tracing::info!("stopping: requests under way may finish");
            }
            let stopped = daemon.stop().await;
            if let Some(error) = failed {
                say(&format!("meterd: {error}"));
                return Ok(ExitCode::FAILURE);
            }
            stopped?;
            tracing::info!("stopped; everything acknowledged is on disk");
            Ok(ExitCode::SUCCESS)
        })
    }
}
