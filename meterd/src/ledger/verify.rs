//! `verify`: the ledger proved from its own bytes. Reads only; says the first difference it finds.
//!
//! Proved: every batch's checksum and chain hash; every cost recomputed from its pinned table, and equal to its lines'
//! sum; every adjustment the difference between its charge's newest prices; every execution's cost equal to the sum of
//! its entries; the newest snapshot equal to the fold of the entries.

mod pinned;
mod price;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};

use budget::adjust::Superseded;
use budget::{AdjustReason, Adjustment, Entry, Fact, Ref, State};
use pricing::Money;

use self::price::{Books, Pricer, Team};
use super::format::{GENESIS, HEADER_LEN, Hash};
use super::frames::{Frames, segments_of};
use super::{DataDir, LedgerError, Reader, load_snapshot};

/// What was proved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Proof {
    /// Entries.
    pub entries: u64,
    /// Batches.
    pub batches: u64,
    /// Costs recomputed.
    pub costs: u64,
    /// Pinned tables used for that.
    pub tables: usize,
    /// Executions summed.
    pub executions: usize,
    /// Their total.
    pub total: Money,
}

/// The first difference.
#[derive(Debug, thiserror::Error)]
pub enum Difference {
    /// The files cannot be read, or their bytes are damaged.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// A pinned table is missing or not what its digest says.
    #[error("entry {seq} was priced from table {name} {digest}, {what}")]
    Table {
        /// The entry.
        seq: u64,
        /// Table name.
        name: Arc<str>,
        /// Digest.
        digest: Arc<str>,
        /// What is wrong with the pinned copy.
        what: String,
    },
    /// A cost is not what its table says.
    #[error("entry {seq} (event {event}): booked {booked} USD, but its pinned table gives {again}")]
    Cost {
        /// The entry.
        seq: u64,
        /// The event's id.
        event: Arc<str>,
        /// Booked.
        booked: Money,
        /// Recomputed: an amount, or why there is none.
        again: String,
    },
    /// A cost is not the sum of its lines.
    #[error("entry {seq}: booked {booked} USD, but its lines sum to {lines}")]
    Lines {
        /// The entry.
        seq: u64,
        /// Booked.
        booked: Money,
        /// Sum of the lines.
        lines: String,
    },
    /// An adjustment does not follow from its charge and the adjustments before it.
    #[error("entry {seq} adjusts entry {of}: {what}")]
    Adjustment {
        /// The entry.
        seq: u64,
        /// The charge that it names.
        of: u64,
        /// What is wrong.
        what: String,
    },
    /// An execution's status is not the sum of its entries.
    #[error("execution {execution}: status says {status} USD, its entries sum to {entries}")]
    Sum {
        /// The execution.
        execution: Ref,
        /// In the status.
        status: Money,
        /// Sum of the entries.
        entries: Money,
    },
    /// A snapshot is not the fold of the entries it stands for.
    #[error("the snapshot at entry {0} is not what its entries give; remove it, and the next start replays the ledger")]
    Snapshot(u64),
    /// The execution asked for is not in the ledger.
    #[error("no execution {0} in this ledger")]
    UnknownExecution(Ref),
}

/// Proves a data directory; `progress` is told entries done and in all.
pub fn verify(dir: &DataDir, only: Option<&Ref>, mut progress: impl FnMut(u64, u64)) -> Result<Proof, Difference> {
    const TELL_EVERY: u64 = 4_096;
    let reader = Reader::at_rest(dir)?;
    let committed = reader.committed();
    // A snapshot begins with the state; what follows it is not looked at here.
    let snapshot = load_snapshot::<State>(dir)?;
    if let Some((seq, _)) = snapshot.as_ref().filter(|(seq, _)| *seq > committed && !dir.is_owned()) {
        let (from, to, path) = (committed + 1, *seq, dir.root().to_owned());
        return Err(LedgerError::Missing { path, from, to, known_by: "a snapshot" }.into());
    }
    let books = Books::default();
    let mut audit = Audit {
        only,
        snapshot,
        reader: reader.clone(),
        adjusted: HashMap::new(),
        superseded: HashMap::new(),
        pricer: Pricer::new(dir, Arc::clone(&books)),
        state: State::default(),
        sums: HashMap::new(),
        proof: Proof::default(),
    };
    let mut first: Option<(u64, Difference)> = None;
    let (chained, scanned, priced) = std::thread::scope(|scope| {
        let chained = scope.spawn(|| chain(dir, committed));
        let mut team = Team::start(scope, dir, &books, only);
        let scanned = reader.scan_batches(1, |batch| {
            let go_on = team.give(Arc::clone(&batch));
            for entry in &batch.entries {
                if entry.seq % TELL_EVERY == 0 {
                    progress(entry.seq, committed);
                }
                first = audit.entry(entry).err().map(|difference| (entry.seq, difference));
                if first.is_some() {
                    return false;
                }
            }
            go_on
        });
        (chained.join().unwrap_or(Err(LedgerError::Stopped)), scanned, team.end())
    });
    // Damaged bytes say more than what was read from them.
    audit.proof.batches = chained?;
    scanned?;
    let (costs, unlike) = priced?;
    audit.proof.costs = costs + audit.pricer.costs;
    audit.proof.tables = books.lock().unwrap_or_else(PoisonError::into_inner).len();
    match [first, unlike].into_iter().flatten().min_by_key(|(seq, _)| *seq) {
        Some((_, difference)) => Err(difference),
        None => audit.finish(),
    }
}

/// Checks every batch's checksum and chain hash; returns how many there are up to `committed`.
fn chain(dir: &DataDir, committed: u64) -> Result<u64, LedgerError> {
    let mut chain: Hash = GENESIS;
    let mut next_seq = 1;
    let mut batches = 0;
    for segment in segments_of(dir)? {
        let path = &segment.path;
        let damaged = |offset, what: &str| LedgerError::Damaged { path: path.clone(), offset, what: what.to_owned() };
        let header = Frames::header(dir.disk(), &segment)?.ok_or_else(|| damaged(0, "the segment's header"))?;
        if header.first_seq > next_seq {
            return Err(LedgerError::Missing {
                path: dir.root().to_owned(),
                from: next_seq,
                to: header.first_seq - 1,
                known_by: "a later segment",
            });
        }
        if header.first_seq != next_seq || header.chain != chain {
            return Err(damaged(0, "the hash chain breaks here"));
        }
        let mut frames = Frames::open(dir.disk(), &segment, HEADER_LEN as u64)?;
        while next_seq <= committed {
            let offset = frames.offset();
            let Some(frame) = frames.next_frame()? else { break };
            let body = frame.body().ok_or_else(|| damaged(offset, "checksum"))?;
            if body.first_seq != next_seq || !body.chains_to(&chain) {
                return Err(damaged(offset, "the hash chain breaks here"));
            }
            chain = body.chain;
            next_seq = body.last() + 1;
            batches += 1;
        }
        // Beyond what was committed when this began, a live daemon may be writing; at rest there must be nothing.
        if next_seq > committed {
            if frames.offset() < frames.len() && !dir.is_owned() {
                let what = "bytes that are no whole batch; if the last run was cut off, a start removes what it had not acknowledged";
                return Err(damaged(frames.offset(), what));
            }
            break;
        }
        if frames.offset() < frames.len() {
            return Err(damaged(frames.offset(), "checksum"));
        }
    }
    if next_seq <= committed {
        return Err(LedgerError::Missing {
            path: dir.root().to_owned(),
            from: next_seq,
            to: committed,
            known_by: "a later segment",
        });
    }
    Ok(batches)
}

struct Audit<'a> {
    only: Option<&'a Ref>,
    snapshot: Option<(u64, State)>,
    reader: Reader,
    /// The newest price of each charge that was adjusted.
    adjusted: HashMap<u64, Money>,
    /// What is known now of calls that were booked as estimates.
    superseded: HashMap<u64, Arc<Superseded>>,
    pricer: Pricer<'a>,
    state: State,
    sums: HashMap<Ref, Money>,
    proof: Proof,
}

impl Audit<'_> {
    fn entry(&mut self, entry: &Entry) -> Result<(), Difference> {
        self.proof.entries = entry.seq;
        match &entry.fact {
            Fact::Charged(charge) if self.is_asked_for(&charge.execution) => {
                self.sum(&charge.execution, charge.amount());
            }
            Fact::Adjusted(adjustment) if self.is_asked_for(&adjustment.execution) => {
                self.adjustment(entry.seq, adjustment)?;
                self.sum(&adjustment.execution, adjustment.delta);
            }
            // What they cost was proved up to here; a run of that name that comes later begins at zero.
            Fact::Forgotten { executions } => self.forgotten(executions)?,
            _ => {}
        }
        self.state.apply(entry);
        match &self.snapshot {
            Some((seq, state)) if *seq == entry.seq && *state != self.state => Err(Difference::Snapshot(*seq)),
            _ => Ok(()),
        }
    }

    fn forgotten(&mut self, executions: &[Ref]) -> Result<(), Difference> {
        for id in executions {
            if !self.is_asked_for(id) {
                continue;
            }
            let entries = self.sums.remove(id).unwrap_or(Money::ZERO);
            if let Some(run) = self.state.execution(id) {
                if entries != run.cost {
                    return Err(Difference::Sum { execution: id.clone(), status: run.cost, entries });
                }
                self.proof.executions += 1;
                self.proof.total = self.proof.total.checked_add(run.cost).unwrap_or(self.proof.total);
            }
        }
        Ok(())
    }

    fn is_asked_for(&self, execution: &Ref) -> bool {
        self.only.is_none_or(|only| only == execution)
    }

    fn sum(&mut self, execution: &Ref, amount: Money) {
        let sum = self.sums.entry(execution.clone()).or_insert(Money::ZERO);
        *sum = sum.checked_add(amount).unwrap_or(*sum);
    }

    fn adjustment(&mut self, seq: u64, adjustment: &Adjustment) -> Result<(), Difference> {
        let of = adjustment.of;
        let wrong = |what: String| Difference::Adjustment { seq, of, what };
        let charge = match self.reader.entry(of)?.map(|entry| entry.fact) {
            Some(Fact::Charged(charge)) if of < seq && charge.execution == adjustment.execution => charge,
            _ => return Err(wrong(format!("that is no charge of {}", adjustment.execution))),
        };
        let before = self.adjusted.get(&of).copied().or(charge.price());
        let word = |price: Option<Money>| price.map_or_else(|| "no price".to_owned(), |price| format!("{price} USD"));
        if before != adjustment.before {
            let (stated, before) = (word(adjustment.before), word(before));
            return Err(wrong(format!("it states {stated} before, but the entries give {before}")));
        }
        // Where a call has no price, what was booked as its estimate stands for it.
        let after = adjustment.priced.total().or(before);
        let total = after.unwrap_or(Money::ZERO);
        if total.checked_sub(before.unwrap_or(Money::ZERO)) != Some(adjustment.delta) {
            let delta = adjustment.delta;
            return Err(wrong(format!("it books {delta} USD for {total} USD after {}", word(before))));
        }
        match &adjustment.reason {
            AdjustReason::Operator { .. } => {}
            AdjustReason::Allowance(drawn) => {
                let charge = match self.superseded.get(&of) {
                    Some(known) => known.corrected(*charge),
                    None => *charge,
                };
                self.pricer.credit(seq, &charge, &adjustment.priced, drawn)?;
            }
            AdjustReason::Superseded(known) => {
                self.superseded.insert(of, Arc::clone(known));
                self.pricer.price(seq, &known.corrected(*charge), &adjustment.priced)?;
            }
            AdjustReason::Settled | AdjustReason::Repriced => {
                let charge = match self.superseded.get(&of) {
                    Some(known) => known.corrected(*charge),
                    None => *charge,
                };
                self.pricer.price(seq, &charge, &adjustment.priced)?;
            }
        }
        if let Some(after) = after {
            self.adjusted.insert(of, after);
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Proof, Difference> {
        if let Some(only) = self.only
            && self.state.execution(only).is_none()
            && self.proof.executions == 0
        {
            return Err(Difference::UnknownExecution(only.clone()));
        }
        for run in self.state.executions().filter(|run| self.only.is_none_or(|only| *only == run.id)) {
            let entries = self.sums.get(&run.id).copied().unwrap_or(Money::ZERO);
            if entries != run.cost {
                return Err(Difference::Sum { execution: run.id.clone(), status: run.cost, entries });
            }
            self.proof.executions += 1;
            self.proof.total = self.proof.total.checked_add(run.cost).unwrap_or(self.proof.total);
        }
        // A charge must have reached a run: what no run counts is lost money.
        if let Some((run, entries)) = self.sums.iter().find(|(run, _)| self.state.execution(run).is_none()) {
            return Err(Difference::Sum { execution: run.clone(), status: Money::ZERO, entries: *entries });
        }
        Ok(self.proof)
    }
}
