//! Usage without a price, budget by budget: `hold` holds a ceiling, `deny` refuses what comes next, `allow` lets go on.
//!
//! What is held is worked out here and said in the charge's entry; the fold holds it and gives it back.

use pricing::Money;

use super::State;
use crate::charge::Charge;
use crate::policy::OnUnpriced;
use crate::reservation::Denial;
use crate::state::{Bound, Who};

/// What to hold for a charge: nothing when it has a price or its reservation covers it; else what one call may cost on its
/// route, the highest ceiling of the budgets that hold, or the caller's own ceiling.
pub(super) fn ceiling(state: &State, who: Who<'_, '_>, charge: &Charge) -> Option<Money> {
    if charge.price().is_some() || state.is_covered(charge) || !state.may_cover() {
        return None;
    }
    let (mut ceiling, mut holds) = (None, false);
    let per_call = state.per_call(who).map(|(_, limit)| limit);
    state.each_bound(who, |bound| {
        if bound.holds_unpriced() {
            holds = true;
            ceiling = ceiling.max(bound.slot.budget.policy.estimate_ceiling);
        }
    });
    per_call.or(ceiling).or(charge.ceiling).filter(|ceiling| holds && *ceiling > Money::ZERO)
}

/// The refusal of a budget that wants every price known, for a run that has a call without one or asks for one.
pub(super) fn denial(bound: &Bound<'_>, unpriced: bool) -> Option<Denial> {
    let budget = &bound.slot.budget;
    (unpriced && budget.policy.on_unpriced == OnUnpriced::Deny).then(|| Denial::Unpriced(budget.id.clone()))
}
