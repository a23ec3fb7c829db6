//! Failures of start-up, ready to print: bad files are bad configuration.

use super::Failure;
use crate::daemon::StartError;

/// Wrong files are bad configuration; everything else is a failure.
pub(super) fn start_failure(error: StartError) -> Failure {
    match error {
        StartError::Files(problems) => {
            let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
            Failure::Config(lines.join("\n"))
        }
        StartError::Tls(error) => Failure::Config(error.to_string()),
        StartError::Auth(error) => Failure::Config(error.to_string()),
        other => Failure::Other(other.into()),
    }
}
