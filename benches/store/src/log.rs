//! meterd's own: an append-only log of hash-chained batches, and an index of sorted runs beside it. The whole meter decides
//! and books each row as a charge of one run, so this candidate does more than the others; the row's bytes are its labels.
//! [`Sequence`] is the log alone: the same entries, numbered and chained, without a decision and without an index.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use budget::charge::{CallOutcome, Called, Priced, Subject, Zero};
use budget::{Charge, Entry, Fact, Ref};
use meterd::clock::Clock;
use meterd::ledger::{self, DataDir, Writer};
use meterd::meter::{Answer, Ask, Booked, Core, Rules, restore};
use pricing::{Attrs, Timestamp, Usage};

use crate::{Row, Store};

pub struct Log {
    core: Core,
    clock: Clock,
}

impl Log {
    pub fn open(folder: &Path) -> Result<Self> {
        let dir = DataDir::new(folder.join("data"));
        let restored = restore(&dir)?;
        let (clock, on_commit) = (Clock::wall(), Box::new(|_| {}));
        let rules = Rules { queue_events_max: 65_536, dedup_horizon: Duration::from_secs(35 * 86_400) };
        let core = Core::new(dir, restored, clock.clone(), &rules, on_commit, true);
        Ok(Self { core, clock })
    }
}

impl Store for Log {
    fn commit(&mut self, rows: &[Row]) -> Result<()> {
        let charges = rows.iter().map(|row| charge(row, self.clock.now())).collect();
        let answers = self.core.batch(vec![Ask::Charges(charges)])?;
        let [Answer::Charges(booked)] = &answers[..] else { anyhow::bail!("no answer") };
        ensure!(booked.iter().all(|booked| matches!(booked, Booked::Accepted { .. })), "not accepted");
        self.core.keep_house()?;
        Ok(())
    }
}

/// The log without the meter.
pub struct Sequence {
    writer: Writer,
    clock: Clock,
}

impl Sequence {
    pub fn open(folder: &Path) -> Result<Self> {
        let dir = DataDir::new(folder.join("data"));
        Ok(Self { writer: ledger::open(&dir, 0, |_| {})?.writer, clock: Clock::wall() })
    }
}

impl Store for Sequence {
    fn commit(&mut self, rows: &[Row]) -> Result<()> {
        let first = self.writer.next_seq();
        let entry = |(seq, row): (u64, &Row)| {
            let at = self.clock.now();
            Entry { seq, at, fact: Fact::Charged(Box::new(charge(row, at))) }
        };
        let entries = (first..).zip(rows).map(entry).collect();
        self.writer.append(entries)?;
        Ok(())
    }
}

fn charge(row: &Row, time: Timestamp) -> Charge {
    // Half of the bytes as text of twice the length: 300 bytes that do not pack.
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(224);
    for byte in row.body.iter().take(112) {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    let labels = vec![("row".into(), Arc::from(text))];
    Charge {
        event_id: row.number.to_string().into(),
        source: "bench".into(),
        via: "api".into(),
        key: u128::from_be_bytes(row.id),
        response_key: None,
        body: row.number,
        time,
        execution: Ref::new("default", "bench"),
        subject: Subject { labels, ..Subject::default() },
        parent: None,
        conversation: None,
        called: Called::Approval,
        usage: Usage::new(),
        attrs: Attrs::new(),
        outcome: CallOutcome::Ok,
        estimated: false,
        priced: Priced::Zero(Zero::UnlistedTool),
        reported_cost: None,
        claim: None,
        ceiling: None,
        late: false,
    }
}
