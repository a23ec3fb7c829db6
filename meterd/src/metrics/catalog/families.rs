//! The rows of the catalogue. One line of the macro is one family; the constant is how the code names it.
//!
//! Labels never hold an id of a run, event, trace, conversation or person, and never a name that scraping owns
//! (`job`, `instance`, `namespace`, `pod` …): that is why the namespace of an agent is `agent_namespace`.

use super::{Family, Kind, Origin};

macro_rules! families {
    ($($id:ident: $kind:ident $origin:ident $name:literal $unit:literal [$($label:literal)*] $help:literal;)*) => {
        $(
            #[doc = $help]
            pub const $id: Family = Family {
                name: $name,
                kind: Kind::$kind,
                unit: $unit,
                labels: &[$($label),*],
                help: $help,
                origin: Origin::$origin,
            };
        )*
        pub(super) const ALL: &[Family] = &[$($id),*];
    };
}

families! {
    // Spend, tokens, calls.
    COST: Counter Ledger "meterd_cost_usd_total" "usd" ["agent_namespace" "agent" "team" "category" "basis"]
        "Metered cost in US dollars since the ledger began, all categories.";
    MODEL_COST: Counter Ledger "meterd_model_cost_usd_total" "usd" ["provider" "model" "agent_namespace" "agent" "team"]
        "Part of the cost that model calls caused.";
    TOOL_COST: Counter Ledger "meterd_tool_cost_usd_total" "usd" ["tool" "agent_namespace" "agent" "team"]
        "Part of the cost that tool calls caused.";
    COST_CREDIT: Counter Ledger "meterd_cost_credit_usd_total" "usd" ["agent_namespace" "team"]
        "Cost taken back by reconciliation; net cost is cost less credit.";
    TOKENS: Counter Ledger "meterd_tokens_total" "tokens"
        ["provider" "model" "agent_namespace" "agent" "team" "token_type"]
        "Tokens by disjoint type; input leaves out cached tokens, output leaves out reasoning tokens.";
    TOKENS_CREDIT: Counter Ledger "meterd_credit_tokens_total" "tokens" ["agent_namespace" "team" "token_type"]
        "Tokens of estimates that the call itself took back; net tokens are tokens less credit.";
    MODEL_CALLS: Counter Ledger "meterd_model_calls_total" ""
        ["provider" "model" "agent_namespace" "agent" "team" "outcome"]
        "Model calls metered, each once, under the outcome that was told first.";
    TOOL_CALLS: Counter Ledger "meterd_tool_calls_total" "" ["tool" "agent_namespace" "agent" "team" "outcome"]
        "Tool calls metered, under the outcome that was told first; calls that an estimate had too many stay.";
    EXECUTIONS: Counter Ledger "meterd_executions_total" "" ["agent_namespace" "agent" "team" "outcome"]
        "Executions that ended.";
    EXECUTIONS_ACTIVE: Gauge State "meterd_executions_active" "" ["agent_namespace" "team"]
        "Executions with an open ledger.";
    EXECUTION_COST: Histogram Ledger "meterd_execution_cost_usd" "usd" ["agent_namespace" "team"]
        "Cost of one whole execution.";

    // Budgets.
    BUDGET_INFO: Info State "meterd_budget_info" "" ["agent_namespace" "budget" "team" "action"]
        "Budgets that are loaded.";
    BUDGET_LIMIT_USD: Gauge State "meterd_budget_limit_usd" "usd" ["agent_namespace" "budget" "team" "window"]
        "Money limit of the budget for the window.";
    BUDGET_SPENT_USD: Gauge State "meterd_budget_spent_usd" "usd" ["agent_namespace" "budget" "team" "window"]
        "Money charged in the window that runs now.";
    BUDGET_RESERVED_USD: Gauge State "meterd_budget_reserved_usd" "usd" ["agent_namespace" "budget" "team" "window"]
        "Money held for calls that have not finished.";
    BUDGET_LIMIT_TOKENS: Gauge State "meterd_budget_limit_tokens" "tokens" ["agent_namespace" "budget" "team" "window"]
        "Token limit of the budget for the window.";
    BUDGET_SPENT_TOKENS: Gauge State "meterd_budget_spent_tokens" "tokens" ["agent_namespace" "budget" "team" "window"]
        "Tokens charged in the window that runs now.";
    BUDGET_CHARGED: Counter Ledger "meterd_budget_charged_usd_total" "usd" ["agent_namespace" "budget"]
        "Money charged to the budget; never reset at a window's end.";
    BUDGET_SOFT_LIMIT: Gauge State "meterd_budget_soft_limit_ratio" "ratio" ["agent_namespace" "budget" "window"]
        "Share of the limit at which the soft limit acts.";
    BUDGET_WINDOW_START: Gauge State "meterd_budget_window_start_timestamp_seconds" "seconds"
        ["agent_namespace" "budget" "team" "window"]
        "Start of the window that runs now.";
    BUDGET_WINDOW_END: Gauge State "meterd_budget_window_end_timestamp_seconds" "seconds"
        ["agent_namespace" "budget" "team" "window"]
        "End of the window that runs now.";
    BUDGET_RUN_MAX: Gauge State "meterd_budget_run_max_utilization_ratio" "ratio" ["agent_namespace" "budget"]
        "Highest share of perRunUsd that an active execution has used.";
    BUDGET_THRESHOLDS: Counter Ledger "meterd_budget_threshold_events_total" ""
        ["agent_namespace" "budget" "window" "threshold" "action"]
        "Times that a threshold was crossed.";
    BUDGET_DECISIONS: Counter Daemon "meterd_budget_decisions_total" "" ["agent_namespace" "budget" "result"]
        "Answers given to budget checks.";

    // Kill signals.
    KILLS_SENT: Counter Ledger "meterd_kill_signals_sent_total" "" ["channel" "agent_namespace"]
        "Kill signals sent to executions.";
    KILLS_ACKED: Counter Ledger "meterd_kill_signals_acked_total" "" ["channel" "outcome"]
        "Kill signals that an execution answered or that its end confirmed.";
    KILLS_FAILED: Counter Ledger "meterd_kill_signals_failed_total" "" ["channel" "reason"]
        "Kill signals that could not be delivered.";
    KILLS_ESCALATED: Counter Ledger "meterd_kill_signals_escalated_total" "" ["channel"]
        "Kills handed on to this channel because the one before did not do; `none` once all were tried in vain.";
    KILLS_MANUAL: Counter Ledger "meterd_kill_signals_manual_total" "" ["agent_namespace"]
        "Kills that a person was called for.";
    KILLS_PENDING: Gauge State "meterd_kill_signals_pending" "" ["channel"]
        "Kill signals without an answer yet.";
    KILL_OLDEST_PENDING: Gauge State "meterd_kill_oldest_pending_timestamp_seconds" "seconds" ["channel"]
        "When the oldest unanswered kill signal was sent; 0 when none is open.";
    KILL_ACK_LATENCY: Histogram Ledger "meterd_kill_ack_latency_seconds" "seconds" ["channel"]
        "Time from decision to acknowledged stop.";
    KILL_OVERSHOOT: Histogram Ledger "meterd_kill_overshoot_usd" "usd" ["agent_namespace"]
        "Money charged between the limit and the stop.";

    // Ingest and pricing.
    INGEST_EVENTS: Counter Daemon "meterd_ingest_events_total" "" ["source" "result"]
        "Usage events by what became of them.";
    INGEST_REJECTED: Counter Daemon "meterd_ingest_rejected_total" "" ["source" "reason"]
        "Usage events refused, by reason.";
    UNPRICED_EVENTS: Counter Ledger "meterd_unpriced_events_total" "" ["provider" "reason"]
        "Accepted usage that has no price.";
    INGEST_LAG: Histogram Daemon "meterd_ingest_lag_seconds" "seconds" ["source"]
        "Age of a usage event when it is accepted.";
    INGEST_LAST_EVENT: Gauge Daemon "meterd_ingest_last_event_timestamp_seconds" "seconds" ["source"]
        "When the last usage event was accepted.";
    DEAD_LETTERS: Gauge Daemon "meterd_dead_letters" "" []
        "Usage refused for its time and kept, that waits to be imported.";
    AUTH_REFUSED: Counter Daemon "meterd_auth_refused_total" "" ["reason"]
        "Requests that were not let in: no or an unknown credential, a role or reach that is missing, too many of them.";
    PRICE_TABLE_INFO: Info Daemon "meterd_price_table_info" "" ["version" "digest" "source" "currency"]
        "The price table in use.";
    PRICE_TABLE_ENTRIES: Gauge Daemon "meterd_price_table_entries" "" ["source"]
        "Prices in the table in use.";
    PRICE_TABLE_EFFECTIVE: Gauge Daemon "meterd_price_table_effective_timestamp_seconds" "seconds" ["source"]
        "When the newest prices of the table in use were published or began to hold.";
    PRICE_TABLE_RELOAD_OK: Gauge Daemon "meterd_price_table_last_reload_successful" "" ["source"]
        "1 when the last load of the price table worked.";
    PRICE_TABLE_RELOAD_AT: Gauge Daemon "meterd_price_table_last_reload_success_timestamp_seconds" "seconds" ["source"]
        "When a price table last loaded.";
    CONFIG_RELOAD_OK: Gauge Daemon "meterd_config_last_reload_successful" "" []
        "1 when the last load of the configuration worked.";
    CONFIG_RELOAD_AT: Gauge Daemon "meterd_config_last_reload_success_timestamp_seconds" "seconds" []
        "When a configuration last loaded.";

    // Reconcile.
    RECONCILE_AT: Gauge Daemon "meterd_reconcile_last_success_timestamp_seconds" "seconds" ["provider"]
        "When metered cost was last compared with the provider's bill.";
    RECONCILE_CAPTURED: Gauge Daemon "meterd_reconcile_captured_ratio" "ratio" ["provider"]
        "Metered cost over billed cost for the last reconciled window.";
    RECONCILE_DRIFT: Gauge Daemon "meterd_reconcile_drift_usd" "usd" ["provider"]
        "Billed less metered cost for the last reconciled window.";
    RECONCILE_ADJUSTED: Counter Daemon "meterd_reconcile_adjustments_usd_total" "usd" ["provider" "direction"]
        "Size of corrections booked.";

    // Queue and journal.
    QUEUE_DEPTH: Gauge Daemon "meterd_queue_depth" "" ["queue"]
        "Events waiting.";
    QUEUE_CAPACITY: Gauge Daemon "meterd_queue_capacity" "" ["queue"]
        "Events that fit.";
    QUEUE_DROPPED: Counter Daemon "meterd_queue_dropped_total" "" ["queue" "reason"]
        "Accepted events lost.";
    WAL_BYTES: Gauge Daemon "meterd_wal_bytes" "bytes" []
        "Size of the journal on disk.";
    WAL_ERRORS: Counter Daemon "meterd_wal_errors_total" "" ["op"]
        "Journal operations that failed.";
    WAL_FSYNC: Histogram Daemon "meterd_wal_fsync_duration_seconds" "seconds" []
        "Time of one journal fsync.";
    WAL_REPLAYED: Counter Daemon "meterd_wal_replayed_records_total" "" []
        "Records read back at start.";

    // Sinks.
    SINK_ROWS: Counter Daemon "meterd_sink_rows_total" "" ["sink"]
        "Rows delivered.";
    SINK_ERRORS: Counter Daemon "meterd_sink_write_errors_total" "" ["sink" "reason"]
        "Writes that failed.";
    SINK_PENDING: Gauge Daemon "meterd_sink_pending_rows" "" ["sink"]
        "Rows not delivered yet.";
    SINK_OLDEST_PENDING: Gauge Daemon "meterd_sink_oldest_pending_timestamp_seconds" "seconds" ["sink"]
        "Event time of the oldest row not delivered; 0 when none.";
    SINK_DURATION: Histogram Daemon "meterd_sink_write_duration_seconds" "seconds" ["sink"]
        "Time of one batch write.";

    // Exporter, HTTP, process.
    EXPORTER_SERIES: Gauge Ledger "meterd_exporter_series" "" ["family"]
        "Series that the exporter holds.";
    EXPORTER_OVERFLOW: Counter Ledger "meterd_exporter_overflow_total" "" ["family" "label"]
        "Updates that were put into the overflow series.";
    EXPORTER_EVICTED: Counter Ledger "meterd_exporter_evicted_series_total" "" ["family" "reason"]
        "Series taken out of the exporter.";
    HTTP_REQUESTS: Counter Daemon "meterd_http_requests_total" "" ["handler" "method" "code"]
        "Requests answered.";
    HTTP_DURATION: Histogram Daemon "meterd_http_request_duration_seconds" "seconds" ["handler"]
        "Time to answer a request.";
    CLOCK_FROZEN: Gauge Daemon "meterd_clock_frozen" "" []
        "1 while the wall clock is not believed because it jumped; time goes on as measured.";
    CLOCK_JUMPS: Counter Daemon "meterd_clock_jumps_total" "" []
        "Times that the wall clock jumped against the boot clock.";
    BUILD_INFO: Info Daemon "meterd_build_info" "" ["version" "revision"]
        "Build of the running daemon.";
    PROCESS_CPU: Counter Daemon "process_cpu_seconds_total" "seconds" []
        "CPU time used.";
    PROCESS_RSS: Gauge Daemon "process_resident_memory_bytes" "bytes" []
        "Resident memory.";
    PROCESS_OPEN_FDS: Gauge Daemon "process_open_fds" "" []
        "Open file descriptors.";
    PROCESS_MAX_FDS: Gauge Daemon "process_max_fds" "" []
        "Limit of open file descriptors.";
    PROCESS_START: Gauge Daemon "process_start_time_seconds" "seconds" []
        "Start time of the process.";
}
