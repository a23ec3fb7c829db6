//! A whole daemon in this process for a benchmark: loopback, any free ports, a folder of its own that goes with it.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;

use super::Report;
use crate::cli::output::Output;
use crate::cli::{ConfigArgs, Failure, runtime};
use crate::clock::Clock;
use crate::config::Config;
use crate::daemon::{self, Daemon};

/// Runs what measures in a folder of its own, prints what it found, and removes the folder.
pub(super) fn in_a_folder(
    name: &str,
    output: Output,
    measure: impl AsyncFnOnce(&Path) -> Result<Report, Failure>,
) -> Result<ExitCode, Failure> {
    let dir = std::env::temp_dir().join(format!("meterd-bench-{name}-{}", std::process::id()));
    let measured = runtime()?.block_on(measure(&dir));
    let _ = std::fs::remove_dir_all(&dir);
    measured?.print(output)
}

/// A daemon on `dir`, with everything at its default but for what `change` says.
pub(super) async fn daemon(dir: &Path, change: impl FnOnce(&mut Config)) -> Result<Daemon, Failure> {
    let any = || Some("127.0.0.1:0".to_owned());
    let args =
        ConfigArgs { data_dir: Some(dir.to_path_buf()), listen: any(), metrics_listen: any(), ..ConfigArgs::default() };
    let mut config = args.resolve()?;
    change(&mut config);
    Ok(daemon::start(&config, Clock::wall()).await.context("the daemon does not start")?)
}
