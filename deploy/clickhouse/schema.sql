-- What meterd delivers. Tables whose name ends in _raw are written by the daemon and may hold a row twice after a retry: ask the
-- views, which never do. A row is known by its shard (one ledger) and the sequence number of its ledger entry.
CREATE DATABASE IF NOT EXISTS meterd;

-- Charges and adjustments, a row for each ledger line. Rows arrive in the order of seq, so FINAL has next to nothing to merge.
CREATE TABLE IF NOT EXISTS meterd.entries_raw
(
    shard LowCardinality(String),
    seq UInt64,
    batch_first UInt64,
    batch_last UInt64,
    entry Enum8('charge' = 1, 'adjustment' = 2),
    time DateTime64(9, 'UTC') COMMENT 'the time it counts in',
    event_time DateTime64(9, 'UTC') COMMENT 'as the source sent it',
    recorded_at DateTime64(9, 'UTC'),
    event_id String,
    source LowCardinality(String),
    via LowCardinality(String),
    namespace LowCardinality(String),
    execution String,
    parent_execution String,
    conversation String,
    agent LowCardinality(String) COMMENT 'empty: none, as everywhere',
    team LowCardinality(String),
    environment LowCardinality(String),
    labels Map(LowCardinality(String), String),
    kind Enum8('model' = 1, 'tool' = 2, 'approval' = 3),
    provider LowCardinality(String),
    model LowCardinality(String),
    request_model LowCardinality(String),
    response_id String,
    tool LowCardinality(String),
    mcp_server LowCardinality(String),
    outcome Enum8('ok' = 1, 'error' = 2, 'aborted' = 3),
    estimated Bool,
    status Enum8('priced' = 1, 'unpriced' = 2, 'zero' = 3),
    reason LowCardinality(String) COMMENT 'why it is unpriced, free, or adjusted',
    cost_usd Decimal(38, 18) COMMENT 'of an adjustment: the difference',
    reported_cost_usd Nullable(Decimal(38, 18)),
    model_calls Int64,
    tool_calls Int64,
    approvals Int64,
    unpriced_calls Int64 COMMENT '-1 when an adjustment gives a call its price, 1 when it takes one away',
    input_tokens Int64 COMMENT 'neither read from nor written to a cache; of an adjustment: the difference',
    cache_read_tokens Int64,
    cache_write_tokens Int64,
    output_tokens Int64 COMMENT 'without reasoning',
    reasoning_tokens Int64,
    usage Map(LowCardinality(String), String) COMMENT 'as declared: inclusive totals',
    attributes Map(LowCardinality(String), String),
    price_table LowCardinality(String),
    price_table_version LowCardinality(String),
    price_table_digest LowCardinality(String),
    adjusts UInt64 COMMENT 'seq of the charge that an adjustment changes; 0 for a charge',
    pricing_run LowCardinality(String),
    INDEX execution_index execution TYPE bloom_filter(0.01) GRANULARITY 4
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(time)
ORDER BY (shard, seq)
SETTINGS non_replicated_deduplication_window = 1000, index_granularity = 8192;

-- Kills, a row for each step: decided, sent, acknowledged, confirmed.
CREATE TABLE IF NOT EXISTS meterd.kill_events_raw
(
    shard LowCardinality(String),
    seq UInt64,
    at DateTime64(9, 'UTC'),
    step Enum8('decided' = 1, 'sent' = 2, 'acknowledged' = 3, 'confirmed' = 4),
    kill String,
    namespace LowCardinality(String),
    execution String,
    channel LowCardinality(String),
    failure String,
    budget_namespace LowCardinality(String),
    budget LowCardinality(String),
    reason String,
    decided_by String,
    proof LowCardinality(String),
    cost_usd Decimal(38, 18) COMMENT 'of the run when it was decided'
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(at)
ORDER BY (shard, seq)
SETTINGS non_replicated_deduplication_window = 1000, index_granularity = 8192;

-- Executions, a row for each opening, change of description and end.
CREATE TABLE IF NOT EXISTS meterd.execution_events_raw
(
    shard LowCardinality(String),
    seq UInt64,
    at DateTime64(9, 'UTC'),
    step Enum8('opened' = 1, 'ended' = 2),
    namespace LowCardinality(String),
    execution String,
    agent LowCardinality(String),
    team LowCardinality(String),
    environment LowCardinality(String),
    labels Map(LowCardinality(String), String),
    parent_namespace LowCardinality(String),
    parent_execution String,
    conversation String,
    phase LowCardinality(String)
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(at)
ORDER BY (shard, seq)
SETTINGS non_replicated_deduplication_window = 1000, index_granularity = 8192;

-- The batches that are complete: the roll-ups count those and no others. A batch is a range of ledger entries; its row comes last.
CREATE TABLE IF NOT EXISTS meterd.batches_raw
(
    shard LowCardinality(String),
    batch_first UInt64,
    batch_last UInt64,
    rows UInt64,
    hash String COMMENT 'sha256 over the entries of the range',
    void UInt8 DEFAULT 0 COMMENT '1: taken back, its range comes again in other bounds',
    written_at DateTime64(6, 'UTC') DEFAULT now64(6, 'UTC')
)
ENGINE = ReplacingMergeTree(written_at)
ORDER BY (shard, batch_first, batch_last);

CREATE VIEW IF NOT EXISTS meterd.batches AS
SELECT shard, batch_first, batch_last, rows, hash, written_at
FROM meterd.batches_raw FINAL
WHERE void = 0;

-- Sums by quarter-hour, so that every zone's days are sums of whole rows. A row belongs to one batch: a batch that is inserted again
-- makes the same row again, under the same key, and the view below counts it once.
CREATE TABLE IF NOT EXISTS meterd.cost_quarters_raw
(
    shard LowCardinality(String),
    batch_first UInt64,
    batch_last UInt64,
    quarter DateTime('UTC'),
    namespace LowCardinality(String),
    agent LowCardinality(String),
    team LowCardinality(String),
    environment LowCardinality(String),
    labels_text LowCardinality(String),
    labels Map(LowCardinality(String), String),
    kind Enum8('model' = 1, 'tool' = 2, 'approval' = 3),
    provider LowCardinality(String),
    model LowCardinality(String),
    tool LowCardinality(String),
    cost_usd Decimal(38, 18),
    entries UInt64,
    model_calls Int64,
    tool_calls Int64,
    approvals Int64,
    unpriced_calls Int64,
    input_tokens Int64,
    cache_read_tokens Int64,
    cache_write_tokens Int64,
    output_tokens Int64,
    reasoning_tokens Int64
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(quarter)
ORDER BY (shard, batch_first, batch_last, quarter, namespace, agent, team, environment, labels_text, kind, provider, model, tool)
SETTINGS non_replicated_deduplication_window = 1000, index_granularity = 8192;

CREATE MATERIALIZED VIEW IF NOT EXISTS meterd.cost_quarters_mv TO meterd.cost_quarters_raw AS
SELECT
    shard,
    batch_first,
    batch_last,
    toStartOfInterval(toDateTime(time, 'UTC'), INTERVAL 15 MINUTE, 'UTC') AS quarter,
    namespace,
    agent,
    team,
    environment,
    toString(e.labels) AS labels_text,
    any(e.labels) AS labels,
    kind,
    provider,
    model,
    tool,
    sum(cost_usd) AS cost_usd,
    count() AS entries,
    sum(model_calls) AS model_calls,
    sum(tool_calls) AS tool_calls,
    sum(approvals) AS approvals,
    sum(unpriced_calls) AS unpriced_calls,
    sum(input_tokens) AS input_tokens,
    sum(cache_read_tokens) AS cache_read_tokens,
    sum(cache_write_tokens) AS cache_write_tokens,
    sum(output_tokens) AS output_tokens,
    sum(reasoning_tokens) AS reasoning_tokens
FROM meterd.entries_raw AS e
GROUP BY shard, batch_first, batch_last, quarter, namespace, agent, team, environment, labels_text, kind, provider, model, tool;

CREATE VIEW IF NOT EXISTS meterd.cost_quarters AS
SELECT * EXCEPT (batch_first, batch_last, labels_text)
FROM meterd.cost_quarters_raw FINAL
WHERE (shard, batch_first, batch_last) IN (SELECT shard, batch_first, batch_last FROM meterd.batches);

CREATE VIEW IF NOT EXISTS meterd.cost_hourly AS
SELECT
    shard, toStartOfHour(quarter, 'UTC') AS hour, namespace, agent, team, environment, labels, kind, provider, model, tool,
    sum(cost_usd) AS cost_usd,
    sum(entries) AS entries,
    sum(model_calls) AS model_calls,
    sum(tool_calls) AS tool_calls,
    sum(approvals) AS approvals,
    sum(unpriced_calls) AS unpriced_calls,
    sum(input_tokens) AS input_tokens,
    sum(cache_read_tokens) AS cache_read_tokens,
    sum(cache_write_tokens) AS cache_write_tokens,
    sum(output_tokens) AS output_tokens,
    sum(reasoning_tokens) AS reasoning_tokens
FROM meterd.cost_quarters
GROUP BY shard, hour, namespace, agent, team, environment, labels, kind, provider, model, tool;

-- Every ledger line once: charges and adjustments.
CREATE VIEW IF NOT EXISTS meterd.usage_entries AS
SELECT * EXCEPT (batch_first, batch_last) FROM meterd.entries_raw FINAL;

CREATE VIEW IF NOT EXISTS meterd.adjustments AS
SELECT shard, seq, adjusts, recorded_at, time, event_id, namespace, execution, agent, team, environment, labels, kind, provider, model,
    tool, reason, pricing_run, cost_usd AS difference_usd, price_table, price_table_version, price_table_digest
FROM meterd.entries_raw FINAL
WHERE entry = 'adjustment';

CREATE VIEW IF NOT EXISTS meterd.kills AS
SELECT
    shard,
    kill,
    anyIf(namespace, step = 'decided') AS namespace,
    anyIf(execution, step = 'decided') AS execution,
    anyIf(budget_namespace, step = 'decided') AS budget_namespace,
    anyIf(budget, step = 'decided') AS budget,
    anyIf(reason, step = 'decided') AS reason,
    anyIf(decided_by, step = 'decided') AS decided_by,
    anyIf(cost_usd, step = 'decided') AS cost_usd_at_decision,
    minIfOrNull(at, step = 'decided') AS decided_at,
    minIfOrNull(at, step = 'sent' AND failure = '') AS sent_at,
    minIfOrNull(at, step = 'acknowledged') AS acknowledged_at,
    minIfOrNull(at, step = 'confirmed') AS confirmed_at,
    countIf(step = 'sent') AS attempts,
    countIf(step = 'sent' AND failure != '') AS failed_attempts
FROM meterd.kill_events_raw FINAL
GROUP BY shard, kill;

-- Executions with their own cost; the names are those of the newest description that gives one.
CREATE VIEW IF NOT EXISTS meterd.executions AS
SELECT
    described.*,
    costs.cost_usd AS cost_usd, costs.entries AS entries, costs.model_calls AS model_calls, costs.tool_calls AS tool_calls,
    costs.approvals AS approvals, costs.unpriced_calls AS unpriced_calls, costs.first_call_at AS first_call_at,
    costs.last_call_at AS last_call_at
FROM
(
    SELECT
        shard,
        namespace,
        execution,
        argMaxIf(e.agent, e.seq, e.agent != '') AS agent,
        argMaxIf(e.team, e.seq, e.team != '') AS team,
        argMaxIf(e.environment, e.seq, e.environment != '') AS environment,
        argMaxIf(e.labels, e.seq, notEmpty(e.labels)) AS labels,
        argMinIf(e.parent_namespace, e.seq, e.parent_execution != '') AS parent_namespace,
        argMinIf(e.parent_execution, e.seq, e.parent_execution != '') AS parent_execution,
        argMaxIf(e.conversation, e.seq, e.conversation != '') AS conversation,
        if(countIf(e.step = 'ended') > 0, argMaxIf(e.phase, e.seq, e.step = 'ended'), 'Running') AS phase,
        min(at) AS opened_at,
        maxIfOrNull(at, step = 'ended') AS ended_at
    FROM meterd.execution_events_raw AS e FINAL
    GROUP BY shard, namespace, execution
) AS described
LEFT JOIN
(
    SELECT
        shard, namespace, execution,
        sum(cost_usd) AS cost_usd,
        count() AS entries,
        sum(model_calls) AS model_calls,
        sum(tool_calls) AS tool_calls,
        sum(approvals) AS approvals,
        sum(unpriced_calls) AS unpriced_calls,
        min(time) AS first_call_at,
        max(time) AS last_call_at
    FROM meterd.entries_raw FINAL
    GROUP BY shard, namespace, execution
) AS costs USING (shard, namespace, execution);
