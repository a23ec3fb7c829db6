//! Configuration from file, environment and flags; its errors, ready to print.

use std::path::Path;

use super::Failure;
use crate::config::{Config, ConfigError};
use crate::daemon::StartError;

/// Reads the file if one is named, lays the environment and the flags over it, and resolves everything.
pub(super) fn config(file: Option<&Path>, flags: &[(&str, String)]) -> Result<Config, ConfigError> {
    let environment = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .filter(|(name, _)| name.starts_with("METERD_"));
    Config::load(file, environment, flags)
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::Config(error.to_string().trim_end().to_owned())
    }
}

/// Wrong files are bad configuration; everything else is a failure.
pub(super) fn start_failure(error: StartError) -> Failure {
    match error {
        StartError::Files(problems) => {
            let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
            Failure::Config(lines.join("\n"))
        }
        other => Failure::Other(other.into()),
    }
}
