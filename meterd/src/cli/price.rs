//! `meterd price`: calls in, one JSON line out for each, in order. Offline: no daemon, no ledger.

mod mcp;

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use budget::charge::Priced;
use clap::Args;
use pricing::cost::{TableRef, Unpriced};
use pricing::{Line, Money, PriceBook, Timestamp};
use serde::Serialize;

use super::Failure;
use crate::clock::Clock;
use crate::event::charge::charge;
use crate::event::{Rejection, UsageEvent};
use crate::ingest::Item;
use crate::ingest::provider::{Defaults, decode_line};
use crate::watch::{self, Cache};

/// See the command's help.
#[derive(Debug, Args)]
pub(super) struct Price {
    /// Directories of price tables, over the seed tables; the last one goes first
    #[arg(long, value_name = "DIR")]
    tables: Vec<PathBuf>,
    /// Leave the built-in seed tables out
    #[arg(long)]
    no_seed: bool,
    /// NDJSON of usage events or of responses as providers send them (`{provider, api, body, timestamp}`); `-` or
    /// nothing reads standard input
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
}

/// The execution of calls that name none: nothing here is booked on it.
const EXECUTION: &str = "offline";

impl Price {
    pub(super) fn run(&self) -> Result<ExitCode, Failure> {
        let (book, _) =
            watch::load_prices_with(&self.tables, !self.no_seed, &Cache::of_user()).map_err(|problems| {
                Failure::Config(problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
            })?;
        let mut input: Box<dyn BufRead> = match self.file.as_deref().filter(|path| *path != Path::new("-")) {
            Some(path) => {
                let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
                Box::new(BufReader::new(file))
            }
            None => Box::new(io::stdin().lock()),
        };
        let mut out = BufWriter::new(io::stdout().lock());
        let now = Clock::wall().now();
        let mut line = Vec::new();
        for number in 1usize.. {
            line.clear();
            if input.read_until(b'\n', &mut line).context("cannot read the calls")? == 0 {
                break;
            }
            if !line.trim_ascii().is_empty() {
                answer(&book, line.trim_ascii(), number, now, &mut out)?;
            }
        }
        out.flush()?;
        Ok(ExitCode::SUCCESS)
    }
}

/// One call's answer.
#[derive(Debug, Default, Serialize)]
struct Answer {
    id: Option<String>,
    status: &'static str,
    cost_usd: Option<Money>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pointer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    lines: Vec<Line>,
    price_table: Option<TableRef>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    notes: Vec<&'static str>,
    /// Calls that the response made within itself; its own cost leaves them out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    calls_within: Vec<Self>,
    /// The cost with all of these, when each has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    total_usd: Option<Money>,
}

/// Writes one line's answer.
fn answer(book: &PriceBook, line: &[u8], number: usize, now: Timestamp, out: &mut impl Write) -> anyhow::Result<()> {
    let id = format!("line-{number}");
    let defaults = Defaults { id: Some(&id), execution: Some(EXECUTION), time: Some(now) };
    let items = match decode_line(line, &defaults) {
        Ok(batch) => batch.items,
        Err(error) => return write(&Answer::invalid(None, Rejection::new(error.code, "", error.message)), out),
    };
    // Calls that a response made within itself share its place in the line.
    for together in items.chunk_by(|one, next| one.index == next.index) {
        let mut answers = together.iter().map(|item| of_item(book, item));
        let Some(mut first) = answers.next() else { continue };
        first.calls_within = answers.collect();
        if !first.calls_within.is_empty() {
            let costs = [first.cost_usd].into_iter().chain(first.calls_within.iter().map(|within| within.cost_usd));
            first.total_usd = costs.collect::<Option<Vec<_>>>().and_then(Money::checked_sum);
        }
        write(&first, out)?;
    }
    Ok(())
}

fn write(answer: &Answer, out: &mut impl Write) -> anyhow::Result<()> {
    // By way of a value, so that the keys stand in alphabetical order whatever the types' own order is.
    serde_json::to_writer(&mut *out, &serde_json::to_value(answer)?)?;
    out.write_all(b"\n")?;
    Ok(())
}

fn of_item(book: &PriceBook, item: &Item) -> Answer {
    let id = item.id.as_deref().map(str::to_owned);
    match &item.event {
        Ok(event) => {
            let own = mcp::own_prices(event);
            Answer { notes: item.notes.clone(), ..priced(own.as_ref().unwrap_or(book), id, event.clone()) }
        }
        Err(rejection) => Answer::invalid(id, rejection.clone()),
    }
}

fn priced(book: &PriceBook, id: Option<String>, event: UsageEvent) -> Answer {
    match charge(book, event, "", "price").priced {
        Priced::Cost(cost) => Answer {
            id,
            status: "priced",
            cost_usd: Some(cost.total),
            lines: cost.lines,
            price_table: Some(cost.table),
            ..Answer::default()
        },
        Priced::Reported(cost) => Answer { id, status: "priced", cost_usd: Some(cost), ..Answer::default() },
        Priced::Zero(zero) => {
            Answer { id, status: "priced", cost_usd: Some(Money::ZERO), reason: Some(zero.code()), ..Answer::default() }
        }
        Priced::Unpriced(reason @ Unpriced::InvalidUsage(_)) => {
            Answer::invalid(id, Rejection::new(reason.code(), "/usage", reason.to_string()))
        }
        Priced::Unpriced(reason) => Answer {
            id,
            status: "unpriced",
            reason: Some(reason.code()),
            message: Some(reason.to_string()),
            ..Answer::default()
        },
    }
}

impl Answer {
    fn invalid(id: Option<String>, rejection: Rejection) -> Self {
        Self {
            id,
            status: "invalid",
            reason: Some(rejection.code),
            pointer: Some(rejection.pointer),
            message: Some(rejection.message),
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests;
