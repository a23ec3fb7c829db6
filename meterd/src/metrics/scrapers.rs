//! Who scrapes, and what each was shown last: series begin at 0 for everybody who keeps time series.
//!
//! A scraper is told by what every Prometheus sends with its requests. Other readers get the figures as they are, and
//! nothing is remembered of them. So many scrapers are remembered, the longest unseen goes first.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use budget::State;
use pricing::Timestamp;

use super::ledger::{Amounts, LedgerMetrics};
use super::state::{Gauges, gauges};
use super::text::Writer;

/// Scrapers that are remembered: each costs some 16 bytes a series.
const SCRAPERS_MAX: usize = 8;
/// A scraper that comes so long after the start is new: it begins with the figures as they are. One that comes earlier
/// has most likely been there before the restart, or was told to scrape when the daemon was started.
const START_NANOS: i64 = 5 * 60 * 1_000_000_000;

/// One series of scrapes: a scraper may ask for some families in one job and for others in another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scraper {
    /// Where it comes from.
    pub address: Option<IpAddr>,
    /// The families it asks for; none means all.
    pub families: Vec<&'static str>,
}

/// What was shown in one scrape, all of it as of one entry.
#[derive(Debug)]
pub(super) struct Shown {
    pub(super) amounts: Amounts,
    pub(super) gauges: Gauges,
}

#[derive(Debug)]
struct Seen {
    scraper: Scraper,
    shown: Arc<Shown>,
}

/// What every scraper was shown.
#[derive(Debug, Default)]
pub(super) struct Scrapers(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// When the daemon began, and with which figures.
    start: Option<(Timestamp, Arc<Shown>)>,
    seen: Vec<Seen>,
}

impl Scrapers {
    /// The daemon begins with these figures.
    pub(super) fn begin(&self, shown: Shown, now: Timestamp) {
        self.known(|known| known.start = Some((now, Arc::new(shown))));
    }

    /// What this scraper has seen: its last scrape, or the start. `None`: nothing.
    pub(super) fn before(&self, scraper: &Scraper, now: Timestamp) -> Option<Arc<Shown>> {
        self.known(|known| {
            let last = known.seen.iter().find(|seen| seen.scraper == *scraper).map(|seen| &seen.shown);
            let start = known.start.as_ref().filter(|(at, _)| now.since(*at) < START_NANOS).map(|(_, shown)| shown);
            last.or(start).map(Arc::clone)
        })
    }

    /// This scraper is shown these figures, now or, where series begin, with its next scrape.
    pub(super) fn saw(&self, scraper: Scraper, shown: Shown, now: Timestamp) {
        self.known(|known| {
            known.seen.retain(|seen| seen.scraper != scraper);
            if known.seen.len() >= SCRAPERS_MAX {
                known.seen.remove(0);
            }
            known.seen.push(Seen { scraper, shown: Arc::new(shown) });
            if known.start.as_ref().is_some_and(|(at, _)| now.since(*at) >= START_NANOS) {
                known.start = None;
            }
        });
    }

    fn known<T>(&self, look: impl FnOnce(&mut Known) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Writes what a scraper is shown of the ledger and the state, or what is true now for a reader that is none, and
/// remembers it.
pub(super) fn answer(
    scrapers: &Scrapers,
    scraper: Option<Scraper>,
    state: &State,
    now: Timestamp,
    ledger: &LedgerMetrics,
    writer: &mut Writer,
) {
    let gauges = gauges(state, now, ledger);
    let before = scraper.as_ref().and_then(|scraper| scrapers.before(scraper, now));
    if let Some(shown) = before.filter(|shown| ledger.begins_series(&shown.amounts)) {
        ledger.write_as(Some(&shown.amounts), writer);
        shown.gauges.write(writer);
    } else {
        ledger.write(writer);
        gauges.write(writer);
    }
    if let Some(scraper) = scraper {
        scrapers.saw(scraper, Shown { amounts: ledger.amounts(), gauges }, now);
    }
}

#[cfg(test)]
mod tests;
