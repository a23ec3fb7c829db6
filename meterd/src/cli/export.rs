//! `meterd export ndjson|csv`: the ledger's lines — charges and adjustments — out of a data directory, packed segments
//! included, at rest or beside its daemon. The amounts of a run's lines sum to its cost.

mod focus;

use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use budget::{Entry, Fact};
use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use pricing::Timestamp;
use serde_json::{Value, json};

use super::reprice::time;
use super::{Failure, say};
use crate::clock::Clock;
use crate::ledger::{DataDir, Reader};
use crate::reconcile::{cost_of, entry_json};

/// The form of the lines.
#[derive(Debug, Subcommand)]
pub(super) enum Export {
    /// One JSON object a line, with everything that is known of it
    Ndjson(Lines),
    /// A table with a header: who, what, when, how much
    Csv(Lines),
    /// FOCUS 1.0 rows (FinOps Open Cost and Usage Specification), as CSV
    Focus(focus::Focus),
}

/// Which lines, and where to.
#[derive(Debug, Args)]
pub(super) struct Lines {
    /// Usage of this time or later: an RFC 3339 time, or an age such as 12h or 30d
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Usage before this time
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Write to this file, which appears when it is whole; stdout without it
    #[arg(short = 'o', long = "out", value_name = "FILE")]
    out: Option<PathBuf>,
    /// The data directory
    #[arg(long, env = "METERD_DATA_DIR", default_value = "meterd-data", value_name = "DIR")]
    data_dir: PathBuf,
}

/// The table's columns, each with the places in a line's JSON where its value is.
const COLUMNS: [(&str, &[&str]); 22] = [
    ("seq", &["seq"]),
    ("time", &["time"]),
    ("recorded_at", &["recorded_at"]),
    ("kind", &["kind"]),
    ("event_id", &["event_id"]),
    ("source", &["source"]),
    ("namespace", &["namespace"]),
    ("execution", &["execution"]),
    ("agent", &["agent"]),
    ("team", &["team"]),
    ("provider", &["provider"]),
    ("model", &["model"]),
    ("tool", &["tool"]),
    ("outcome", &["outcome"]),
    ("status", &["status"]),
    ("cost_usd", &["cost_usd"]),
    ("input_tokens", &["usage", "input_tokens"]),
    ("cache_read_tokens", &["usage", "cache_read_tokens"]),
    ("output_tokens", &["usage", "output_tokens"]),
    ("price_table", &["price_table", "name"]),
    ("price_table_digest", &["price_table", "digest"]),
    ("flags", &["flags"]),
];

impl Export {
    pub(super) fn run(&self) -> Result<ExitCode, Failure> {
        let lines = match self {
            Self::Focus(focus) => return focus.run(),
            Self::Ndjson(lines) | Self::Csv(lines) => lines,
        };
        let now = Clock::wall().now();
        let bound = |flag, text: &Option<String>| text.as_deref().map(|text| time(flag, text, now)).transpose();
        let (since, until) = (bound("--since", &lines.since)?, bound("--until", &lines.until)?);
        let wanted =
            |time: Timestamp| since.is_none_or(|since| time >= since) && until.is_none_or(|until| time < until);
        let reader = Reader::at_rest(&DataDir::new(&lines.data_dir)).map_err(anyhow::Error::from)?;
        match &lines.out {
            None => {
                self.write(&reader, wanted, std::io::stdout().lock())?;
            }
            Some(path) => {
                let temporary = path.with_extension("tmp");
                let file = std::fs::File::create(&temporary)
                    .with_context(|| format!("cannot create {}", temporary.display()))?;
                let written = self.write(&reader, wanted, file)?;
                std::fs::rename(&temporary, path).with_context(|| format!("cannot write {}", path.display()))?;
                say(&format!("{written} line(s) in {}", path.display()));
            }
        }
        Ok(ExitCode::SUCCESS)
    }

    fn write(&self, reader: &Reader, wanted: impl Fn(Timestamp) -> bool, to: impl Write) -> anyhow::Result<u64> {
        const TELL_EVERY: u64 = 4_096;
        let bar = ProgressBar::with_draw_target(Some(reader.committed()), ProgressDrawTarget::stderr());
        if let Ok(style) = ProgressStyle::with_template("{spinner} {pos}/{len} entries {bar:40} {eta}") {
            bar.set_style(style);
        }
        let mut form = Form::new(matches!(self, Self::Csv(_)), BufWriter::new(to))?;
        let (mut written, mut failed) = (0, None);
        reader.scan(1, |entry| {
            if entry.seq % TELL_EVERY == 0 {
                bar.set_position(entry.seq);
            }
            let Some(line) = line(entry).filter(|_| time_of(entry).is_some_and(&wanted)) else { return true };
            written += 1;
            failed = form.write(&line).err();
            failed.is_none()
        })?;
        bar.finish_and_clear();
        match failed {
            Some(error) => Err(error).context("cannot write"),
            None => form.end().map(|()| written).context("cannot write"),
        }
    }
}

/// How a line is written.
enum Form<W: Write> {
    Ndjson(BufWriter<W>),
    Csv(Box<csv::Writer<BufWriter<W>>>),
}

impl<W: Write> Form<W> {
    fn new(table: bool, to: BufWriter<W>) -> anyhow::Result<Self> {
        if !table {
            return Ok(Self::Ndjson(to));
        }
        let mut writer = csv::Writer::from_writer(to);
        writer.write_record(COLUMNS.iter().map(|(name, _)| name)).context("cannot write")?;
        Ok(Self::Csv(Box::new(writer)))
    }

    fn write(&mut self, line: &Value) -> std::io::Result<()> {
        match self {
            Self::Ndjson(to) => writeln!(to, "{line}"),
            Self::Csv(to) => {
                let cell = |path: &[&str]| match path.iter().try_fold(line, |value, key| value.get(key)) {
                    None | Some(Value::Null) => String::new(),
                    Some(Value::String(text)) => text.clone(),
                    Some(Value::Array(items)) => {
                        items.iter().map(|item| item.as_str().unwrap_or_default()).collect::<Vec<_>>().join(" ")
                    }
                    Some(value) => value.to_string(),
                };
                to.write_record(COLUMNS.iter().map(|(_, path)| cell(path))).map_err(std::io::Error::other)
            }
        }
    }

    fn end(self) -> std::io::Result<()> {
        match self {
            Self::Ndjson(mut to) => to.flush(),
            Self::Csv(mut to) => to.flush(),
        }
    }
}

/// A line as the API shows it, with the run that it belongs to.
fn line(entry: &Entry) -> Option<Value> {
    let mut line = entry_json(entry)?;
    let execution = cost_of(entry)?;
    if let Some(line) = line.as_object_mut() {
        line.insert("namespace".to_owned(), json!(execution.namespace));
        line.insert("execution".to_owned(), json!(execution.name));
    }
    Some(line)
}

/// The time of the usage behind a line.
fn time_of(entry: &Entry) -> Option<Timestamp> {
    match &entry.fact {
        Fact::Charged(charge) => Some(charge.time),
        Fact::Adjusted(adjustment) => Some(adjustment.time),
        _ => None,
    }
}
