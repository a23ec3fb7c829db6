//! LedgerMetrics: the counters as a fold of the ledger's entries, so that they resume where they were after a restart.
//!
//! Decides nothing and reads no clock: the same entries give the same series, in the same order, for ever. Money is a
//! count of 10⁻¹⁸ USD throughout; a counter never falls.

mod adjust;
mod budgets;
mod caps;
mod families;
mod kills;
mod kinds;
mod runs;
mod series;
mod shown;
pub(in crate::metrics) mod words;
mod write;

use std::collections::BTreeMap;
use std::sync::Arc;

use budget::{Entry, Fact, Ref};
use pricing::Timestamp;
use serde::{Deserialize, Serialize};

pub use self::caps::Caps;
use self::series::Symbol;
pub use self::shown::Amounts;

/// Every counter and histogram that the ledger drives.
///
/// Feed it each entry once, in order; write it to a snapshot whole (postcard) together with `seq`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct LedgerMetrics {
    seq: u64,
    families: families::Families,
    runs: BTreeMap<Ref, runs::Run>,
    kills: BTreeMap<Arc<str>, kills::OpenKill>,
    budgets: budgets::Budgets,
    /// The newest charge or adjustment, for the kill that it may cause: their entries follow each other.
    last_charge: Option<(Ref, i128)>,
    agents_at: BTreeMap<(Symbol, Symbol), Timestamp>,
    tools_at: BTreeMap<Symbol, Timestamp>,
    swept_at: Timestamp,
}

impl LedgerMetrics {
    /// No entry yet; the closed label sets are there at 0.
    #[must_use]
    pub fn new(caps: Caps) -> Self {
        let mut metrics = Self::default().with_caps(caps);
        metrics.kills_known();
        metrics
    }

    /// The same with these caps: they are configuration, not part of a snapshot. Series that exist stay.
    #[must_use]
    pub fn with_caps(mut self, caps: Caps) -> Self {
        self.families.caps = caps;
        self
    }

    /// Sequence number of the newest entry folded in: where a follower resumes.
    #[must_use]
    pub const fn seq(&self) -> u64 {
        self.seq
    }

    /// Folds one entry in. An entry that is in already changes nothing.
    pub fn apply(&mut self, entry: &Entry) {
        if entry.seq <= self.seq {
            return;
        }
        self.seq = entry.seq;
        let at = entry.at;
        match &entry.fact {
            Fact::Applied(applied) => self.applied(applied),
            Fact::Removed { kind, id } => self.removed(kind, id),
            Fact::Pinned(_) | Fact::Audited(_) => {}
            Fact::Opened(opened) => self.opened(at, opened),
            Fact::Ended { execution, phase } => self.ended(at, execution, *phase),
            Fact::Charged(charge) => self.charged(at, charge),
            Fact::Adjusted(adjustment) => self.adjusted(at, adjustment),
            // What is held is a gauge of the state.
            Fact::Reserved(_) | Fact::Resolved { .. } | Fact::Extended { .. } => {}
            Fact::Warned { counter, .. } => self.crossed(counter, false),
            Fact::Reached { counter, .. } => self.crossed(counter, true),
            Fact::Killed { kill, execution, cause, .. } => self.killed(at, kill, execution, cause),
            Fact::KillSent { kill, channel, attempt, .. } => self.kill_sent(kill, *channel, attempt),
            Fact::KillEscalated { to, .. } => self.kill_escalated(*to),
            Fact::KillManual { kill } => self.kill_manual(kill),
            Fact::KillAcked { kill, channel } => self.kill_acked(at, kill, *channel),
            Fact::KillConfirmed { kill, proof } => self.kill_confirmed(at, kill, *proof),
            // Decided and not fenced yet: what is spent until the stop counts from here.
            Fact::WindDown { kill, execution, cause, .. } => self.killed(at, kill, execution, cause),
            Fact::Fenced { .. }
            | Fact::KillPlanned { .. }
            | Fact::KillCollateral { .. }
            | Fact::Registered { .. }
            | Fact::Forgotten { .. }
            | Fact::Rested { .. } => {}
        }
        let before_a_kill = |fact: &Fact| {
            matches!(
                fact,
                Fact::Charged(_)
                    | Fact::Adjusted(_)
                    | Fact::Warned { .. }
                    | Fact::Reached { .. }
                    | Fact::Killed { .. }
                    | Fact::WindDown { .. }
            )
        };
        if !before_a_kill(&entry.fact) {
            self.last_charge = None;
        }
        self.sweep(at);
    }

    /// A namespace and a team as their series are labelled now: `_other` for what no cap let in.
    #[must_use]
    pub fn labels(&self, namespace: &str, team: &str) -> (&str, &str) {
        let families = &self.families;
        let (symbols, admission) = (&families.symbols, &families.admission);
        (symbols.text(admission.namespace_now(symbols, namespace)), symbols.text(admission.team_now(symbols, team)))
    }
}

#[cfg(test)]
mod tests;
