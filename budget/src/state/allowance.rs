//! What is used of free allowances: the fold of their credits.

use std::collections::BTreeMap;
use std::sync::Arc;

use pricing::{Quantity, Timestamp};
use serde::{Deserialize, Serialize};

use super::State;
use crate::adjust::Drawn;

/// Periods of groups that are remembered, the newest.
const KEPT_MAX: usize = 4_096;

/// By the start of the period and the group, so that the oldest comes first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Allowances {
    used: BTreeMap<(Timestamp, Arc<str>), Quantity>,
    /// Periods that began at this time or before may be forgotten.
    forgotten_to: Option<Timestamp>,
}

impl State {
    /// What is used of a group's quota in the period that begins at `start`; `None` where that is forgotten.
    pub(crate) fn allowance_used(&self, group: &Arc<str>, start: Timestamp) -> Option<Quantity> {
        let Allowances { used, forgotten_to } = &self.truth.allowances;
        let known = used.get(&(start, Arc::clone(group))).copied();
        let is_kept = forgotten_to.is_none_or(|forgotten| start > forgotten);
        known.or(is_kept.then_some(Quantity::ZERO))
    }

    pub(super) fn draw(&mut self, drawn: &Drawn) {
        let Allowances { used, forgotten_to } = &mut self.truth.allowances;
        let sum = used.entry((drawn.start, Arc::clone(&drawn.group))).or_default();
        *sum = sum.checked_add(drawn.quantity).unwrap_or(*sum);
        if used.len() > KEPT_MAX
            && let Some(((start, _), _)) = used.pop_first()
        {
            *forgotten_to = Some(start);
        }
    }
}
