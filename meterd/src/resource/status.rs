//! Executions as joch resources with live status; `counters` does the same for budgets. Amounts are written as the
//! shortest exact decimal.
//!
//! Reads the state; never changes it. What a document said in its own status stays, but for the keys written here.

pub(super) mod counters;

use std::time::Duration;

use budget::signal::{Cause, Kill, KillState};
use budget::state::Execution;
use budget::{Ref, Unit};
use pricing::{Money, Timestamp};

use super::API_VERSION;
use super::print::Json;

/// A cost counts as final this long after its run ended, where no configuration says otherwise: late events of exporters that send
/// in batches are in by then.
pub const SETTLE_GRACE: Duration = Duration::from_secs(30);

/// Keys of an Execution's status that are written here.
pub(super) const EXECUTION_OWNED: [&str; 22] = [
    "phase",
    "startedAt",
    "completedAt",
    "costUsd",
    "ownCostUsd",
    "subtreeCostUsd",
    "overshootUsd",
    "overshoot",
    "costAfterFenceUsd",
    "durationMs",
    "modelCalls",
    "toolCalls",
    "approvals",
    "callsAfterFence",
    "unpricedCalls",
    "tokens",
    "kill",
    "conditions",
    "priceTables",
    "revision",
    "lastEntry",
    "observedGeneration",
];

/// The joch Execution with its live status.
#[must_use]
pub fn execution_document(execution: &Execution, now: Timestamp) -> Json {
    execution_document_with_kill(execution, None, now, SETTLE_GRACE)
}

/// The same, with what became of its kill, and with a settle grace.
#[must_use]
pub fn execution_document_with_kill(
    execution: &Execution,
    kill: Option<&Kill>,
    now: Timestamp,
    settle_grace: Duration,
) -> Json {
    let mut document = execution
        .document
        .as_deref()
        .and_then(Json::parse)
        .map_or_else(|| described(execution), |document| ordered(&document, "Execution", &execution.id));
    let mut status = document.remove("status").unwrap_or(Json::Map(Vec::new()));
    let own = execution_status(execution, kill, now, settle_grace);
    for (key, value) in own {
        status.set(key, value);
    }
    document.set("status", status);
    document
}

/// The envelope in joch's order of keys; the rest follows as it stood.
fn ordered(document: &Json, kind: &str, id: &Ref) -> Json {
    let field = |key: &str, otherwise: Json| document.get(key).cloned().unwrap_or(otherwise);
    let mut metadata = Json::map([("name", Json::text(&id.name)), ("namespace", Json::text(&id.namespace))]);
    if let Some(Json::Map(pairs)) = document.get("metadata") {
        pairs.iter().for_each(|(key, value)| metadata.set(key, value.clone()));
    }
    let mut out = Json::map([
        ("apiVersion", field("apiVersion", Json::text(API_VERSION))),
        ("kind", field("kind", Json::text(kind))),
        ("metadata", metadata),
        ("spec", field("spec", Json::Map(Vec::new()))),
    ]);
    if let Json::Map(pairs) = document {
        for (key, value) in pairs.iter().filter(|(key, _)| key != "metadata") {
            out.set(key, value.clone());
        }
    }
    out
}

/// The document of a run that events opened.
fn described(execution: &Execution) -> Json {
    let mut metadata =
        Json::map([("name", Json::text(&execution.id.name)), ("namespace", Json::text(&execution.id.namespace))]);
    let subject = &execution.subject;
    if !subject.labels.is_empty() {
        let labels = subject.labels.iter().map(|(key, value)| (key.to_string(), Json::text(value)));
        metadata.set("labels", Json::map(labels));
    }
    let mut spec = Json::Map(Vec::new());
    let reference = |name: &str| Json::map([("name", Json::text(name))]);
    if let Some(agent) = &subject.agent {
        spec.set("agentRef", reference(agent));
    }
    for (key, value) in [("team", &subject.team), ("environment", &subject.environment)] {
        if let Some(value) = value {
            spec.set(key, Json::text(value));
        }
    }
    if let Some(conversation) = &execution.conversation {
        spec.set("conversationRef", reference(conversation));
    }
    if let Some(parent) = &execution.parent {
        let mut parent_ref = reference(&parent.name);
        if parent.namespace != execution.id.namespace {
            parent_ref.set("namespace", Json::text(&parent.namespace));
        }
        spec.set("parentRef", parent_ref);
    }
    Json::map([
        ("apiVersion", Json::text(API_VERSION)),
        ("kind", Json::text("Execution")),
        ("metadata", metadata),
        ("spec", spec),
    ])
}

fn execution_status(
    execution: &Execution,
    kill: Option<&Kill>,
    now: Timestamp,
    settle_grace: Duration,
) -> Vec<(&'static str, Json)> {
    let end = execution.completed_at.unwrap_or(now);
    let duration_ms = end.since(execution.started_at).max(0) / 1_000_000;
    let tokens = &execution.tokens;
    let mut status =
        vec![("phase", Json::text(execution.phase.as_str())), ("startedAt", Json::text(execution.started_at))];
    status.extend(execution.completed_at.map(|at| ("completedAt", Json::text(at))));
    status.extend([
        ("costUsd", Json::usd(execution.cost)),
        ("ownCostUsd", Json::usd(execution.cost)),
        ("subtreeCostUsd", Json::usd(execution.subtree_cost)),
        ("durationMs", Json::count(duration_ms)),
        ("modelCalls", Json::count(execution.model_calls)),
        ("toolCalls", Json::count(execution.tool_calls)),
        ("approvals", Json::count(execution.approvals)),
        ("unpricedCalls", Json::count(execution.unpriced_calls)),
        (
            "tokens",
            Json::map([
                ("input", Json::count(tokens.input)),
                ("cacheRead", Json::count(tokens.cache_read)),
                ("cacheWrite", Json::count(tokens.cache_write)),
                ("output", Json::count(tokens.output)),
                ("reasoning", Json::count(tokens.reasoning)),
            ]),
        ),
    ]);
    status.extend(overshoot(execution));
    if execution.kill.is_some() {
        status.push(("callsAfterFence", Json::count(execution.calls_after_fence)));
        status.push(("costAfterFenceUsd", Json::usd(execution.cost_after_fence)));
    }
    if let Some(kill) = kill {
        status.push(("kill", kill_status(kill)));
    }
    let tables = execution.tables.iter().map(|table| {
        Json::map([
            ("name", Json::text(&table.name)),
            ("version", Json::text(&table.version)),
            ("digest", Json::text(&table.digest)),
        ])
    });
    status.extend([
        ("priceTables", Json::List(tables.collect())),
        ("revision", Json::count(execution.revision)),
        ("lastEntry", Json::count(execution.last_seq)),
        ("conditions", Json::List(conditions(execution, kill, now, settle_grace))),
    ]);
    status
}

/// Cost that nothing was held for, and its parts where there is any.
fn overshoot(execution: &Execution) -> Vec<(&'static str, Json)> {
    let over = &execution.overshoot;
    let mut status = vec![("overshootUsd", Json::usd(over.total()))];
    if !over.total().is_zero() {
        let parts =
            [("aboveEstimateUsd", over.above_estimate), ("lateUsd", over.late), ("unreservedUsd", over.unreserved)];
        status.push(("overshoot", Json::map(parts.map(|(key, part)| (key, Json::usd(part))))));
    }
    status
}

fn kill_status(kill: &Kill) -> Json {
    let mut status = Json::map([
        ("id", Json::text(&kill.id)),
        ("state", Json::text(kill_state(kill.state))),
        ("decidedAt", Json::text(kill.decided_at)),
    ]);
    let times = [
        ("fencedAt", kill.fenced_at),
        ("sentAt", kill.sent_at),
        ("ackedAt", kill.acked_at),
        ("confirmedAt", kill.confirmed_at),
    ];
    for (key, at) in times {
        if let Some(at) = at {
            status.set(key, Json::text(at));
        }
    }
    if let Some(turn) = kill.turn {
        status.set("allowanceUsd", Json::usd(turn.allowance));
        status.set("turnUntil", Json::text(turn.until));
    }
    if let Some(channel) = kill.acked_by {
        status.set("ackedBy", Json::text(channel.as_str()));
    }
    if let Some(proof) = kill.proof {
        status.set("proof", Json::text(proof.as_str()));
    }
    for (key, until) in [("msToFence", kill.fenced_at), ("msToAck", kill.acked_at), ("msToConfirm", kill.confirmed_at)]
    {
        if let Some(until) = until {
            status.set(key, Json::count(until.since(kill.decided_at) / 1_000_000));
        }
    }
    if !kill.collateral.is_empty() {
        status.set("collateral", Json::List(kill.collateral.iter().map(Json::text).collect()));
    }
    status.set("attempts", Json::count(i128::try_from(kill.attempts.len()).unwrap_or(i128::MAX)));
    status.set("cause", Json::text(cause(&kill.cause)));
    status.set("costAtDecisionUsd", Json::usd(kill.cost_at_decision));
    status
}

const fn kill_state(state: KillState) -> &'static str {
    match state {
        KillState::Fenced => "Fenced",
        KillState::Sent => "Sent",
        KillState::Acked => "Acked",
        KillState::Confirmed => "Confirmed",
        KillState::Moot => "Moot",
        KillState::WindDown => "WindDown",
        KillState::Escalated => "Escalated",
        KillState::Unreachable => "Unreachable",
        KillState::Manual => "Manual",
    }
}

fn cause(cause: &Cause) -> String {
    match cause {
        Cause::Budget(counter) => {
            let figures = format!("{} of {}", shown(counter.unit, counter.spent), shown(counter.unit, counter.limit));
            format!("budget {} reached its limit: {figures} {}", counter.budget, unit_word(counter.unit))
        }
        Cause::Operator { reason, by } => format!("killed by {by}: {reason}"),
    }
}

fn conditions(execution: &Execution, kill: Option<&Kill>, now: Timestamp, settle_grace: Duration) -> Vec<Json> {
    let mut conditions = Vec::new();
    if let Some((budget, at)) = &execution.soft_limit {
        let message = format!("budget {budget} passed a soft level");
        conditions.push(condition("SoftLimitReached", true, "SoftLevelPassed", &message, *at));
    }
    if let Some((budget, at)) = &execution.hard_limit {
        let message = format!("budget {budget} reached its limit");
        conditions.push(condition("BudgetExceeded", true, "HardLimitReached", &message, *at));
    }
    if execution.unpriced_calls > 0 {
        let message = format!("{} calls have no price yet; they are not in costUsd", execution.unpriced_calls);
        conditions.push(condition("Unpriced", true, "PriceMissing", &message, execution.started_at));
    }
    if let Some(at) = execution.rested_at {
        let message = "nothing has named the run for ledger.restRunsAfter; the next event or reservation wakes it";
        conditions.push(condition("Idle", true, "AtRest", message, at));
    }
    conditions.extend(killed(execution, kill));
    conditions.push(cost_final(execution, now, settle_grace));
    conditions
}

fn killed(execution: &Execution, kill: Option<&Kill>) -> Option<Json> {
    if let Some(kill) = kill {
        let reason = match kill.cause {
            Cause::Budget(_) => "BudgetExceeded",
            Cause::Operator { .. } => "Operator",
        };
        let message = format!("{}: {}", kill.id, cause(&kill.cause));
        return Some(condition("Killed", true, reason, &message, kill.decided_at));
    }
    let id = execution.kill.as_ref()?;
    let at = execution.hard_limit.as_ref().map_or(execution.started_at, |(_, at)| *at);
    Some(condition("Killed", true, "Fenced", &format!("{id} fenced the run"), at))
}

fn cost_final(execution: &Execution, now: Timestamp, settle_grace: Duration) -> Json {
    let Some(ended) = execution.completed_at.filter(|_| execution.phase.is_terminal()) else {
        let message = "the run is not over: the cost so far is provisional";
        return condition("CostFinal", false, "Running", message, execution.started_at);
    };
    let grace = i64::try_from(settle_grace.as_nanos()).unwrap_or(i64::MAX);
    let final_at = ended.saturating_add(grace);
    if now < final_at {
        let message = format!("late usage is awaited until {final_at}");
        return condition("CostFinal", false, "SettleGrace", &message, ended);
    }
    if execution.holds > 0 {
        let message = format!("{} reservations are not resolved yet", execution.holds);
        return condition("CostFinal", false, "Reserved", &message, ended);
    }
    if execution.unpriced_calls > 0 {
        let message = "calls without a price are not in the cost";
        return condition("CostFinal", false, "Unpriced", message, ended);
    }
    condition(
        "CostFinal",
        true,
        "Settled",
        "the run is over, nothing is reserved, and every call has its price",
        final_at,
    )
}

fn condition(kind: &str, status: bool, reason: &str, message: &str, at: Timestamp) -> Json {
    Json::map([
        ("type", Json::text(kind)),
        ("status", Json::text(if status { "True" } else { "False" })),
        ("reason", Json::text(reason)),
        ("message", Json::text(message)),
        ("lastTransitionTime", Json::text(at)),
    ])
}

fn shown(unit: Unit, amount: i128) -> String {
    match unit {
        Unit::Usd => Money::from_scaled(amount).unwrap_or_default().to_string(),
        Unit::Tokens | Unit::ToolCalls | Unit::ModelCalls => amount.to_string(),
    }
}

const fn unit_word(unit: Unit) -> &'static str {
    match unit {
        Unit::Usd => "USD",
        Unit::Tokens => "tokens",
        Unit::ToolCalls => "tool calls",
        Unit::ModelCalls => "model calls",
    }
}

#[cfg(test)]
mod tests;
