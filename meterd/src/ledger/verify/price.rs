//! Costs computed again from pinned tables, on as many cores as there are. Finds the first cost that differs.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Scope, ScopedJoinHandle};

use budget::adjust::Drawn;
use budget::charge::Priced;
use budget::{Charge, Fact, Ref};
use pricing::cost::TableRef;
use pricing::{Money, Outcome, PriceBook};

use super::{Difference, pinned};
use crate::event::charge::price_again;
use crate::ledger::reader::Batch;
use crate::ledger::{DataDir, LedgerError};

/// Batches that wait for a core.
const BATCHES_WAITING_MAX: usize = 8;

/// Pinned tables, read when they are first named.
pub(super) struct Pricer<'a> {
    dir: &'a DataDir,
    books: Books,
    /// Costs that came out as booked.
    pub(super) costs: u64,
}

/// The tables read so far, shared by all who price.
pub(super) type Books = Arc<Mutex<HashMap<Arc<str>, Arc<PriceBook>>>>;

impl<'a> Pricer<'a> {
    pub(super) fn new(dir: &'a DataDir, books: Books) -> Self {
        Self { dir, books, costs: 0 }
    }

    /// Computes a charge's price again from the table that it names.
    pub(super) fn price(&mut self, seq: u64, charge: &Charge, priced: &Priced) -> Result<(), Difference> {
        let Priced::Cost(cost) = priced else { return Ok(()) };
        let lines = Money::checked_sum(cost.lines.iter().map(|line| line.amount));
        if lines != Some(cost.total) {
            let lines = lines.map_or_else(|| "more than 38 digits hold".to_owned(), |sum| format!("{sum} USD"));
            return Err(Difference::Lines { seq, booked: cost.total, lines });
        }
        let again = match price_again(&*self.book(seq, &cost.table)?, charge) {
            Outcome::Priced(again) if again == *cost => {
                self.costs += 1;
                return Ok(());
            }
            Outcome::Priced(again) if again.total == cost.total => "the same total from other lines".to_owned(),
            Outcome::Priced(again) => format!("{} USD", again.total),
            Outcome::Unpriced(reason) => format!("no price ({})", reason.code()),
        };
        Err(Difference::Cost { seq, event: Arc::clone(&charge.event_id), booked: cost.total, again })
    }

    /// Computes a price with a credit again: the table's, with no more of each line for nothing than its quota, and of
    /// the credited one at least what this credit took.
    pub(super) fn credit(
        &mut self,
        seq: u64,
        charge: &Charge,
        priced: &Priced,
        drawn: &Drawn,
    ) -> Result<(), Difference> {
        let Priced::Cost(cost) = priced else { return Ok(()) };
        let mut gross = cost.clone();
        let Outcome::Priced(again) = price_again(&*self.book(seq, &cost.table)?, charge) else {
            return self.price(seq, charge, priced);
        };
        let mut is_good = again.lines.len() == gross.lines.len();
        for (line, whole) in gross.lines.iter_mut().zip(&again.lines) {
            is_good &= pricing::recompute(line) == Some(line.amount);
            if let (Some(free), Some(taken)) = (&whole.free, whole.quantity.checked_sub(line.quantity)) {
                is_good &= taken <= free.quota && (line.unit != drawn.unit || taken >= drawn.quantity);
                (line.quantity, line.amount) = (whole.quantity, whole.amount);
            }
        }
        let lines = Money::checked_sum(cost.lines.iter().map(|line| line.amount));
        if is_good && gross.lines == again.lines && lines == Some(cost.total) {
            self.costs += 1;
            return Ok(());
        }
        let again = format!("{} USD without what is free", again.total);
        Err(Difference::Cost { seq, event: Arc::clone(&charge.event_id), booked: cost.total, again })
    }

    /// A book of just the pinned table, or of those that stand over each other.
    fn book(&self, seq: u64, table: &TableRef) -> Result<Arc<PriceBook>, Difference> {
        let mut books = self.books.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(book) = books.get(&table.digest) {
            return Ok(Arc::clone(book));
        }
        let book = pinned::book(self.dir, table).map_err(|what| Difference::Table {
            seq,
            name: Arc::clone(&table.name),
            digest: Arc::clone(&table.digest),
            what,
        })?;
        let book = Arc::new(book);
        books.insert(Arc::clone(&table.digest), Arc::clone(&book));
        Ok(book)
    }
}

/// Threads that price what they are given.
pub(super) struct Team<'scope> {
    senders: Vec<SyncSender<Arc<Batch>>>,
    workers: Vec<ScopedJoinHandle<'scope, Found>>,
    next: usize,
    stop: Arc<AtomicBool>,
}

/// What one thread found: costs that came out as booked, and its first difference.
type Found = (u64, Option<(u64, Difference)>);

impl<'scope> Team<'scope> {
    pub(super) fn start<'env>(
        scope: &'scope Scope<'scope, 'env>,
        dir: &'env DataDir,
        books: &Books,
        only: Option<&'env Ref>,
    ) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let stop = Arc::new(AtomicBool::new(false));
        let mut team = Self { senders: Vec::new(), workers: Vec::new(), next: 0, stop };
        for _ in 0..cores {
            let (sender, receiver) = sync_channel(BATCHES_WAITING_MAX);
            let (stop, pricer) = (Arc::clone(&team.stop), Pricer::new(dir, Arc::clone(books)));
            team.senders.push(sender);
            team.workers.push(scope.spawn(move || work(receiver, pricer, only, &stop)));
        }
        team
    }

    /// Gives a batch away; false when a difference was found and nothing more is wanted.
    pub(super) fn give(&mut self, batch: Arc<Batch>) -> bool {
        self.next = (self.next + 1) % self.senders.len().max(1);
        // A thread that is gone has found a difference.
        let _ = self.senders.get(self.next).map(|sender| sender.send(batch));
        !self.stop.load(Ordering::Relaxed)
    }

    /// Waits for all of them: costs in all, and the first difference of the whole ledger. Every batch before the one with
    /// the difference was given away before it, so nothing earlier is missed.
    pub(super) fn end(self) -> Result<Found, LedgerError> {
        drop(self.senders);
        let mut found: Found = (0, None);
        for worker in self.workers {
            let (costs, first) = worker.join().map_err(|_| LedgerError::Stopped)?;
            found.0 += costs;
            if let Some((seq, difference)) = first
                && found.1.as_ref().is_none_or(|(before, _)| seq < *before)
            {
                found.1 = Some((seq, difference));
            }
        }
        Ok(found)
    }
}

fn work(batches: Receiver<Arc<Batch>>, mut pricer: Pricer<'_>, only: Option<&Ref>, stop: &AtomicBool) -> Found {
    for batch in batches {
        for entry in &batch.entries {
            let Fact::Charged(charge) = &entry.fact else { continue };
            if only.is_some_and(|only| *only != charge.execution) {
                continue;
            }
            if let Err(difference) = pricer.price(entry.seq, charge, &charge.priced) {
                stop.store(true, Ordering::Relaxed);
                return (pricer.costs, Some((entry.seq, difference)));
            }
        }
    }
    (pricer.costs, None)
}
