//! `meterd verify`: proves a data directory, at rest or beside its daemon.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::output::print;
use super::{Failure, say};
use crate::ledger::DataDir;
use crate::ledger::verify::{Proof, verify};

/// See the command's help.
#[derive(Debug, Args)]
pub(super) struct Verify {
    /// The data directory
    #[arg(long, env = "METERD_DATA_DIR", default_value = "meterd-data", value_name = "DIR")]
    data_dir: PathBuf,
    /// Prove only this execution's sums and costs (`NAME` or `NAMESPACE/NAME`); the chain is always proved
    #[arg(long, value_name = "NAME")]
    execution: Option<String>,
}

impl Verify {
    pub(super) fn run(&self) -> Result<ExitCode, Failure> {
        let only = self.execution.as_deref().map(|name| {
            let (namespace, name) = name.split_once('/').unwrap_or((crate::event::DEFAULT_NAMESPACE, name));
            budget::Ref::new(namespace, name)
        });
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        if let Ok(style) = ProgressStyle::with_template("{spinner} {pos}/{len} entries {bar:40} {eta}") {
            bar.set_style(style);
        }
        let proof = verify(&DataDir::new(&self.data_dir), only.as_ref(), |done, of| {
            bar.set_length(of);
            bar.set_position(done);
        });
        bar.finish_and_clear();
        match proof {
            Ok(proof) => {
                print(&sentence(&proof))?;
                Ok(ExitCode::SUCCESS)
            }
            Err(difference) => {
                say(&format!("meterd: {}: {difference}", self.data_dir.display()));
                Ok(ExitCode::FAILURE)
            }
        }
    }
}

/// What was proved, in one line.
pub(super) fn sentence(proof: &Proof) -> String {
    format!(
        "verified: {} entries in {} batches chain, {} costs recomputed from {} pinned tables, {} executions sum to {} USD",
        proof.entries, proof.batches, proof.costs, proof.tables, proof.executions, proof.total
    )
}
