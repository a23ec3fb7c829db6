//! What a Budget says beside its limits → the core's policy: unpriced usage, estimates, wind-down, kill plan, partition.
//!
//! Reads fields only. Every field has a default that keeps a plain joch Budget valid.

use budget::Limit;
use budget::policy::{KillStep, OnPartition, OnUnpriced, Policy, Slice, WindDown};
use budget::signal::Channel;
use pricing::document::{Node, Value};

use super::fields::{Fields, Report, Unknown, fraction, text};

/// Grace of a wind-down that names none.
const WIND_DOWN_GRACE_MS: u64 = 30_000;
/// Longest grace of a wind-down or of a step of a kill.
const GRACE_MS_MAX: u64 = 3_600_000;
/// Most steps of a kill plan.
const STEPS_MAX: usize = 16;

const ON_UNPRICED: [(&str, OnUnpriced); 3] =
    [("deny", OnUnpriced::Deny), ("hold", OnUnpriced::Hold), ("allow", OnUnpriced::Allow)];
const CHANNELS: [(&str, Channel); 4] = [
    ("stream", Channel::Stream),
    ("joch", Channel::Joch),
    ("webhook", Channel::Webhook),
    ("process", Channel::Process),
];

/// The keys that [`policy`] reads.
pub(super) const KEYS: [&str; 5] = ["onUnpriced", "estimateCeilingUsd", "windDown", "kill", "onPartition"];

/// The key that makes a run's budget a slice of its parent's.
pub(super) const SLICE: &str = "sliceOfParent";

/// Reads the policy of a Budget, or of budgets that another resource carries; `of` says where a key stands.
pub(super) fn policy<'f, 'n: 'f>(of: impl Fn(&str) -> &'f Fields<'n>, report: &mut Report) -> Policy {
    of("onPartition").without_effect(&["onPartition"], report);
    Policy {
        on_unpriced: of("onUnpriced").word("onUnpriced", &ON_UNPRICED, report).unwrap_or_default(),
        estimate_ceiling: of("estimateCeilingUsd").usd("estimateCeilingUsd", report),
        per_call: None,
        on_partition: on_partition(of("onPartition"), report).unwrap_or_default(),
        wind_down: wind_down(of("windDown"), report),
        kill_plan: kill_plan(of("kill"), report),
        slice: None,
    }
}

/// `sliceOfParent`: the share of each of the parent's own limits that the run has. `stated` are its limits beside it.
pub(super) fn slice(budgets: &Fields<'_>, stated: &[Limit], report: &mut Report) -> Option<Slice> {
    let node = budgets.get(SLICE)?;
    let share = fraction(node, &budgets.at(SLICE), report)?;
    Some(Slice { share, stated: stated.to_vec() })
}

/// `deny`, `allow`, `allowUpTo`, or `{ allowUpTo: 0.5 }`.
fn on_partition(spec: &Fields<'_>, report: &mut Report) -> Option<OnPartition> {
    const WORDS: [(&str, OnPartition); 3] =
        [("deny", OnPartition::Deny), ("allowUpTo", OnPartition::AllowUpTo(None)), ("allow", OnPartition::Allow)];
    let node = spec.get("onPartition")?;
    if matches!(node.value, Value::Map(_)) {
        let fields = spec.child("onPartition", report)?;
        fields.known(&["allowUpTo"], Unknown::Refuse, report);
        return fields.usd("allowUpTo", report).map(|amount| OnPartition::AllowUpTo(Some(amount)));
    }
    spec.word("onPartition", &WORDS, report)
}

/// `{ allowanceUsd, grace }`: both with a default, so that `windDown: {}` is one free turn of the default grace.
fn wind_down(spec: &Fields<'_>, report: &mut Report) -> Option<WindDown> {
    let fields = spec.child("windDown", report)?;
    fields.known(&["allowanceUsd", "grace"], Unknown::Warn, report);
    let allowance = fields.usd("allowanceUsd", report).unwrap_or_default();
    let grace_ms = fields.get("grace").and_then(|node| grace(node, &fields.at("grace"), report));
    Some(WindDown { allowance, grace_ms: grace_ms.unwrap_or(WIND_DOWN_GRACE_MS) })
}

/// `{ plan: [stream, { channel: process, grace: 10s }] }`.
fn kill_plan(spec: &Fields<'_>, report: &mut Report) -> Vec<KillStep> {
    let Some(fields) = spec.child("kill", report) else { return Vec::new() };
    fields.known(&["plan"], Unknown::Warn, report);
    let Some(node) = fields.get("plan") else { return Vec::new() };
    let path = fields.at("plan");
    let Value::List(items) = &node.value else {
        let hint = "write a list of channels: [stream, joch, webhook, process]".to_owned();
        report.error(node.place, &path, format!("must be a list, not {}", node.kind_name()), Some(hint));
        return Vec::new();
    };
    if items.len() > STEPS_MAX {
        let message = format!("the plan has {} steps; at most {STEPS_MAX} are kept", items.len());
        report.error(node.place, &path, message, None);
        return Vec::new();
    }
    let numbered = items.iter().enumerate();
    numbered.filter_map(|(index, item)| step(item, &format!("{path}[{index}]"), report)).collect()
}

fn step(item: &Node, path: &str, report: &mut Report) -> Option<KillStep> {
    if matches!(item.value, Value::Map(_)) {
        let fields = Fields::of(item, path, report)?;
        fields.known(&["channel", "grace"], Unknown::Warn, report);
        if fields.get("channel").is_none() {
            report.error(item.place, &fields.at("channel"), "the step names no channel", Some(channels_hint()));
        }
        let channel = fields.word("channel", &CHANNELS, report)?;
        let grace_ms = fields.get("grace").and_then(|node| grace(node, &fields.at("grace"), report));
        return Some(KillStep { channel, grace_ms });
    }
    let given = text(item, path, report)?;
    let found = CHANNELS.iter().find(|(word, _)| *word == given).map(|(_, channel)| *channel);
    if found.is_none() {
        report.error(item.place, path, format!("{given:?} is no channel of a kill"), Some(channels_hint()));
    }
    Some(KillStep { channel: found?, grace_ms: None })
}

fn channels_hint() -> String {
    format!("channels are {}", CHANNELS.map(|(word, _)| word).join(", "))
}

fn grace(node: &Node, path: &str, report: &mut Report) -> Option<u64> {
    let given = text(node, path, report)?;
    let millis = duration_ms(given).filter(|millis| *millis <= GRACE_MS_MAX);
    if millis.is_none() {
        let hint = "write a number and a unit, at most an hour: 500ms, 10s, 5m".to_owned();
        report.error(node.place, path, format!("{given:?} is not a grace"), Some(hint));
    }
    millis
}

/// `500ms`, `10s`, `5m`, `2h`, `35d` in milliseconds.
pub(crate) fn duration_ms(text: &str) -> Option<u64> {
    let unit_at = text.find(|c: char| !c.is_ascii_digit())?;
    let (digits, unit) = text.split_at(unit_at);
    let size: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(size)
}

#[cfg(test)]
mod tests;
