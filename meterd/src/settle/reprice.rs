//! Re-pricing: what booked charges would cost by other tables, and the differences as adjustments, each booked once.

use std::collections::BTreeMap;
use std::sync::Arc;

use budget::charge::{Called, Priced};
use budget::window::Calendar;
use budget::{Adjust, AdjustReason, Window};
use pricing::{Money, PriceBook, Timestamp};
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::book::book;
use super::walk::{Paper, Walk, first_logged};
use super::{Cut, blocking, pin, price_of};
use crate::ledger::{DataDir, Reader};
use crate::meter;

/// Rows of a report; what would be more is one row, `_other`.
const ROWS_MAX: usize = 10_000;
const OTHER: &str = "_other";
/// A call may be dated so far ahead of its entry, and no further: the ledger before that need not be read.
const AHEAD_MAX_NANOS: i64 = 86_400_000_000_000;
/// An adjustment that others overtake is looked up again so often.
const TRIES_MAX: usize = 8;

/// A wish to price again.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The tables to price from: these and no others. A charge that they do not price stays as it is.
    pub prices: Arc<PriceBook>,
    /// Charges of this time or later, by the event's own time.
    pub since: Timestamp,
    /// Charges before this time.
    pub until: Option<Timestamp>,
    /// Book nothing.
    pub dry_run: bool,
    /// Also charges of closed months: those before the UTC month that runs at `now`.
    pub reopen: bool,
    /// The present.
    pub now: Timestamp,
}

/// What re-pricing found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Names the tables: the same for a repeat.
    pub run: String,
    /// Nothing was booked.
    pub dry_run: bool,
    /// Charges of the time asked for.
    pub examined: u64,
    /// Of these: another price.
    pub changed: u64,
    /// Adjustments in the ledger now because of this.
    pub booked: u64,
    /// Of a closed month, and so left alone.
    pub closed: u64,
    /// Not priced by these tables, and so left alone.
    pub not_priced: u64,
    /// Refused: the run's cost would leave the range.
    pub out_of_range: u64,
    /// What the changed charges cost until now.
    pub before_usd: Money,
    /// What they cost by these tables.
    pub after_usd: Money,
    /// After less before.
    pub difference_usd: Money,
    /// By team, agent and model.
    pub rows: Vec<ReportRow>,
}

/// The changed charges of one team, agent and model.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ReportRow {
    /// Team; empty where none was named.
    pub team: String,
    /// Agent.
    pub agent: String,
    /// `provider:model`, the tool's name, or `approval`.
    pub model: String,
    /// Changed charges.
    pub events: u64,
    /// Of these: had no price until now.
    pub unpriced_before: u64,
    /// What they cost until now.
    pub before_usd: Money,
    /// What they cost by these tables.
    pub after_usd: Money,
    /// After less before.
    pub difference_usd: Money,
}

/// A charge with another price.
struct Change {
    wish: Adjust,
    before: Option<Money>,
    after: Money,
}

/// Sums of the rows.
#[derive(Default)]
struct Sums {
    rows: BTreeMap<[String; 3], ReportRow>,
}

/// Prices every charge of the time asked for again. With a booker the differences are booked.
pub async fn reprice(
    reader: &Reader,
    asked: &Asked,
    booker: Option<(&meter::Handle, &DataDir)>,
) -> Result<Report, Cut> {
    let run = run_id(asked);
    let mut report = Report { run: run.clone(), dry_run: booker.is_none(), ..Report::default() };
    if let Some((_, dir)) = booker {
        pin(dir, &asked.prices)?;
    }
    let mut sums = Sums::default();
    let (reader, run): (_, Arc<str>) = (reader.clone(), run.into());
    let logged_from = asked.since.saturating_add(AHEAD_MAX_NANOS.saturating_neg());
    let mut walk = blocking(move || {
        let from = first_logged(&reader, logged_from)?;
        Walk::open(reader, from)
    })
    .await?;
    loop {
        let (job, run) = (asked.clone(), Arc::clone(&run));
        let (back, found) = blocking(move || {
            let Some(papers) = walk.next_charges()? else { return Ok((walk, None)) };
            let found = examine(&job, &run, papers, walk.read_to());
            Ok((walk, Some(found)))
        })
        .await?;
        walk = back;
        let Some(found) = found else { break };
        report.examined += found.examined;
        report.closed += found.closed;
        report.not_priced += found.not_priced;
        for change in &found.changes {
            report.changed += 1;
            sums.add(change).ok_or(Cut::OutOfRange)?;
        }
        if let Some((meter, _)) = booker {
            let wishes = found.changes.into_iter().map(|change| change.wish).collect();
            walk = book_all(meter, walk, wishes, &mut report).await?;
        }
    }
    sums.into(report).ok_or(Cut::OutOfRange)
}

/// Books adjustments; those that the state cannot be sure of are looked up again first.
async fn book_all(
    meter: &meter::Handle,
    mut walk: Walk,
    mut wishes: Vec<Adjust>,
    report: &mut Report,
) -> Result<Walk, Cut> {
    for _ in 0..TRIES_MAX {
        let done = book(meter, wishes).await?;
        report.booked += done.booked;
        report.out_of_range += done.out_of_range;
        if done.stale.is_empty() {
            break;
        }
        walk = blocking(move || walk.catch_up().map(|()| walk)).await?;
        let again = done.stale.into_iter().map(|wish| Adjust {
            standing: walk.standing(wish.of).cloned(),
            read_to: walk.read_to(),
            ..wish
        });
        wishes = again.collect();
    }
    Ok(walk)
}

#[derive(Default)]
struct Found {
    examined: u64,
    closed: u64,
    not_priced: u64,
    changes: Vec<Change>,
}

fn examine(asked: &Asked, run: &Arc<str>, papers: Vec<Paper>, read_to: u64) -> Found {
    let mut found = Found::default();
    let open_from = month_of(asked.now);
    for paper in papers {
        let time = paper.charge.time;
        if time < asked.since || asked.until.is_some_and(|until| time >= until) {
            continue;
        }
        found.examined += 1;
        if time < open_from && !asked.reopen {
            found.closed += 1;
            continue;
        }
        // What an allowance gave or a person stated is not taken back: other tables know nothing of it.
        if paper.fixed {
            found.not_priced += 1;
            continue;
        }
        match price_of(&asked.prices, &paper.charge) {
            None => found.not_priced += 1,
            Some(cost) => found.changes.extend(change(run, paper, cost, read_to)),
        }
    }
    found
}

/// The change that a price is, if it is one.
fn change(run: &Arc<str>, paper: Paper, cost: pricing::Cost, read_to: u64) -> Option<Change> {
    let Paper { seq, logged, charge, standing, .. } = paper;
    let (before, digest) = match (&standing, &charge.priced) {
        (Some(standing), _) => (Some(standing.total), Some(&standing.digest)),
        (None, Priced::Cost(cost)) => (Some(cost.total), Some(&cost.table.digest)),
        (None, priced) => (priced.total(), None),
    };
    let after = cost.total;
    if before == Some(after) || digest == Some(&cost.table.digest) {
        return None;
    }
    let reason = if before.is_none() { AdjustReason::Settled } else { AdjustReason::Repriced };
    let (priced, run) = (Priced::Cost(cost), Some(Arc::clone(run)));
    Some(Change { wish: Adjust { of: seq, logged, charge, standing, read_to, priced, reason, run }, before, after })
}

/// The first instant of the UTC month that holds `now`.
fn month_of(now: Timestamp) -> Timestamp {
    let utc = Calendar { time_zone: "UTC".into(), week_start: 1, month_start_day: 1 };
    utc.span(Window::Month, now).start
}

/// The same tables give the same id, so a repeat and a wider time belong to it.
fn run_id(asked: &Asked) -> String {
    let mut hasher = Sha256::new();
    for (reference, _) in asked.prices.pins() {
        hasher.update(reference.digest.as_bytes());
    }
    let digest: [u8; 32] = hasher.finalize().into();
    let hex: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    format!("reprice-{hex}")
}

impl Sums {
    /// Adds a change to its row; `None` out of range.
    fn add(&mut self, change: &Change) -> Option<()> {
        let charge = &change.wish.charge;
        let text = |name: &Option<Arc<str>>| name.as_deref().unwrap_or_default().to_owned();
        let model = match &charge.called {
            Called::Model { provider, model, .. } => format!("{provider}:{model}"),
            Called::Tool { tool, .. } => tool.to_string(),
            Called::Approval => "approval".to_owned(),
        };
        let mut key = [text(&charge.subject.team), text(&charge.subject.agent), model];
        if self.rows.len() >= ROWS_MAX && !self.rows.contains_key(&key) {
            key = [OTHER, OTHER, OTHER].map(str::to_owned);
        }
        let [team, agent, model] = key.clone();
        let row = self.rows.entry(key).or_insert_with(|| ReportRow { team, agent, model, ..ReportRow::default() });
        row.events += 1;
        row.unpriced_before += u64::from(change.before.is_none());
        row.before_usd = row.before_usd.checked_add(change.before.unwrap_or(Money::ZERO))?;
        row.after_usd = row.after_usd.checked_add(change.after)?;
        row.difference_usd = row.after_usd.checked_sub(row.before_usd)?;
        Some(())
    }

    /// The rows, the largest difference first, and their totals.
    fn into(self, mut report: Report) -> Option<Report> {
        report.rows = self.rows.into_values().collect();
        report.rows.sort_by_key(|row| std::cmp::Reverse(row.difference_usd.scaled().abs()));
        report.before_usd = Money::checked_sum(report.rows.iter().map(|row| row.before_usd))?;
        report.after_usd = Money::checked_sum(report.rows.iter().map(|row| row.after_usd))?;
        report.difference_usd = report.after_usd.checked_sub(report.before_usd)?;
        Some(report)
    }
}
