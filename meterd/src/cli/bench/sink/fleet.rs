//! A ledger of a fleet's calls, made as fast as the disk takes it: teams, agents, models and runs as a large fleet has them.

use std::sync::Arc;

use budget::charge::{CallOutcome, Called, Priced};
use budget::{Charge, Entry, Fact, Ref, Subject};
use pricing::cost::{Cost, TableRef};
use pricing::{Attrs, Money, Quantity, Timestamp, Usage, UsageKey};

use crate::ledger::{self, DataDir, LedgerError, Reader, Recovered};

/// Entries of one commit.
const COMMIT: u64 = 8_192;
const TEAMS: u64 = 20;
const AGENTS: u64 = 50;
const MODELS: u64 = 6;
const RUNS: u64 = 50_000;
const DAYS_NANOS: i64 = 30 * 86_400_000_000_000;
/// 0.000423 USD and a little more for each token, so that no two sums are alike.
const CALL_USD: i128 = 423_000_000_000_000;
const TOKEN_USD: i128 = 150_000_000_001;

/// The ledger and what its entries are made of.
pub(super) struct Fleet {
    recovered: Recovered,
    begin: Timestamp,
    step_nanos: i64,
    made: u64,
    teams: Vec<Arc<str>>,
    agents: Vec<Arc<str>>,
    models: Vec<Arc<str>>,
    table: TableRef,
}

impl Fleet {
    /// An empty ledger; `entries` of them will span 30 days up to `now`.
    pub(super) fn open(dir: &DataDir, now: Timestamp, entries: u64) -> Result<Self, LedgerError> {
        let names = |what: &str, count: u64| (0..count).map(|n| Arc::from(format!("{what}-{n}"))).collect();
        Ok(Self {
            recovered: ledger::open(dir, 0, |_| {})?,
            begin: now.saturating_add(-DAYS_NANOS),
            step_nanos: DAYS_NANOS / i64::try_from(entries.max(1)).unwrap_or(i64::MAX),
            made: 0,
            teams: names("team", TEAMS),
            agents: names("agent", AGENTS),
            models: names("model", MODELS),
            table: TableRef::new("bench", "1", "0"),
        })
    }

    pub(super) fn reader(&self) -> Reader {
        self.recovered.writer.reader()
    }

    /// Commits so many more; the last of them.
    pub(super) fn fill(&mut self, entries: u64) -> Result<u64, LedgerError> {
        let end = self.made + entries;
        while self.made < end {
            let first = self.recovered.writer.next_seq();
            let count = (end - self.made).min(COMMIT);
            let batch = (0..count).map(|n| self.entry(first + n, self.made + n)).collect();
            self.recovered.writer.append(batch)?;
            self.made += count;
        }
        Ok(self.recovered.writer.next_seq() - 1)
    }

    fn entry(&self, seq: u64, number: u64) -> Entry {
        let nanos = self.step_nanos.saturating_mul(i64::try_from(number).unwrap_or(i64::MAX));
        let at = self.begin.saturating_add(nanos);
        Entry { seq, at, fact: Fact::Charged(Box::new(self.charge(number, at))) }
    }

    fn charge(&self, number: u64, time: Timestamp) -> Charge {
        let pick = |names: &[Arc<str>], number: u64| names.get((number % names.len().max(1) as u64) as usize).cloned();
        // Neighbours are of different agents, and an agent stays with its team.
        let agent = number.wrapping_mul(7) % AGENTS;
        let tokens = 500 + number % 4_000;
        let mut usage = Usage::new();
        for (key, count) in [(UsageKey::InputTokens, tokens), (UsageKey::OutputTokens, 321)] {
            if let Some(quantity) = Quantity::from_u64(count) {
                // Whole tokens are always taken.
                let _ = usage.set(key, quantity);
            }
        }
        let total = Money::from_scaled(CALL_USD + TOKEN_USD * i128::from(tokens)).unwrap_or_default();
        Charge {
            event_id: Arc::from(format!("event-{number:016}")),
            source: Arc::from("bench"),
            via: Arc::from("api"),
            key: u128::from(number),
            response_key: None,
            body: number,
            time,
            execution: Ref { namespace: Arc::from("bench"), name: Arc::from(format!("run-{}", number / 16 % RUNS)) },
            subject: Subject {
                agent: pick(&self.agents, agent),
                team: pick(&self.teams, agent),
                environment: Some(Arc::from("prod")),
                labels: Vec::new(),
            },
            parent: None,
            conversation: None,
            called: Called::Model {
                provider: Arc::from("acme"),
                model: pick(&self.models, number / 3).unwrap_or_default(),
                request_model: None,
                response_id: None,
            },
            usage,
            attrs: Attrs::new(),
            outcome: CallOutcome::Ok,
            estimated: false,
            priced: Priced::Cost(Cost { total, lines: Vec::new(), table: self.table.clone() }),
            reported_cost: None,
            claim: None,
            ceiling: None,
            late: false,
        }
    }
}
