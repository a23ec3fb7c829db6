//! `meterd apply -f PATH`, `meterd delete KIND NAME` and `meterd kill EXECUTION`: changes through a running daemon.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use serde_json::{Value, json};

use super::client::{execution_path, segment};
use super::output::print;
use super::source::SourceArgs;
use super::{Failure, runtime, say};

/// See the command's help.
#[derive(Debug, Args)]
pub(super) struct Apply {
    /// A file, a directory of YAML and JSON files, or `-` for standard input
    #[arg(short, long, required = true, value_name = "PATH")]
    file: Vec<PathBuf>,
    #[command(flatten)]
    source: SourceArgs,
}

impl Apply {
    pub(super) fn run(&self) -> Result<ExitCode, Failure> {
        let client = self.source.client();
        let runtime = runtime()?;
        for path in &self.file {
            for (name, text) in texts(path)? {
                let sent = client.post_text("/v1/resources/apply", "application/yaml", text);
                let answer = runtime.block_on(sent).with_context(|| name.clone())?.json()?;
                let list = |name: &str| answer.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
                for warning in list("warnings") {
                    say(&format!(
                        "{name}: warning: {}",
                        warning.get("message").and_then(Value::as_str).unwrap_or_default()
                    ));
                }
                for result in list("results") {
                    let text = |name: &str| result.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
                    print(&format!("{} {}/{} {}", text("kind"), text("namespace"), text("name"), text("status")))?;
                }
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// The texts of a path, each with its name.
fn texts(path: &Path) -> anyhow::Result<Vec<(String, String)>> {
    if path == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).context("standard input")?;
        return Ok(vec![("standard input".to_owned(), text)]);
    }
    let read = |path: &Path| {
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok((path.display().to_string(), text))
    };
    if !path.is_dir() {
        return Ok(vec![read(path)?]);
    }
    let mut files: Vec<PathBuf> = std::fs::read_dir(path)
        .with_context(|| format!("cannot list {}", path.display()))?
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| {
            path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml" || extension == "json")
        })
        .collect();
    files.sort();
    files.iter().map(|path| read(path)).collect()
}

/// See the command's help.
#[derive(Debug, Args)]
pub(super) struct Delete {
    /// The kind, spelt as in documents: Budget, PriceTable, PriceBook …
    kind: String,
    /// The name
    name: String,
    /// Namespace
    #[arg(short, long, default_value = crate::event::DEFAULT_NAMESPACE, value_name = "NS")]
    namespace: String,
    #[command(flatten)]
    source: SourceArgs,
}

impl Delete {
    pub(super) fn run(&self) -> Result<ExitCode, Failure> {
        let Self { kind, name, namespace, source } = self;
        let path = format!("/v1/resources/{}/{}/{}", segment(kind), segment(namespace), segment(name));
        runtime()?.block_on(source.client().delete(&path))?.json()?;
        print(&format!("{kind} {namespace}/{name} removed"))?;
        Ok(ExitCode::SUCCESS)
    }
}

/// See the command's help.
#[derive(Debug, Args)]
pub(super) struct Kill {
    /// The execution
    execution: String,
    /// Why: shown to the run and kept in the ledger
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Namespace
    #[arg(short, long, default_value = crate::event::DEFAULT_NAMESPACE, value_name = "NS")]
    namespace: String,
    #[command(flatten)]
    source: SourceArgs,
}

impl Kill {
    pub(super) fn run(&self) -> Result<ExitCode, Failure> {
        let path = execution_path(&self.namespace, &self.execution, "/kill");
        let answer = runtime()?.block_on(self.source.client().post(&path, &json!({ "reason": self.reason })))?;
        let id = answer.json()?.get("id").and_then(Value::as_str).unwrap_or_default().to_owned();
        print(&format!("{}/{} fenced by {id}", self.namespace, self.execution))?;
        Ok(ExitCode::SUCCESS)
    }
}
