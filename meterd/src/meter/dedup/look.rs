//! Many charges asked of every run's filter at once: nearly all of them are strange, and this says so for a few nanoseconds
//! a run, where one after the other each question would wait for memory.

use budget::Charge;

use super::filter::Probe;
use super::{Dedup, RESPONSE};

/// Charges whose probes are kept at a time: as many as stay in a core's nearest cache.
const AT_ONCE: usize = 128;

/// Which of a charge's keys may be in a run; what is not may still be in memory. True until runs come or go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::meter) struct Look {
    pub(super) key: bool,
    pub(super) response: bool,
}

impl Dedup {
    /// One for each charge, in their order.
    pub(in crate::meter) fn look(&self, charges: &[Charge]) -> Vec<Look> {
        let mut looks = vec![Look::default(); charges.len()];
        if self.runs.is_empty() {
            return looks;
        }
        for (charges, looks) in charges.chunks(AT_ONCE).zip(looks.chunks_mut(AT_ONCE)) {
            let keys = charges.iter().map(|charge| (charge.key, charge.response_key.map(|key| key ^ RESPONSE)));
            // Without a response the same key twice: that is quicker than to tell them apart.
            let probes: Vec<(Probe, Probe)> =
                keys.map(|(key, response)| (Probe::of(key), Probe::of(response.unwrap_or(key)))).collect();
            for run in &self.runs {
                for ((key, response), look) in probes.iter().zip(looks.iter_mut()) {
                    look.key |= run.may_hold(key);
                    look.response |= run.may_hold(response);
                }
            }
        }
        looks
    }
}
