//! One generic follower: reads committed entries by cursor, hands them on in order, resumes where it was.
//!
//! What a follower makes of the entries is its own affair; it never writes the ledger. A handler that fails is tried
//! again with growing pauses and never skips an entry.
//!
//! Two kinds: [`follow`] feeds a [`Handler`], a view inside this process that is quick and rebuilds itself at start;
//! [`Courier`] carries entries to a [`Deliver`] outside, asynchronously, and keeps its place in a durable [`Cursor`].

mod deliver;
#[cfg(test)]
mod tests;

use std::time::Duration;

use budget::Entry;
pub use deliver::{Courier, Deliver, Delivery, Failed, Pace, Progress, Retry, Step};
use tokio_util::sync::CancellationToken;

use crate::ledger::Reader;
pub use crate::ledger::{Cursor, Place, places};

/// Entries handed over at once, about.
const ENTRIES_AT_ONCE: usize = 8_192;
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// Takes entries in order, each once per success. An error means: the same entries again, later.
pub trait Handler {
    /// Takes the next entries; `entries` is never empty and continues where the last call ended.
    fn take(&mut self, entries: &[Entry]) -> Result<(), Again>;
}

/// Why the same entries must be handed over again.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Again(pub String);

/// Follows the log after entry `cursor` until `stop`; at `stop`, takes what is committed and ends.
pub async fn follow(
    name: &'static str,
    reader: Reader,
    mut cursor: u64,
    mut handler: impl Handler,
    stop: CancellationToken,
) {
    let mut pause = PAUSE_MIN;
    loop {
        let stopping = stop.is_cancelled();
        let before = cursor;
        match step(&reader, &mut cursor, &mut handler) {
            Ok(()) if cursor > before => pause = PAUSE_MIN,
            Ok(()) if stopping => return,
            Ok(()) => {
                tokio::select! {
                    more = reader.wait_past(cursor) => if more.is_none() { return },
                    () = stop.cancelled() => {}
                }
            }
            Err(error) => {
                tracing::warn!(follower = name, cursor, %error, "follower failed; will try again");
                if stopping {
                    return;
                }
                tokio::select! {
                    () = tokio::time::sleep(deliver::jittered(pause)) => pause = (pause * 2).min(PAUSE_MAX),
                    () = stop.cancelled() => {}
                }
            }
        }
    }
}

fn step(reader: &Reader, cursor: &mut u64, handler: &mut impl Handler) -> Result<(), Again> {
    let batches = reader.read_from(*cursor + 1, ENTRIES_AT_ONCE).map_err(|error| Again(error.to_string()))?;
    for batch in batches {
        let skip = batch.entries.partition_point(|entry| entry.seq <= *cursor);
        let entries = batch.entries.get(skip..).unwrap_or_default();
        if !entries.is_empty() {
            handler.take(entries)?;
            *cursor = batch.last();
        }
    }
    Ok(())
}
