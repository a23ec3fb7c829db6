//! Where a reading command reads: a running daemon, or a data directory at rest.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;

use super::client::{Client, DEFAULT_URL, announced};
use crate::ledger::{DataDir, Reader};
use crate::meter;
use budget::{Entry, Fact, Ref, State};

/// `--url` and `--data-dir`, shared by every reading command.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct SourceArgs {
    /// A running daemon's API; --data-dir goes before it
    #[arg(long, env = "METERD_URL", value_name = "URL")]
    url: Option<String>,
    /// Certificates that sign the daemon's, in PEM; without it the system's are trusted
    #[arg(long, env = "METERD_CA", value_name = "FILE")]
    ca: Option<PathBuf>,
    /// A data directory, read in place: no daemon is needed, and one that runs is not disturbed
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

/// Where to read.
pub(super) enum Source {
    Live(Box<Client>),
    AtRest(Box<AtRest>),
}

/// A data directory as of its newest durable entry.
pub(super) struct AtRest {
    pub(super) state: State,
    pub(super) reader: Reader,
}

impl AtRest {
    /// The state with `id` in it, also when that run was forgotten: folded from the first entry, so it takes its time.
    pub(super) fn remembering(&self, id: &Ref) -> anyhow::Result<Option<State>> {
        let mut state = State::default();
        self.reader.scan(1, |entry| {
            match &entry.fact {
                Fact::Forgotten { executions } if executions.contains(id) => {
                    let others = executions.iter().filter(|other| *other != id).cloned().collect();
                    state.apply(&Entry { fact: Fact::Forgotten { executions: others }, ..entry.clone() });
                }
                _ => state.apply(entry),
            }
            true
        })?;
        Ok(state.execution(id).is_some().then_some(state))
    }
}

impl SourceArgs {
    /// `--data-dir` reads files; else `--url`, else a daemon that announced itself in ./meterd-data, else the default.
    pub(super) fn open(&self) -> anyhow::Result<Source> {
        if let Some(dir) = &self.data_dir {
            return Ok(Source::AtRest(Box::new(at_rest(dir)?)));
        }
        Ok(Source::Live(Box::new(self.client())))
    }

    /// The data directory named, if one was.
    pub(super) fn data_dir(&self) -> Option<&Path> {
        self.data_dir.as_deref()
    }

    /// A daemon to talk to.
    pub(super) fn client(&self) -> Client {
        let dir = self.data_dir.as_deref().unwrap_or(Path::new("meterd-data"));
        let url = self.url.clone().or_else(|| announced(dir)).unwrap_or_else(|| DEFAULT_URL.to_owned());
        Client::trusting(&url, self.ca.as_deref())
    }
}

fn at_rest(dir: &Path) -> anyhow::Result<AtRest> {
    let (state, reader) =
        meter::read_at_rest(&DataDir::new(dir)).with_context(|| format!("cannot read {}", dir.display()))?;
    Ok(AtRest { state, reader })
}
