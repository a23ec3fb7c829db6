//! What a proposed budget would have done: the ledger's calls again, judged by it alone. Reads the ledger, writes nothing.
//!
//! The budget comes into force at `since` and counts its windows from then on, as a new budget does; what a run had spent before
//! counts towards its limits. Each call is made as it was made and costs what it is known to cost now. A limit that denies refuses
//! a call that would pass it, as a reservation of its exact cost; a limit that terminates lets the call be made that reaches it, and
//! none of that run's after it. No other budget is in force meanwhile.

mod rehearsal;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use budget::adjust::Superseded;
use budget::entry::Applied;
use budget::{AdjustReason, Fact, Ref, Source};
use pricing::{Money, Timestamp};
use serde::Serialize;

use self::rehearsal::Rehearsal;
use crate::ledger::{LedgerError, Reader};

/// Runs of a report; those that would have saved the most.
const ROWS_MAX: usize = 10_000;
/// Runs that are told apart while the ledger is read; what would be more is in the sums only.
pub(crate) const RUNS_MAX: usize = 1_000_000;

/// A question.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The resources proposed, with the budgets that they carry.
    pub proposed: Vec<Applied>,
    /// They come into force then, by the ledger's time.
    pub since: Timestamp,
    /// Entries of this time or later are not looked at.
    pub until: Option<Timestamp>,
}

/// What would have happened. Amounts are decimal USD.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// When the budget came into force.
    pub since: Timestamp,
    /// End of what was looked at.
    pub until: Option<Timestamp>,
    /// Calls looked at.
    pub calls: u64,
    /// Runs that made them.
    pub runs: u64,
    /// Runs that would have been warned of a soft level or a limit.
    pub runs_alerted: u64,
    /// Runs that would have been refused a call.
    pub runs_denied: u64,
    /// Runs that would have been killed.
    pub runs_killed: u64,
    /// Calls that would have been refused.
    pub calls_denied: u64,
    /// Calls that would not have been made any more, for their run would have been killed.
    pub calls_avoided: u64,
    /// What was spent.
    pub spent_usd: Money,
    /// What would have been spent.
    pub would_have_spent_usd: Money,
    /// The difference.
    pub saved_usd: Money,
    /// By budget.
    pub budgets: Vec<BudgetRow>,
    /// Runs that something would have happened to, the most saved first.
    pub rows: Vec<RunRow>,
    /// Such runs that are not listed.
    pub rows_left_out: u64,
}

/// What one budget would have done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct BudgetRow {
    /// `Budget`, `Agent`, `ModelRoute`.
    pub source: &'static str,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Soft levels passed and limits reached.
    pub alerts: u64,
    /// Calls refused.
    pub calls_denied: u64,
    /// Runs killed.
    pub runs_killed: u64,
    /// Cost of the calls that were refused, or not made any more.
    pub saved_usd: Money,
}

/// What would have happened to one run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RunRow {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub execution: String,
    /// Its agent.
    pub agent: Option<String>,
    /// Its team.
    pub team: Option<String>,
    /// Soft levels passed and limits reached.
    pub alerts: u64,
    /// Calls refused.
    pub calls_denied: u64,
    /// Calls not made any more.
    pub calls_avoided: u64,
    /// When it would have been killed.
    pub killed_at: Option<Timestamp>,
    /// The first thing that would have stopped it or one of its calls: budget, window and figures.
    pub reason: Option<String>,
    /// What it spent.
    pub spent_usd: Money,
    /// What it would have spent.
    pub would_have_spent_usd: Money,
    /// The difference.
    pub saved_usd: Money,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum NotSimulated {
    /// The ledger cannot be read.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// Sums that 38 digits cannot hold.
    #[error("the sums leave the range of 38 digits; ask for a shorter time")]
    OutOfRange,
}

/// Reads the ledger twice: for what its calls cost by now, and for the rehearsal.
pub fn simulate(reader: &Reader, asked: &Asked) -> Result<Report, NotSimulated> {
    let end = reader.committed();
    let mut rehearsal = Rehearsal::new(asked, known_since(reader, end)?);
    let mut in_range = true;
    reader.scan(1, |entry| {
        let over = entry.seq > end || asked.until.is_some_and(|until| entry.at >= until);
        in_range = over || rehearsal.take(entry).is_some();
        !over && in_range
    })?;
    if in_range { rehearsal.report().ok_or(NotSimulated::OutOfRange) } else { Err(NotSimulated::OutOfRange) }
}

/// What is known by now of charges that were adjusted.
#[derive(Debug, Default)]
struct Since {
    prices: HashMap<u64, Money>,
    /// Of estimates, the calls that took their places.
    calls: HashMap<u64, Arc<Superseded>>,
}

fn known_since(reader: &Reader, end: u64) -> Result<Since, LedgerError> {
    let mut since = Since::default();
    reader.scan(1, |entry| {
        if let Fact::Adjusted(adjustment) = &entry.fact {
            if let Some(total) = adjustment.priced.total() {
                since.prices.insert(adjustment.of, total);
            }
            if let AdjustReason::Superseded(known) = &adjustment.reason {
                since.calls.insert(adjustment.of, Arc::clone(known));
            }
        }
        entry.seq < end
    })?;
    Ok(since)
}

impl Report {
    /// The runs in order, as many as are shown.
    fn list(&mut self, runs: BTreeMap<Ref, RunRow>) {
        let touched = |row: &RunRow| row.alerts + row.calls_denied + row.calls_avoided > 0 || row.killed_at.is_some();
        let mut rows: Vec<RunRow> = runs.into_values().filter(touched).collect();
        rows.sort_by(|a, b| b.saved_usd.cmp(&a.saved_usd).then_with(|| b.spent_usd.cmp(&a.spent_usd)));
        self.rows_left_out = rows.len().saturating_sub(ROWS_MAX) as u64;
        rows.truncate(ROWS_MAX);
        self.rows = rows;
    }
}

const fn source_word(source: Source) -> &'static str {
    match source {
        Source::Budget => "Budget",
        Source::Agent => "Agent",
        Source::Execution => "Execution",
        Source::ModelRoute => "ModelRoute",
    }
}
