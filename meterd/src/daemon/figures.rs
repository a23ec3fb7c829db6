//! The live view and the ledger's families as one follower: whoever looks at both sees the same entry in both.

use budget::Entry;

use crate::follow::{Again, Handler};
use crate::metrics::MetricsFollower;
use crate::reconcile::Reconciler;

/// Folds entries into a view and into the metrics beside it; run it with [`crate::follow::follow`].
pub struct Figures {
    /// The view's half.
    pub state: Reconciler,
    /// The families' half.
    pub metrics: MetricsFollower,
}

impl Handler for Figures {
    fn take(&mut self, entries: &[Entry]) -> Result<(), Again> {
        self.state.fold(entries, || self.metrics.fold(entries));
        // Outside the lock: it writes a file.
        self.metrics.keep();
        Ok(())
    }
}
