//! Groups of a question and the answer made of them: the same code whatever the sums came from.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

use budget::charge::Called;
use budget::{Ref, Subject};
use pricing::{Money, Timestamp};
use rustc_hash::FxHashMap;
use serde_json::{Map, Value, json};

use super::question::{Bucket, By, Question, Rank};
use super::tree::with_subtrees;
use super::{QUARTER_NANOS, Sums};

/// What tells a row apart: one or two names, in the order of [`By::columns`].
pub type Names = [Option<Arc<str>>; 2];

/// Sums by row, growing.
pub struct Groups<'a> {
    question: &'a Question,
    groups: FxHashMap<(Option<Timestamp>, Names), Sums>,
    starts: HashMap<i64, Timestamp>,
}

/// One row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Start of its bucket.
    pub bucket: Option<Timestamp>,
    /// What tells it apart.
    pub names: Names,
    /// Its sums.
    pub sums: Sums,
    /// Cost of the run and of every run below it.
    pub subtree_cost: Option<Money>,
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The question.
    pub question: Question,
    /// Where the sums came from: `ledger` or `clickhouse`.
    pub source: &'static str,
    /// Rows: by bucket, then the largest first.
    pub rows: Vec<Row>,
    /// Of all rows, shown or not.
    pub total: Sums,
    /// Rows that the limit left out.
    pub rows_left_out: usize,
}

/// The names of a line's row; `None` when the question does not ask for such lines.
#[must_use]
pub(super) fn names_of(
    by: &By,
    namespace: &Arc<str>,
    subject: &Subject,
    called: &Called,
    run: Option<&Ref>,
) -> Option<Names> {
    Some(match by {
        By::Team => [subject.team.clone(), None],
        By::Agent => [Some(namespace.clone()), subject.agent.clone()],
        By::Namespace => [Some(namespace.clone()), None],
        By::Environment => [subject.environment.clone(), None],
        By::Execution => [Some(namespace.clone()), Some(run?.name.clone())],
        By::Label(key) => [subject.labels.iter().find(|(name, _)| name == key).map(|(_, value)| value.clone()), None],
        By::Model | By::Provider => match called {
            Called::Model { provider, .. } if *by == By::Provider => [Some(provider.clone()), None],
            Called::Model { provider, model, .. } => [Some(provider.clone()), Some(model.clone())],
            Called::Tool { .. } | Called::Approval => return None,
        },
        By::Tool => match called {
            Called::Tool { tool, .. } => [Some(tool.clone()), None],
            Called::Model { .. } | Called::Approval => return None,
        },
    })
}

impl<'a> Groups<'a> {
    /// No groups yet.
    #[must_use]
    pub fn new(question: &'a Question) -> Self {
        Self { question, groups: FxHashMap::default(), starts: HashMap::new() }
    }

    /// Adds sums of a quarter-hour to a row.
    pub fn add(&mut self, quarter: i64, names: Names, sums: &Sums) {
        let start = self.question.bucket.map(|bucket| self.start(bucket, quarter));
        self.groups.entry((start, names)).or_default().add(sums);
    }

    fn start(&mut self, bucket: Bucket, quarter: i64) -> Timestamp {
        let calendar = &self.question.calendar;
        *self.starts.entry(quarter).or_insert_with(|| {
            let at = Timestamp::from_nanos(quarter.saturating_mul(QUARTER_NANOS));
            calendar.span(bucket.window(), at).start
        })
    }

    /// The answer. `parent` names the run above a run, where subtree costs are wanted.
    #[must_use]
    pub fn answer(self, source: &'static str, parent: impl Fn(&Ref) -> Option<Ref>) -> Answer {
        let Self { question, groups, .. } = self;
        let row = |((bucket, names), sums)| Row { bucket, names, sums, subtree_cost: None };
        let mut rows: Vec<Row> = groups.into_iter().map(row).collect();
        let mut total = Sums::default();
        for row in &rows {
            total.add(&row.sums);
        }
        if question.tree && question.by == By::Execution {
            with_subtrees(&mut rows, parent);
        }
        let size = |row: &Row| match question.rank {
            Rank::Cost => row.subtree_cost.unwrap_or(row.sums.cost).scaled(),
            Rank::Tokens => row.sums.tokens.total(),
            Rank::Calls => i128::from(row.sums.calls()),
        };
        rows.sort_by(|a, b| {
            let key = |row: &Row| (row.bucket, Reverse(size(row)));
            key(a).cmp(&key(b)).then_with(|| a.names.cmp(&b.names))
        });
        let rows_left_out = rows.len().saturating_sub(question.limit);
        rows.truncate(question.limit);
        Answer { question: question.clone(), source, rows, total, rows_left_out }
    }
}

impl Answer {
    /// As the API writes it.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let question = &self.question;
        let rows: Vec<Value> = self.rows.iter().map(|row| self.row_json(row)).collect();
        let total = Value::Object(sums_json(&self.total));
        json!({
            "by": question.by.word(), "since": question.since, "until": question.until,
            "bucket": question.bucket.map(Bucket::as_str), "time_zone": question.calendar.time_zone,
            "source": self.source, "rows": rows, "total": total, "rows_left_out": self.rows_left_out,
        })
    }

    fn row_json(&self, row: &Row) -> Value {
        let mut map = Map::new();
        if let Some(start) = row.bucket {
            map.insert("bucket".to_owned(), Value::String(civil(start, &self.question.calendar.time_zone)));
        }
        for (column, name) in self.question.by.columns().iter().zip(&row.names) {
            map.insert((*column).to_owned(), json!(name));
        }
        map.append(&mut sums_json(&row.sums));
        if let Some(cost) = row.subtree_cost {
            map.insert("subtree_cost_usd".to_owned(), json!(cost));
        }
        Value::Object(map)
    }
}

/// A bucket's start with its offset in the zone asked for.
fn civil(start: Timestamp, zone: &str) -> String {
    match start.jiff().in_tz(zone) {
        Ok(here) => here.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string(),
        Err(_) => start.to_string(),
    }
}

fn sums_json(sums: &Sums) -> Map<String, Value> {
    let Sums { cost, entries, model_calls, tool_calls, approvals, unpriced_calls, tokens } = sums;
    let value = json!({
        "cost_usd": cost, "calls": sums.calls(), "model_calls": model_calls, "tool_calls": tool_calls,
        "approvals": approvals, "unpriced_calls": unpriced_calls,
        "tokens": {
            "input": tokens.input, "cache_read": tokens.cache_read, "cache_write": tokens.cache_write,
            "output": tokens.output, "reasoning": tokens.reasoning,
            "total": u64::try_from(tokens.total()).unwrap_or(u64::MAX),
        },
        "entries": entries,
    });
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}
