//! Prices of calls that are booked already: the quarantine settles when a price arrives, and re-pricing books
//! differences. What was booked stays; each change is an adjustment, a ledger entry of its own.
//!
//! Every step can be cut off and done again: what is quarantined and what was adjusted is in the ledger, so a repeat books
//! only what is left. The `onUnpriced` policies of budgets act when a charge is booked, not here; a settled charge is where
//! they would give back what they held.

mod bill;
mod book;
mod release;
mod reprice;
mod statement;
mod walk;

#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use budget::charge::{Priced, Zero};
use budget::{Adjust, AdjustReason, Charge};
use pricing::cost::Unpriced;
use pricing::{Cost, Outcome, PriceBook};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

pub use bill::{BillLine, Booking as BillBooking};
pub use release::{Case, Released, Wish};
pub use reprice::{Asked, Report, ReportRow, reprice};
pub use statement::{NotStated, Stated, Statement};

use crate::event::charge::price_again;
use crate::ledger::{DataDir, LedgerError};
use crate::meter;
use crate::reconcile::View;
use book::book;
pub use walk::first_logged;
use walk::{Paper, Walk, calls_at};

/// Quarantined charges looked at together.
const PAGE_MAX: usize = 1_024;
/// How often requests that began with an older book are looked after, and how long a failed pass waits for the next.
const AGAIN: Duration = Duration::from_millis(50);
const AFTER_FAILURE: Duration = Duration::from_secs(5);

/// Why a change of prices ended before it was done. A repeat goes on where it ended.
#[derive(Debug, thiserror::Error)]
pub enum Cut {
    /// The ledger cannot be read.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The meter takes nothing more.
    #[error(transparent)]
    Refused(#[from] meter::Refused),
    /// Sums that 38 digits cannot hold.
    #[error("the sums leave the range of 38 digits; ask for a shorter time")]
    OutOfRange,
    /// The daemon is going down.
    #[error("stopping")]
    Stopping,
}

/// Settles the quarantine whenever other prices come into force; cheap to clone.
#[derive(Clone)]
pub struct Settler {
    shared: Arc<Shared>,
}

struct Shared {
    meter: meter::Handle,
    view: View,
    dir: DataDir,
    prices: Arc<ArcSwap<PriceBook>>,
    /// Books out of force that a request under way may still price with.
    retired: Mutex<Vec<Weak<PriceBook>>>,
    changed: Notify,
    /// Prices change one after the other.
    turn: tokio::sync::Mutex<()>,
}

impl Settler {
    /// A settler for what `prices` holds.
    #[must_use]
    pub fn new(meter: meter::Handle, view: View, dir: DataDir, prices: Arc<ArcSwap<PriceBook>>) -> Self {
        let retired = Mutex::default();
        let (changed, turn) = (Notify::new(), tokio::sync::Mutex::new(()));
        Self { shared: Arc::new(Shared { meter, view, dir, prices, retired, changed, turn }) }
    }

    /// Puts a book in force; the quarantine is settled with it soon.
    pub fn put(&self, book: PriceBook) {
        let before = self.shared.prices.swap(Arc::new(book));
        self.shared.retired.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(&before));
        self.shared.changed.notify_one();
    }

    /// Settles after each change of prices, until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let work = async {
            loop {
                self.shared.changed.notified().await;
                self.settle().await;
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = work => {}
        }
    }

    /// Prices booked charges again from `asked`'s tables; with `asked.dry_run` nothing is booked.
    pub async fn reprice(&self, asked: &Asked) -> Result<Report, Cut> {
        let Shared { meter, view, dir, turn, .. } = &*self.shared;
        let turn = if asked.dry_run { None } else { Some(turn.lock().await) };
        let booker = turn.as_ref().map(|_| (meter, dir));
        reprice(view.ledger(), asked, booker).await
    }

    /// Until nothing that could be priced is left, also of requests that began with an older book.
    async fn settle(&self) {
        let mut from = 0;
        loop {
            // Asked first: what they book before they are gone is there for the pass that follows.
            let waiting = self.retired_in_use();
            match self.pass(from).await {
                Ok(next) => {
                    if !waiting {
                        return;
                    }
                    from = next;
                    tokio::time::sleep(AGAIN).await;
                }
                Err(Cut::Refused(_) | Cut::Stopping) => return,
                Err(error) => {
                    tracing::error!(%error, "quarantined usage could not be settled, trying again");
                    tokio::time::sleep(AFTER_FAILURE).await;
                }
            }
        }
    }

    fn retired_in_use(&self) -> bool {
        let mut retired = self.shared.retired.lock().unwrap_or_else(PoisonError::into_inner);
        retired.retain(|book| book.strong_count() > 0);
        !retired.is_empty()
    }

    /// Settles what the book in force can price of the quarantine from entry `from` on; where the next pass begins.
    async fn pass(&self, from: u64) -> Result<u64, Cut> {
        let Shared { meter, view, prices, turn, .. } = &*self.shared;
        let _turn = turn.lock().await;
        let prices = prices.load_full();
        let mut next = from;
        let mut settled = 0;
        loop {
            let page: Vec<(u64, Option<u64>)> = view
                .read_fresh(|state| {
                    let open = state.quarantine(next).filter(|(_, quarantined)| may_settle(&quarantined.reason));
                    open.map(|(seq, quarantined)| (seq, quarantined.known_by)).take(PAGE_MAX).collect()
                })
                .await;
            let Some((last, _)) = page.last() else { break };
            next = last + 1;
            let (reader, prices) = (view.ledger().clone(), Arc::clone(&prices));
            let read_to = reader.committed();
            let wishes = blocking(move || {
                let wish = |paper: Paper| {
                    let cost = price_of(&prices, &paper.charge)?;
                    Some(settlement(paper, cost, read_to))
                };
                Ok(calls_at(&reader, &page)?.into_iter().filter_map(wish).collect::<Vec<Adjust>>())
            });
            settled += book(meter, wishes.await?).await?.booked;
        }
        settled += self.beyond(&prices).await?;
        if settled > 0 {
            tracing::info!(settled, "quarantined usage has its price now");
        }
        Ok(next)
    }

    /// Settles what the state does not list: the ledger has it.
    async fn beyond(&self, prices: &Arc<PriceBook>) -> Result<u64, Cut> {
        let Shared { meter, view, .. } = &*self.shared;
        let beyond = view.read_fresh(budget::State::quarantine_beyond).await;
        if beyond.count == 0 {
            return Ok(0);
        }
        let reader = view.ledger().clone();
        let mut walk = blocking(move || Walk::open(reader, beyond.from)).await?;
        let mut settled = 0;
        loop {
            let prices = Arc::clone(prices);
            let (back, wishes) = blocking(move || {
                let Some(papers) = walk.next_charges()? else { return Ok((walk, None)) };
                let read_to = walk.read_to();
                let open =
                    papers.into_iter().filter(|paper| paper.standing.is_none() && paper.charge.price().is_none());
                let wish = |paper: Paper| {
                    let cost = price_of(&prices, &paper.charge)?;
                    Some(settlement(paper, cost, read_to))
                };
                Ok((walk, Some(open.filter_map(wish).collect::<Vec<Adjust>>())))
            })
            .await?;
            walk = back;
            let Some(wishes) = wishes else { return Ok(settled) };
            settled += book(meter, wishes).await?.booked;
        }
    }
}

/// Keeps the content of a book's tables beside the ledger, and what stands over what, where `verify` finds each by its
/// digest (I7).
pub fn pin(dir: &DataDir, book: &PriceBook) -> Result<(), LedgerError> {
    for (reference, json) in book.pins() {
        let path = dir.prices().join(format!("{}.json", reference.digest));
        if !dir.has(&path) {
            dir.write_durably(&path, json.as_bytes())?;
        }
    }
    Ok(())
}

fn settlement(paper: Paper, cost: Cost, read_to: u64) -> Adjust {
    let Paper { seq: of, logged, charge, standing, .. } = paper;
    let (priced, reason) = (Priced::Cost(cost), AdjustReason::Settled);
    Adjust { of, logged, charge, standing, read_to, priced, reason, run: None }
}

/// Can a price table change that?
const fn may_settle(reason: &Unpriced) -> bool {
    !matches!(reason, Unpriced::MissingUsage | Unpriced::InvalidUsage(_))
}

/// What a book says that a booked call costs, at the call's own time. `None` without a price, and where it is not known
/// what was used.
fn price_of(book: &PriceBook, charge: &Charge) -> Option<Cost> {
    match &charge.priced {
        Priced::Unpriced(reason) if !may_settle(reason) => return None,
        Priced::Zero(Zero::FailedWithoutUsage) => return None,
        _ => {}
    }
    match price_again(book, charge) {
        Outcome::Priced(cost) => Some(cost),
        Outcome::Unpriced(_) => None,
    }
}

/// Reads files and prices without holding up the daemon's other work.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, LedgerError> + Send + 'static) -> Result<T, Cut> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => Ok(done?),
        Err(_) => Err(Cut::Stopping),
    }
}
