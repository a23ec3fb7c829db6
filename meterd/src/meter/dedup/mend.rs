//! A run that is found to be damaged is made again from the ledger, which holds the entry of every id: the meter waits for that
//! and goes on. Part by part, so that it takes no more memory than the newest ids do.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

#[cfg(feature = "mistakes")]
use budget::mistakes::{Mistake, made};
use budget::{AdjustReason, Entry, Fact};

use super::run::Run;
use super::{Dedup, Stretch, Table};
use crate::ledger::{DataDir, LedgerError, Reader};

impl Dedup {
    /// Makes the run at `path` again. One that is not asked any more, because it was merged or forgotten meanwhile, is left.
    pub(in crate::meter) fn mend(&mut self, path: &Path, offset: u64, reader: &Reader) -> Result<(), LedgerError> {
        let Some(place) = self.runs.iter().position(|run| run.path == path) else { return Ok(()) };
        let Some(stretch) = self.runs.get(place).map(|run| run.stretch) else { return Ok(()) };
        let begin = Instant::now();
        tracing::warn!(
            path = %path.display(), offset, from = stretch.first_seq, to = stretch.last_seq,
            "a file of the dedup index is damaged; it is made again from the ledger"
        );
        let parts = remake(&self.dir, reader, stretch, self.fresh_keys_max)?;
        #[cfg(feature = "mistakes")]
        let parts = if made(Mistake::DamagedIndexLeftOut) { Vec::new() } else { parts };
        if !parts.iter().any(|part| part.path == path) {
            self.dir.remove(path)?;
        }
        tracing::info!(files = parts.len(), took_ms = begin.elapsed().as_millis(), "the dedup index is whole again");
        self.runs.splice(place..=place, parts.into_iter().map(Arc::new));
        Ok(())
    }
}

/// The ids of a stretch of the ledger, in runs of about `keys_max` that follow each other.
fn remake(dir: &DataDir, reader: &Reader, stretch: Stretch, keys_max: usize) -> Result<Vec<Run>, LedgerError> {
    let mut table = Table::after(stretch.first_seq.saturating_sub(1));
    let (mut parts, mut written) = (Vec::new(), Ok(()));
    reader.scan(stretch.first_seq, |entry| {
        // A run is begun with an id, so that none is empty.
        if has_ids(entry) && table.keys.len() >= keys_max {
            let full = std::mem::replace(&mut table, Table::after(entry.seq.saturating_sub(1)));
            written = full.write(dir).map(|part| parts.push(part));
        }
        table.apply(entry);
        written.is_ok() && entry.seq < stretch.last_seq
    })?;
    written?;
    parts.push(table.write(dir)?);
    Ok(parts)
}

fn has_ids(entry: &Entry) -> bool {
    match &entry.fact {
        Fact::Charged(_) => true,
        Fact::Adjusted(adjustment) => matches!(adjustment.reason, AdjustReason::Superseded(_)),
        _ => false,
    }
}
