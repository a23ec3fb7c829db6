//! The closed label values of the ledger's families: each set in one place, so that it can be made known at 0.

use budget::charge::{CallOutcome, Called};
use budget::entry::Phase;
use budget::{Action, Source};
use pricing::usage::TokenTotals;
use pricing::{Unpriced, Usage, UsageKey};

/// `basis` of an amount computed from a price table.
pub(super) const PRICED: &str = "priced";

/// Every `category`.
pub(super) const CATEGORIES: [&str; 3] = ["model", "tool", "approval"];

/// Every `outcome` of a call.
pub(super) const OUTCOMES: [CallOutcome; 3] = [CallOutcome::Ok, CallOutcome::Error, CallOutcome::Aborted];

/// Every `channel` of a kill.
pub(in crate::metrics) const CHANNELS: [&str; 4] = ["stream", "process", "webhook", "joch"];

/// `channel` of a kill that no transport has taken.
pub(in crate::metrics) const NO_CHANNEL: &str = "none";

/// `outcome` of a kill: the agent answered, the run is proven gone, the run had ended by itself.
pub(super) const ACKED: &str = "acked";
pub(super) const CONFIRMED: &str = "confirmed";
pub(super) const MOOT: &str = "moot";

/// Every `threshold`: all soft levels are one.
pub(super) const SOFT: &str = "soft";
pub(super) const HARD: &str = "hard";

/// `reason` of a kill that could not be delivered, when its text begins with none of the others.
const OTHER_REASON: &str = "other";

/// Every `reason` why a kill could not be delivered.
pub(super) const KILL_FAILURES: [&str; 7] =
    ["timeout", "refused", "not_connected", "no_process", "not_permitted", "bad_status", OTHER_REASON];

/// The closed word for a failed attempt: its text up to the first colon. The text itself is never a label.
pub(super) fn kill_failure(text: &str) -> &'static str {
    let word = text.split_once(':').map_or(text, |(word, _)| word);
    KILL_FAILURES.into_iter().find(|known| *known == word).unwrap_or(OTHER_REASON)
}

/// `category` of a call.
pub(super) const fn category(called: &Called) -> &'static str {
    match called {
        Called::Model { .. } => "model",
        Called::Tool { .. } => "tool",
        Called::Approval => "approval",
    }
}

/// `outcome` of a run, in the words that calls have too.
pub(super) const fn phase(phase: Phase) -> &'static str {
    match phase {
        Phase::Succeeded | Phase::Pending | Phase::Running => "ok",
        Phase::Failed => "error",
        Phase::Cancelled => "aborted",
    }
}

/// `action` of a limit.
pub(in crate::metrics) const fn action(action: Action) -> &'static str {
    match action {
        Action::Alert => "alert",
        Action::Deny => "deny",
        Action::Terminate => "terminate",
    }
}

/// `budget`: the name of a joch Budget, or `agent/` and the name of an agent that has limits of its own, since the two
/// may share a name. Other sources have a budget for each execution or route, and so no series.
pub(in crate::metrics) fn budget(source: Source, name: &str) -> Option<String> {
    match source {
        Source::Budget => Some(name.to_owned()),
        Source::Agent => Some(format!("agent/{name}")),
        Source::Execution | Source::ModelRoute => None,
    }
}

/// Has a budget of this source series of its own?
pub(in crate::metrics) const fn has_series(source: Source) -> bool {
    matches!(source, Source::Budget | Source::Agent)
}

/// Every `reason` why usage has no price.
pub(super) const UNPRICED: [&str; 8] = [
    "unknown_provider",
    "unknown_model",
    "unknown_tool",
    "no_rate_for_unit",
    "no_rate_at_time",
    "missing_usage",
    "invalid_usage",
    "out_of_range",
];

/// `reason` of usage without a price.
pub(super) const fn unpriced(reason: &Unpriced) -> &'static str {
    match reason {
        Unpriced::UnknownProvider => "unknown_provider",
        Unpriced::UnknownModel => "unknown_model",
        Unpriced::UnknownTool => "unknown_tool",
        Unpriced::NoRateForUnit(_) => "no_rate_for_unit",
        Unpriced::NoRateAtTime => "no_rate_at_time",
        Unpriced::MissingUsage => "missing_usage",
        Unpriced::InvalidUsage(_) => "invalid_usage",
        Unpriced::OutOfRange => "out_of_range",
    }
}

/// Tokens of a call by disjoint `token_type`; usage that cannot be has none.
pub(super) fn tokens(usage: &Usage) -> [(&'static str, u64); 5] {
    by_type(&usage.tokens().unwrap_or_default())
}

/// The same of totals.
pub(super) fn by_type(tokens: &TokenTotals) -> [(&'static str, u64); 5] {
    [
        ("input", tokens.input),
        ("cache_read", tokens.cache_read),
        ("cache_write", tokens.cache_write),
        ("output", tokens.output),
        ("reasoning", tokens.reasoning),
    ]
}

/// How many tool calls an event stands for: one, unless it says so.
pub(super) fn tool_calls(usage: &Usage) -> u64 {
    usage.get(UsageKey::Calls).and_then(|calls| calls.as_u64()).unwrap_or(1)
}
