//! Charges out of the ledger, each with the newest price that an adjustment gave it. Reads only.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use budget::adjust::{Standing, Superseded};
use budget::{AdjustReason, Adjustment, Charge, Entry, Fact, Priced};
use pricing::Timestamp;

use crate::ledger::{LedgerError, Reader};

/// Entries read together.
const READ_MAX: usize = 4_096;

/// A charge as the ledger has it.
#[derive(Clone, Debug)]
pub(super) struct Paper {
    pub(super) seq: u64,
    pub(super) logged: Timestamp,
    pub(super) charge: Charge,
    /// What its newest adjustment made of its price.
    pub(super) standing: Option<Standing>,
    /// Other tables do not change it: an allowance gave a credit, or a person stated its price.
    pub(super) fixed: bool,
}

/// A walk over the charges that were there when it began. Adjustments that are booked meanwhile are seen.
pub(super) struct Walk {
    reader: Reader,
    next: u64,
    end: u64,
    read_to: u64,
    standing: HashMap<u64, Standing>,
    superseded: HashMap<u64, Arc<Superseded>>,
    fixed: HashSet<u64>,
}

impl Walk {
    /// Begins at entry `from`; reads every adjustment from there on, since those of a charge all follow it.
    pub(super) fn open(reader: Reader, from: u64) -> Result<Self, LedgerError> {
        let end = reader.committed();
        let next = from.max(1);
        let mut walk = Self {
            reader,
            next,
            end,
            read_to: next - 1,
            standing: HashMap::new(),
            superseded: HashMap::new(),
            fixed: HashSet::new(),
        };
        walk.catch_up()?;
        Ok(walk)
    }

    /// Every adjustment up to here is known.
    pub(super) const fn read_to(&self) -> u64 {
        self.read_to
    }

    /// Reads what was booked since.
    pub(super) fn catch_up(&mut self) -> Result<(), LedgerError> {
        let committed = self.reader.committed();
        let (from, standing, read_to) = (self.read_to + 1, &mut self.standing, &mut self.read_to);
        let (fixed, superseded) = (&mut self.fixed, &mut self.superseded);
        if from > committed {
            return Ok(());
        }
        self.reader.scan(from, |entry| {
            if let Fact::Adjusted(adjustment) = &entry.fact {
                if let Some(newest) = standing_of(adjustment) {
                    standing.insert(adjustment.of, newest);
                }
                match &adjustment.reason {
                    AdjustReason::Allowance(_) | AdjustReason::Operator { .. } => {
                        fixed.insert(adjustment.of);
                    }
                    AdjustReason::Superseded(known) => {
                        superseded.insert(adjustment.of, Arc::clone(known));
                    }
                    AdjustReason::Settled | AdjustReason::Repriced => {}
                }
            }
            *read_to = entry.seq;
            entry.seq < committed
        })
    }

    /// What is known now of a charge's price.
    pub(super) fn standing(&self, charge: u64) -> Option<&Standing> {
        self.standing.get(&charge)
    }

    /// The next charges, perhaps none of a stretch; `None` at the end.
    pub(super) fn next_charges(&mut self) -> Result<Option<Vec<Paper>>, LedgerError> {
        if self.next > self.end {
            return Ok(None);
        }
        self.catch_up()?;
        let batches = self.reader.read_from(self.next, READ_MAX)?;
        let Some(last) = batches.last().map(|batch| batch.last()) else { return Ok(None) };
        let entries = batches.iter().flat_map(|batch| &batch.entries);
        let wanted = entries.filter(|entry| (self.next..=self.end).contains(&entry.seq));
        let papers = wanted.filter_map(|entry| self.paper(entry)).collect();
        self.next = last + 1;
        Ok(Some(papers))
    }

    fn paper(&self, entry: &Entry) -> Option<Paper> {
        let Fact::Charged(charge) = &entry.fact else { return None };
        let standing = self.standing.get(&entry.seq).cloned();
        let fixed = self.fixed.contains(&entry.seq);
        // An estimate is priced as the call that it turned out to be.
        let charge = match self.superseded.get(&entry.seq) {
            Some(known) => known.corrected((**charge).clone()),
            None => (**charge).clone(),
        };
        Some(Paper { seq: entry.seq, logged: entry.at, charge, standing, fixed })
    }
}

/// The first entry that was logged at `time` or later; log time never goes back.
pub fn first_logged(reader: &Reader, time: Timestamp) -> Result<u64, LedgerError> {
    let (mut from, mut to) = (1, reader.committed() + 1);
    while from < to {
        let middle = from.midpoint(to);
        match reader.entry(middle)? {
            Some(entry) if entry.at < time => from = middle + 1,
            _ => to = middle,
        }
    }
    Ok(from)
}

/// The price that an adjustment leaves a charge with; that of an estimate stands for a price that is missing.
fn standing_of(adjustment: &Adjustment) -> Option<Standing> {
    let (total, digest) = match &adjustment.priced {
        Priced::Cost(cost) => (cost.total, cost.table.digest.clone()),
        priced => (priced.total().or(adjustment.before)?, "".into()),
    };
    Some(Standing { total, digest })
}

/// Calls that are quarantined, in order: each by its entry, and by the one that says what it was where that was an estimate.
pub(super) fn calls_at(reader: &Reader, calls: &[(u64, Option<u64>)]) -> Result<Vec<Paper>, LedgerError> {
    let seqs: Vec<u64> = calls.iter().map(|(seq, _)| *seq).collect();
    let mut papers = Vec::with_capacity(calls.len());
    for (seq, logged, charge) in charges_at(reader, &seqs)? {
        let known_by = calls.iter().find(|(of, _)| *of == seq).and_then(|(_, known_by)| *known_by);
        let entry = known_by.map(|known_by| reader.entry(known_by)).transpose()?.flatten();
        papers.push(match entry.map(|entry| entry.fact) {
            Some(Fact::Adjusted(adjustment)) => as_known(seq, logged, charge, &adjustment),
            _ => Paper { seq, logged, charge, standing: None, fixed: false },
        });
    }
    Ok(papers)
}

/// The call that superseded its estimate and has no price.
fn as_known(seq: u64, logged: Timestamp, charge: Charge, adjustment: &Adjustment) -> Paper {
    let charge = match &adjustment.reason {
        AdjustReason::Superseded(known) => Charge { priced: adjustment.priced.clone(), ..known.corrected(charge) },
        _ => charge,
    };
    Paper { seq, logged, charge, standing: standing_of(adjustment), fixed: false }
}

/// The charges of these entries, in order; `seqs` ascend.
pub(super) fn charges_at(reader: &Reader, seqs: &[u64]) -> Result<Vec<(u64, Timestamp, Charge)>, LedgerError> {
    let mut found = Vec::with_capacity(seqs.len());
    let mut left = seqs;
    while let Some(first) = left.first() {
        let batches = reader.read_from(*first, PER_READ)?;
        let Some(last) = batches.last().map(|batch| batch.last()) else { break };
        let (here, after) = left.split_at(left.partition_point(|seq| *seq <= last));
        for entry in batches.iter().flat_map(|batch| &batch.entries) {
            if let (Fact::Charged(charge), Ok(_)) = (&entry.fact, here.binary_search(&entry.seq)) {
                found.push((entry.seq, entry.at, (**charge).clone()));
            }
        }
        left = after;
    }
    Ok(found)
}

/// The newest adjustment of a charge; reads from the charge on.
pub(super) fn newest_adjustment(reader: &Reader, charge: u64) -> Result<Option<Entry>, LedgerError> {
    let committed = reader.committed();
    let mut newest = None;
    if charge < committed {
        reader.scan(charge + 1, |entry| {
            if matches!(&entry.fact, Fact::Adjusted(adjustment) if adjustment.of == charge) {
                newest = Some(entry.clone());
            }
            entry.seq < committed
        })?;
    }
    Ok(newest)
}

/// Neighbours read along with a quarantined charge: others of its kind are often near.
const PER_READ: usize = 256;
