//! `meterd export …`: what is in the ledger, for other tools. One file a form.

mod focus;

use std::process::ExitCode;

use clap::Subcommand;

use super::Failure;

/// The form of the lines.
#[derive(Debug, Subcommand)]
pub(super) enum Export {
    /// FOCUS 1.0 rows (FinOps Open Cost and Usage Specification), as CSV
    Focus(focus::Focus),
}

impl Export {
    pub(super) fn run(&self) -> Result<ExitCode, Failure> {
        match self {
            Self::Focus(focus) => focus.run(),
        }
    }
}
