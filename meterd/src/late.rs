//! Dead letters: usage refused for its time is kept, ids and numbers only, until a person has it booked.
//!
//! Beside the ledger, in a file of its own: nothing of it is charged. An import goes to the meter like any usage, and books
//! each letter once however often it is asked for and wherever it is cut off. Knows no wire format and prices nothing.

mod store;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use budget::{Charge, Fact};
use pricing::Timestamp;
use serde::{Deserialize, Serialize};

pub use store::{LETTERS_MAX, REMEMBERED_MAX};

use crate::ledger::{DataDir, LedgerError, Reader};
use crate::meter::{self, Booked};
use store::Store;

/// Charges sent to the meter together.
const AT_ONCE: usize = 256;

/// Usage that was refused for its time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Letter {
    /// Names it in lists and imports; counts up from 1.
    pub id: u64,
    /// Why it was refused: `too_old`, `in_future`.
    pub reason: Arc<str>,
    /// When it came in.
    pub received: Timestamp,
    /// The time that it states; a letter from the future is charged for the time when it came in.
    pub stated: Timestamp,
    /// What is booked when it is imported.
    pub charge: Charge,
}

/// What became of a refused event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// It is kept, by this letter; perhaps since an earlier time.
    Letter(u64),
    /// It was kept and has been imported.
    Imported(u64),
    /// There is no room for more letters.
    Full,
}

/// What became of a letter in an import.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Imported {
    /// It is booked now, by this entry.
    Booked(u64),
    /// It was booked by this entry before, as this letter or in another way.
    Before(u64),
    /// Its id was booked with other content by this entry; the letter is done.
    Conflict(u64),
    /// The run's cost would leave the range; the letter stays.
    OutOfRange,
    /// There is no such letter.
    Unknown,
}

/// Why an import ended before it was done. A repeat goes on where it ended.
#[derive(Debug, thiserror::Error)]
pub enum Cut {
    /// The letters or the ledger cannot be read or written.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The meter takes nothing now.
    #[error(transparent)]
    Refused(#[from] meter::Refused),
    /// The daemon is going down.
    #[error("stopping")]
    Stopping,
}

/// The dead letters of a data directory; cheap to clone.
#[derive(Clone)]
pub struct Late {
    shared: Arc<Shared>,
}

struct Shared {
    store: Mutex<Store>,
    /// Imports go one after the other.
    turn: tokio::sync::Mutex<()>,
    meter: meter::Handle,
    ledger: Reader,
}

/// The letters at one moment.
pub struct Letters<'a>(&'a Store);

impl Letters<'_> {
    /// Those that wait, oldest first, from id `from` on.
    pub fn waiting(&self, from: u64) -> impl Iterator<Item = &Letter> {
        self.0.waiting(from)
    }

    /// How many wait.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.count()
    }

    /// How many of these namespaces were imported.
    pub fn imported(&self, of: impl Fn(&str) -> bool) -> usize {
        self.0.ended().filter(|namespace| of(namespace)).count()
    }
}

impl Late {
    /// Reads the letters of a directory that this process owns.
    pub fn open(dir: &DataDir, meter: meter::Handle, ledger: Reader) -> Result<Self, LedgerError> {
        let store = Mutex::new(Store::open(dir)?);
        Ok(Self { shared: Arc::new(Shared { store, turn: tokio::sync::Mutex::default(), meter, ledger }) })
    }

    /// Keeps refused usage; durable when this returns. One answer for each, in order. A letter's `id` is given here.
    pub async fn keep(&self, letters: Vec<Letter>) -> Result<Vec<Kept>, Cut> {
        self.blocking(move |store| store.keep(letters)).await
    }

    /// Looks at the letters as they are now.
    pub fn read<T>(&self, look: impl FnOnce(&Letters<'_>) -> T) -> T {
        look(&Letters(&self.shared.store.lock().unwrap_or_else(PoisonError::into_inner)))
    }

    /// Books these letters, or all that wait. Each is booked once, however often this is asked for.
    pub async fn import(&self, ids: Option<Vec<u64>>) -> Result<Vec<(u64, Imported)>, Cut> {
        let _turn = self.shared.turn.lock().await;
        self.find_what_was_cut_off().await?;
        let ids = ids.unwrap_or_else(|| self.read(|letters| letters.waiting(0).map(|letter| letter.id).collect()));
        let mut done = Vec::with_capacity(ids.len());
        for ids in ids.chunks(AT_ONCE) {
            done.extend(self.import_some(ids).await?);
        }
        Ok(done)
    }

    async fn import_some(&self, ids: &[u64]) -> Result<Vec<(u64, Imported)>, Cut> {
        let mut done = BTreeMap::new();
        let mut wanted: BTreeMap<u64, Charge> = BTreeMap::new();
        {
            let store = self.shared.store.lock().unwrap_or_else(PoisonError::into_inner);
            for id in ids {
                match (store.letter(*id), store.end_of(*id)) {
                    (Some(letter), _) => drop(wanted.insert(*id, Charge { late: true, ..letter.charge.clone() })),
                    (None, Some(seq)) => drop(done.insert(*id, Imported::Before(seq))),
                    (None, None) => drop(done.insert(*id, Imported::Unknown)),
                }
            }
        }
        if !wanted.is_empty() {
            let tried: Vec<u64> = wanted.keys().copied().collect();
            let after = self.shared.ledger.committed();
            // Said before anything is booked: who comes after a crash looks from here on.
            self.blocking({
                let tried = tried.clone();
                move |store| store.tried(tried, after)
            })
            .await?;
            let booked = self.shared.meter.book(wanted.into_values().collect()).await?;
            let mut ended = Vec::new();
            for (id, booked) in tried.into_iter().zip(booked) {
                let became = became(&booked);
                if let Imported::Booked(seq) | Imported::Before(seq) | Imported::Conflict(seq) = became {
                    ended.push((id, seq));
                }
                done.insert(id, became);
            }
            self.blocking(move |store| store.end(ended)).await?;
        }
        Ok(ids.iter().filter_map(|id| done.remove(id).map(|became| (*id, became))).collect())
    }

    /// Letters of an import that was cut off may be booked already: the ledger knows.
    async fn find_what_was_cut_off(&self) -> Result<(), Cut> {
        let ledger = self.shared.ledger.clone();
        self.blocking(move |store| {
            let (mut open, after) = store.cut_off();
            if open.is_empty() {
                return Ok(());
            }
            let committed = ledger.committed();
            let mut ended = Vec::new();
            if after < committed {
                ledger.scan(after + 1, |entry| {
                    if let Fact::Charged(charge) = &entry.fact
                        && let Some(id) = open.remove(&charge.key)
                    {
                        ended.push((id, entry.seq));
                    }
                    entry.seq < committed && !open.is_empty()
                })?;
            }
            store.end(ended)?;
            store.not_tried(open.into_values());
            Ok(())
        })
        .await
    }

    /// Reads and writes files away from the threads that serve.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Store) -> Result<T, LedgerError> + Send + 'static,
    ) -> Result<T, Cut> {
        let shared = Arc::clone(&self.shared);
        let work = move || work(&mut shared.store.lock().unwrap_or_else(PoisonError::into_inner));
        match tokio::task::spawn_blocking(work).await {
            Ok(done) => Ok(done?),
            Err(_) => Err(Cut::Stopping),
        }
    }
}

const fn became(booked: &Booked) -> Imported {
    match booked {
        Booked::Accepted { seq, .. } => Imported::Booked(*seq),
        Booked::Duplicate { seq } => Imported::Before(*seq),
        Booked::Conflict { seq } => Imported::Conflict(*seq),
        // A late charge is never too old.
        Booked::OutOfRange | Booked::TooOld => Imported::OutOfRange,
    }
}

/// Letters of one event have one key.
type Keys = HashMap<u128, u64>;
