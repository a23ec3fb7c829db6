//! `meterd price`: events in, one JSON line out for each, in order. Offline: no daemon, no ledger.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use budget::charge::Priced;
use clap::Args;
use pricing::PriceBook;
use serde_json::{Value, json};

use super::Failure;
use crate::event::charge::charge;
use crate::ingest::json::{BodyKind, decode};
use crate::watch;

/// See the command's help.
#[derive(Debug, Args)]
pub(super) struct Price {
    /// Directories of price tables, over the seed tables; the last one goes first
    #[arg(long, value_name = "DIR")]
    tables: Vec<PathBuf>,
    /// Leave the built-in seed tables out
    #[arg(long)]
    no_seed: bool,
    /// NDJSON of usage events; `-` or nothing reads standard input
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
}

impl Price {
    pub(super) fn run(&self) -> Result<ExitCode, Failure> {
        let (book, _) = watch::load_prices(&self.tables, !self.no_seed).map_err(|problems| {
            Failure::Config(problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
        })?;
        let input: Box<dyn BufRead> = match self.file.as_deref().filter(|path| *path != Path::new("-")) {
            Some(path) => {
                let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
                Box::new(BufReader::new(file))
            }
            None => Box::new(io::stdin().lock()),
        };
        let mut out = BufWriter::new(io::stdout().lock());
        for line in input.split(b'\n') {
            let line = line.context("cannot read the events")?;
            if !line.trim_ascii().is_empty() {
                writeln!(out, "{}", answer(&book, &line))?;
            }
        }
        out.flush()?;
        Ok(ExitCode::SUCCESS)
    }
}

/// One line's answer.
fn answer(book: &PriceBook, line: &[u8]) -> Value {
    let item = match decode(line, BodyKind::Json) {
        Ok(batch) => batch.items.into_iter().next(),
        Err(error) => return invalid(Value::Null, error.code, "", &error.message),
    };
    let Some(item) = item else { return invalid(Value::Null, "empty", "", "no event in this line") };
    let id = item.id.as_deref().map_or(Value::Null, Value::from);
    let event = match item.event {
        Ok(event) => event,
        Err(rejection) => return invalid(id, rejection.code, &rejection.pointer, &rejection.message),
    };
    let charge = charge(book, event, "", "price");
    match &charge.priced {
        Priced::Cost(cost) => json!({
            "id": id, "status": "priced", "cost_usd": cost.total, "lines": cost.lines, "price_table": cost.table,
        }),
        Priced::Zero(zero) => json!({
            "id": id, "status": "priced", "cost_usd": "0", "reason": zero.code(), "lines": [], "price_table": null,
        }),
        Priced::Unpriced(reason @ pricing::cost::Unpriced::InvalidUsage(_)) => {
            invalid(id, reason.code(), "/usage", &reason.to_string())
        }
        Priced::Unpriced(reason) => json!({
            "id": id, "status": "unpriced", "cost_usd": null, "reason": reason.code(), "message": reason.to_string(),
            "lines": [], "price_table": null,
        }),
    }
}

fn invalid(id: Value, reason: &str, pointer: &str, message: &str) -> Value {
    json!({
        "id": id, "status": "invalid", "cost_usd": null, "reason": reason, "pointer": pointer, "message": message,
        "lines": [], "price_table": null,
    })
}
