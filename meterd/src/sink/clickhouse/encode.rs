//! Ledger entries → rows. Pure: the same entry gives the same row, always.

use budget::charge::{CallOutcome, Called, Priced};
use budget::signal::{Attempt, Cause, Proof};
use budget::{AdjustReason, Adjustment, Charge, Entry, Fact, Subject};
use clickhouse::Row;
use pricing::Timestamp;
use pricing::cost::TableName;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::rollup::Line;

/// A row of `entries_raw`.
#[derive(Clone, Debug, Row, Serialize)]
pub(crate) struct EntryRow<'a> {
    shard: &'a str,
    seq: u64,
    batch_first: u64,
    batch_last: u64,
    entry: i8,
    time: i64,
    event_time: i64,
    recorded_at: i64,
    event_id: &'a str,
    source: &'a str,
    via: &'a str,
    namespace: &'a str,
    execution: &'a str,
    parent_execution: &'a str,
    conversation: &'a str,
    agent: &'a str,
    team: &'a str,
    environment: &'a str,
    labels: Vec<(&'a str, &'a str)>,
    kind: i8,
    provider: &'a str,
    model: &'a str,
    request_model: &'a str,
    response_id: &'a str,
    tool: &'a str,
    mcp_server: &'a str,
    outcome: i8,
    estimated: bool,
    status: i8,
    reason: &'a str,
    cost_usd: i128,
    reported_cost_usd: Option<i128>,
    model_calls: i64,
    tool_calls: i64,
    approvals: i64,
    unpriced_calls: i64,
    input_tokens: i64,
    cache_read_tokens: i64,
    cache_write_tokens: i64,
    output_tokens: i64,
    reasoning_tokens: i64,
    usage: Vec<(&'static str, String)>,
    attributes: Vec<(&'a str, &'a str)>,
    price_table: &'a str,
    price_table_version: &'a str,
    price_table_digest: &'a str,
    adjusts: u64,
    pricing_run: &'a str,
}

/// A row of `kill_events_raw`.
#[derive(Clone, Debug, Default, Row, Serialize)]
pub(super) struct KillRow<'a> {
    shard: &'a str,
    seq: u64,
    at: i64,
    step: i8,
    kill: &'a str,
    namespace: &'a str,
    execution: &'a str,
    channel: &'static str,
    failure: &'a str,
    budget_namespace: &'a str,
    budget: &'a str,
    reason: &'a str,
    decided_by: &'a str,
    proof: &'static str,
    cost_usd: i128,
}

/// A row of `execution_events_raw`.
#[derive(Clone, Debug, Default, Row, Serialize)]
pub(super) struct ExecutionRow<'a> {
    shard: &'a str,
    seq: u64,
    at: i64,
    step: i8,
    namespace: &'a str,
    execution: &'a str,
    agent: &'a str,
    team: &'a str,
    environment: &'a str,
    labels: Vec<(&'a str, &'a str)>,
    parent_namespace: &'a str,
    parent_execution: &'a str,
    conversation: &'a str,
    phase: &'static str,
}

/// Which batch a row belongs to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Of<'a> {
    pub(crate) shard: &'a str,
    pub(crate) first: u64,
    pub(crate) last: u64,
}

/// Hash over entries, as hexadecimal digits: what tells this ledger's range from another's.
pub(super) fn hash<'a>(entries: impl Iterator<Item = &'a Entry>) -> String {
    let mut hasher = Sha256::new();
    let mut bytes = Vec::new();
    for entry in entries {
        bytes.clear();
        // Encoding plain values into memory cannot fail.
        if let Ok(encoded) = postcard::to_extend(entry, std::mem::take(&mut bytes)) {
            bytes = encoded;
        }
        hasher.update(&bytes);
    }
    hasher.finalize().iter().fold(String::with_capacity(64), |mut text, byte| {
        text.push_str(&format!("{byte:02x}"));
        text
    })
}

fn text<T: AsRef<str>>(value: Option<&T>) -> &str {
    value.map(AsRef::as_ref).unwrap_or_default()
}

fn labels(subject: &Subject) -> Vec<(&str, &str)> {
    subject.labels.iter().map(|(key, value)| (&**key, &**value)).collect()
}

/// DateTime64(9) goes from 1900 on: what is earlier counts as then.
fn nanos(at: Timestamp) -> i64 {
    const YEAR_1900: i64 = -2_208_988_800_000_000_000;
    at.nanos().max(YEAR_1900)
}

impl<'a> EntryRow<'a> {
    /// The row of a charge or an adjustment; `None` for entries of other kinds.
    pub(crate) fn of(entry: &'a Entry, of: Of<'a>) -> Option<Self> {
        let line = Line::of(entry)?;
        let mut row = Self::blank(entry, of, &line);
        match &entry.fact {
            Fact::Charged(charge) => row.charge(charge),
            Fact::Adjusted(adjustment) => row.adjustment(adjustment),
            _ => return None,
        }
        Some(row)
    }

    /// What charges and adjustments have in common.
    fn blank(entry: &'a Entry, of: Of<'a>, line: &Line<'a>) -> Self {
        let (subject, sums) = (line.subject, &line.sums);
        let (kind, provider, model, request_model, response_id, tool, mcp_server) = match line.called {
            Called::Model { provider, model, request_model, response_id } => {
                (1, &**provider, &**model, text(request_model.as_ref()), text(response_id.as_ref()), "", "")
            }
            Called::Tool { tool, mcp_server } => (2, "", "", "", "", &**tool, text(mcp_server.as_ref())),
            Called::Approval => (3, "", "", "", "", "", ""),
        };
        Self {
            shard: of.shard,
            seq: entry.seq,
            batch_first: of.first,
            batch_last: of.last,
            entry: 1,
            time: nanos(line.at),
            event_time: nanos(line.at),
            recorded_at: nanos(entry.at),
            event_id: "",
            source: "",
            via: "",
            namespace: &line.execution.namespace,
            execution: &line.execution.name,
            parent_execution: "",
            conversation: "",
            agent: text(subject.agent.as_ref()),
            team: text(subject.team.as_ref()),
            environment: text(subject.environment.as_ref()),
            labels: labels(subject),
            kind,
            provider,
            model,
            request_model,
            response_id,
            tool,
            mcp_server,
            outcome: 1,
            estimated: false,
            status: 1,
            reason: "",
            cost_usd: sums.cost.scaled(),
            reported_cost_usd: None,
            model_calls: sums.model_calls,
            tool_calls: sums.tool_calls,
            approvals: sums.approvals,
            unpriced_calls: sums.unpriced_calls,
            input_tokens: sums.tokens.input,
            cache_read_tokens: sums.tokens.cache_read,
            cache_write_tokens: sums.tokens.cache_write,
            output_tokens: sums.tokens.output,
            reasoning_tokens: sums.tokens.reasoning,
            usage: Vec::new(),
            attributes: Vec::new(),
            price_table: "",
            price_table_version: "",
            price_table_digest: "",
            adjusts: 0,
            pricing_run: "",
        }
    }

    fn charge(&mut self, charge: &'a Charge) {
        self.event_time = nanos(charge.time);
        self.event_id = &charge.event_id;
        self.source = &charge.source;
        self.via = &charge.via;
        self.parent_execution = charge.parent.as_ref().map(|parent| &*parent.name).unwrap_or_default();
        self.conversation = text(charge.conversation.as_ref());
        self.outcome = match charge.outcome {
            CallOutcome::Ok => 1,
            CallOutcome::Error => 2,
            CallOutcome::Aborted => 3,
        };
        self.estimated = charge.estimated;
        self.reported_cost_usd = charge.reported_cost.map(pricing::Money::scaled);
        self.usage = charge.usage.iter().map(|(key, quantity)| (key.as_str(), quantity.to_string())).collect();
        self.attributes = charge.attrs.iter().collect();
        self.price(&charge.priced);
    }

    fn adjustment(&mut self, adjustment: &'a Adjustment) {
        self.entry = 2;
        self.event_id = &adjustment.event_id;
        self.price(&adjustment.priced);
        self.reason = match &adjustment.reason {
            AdjustReason::Operator { reason, .. } => reason,
            AdjustReason::Superseded(_) if adjustment.priced.total().is_none() => self.reason,
            other => other.as_str(),
        };
        self.adjusts = adjustment.of;
        self.pricing_run = text(adjustment.run.as_ref());
    }

    fn price(&mut self, priced: &'a Priced) {
        match priced {
            Priced::Cost(cost) => {
                let TableName { name, version, digest } = &*cost.table;
                (self.price_table, self.price_table_version, self.price_table_digest) = (name, version, digest);
            }
            Priced::Reported(_) => self.reason = "reported",
            Priced::Unpriced(reason) => (self.status, self.reason) = (2, reason.code()),
            Priced::Zero(zero) => (self.status, self.reason) = (3, zero.code()),
        }
    }
}

impl<'a> KillRow<'a> {
    /// The row of a step of a kill; `None` for entries of other kinds.
    pub(super) fn of(entry: &'a Entry, shard: &'a str) -> Option<Self> {
        let blank = Self { shard, seq: entry.seq, at: nanos(entry.at), ..Self::default() };
        Some(match &entry.fact {
            Fact::Killed { kill, execution, cause, cost } => {
                let row = Self {
                    step: 1,
                    kill,
                    namespace: &execution.namespace,
                    execution: &execution.name,
                    cost_usd: cost.scaled(),
                    ..blank
                };
                match cause {
                    Cause::Budget(counter) => Self {
                        budget_namespace: &counter.budget.namespace,
                        budget: &counter.budget.name,
                        reason: counter.window.as_str(),
                        ..row
                    },
                    Cause::Operator { reason, by } => Self { reason, decided_by: by, ..row },
                }
            }
            Fact::KillSent { kill, channel, attempt, .. } => {
                let failure = match attempt {
                    Attempt::Delivered => "",
                    Attempt::Failed(reason) => reason,
                };
                Self { step: 2, kill, channel: channel.as_str(), failure, ..blank }
            }
            Fact::KillAcked { kill, channel, .. } => Self { step: 3, kill, channel: channel.as_str(), ..blank },
            Fact::KillConfirmed { kill, proof, .. } => {
                let proof = match proof {
                    Proof::ProcessGone => "process_gone",
                    Proof::PhaseTerminal => "phase_terminal",
                    Proof::Target => "target",
                };
                Self { step: 4, kill, proof, ..blank }
            }
            _ => return None,
        })
    }
}

impl<'a> ExecutionRow<'a> {
    /// The row of an opening or an end; `None` for entries of other kinds.
    pub(super) fn of(entry: &'a Entry, shard: &'a str) -> Option<Self> {
        let blank = Self { shard, seq: entry.seq, at: nanos(entry.at), ..Self::default() };
        Some(match &entry.fact {
            Fact::Opened(opened) => Self {
                step: 1,
                namespace: &opened.execution.namespace,
                execution: &opened.execution.name,
                agent: text(opened.subject.agent.as_ref()),
                team: text(opened.subject.team.as_ref()),
                environment: text(opened.subject.environment.as_ref()),
                labels: labels(&opened.subject),
                parent_namespace: opened.parent.as_ref().map(|parent| &*parent.namespace).unwrap_or_default(),
                parent_execution: opened.parent.as_ref().map(|parent| &*parent.name).unwrap_or_default(),
                conversation: text(opened.conversation.as_ref()),
                ..blank
            },
            Fact::Ended { execution, phase } => Self {
                step: 2,
                namespace: &execution.namespace,
                execution: &execution.name,
                phase: phase.as_str(),
                ..blank
            },
            _ => return None,
        })
    }
}
