//! A question about cost, asked of ClickHouse: the same rows, to the last digit, as the ledger's roll-ups give.

use std::sync::Arc;

use budget::Ref;
use clickhouse::Row;
use clickhouse::query::Query;
use pricing::{Money, Timestamp};
use serde::Deserialize;

use super::client::{Client, SinkError};
use crate::rollup::{Answer, By, Filter, Groups, QUARTER_NANOS, Question, Sums};

const QUARTER_SECONDS: i64 = QUARTER_NANOS / 1_000_000_000;
/// Longest a question may take.
const SECONDS_MAX: u32 = 60;

/// One group.
#[derive(Clone, Debug, Row, Deserialize)]
struct Group {
    q: i64,
    name_a: String,
    name_b: String,
    usd: i128,
    n_lines: u64,
    n_model: i64,
    n_tool: i64,
    n_approval: i64,
    n_unpriced: i64,
    t_input: i64,
    t_cache_read: i64,
    t_cache_write: i64,
    t_output: i64,
    t_reasoning: i64,
}

impl Client {
    /// The answer from this shard's rows.
    pub async fn ask(&self, question: &Question, parent: impl Fn(&Ref) -> Option<Ref>) -> Result<Answer, SinkError> {
        let groups = self.rows::<Group>("ask what it cost", self.question(question)).await?;
        let mut answer = Groups::new(question);
        for group in groups {
            let tokens = budget::state::Tokens {
                input: group.t_input,
                cache_read: group.t_cache_read,
                cache_write: group.t_cache_write,
                output: group.t_output,
                reasoning: group.t_reasoning,
            };
            let sums = Sums {
                cost: Money::from_scaled(group.usd).unwrap_or_default(),
                entries: group.n_lines,
                model_calls: group.n_model,
                tool_calls: group.n_tool,
                approvals: group.n_approval,
                unpriced_calls: group.n_unpriced,
                tokens,
            };
            let name = |text: &str| (!text.is_empty()).then(|| Arc::<str>::from(text));
            answer.add(group.q, [name(&group.name_a), name(&group.name_b)], &sums);
        }
        Ok(answer.answer("clickhouse", parent))
    }

    fn question(&self, question: &Question) -> Query {
        let runs = question.needs_runs();
        // Runs are told apart by the entries only; sums of everything else are in the roll-ups.
        let (view, time, entries) =
            if runs { ("usage_entries", "time", "count()") } else { ("cost_quarters", "quarter", "sum(entries)") };
        let quarter = match question.bucket {
            Some(_) => format!("intDiv(toUnixTimestamp({time}), {QUARTER_SECONDS})"),
            None => "0".to_owned(),
        };
        let ([first, second], only) = columns(&question.by);
        let mut sql = format!(
            "SELECT toInt64({quarter}) AS q, {first} AS name_a, {second} AS name_b, sum(cost_usd) AS usd, \
             {entries} AS n_lines, sum(model_calls) AS n_model, sum(tool_calls) AS n_tool, \
             sum(approvals) AS n_approval, sum(unpriced_calls) AS n_unpriced, sum(input_tokens) AS t_input, \
             sum(cache_read_tokens) AS t_cache_read, sum(cache_write_tokens) AS t_cache_write, sum(output_tokens) AS t_output, \
             sum(reasoning_tokens) AS t_reasoning FROM {}.{view} \
             WHERE shard = ? AND {time} >= {} AND {time} < {}{only}",
            self.database,
            instant(question.since, runs),
            instant(question.until, runs),
        );
        let bound = conditions(&question.filter, &mut sql);
        sql.push_str(" GROUP BY q, name_a, name_b");
        let mut query = self.query(&sql);
        if let By::Label(key) = &question.by {
            query = query.bind(&**key);
        }
        query = query.bind(&self.shard);
        query = bound.into_iter().fold(query, Query::bind);
        query.with_setting("max_execution_time", SECONDS_MAX.to_string())
    }
}

/// The columns that tell rows apart, and the condition on rows that are asked for.
fn columns(by: &By) -> ([&'static str; 2], &'static str) {
    match by {
        By::Team => (["toString(team)", "''"], ""),
        By::Agent => (["toString(namespace)", "toString(agent)"], ""),
        By::Namespace => (["toString(namespace)", "''"], ""),
        By::Environment => (["toString(environment)", "''"], ""),
        By::Execution => (["toString(namespace)", "execution"], ""),
        By::Label(_) => (["labels[?]", "''"], ""),
        By::Provider => (["toString(provider)", "''"], " AND kind = 'model'"),
        By::Model => (["toString(provider)", "toString(model)"], " AND kind = 'model'"),
        By::Tool => (["toString(tool)", "''"], " AND kind = 'tool'"),
    }
}

/// Adds the conditions of a filter; what they are bound to, in order.
fn conditions(filter: &Filter, sql: &mut String) -> Vec<String> {
    let mut bound = Vec::new();
    let equal = [
        ("namespace", &filter.namespace),
        ("team", &filter.team),
        ("agent", &filter.agent),
        ("environment", &filter.environment),
        ("provider", &filter.provider),
        ("model", &filter.model),
        ("tool", &filter.tool),
        ("execution", &filter.execution),
    ];
    for (column, value) in equal {
        if let Some(value) = value {
            sql.push_str(&format!(" AND {column} = ?"));
            bound.push(value.to_string());
        }
    }
    for (key, value) in &filter.labels {
        sql.push_str(" AND mapContains(labels, ?) AND labels[?] = ?");
        bound.extend([key.to_string(), key.to_string(), value.to_string()]);
    }
    bound
}

/// An instant as the column holds it.
fn instant(at: Timestamp, precise: bool) -> String {
    // Beyond these ends neither type holds a time; nothing is booked there.
    let seconds = at.nanos().div_euclid(1_000_000_000).clamp(0, 4_294_967_295);
    if precise { format!("toDateTime64({seconds}, 9, 'UTC')") } else { format!("toDateTime({seconds}, 'UTC')") }
}
