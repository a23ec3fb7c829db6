//! The ledger's families as a fold beside the live state: takes entries as they become durable, and keeps its cursor beside
//! the ledger, so that counters go on after a restart where they were.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use budget::{Entry, State};
use pricing::Timestamp;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::scrapers::{Scraper, Scrapers, Shown, answer};
use super::{Caps, DaemonMetrics, Format, LedgerMetrics, Writer, gauges, render_daemon};
use crate::ledger::{DataDir, LedgerError, Reader};

/// The cursor is written after so many entries, and at a clean stop.
const SAVE_EVERY_ENTRIES: u64 = 200_000;
const FILE: &str = "metrics";
/// Scrapes that may be written at once: each holds a whole answer in memory.
const SCRAPES_MAX: usize = 4;

/// The families, shared between the follower and the scrapes.
#[derive(Clone)]
pub struct MetricsView {
    ledger: Arc<RwLock<LedgerMetrics>>,
    cursor: u64,
    dir: DataDir,
    scrapes: Arc<Semaphore>,
    /// Bytes of the newest answer: the next one is about as long.
    bytes: Arc<AtomicUsize>,
    scrapers: Arc<Scrapers>,
}

/// Folds entries into a [`MetricsView`], beside the state that its gauges are read off.
pub struct MetricsFollower {
    view: MetricsView,
    saved: u64,
}

impl MetricsView {
    /// Resumes from the cursor beside the ledger, and folds what came after it.
    ///
    /// A cursor that cannot be read, or is ahead of the ledger, is set aside: the ledger can always rebuild it.
    pub fn open(dir: &DataDir, reader: &Reader, caps: Caps) -> Result<Self, LedgerError> {
        let path = dir.followers().join(FILE);
        let saved = dir.read(&path).ok().and_then(|bytes| postcard::from_bytes::<LedgerMetrics>(&bytes).ok());
        let mut ledger = match saved.filter(|saved| saved.seq() <= reader.committed()) {
            Some(saved) => saved.with_caps(caps),
            None => LedgerMetrics::new(caps),
        };
        reader.scan(ledger.seq() + 1, |entry| {
            ledger.apply(entry);
            true
        })?;
        let cursor = ledger.seq();
        let (scrapes, bytes) = (Arc::new(Semaphore::new(SCRAPES_MAX)), Arc::new(AtomicUsize::new(0)));
        let ledger = Arc::new(RwLock::new(ledger));
        Ok(Self { ledger, cursor, dir: dir.clone(), scrapes, bytes, scrapers: Arc::default() })
    }

    /// The follower of this view.
    #[must_use]
    pub fn follower(&self) -> MetricsFollower {
        MetricsFollower { view: self.clone(), saved: self.cursor }
    }

    /// A scrape's place: so many may be written at once. `None`: all are taken.
    #[must_use]
    pub fn place(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.scrapes).try_acquire_owned().ok()
    }

    /// A writer with room for an answer as long as the newest one.
    #[must_use]
    pub fn writer(&self, format: Format) -> Writer {
        let bytes = self.bytes.load(Ordering::Relaxed);
        Writer::with_capacity(format, bytes.saturating_add(bytes / 32).saturating_add(64 * 1024))
    }

    /// An answer was so long.
    pub fn wrote(&self, bytes: usize) {
        self.bytes.store(bytes, Ordering::Relaxed);
    }

    /// The daemon begins with this state: what was booked before is no news to who has scraped before.
    pub fn begin(&self, state: &State, now: Timestamp) {
        let shown = self.read(|ledger| Shown { amounts: ledger.amounts(), gauges: gauges(state, now, ledger) });
        self.scrapers.begin(shown, now);
    }

    /// One whole answer to a scrape. Who holds `state` and comes here has counters and gauges of the same entry: see
    /// [`MetricsFollower::fold`]. For a `scraper`, series begin at 0: the answer that brings one shows everything else as
    /// this scraper was last shown it.
    #[must_use]
    pub fn expose(
        &self,
        mut writer: Writer,
        state: &State,
        now: Timestamp,
        daemon: &DaemonMetrics,
        scraper: Option<Scraper>,
    ) -> Vec<u8> {
        self.read(|ledger| answer(&self.scrapers, scraper, state, now, ledger, &mut writer));
        render_daemon(daemon, &mut writer);
        writer.finish()
    }

    /// Looks at the families. Keep it short: the follower waits meanwhile.
    pub fn read<T>(&self, look: impl FnOnce(&LedgerMetrics) -> T) -> T {
        look(&self.ledger.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Writes the cursor and everything folded so far.
    pub fn save(&self) -> Result<(), LedgerError> {
        let path = self.dir.followers().join(FILE);
        let bytes = self.read(postcard::to_stdvec).map_err(|error| LedgerError::Io {
            doing: "encode the metrics cursor for",
            path: path.clone(),
            source: std::io::Error::other(error.to_string()),
        })?;
        self.dir.write_durably(&path, &bytes)
    }
}

impl MetricsFollower {
    /// Folds entries in. Called while the state that folds the same entries is locked, so that nobody sees one without
    /// the other.
    pub fn fold(&self, entries: &[Entry]) {
        let mut ledger = self.view.ledger.write().unwrap_or_else(PoisonError::into_inner);
        for entry in entries {
            ledger.apply(entry);
        }
    }

    /// Writes the cursor now and then.
    pub fn keep(&mut self) {
        let seq = self.view.read(LedgerMetrics::seq);
        if seq >= self.saved + SAVE_EVERY_ENTRIES {
            // Losing it only makes the next start replay more.
            match self.view.save() {
                Ok(()) => self.saved = seq,
                Err(error) => tracing::warn!(%error, "the metrics cursor was not saved"),
            }
        }
    }
}
