//! The command line: `meterd …` run to its end with its output kept.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::process::{Ended, Process};

/// A command that is meant to end by itself ends within this.
pub(crate) const COMMAND_MAX: Duration = Duration::from_secs(60);

/// The binary under test, without what the caller's environment may say to it.
pub(crate) fn meterd(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_meterd"));
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if ["METERD_", "OTEL_", "JOCH_"].iter().any(|prefix| name.starts_with(prefix)) {
            command.env_remove(&name);
        }
    }
    command.env("NO_COLOR", "1").env_remove("RUST_LOG").args(arguments);
    command
}

/// Runs `meterd …` to its end in `folder`.
#[track_caller]
pub(crate) fn run(arguments: &[&str], folder: &Path) -> Ended {
    let name = format!("meterd-{}", arguments.first().unwrap_or(&"-"));
    Process::start(meterd(arguments).current_dir(folder), &name, folder).wait(COMMAND_MAX)
}

/// Runs `meterd …` to its end in `folder` with `input` on its standard input.
#[track_caller]
pub(crate) fn run_with_input(arguments: &[&str], folder: &Path, input: &[u8]) -> Ended {
    let name = format!("meterd-{}", arguments.first().unwrap_or(&"-"));
    Process::start_with_input(meterd(arguments).current_dir(folder), &name, folder, input).wait(COMMAND_MAX)
}
