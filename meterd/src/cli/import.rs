//! `meterd import litellm|genai-prices FILE -o DIR`: other people's price files → price tables, with a report of what
//! they leave out. Files in, files out; what the files mean is the pricing crate's.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use pricing::PriceTable;
use pricing::import::{self, LeftOut, Options, genai_prices, litellm};
use sha2::{Digest, Sha256};

use super::output::{Rows, print};
use super::{Failure, say};

/// The report beside the tables.
const REPORT: &str = "left-out.tsv";

/// See the command's help.
#[derive(Debug, Subcommand)]
pub(super) enum Import {
    /// LiteLLM's model price file (JSON), or the MCP tool prices of a proxy configuration (YAML, or JSON with mcp_servers)
    Litellm(File),
    /// The data.json of genai-prices
    GenaiPrices(File),
}

/// A file, and where its tables go.
#[derive(Debug, Args)]
pub(super) struct File {
    /// The file
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Directory for the tables, one file a provider, and the report left-out.tsv; made if it is not there
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,
    /// Version of the source; by default the one in the file's name, else the start of its sha256
    #[arg(long, value_name = "VERSION")]
    source_version: Option<String>,
    /// Version of the tables; by default that of the source with +1
    #[arg(long, value_name = "VERSION")]
    table_version: Option<String>,
}

impl Import {
    pub(super) fn run(&self) -> Result<ExitCode, Failure> {
        let (Self::Litellm(file) | Self::GenaiPrices(file)) = self;
        let text = fs::read_to_string(&file.file).with_context(|| format!("cannot read {}", file.file.display()))?;
        let options = file.options(&text);
        let import = match self {
            Self::GenaiPrices(_) => genai_prices::convert(&text, &options),
            Self::Litellm(_) if file.is_yaml() || text.contains("\"mcp_servers\"") => {
                litellm::convert_mcp(&text, &options)
            }
            Self::Litellm(_) => litellm::convert(&text, &options),
        };
        let import = import.with_context(|| format!("cannot import {}", file.file.display()))?;
        let entries = write(&file.output, &import)?;
        say(&format!(
            "{entries} entries of {} tables are in {}; {} things are left out, named in {}",
            import.tables.len(),
            file.output.display(),
            import.left_out.len(),
            file.output.join(REPORT).display(),
        ));
        print(&summary(&import.left_out).table())?;
        Ok(ExitCode::SUCCESS)
    }
}

impl File {
    fn is_yaml(&self) -> bool {
        self.file.extension().is_some_and(|extension| extension == "yaml" || extension == "yml")
    }

    fn options(&self, text: &str) -> Options {
        let source_version = self.source_version.clone().or_else(|| version_in(&self.file)).unwrap_or_else(|| {
            let digest = Sha256::digest(text.as_bytes());
            digest.iter().take(6).map(|byte| format!("{byte:02x}")).collect()
        });
        let table_version = self.table_version.clone().unwrap_or_else(|| format!("{source_version}+1"));
        Options { source_version, table_version }
    }
}

/// `litellm-1.109.1.json` → `1.109.1`.
fn version_in(file: &Path) -> Option<String> {
    let stem = file.file_stem()?.to_str()?;
    let version = stem.rsplit('-').next()?;
    let is_version = version.contains('.') && version.split('.').all(|part| part.parse::<u32>().is_ok());
    is_version.then(|| version.to_owned())
}

/// Writes the tables, each of which the strict reader takes, and the report. Gives the number of entries.
fn write(directory: &Path, import: &import::Import) -> anyhow::Result<usize> {
    fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
    let bar = ProgressBar::with_draw_target(Some(import.tables.len() as u64), ProgressDrawTarget::stderr());
    bar.set_style(ProgressStyle::with_template("{bar:40} {pos}/{len} {msg}").unwrap_or(ProgressStyle::default_bar()));
    let mut entries = 0;
    for (provider, text) in &import.tables {
        bar.set_message(provider.clone());
        let Ok((tables, _)) = PriceTable::parse(text) else {
            bail!("the table of {provider} is not one: a defect of meterd")
        };
        entries += tables.iter().map(PriceTable::entries).sum::<usize>();
        let file = directory.join(format!("{provider}.yaml"));
        fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
        bar.inc(1);
    }
    bar.finish_and_clear();
    let file = directory.join(REPORT);
    fs::write(&file, report(&import.left_out)).with_context(|| format!("cannot write {}", file.display()))?;
    Ok(entries)
}

/// One line for each thing, in the order of the file; a provider's own has `*` for a model.
fn report(left_out: &[LeftOut]) -> String {
    let plain = |text: &str| text.replace(['\t', '\n', '\r'], " ");
    let mut text = "provider\tmodel\twhat\twhy\n".to_owned();
    for left in left_out {
        let cells = [&left.provider, left.model.as_deref().unwrap_or("*"), &left.what, &left.why].map(plain);
        text.push_str(&cells.join("\t"));
        text.push('\n');
    }
    text
}

/// How often each reason came up, the most frequent first.
fn summary(left_out: &[LeftOut]) -> Rows {
    let mut reasons: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for left in left_out {
        // A pattern or a factor is named in the report; here only its kind.
        let what = left.what.split_once(' ').map_or(left.what.as_str(), |(kind, _)| kind);
        *reasons.entry((what, &left.why)).or_default() += 1;
    }
    let mut counted: Vec<_> = reasons.into_iter().collect();
    counted.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let mut rows = Rows::new(&["left_out", "count", "why"]);
    rows.rows = counted
        .iter()
        .map(|((what, why), count)| vec![(*what).to_owned(), count.to_string(), (*why).to_owned()])
        .collect();
    rows
}

#[cfg(test)]
mod tests;
