//! DaemonMetrics: the daemon's own families, whose label values are closed sets known when the daemon is built.
//!
//! The `prometheus` crate keeps them; it tells children apart by a hash over the values run together, so a value that
//! comes from outside never gets in here. Starts at 0 with the process.

mod bills;
mod decisions;
mod loads;
mod process;
mod register;
mod sinks;
mod write;

use std::sync::{Arc, Mutex, PoisonError};

use budget::Denial;
use budget::signal::CounterAt;
use pricing::Timestamp;
use prometheus::{GaugeVec, Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry};

use self::bills::Bills;
pub use self::bills::{Correction, Reconciled};
use self::decisions::Decisions;
use self::loads::Loads;
pub use self::loads::TableInfo;
pub use self::sinks::{SINK_FAILURES, SINKS};
pub use self::write::render_daemon;

/// How usage comes in: the label `source`.
pub const SOURCES: [&str; 5] = ["api", "otlp", "litellm", "provider", "cloudevents"];
/// What becomes of a usage event: the label `result`.
pub const RESULTS: [&str; 5] = ["accepted", "duplicate", "conflict", "rejected", "quarantined"];
/// The value of a closed label for what is not in its set.
pub const OTHER: &str = "other";
/// Why a usage event is refused: the label `reason`. A code that is not here counts as `other`.
pub const REJECTIONS: [&str; 39] = [
    "malformed_json",
    "malformed_protobuf",
    "malformed_gzip",
    "malformed_zstd",
    "body_too_large",
    "compression_ratio",
    "unsupported_encoding",
    "unsupported_media_type",
    "empty_body",
    "too_many_events",
    "too_many_spans",
    "too_many",
    "too_long",
    "too_deep",
    "missing_field",
    "missing_span",
    "empty_value",
    "duplicate_field",
    "unexpected_field",
    "unknown_kind",
    "unknown_usage_key",
    "unknown_counter",
    "invalid_type",
    "invalid_value",
    "invalid_quantity",
    "invalid_amount",
    "negative_amount",
    "invalid_usage",
    "invalid_time",
    "invalid_span_id",
    "inconsistent_usage",
    "control_character",
    "too_old",
    "in_future",
    "out_of_range",
    "forbidden",
    "queue_full",
    "unavailable",
    OTHER,
];
/// HTTP methods that have a label value of their own.
const METHODS: [&str; 8] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", OTHER];
/// Why a request was not let in: the label `reason`.
pub const AUTH_REFUSALS: [&str; 6] = ["missing", "invalid", "forbidden", "rate", "foreign_origin", OTHER];
/// Journal operations: the label `op`.
pub const JOURNAL_OPS: [&str; 6] = ["open", "append", "fsync", "read", "snapshot", OTHER];
/// Queues: the label `queue`.
pub const QUEUES: [&str; 1] = ["meter"];
/// Why an accepted event was lost: the label `reason`. None should ever be.
pub const DROPS: [&str; 3] = ["journal_failed", "shutdown", OTHER];

/// The daemon's own metrics. Cheap to clone; every clone counts into the same figures.
#[derive(Clone, Debug)]
pub struct DaemonMetrics(Arc<Families>);

#[derive(Debug)]
struct Families {
    registry: Registry,
    http_requests: IntCounterVec,
    http_seconds: HistogramVec,
    ingest_events: IntCounterVec,
    ingest_rejected: IntCounterVec,
    ingest_lag: HistogramVec,
    ingest_last_event: GaugeVec,
    dead_letters: IntGauge,
    auth_refused: IntCounterVec,
    queue_depth: IntGaugeVec,
    queue_capacity: IntGaugeVec,
    queue_dropped: IntCounterVec,
    wal_bytes: IntGauge,
    wal_errors: IntCounterVec,
    wal_fsync: Histogram,
    wal_replayed: IntCounter,
    sink_rows: IntCounterVec,
    sink_errors: IntCounterVec,
    sink_pending: IntGaugeVec,
    sink_oldest: GaugeVec,
    sink_seconds: HistogramVec,
    clock_frozen: IntGauge,
    clock_jumps: IntCounter,
    bills: Mutex<Bills>,
    loads: Mutex<Loads>,
    decisions: Mutex<Decisions>,
}

/// `value` if the set has it, else `other`.
fn within(set: &'static [&'static str], value: &str) -> &'static str {
    set.iter().copied().find(|known| *known == value).unwrap_or(OTHER)
}

impl DaemonMetrics {
    /// Every family, its enumerated label values at 0.
    pub fn new() -> Result<Self, prometheus::Error> {
        register::families().map(|families| Self(Arc::new(families)))
    }

    /// So many dead letters wait.
    pub fn dead_letters(&self, waiting: usize) {
        self.0.dead_letters.set(i64::try_from(waiting).unwrap_or(i64::MAX));
    }

    /// A request was answered. `handler` is a route's template (`/v1/usage`), never a path as sent.
    pub fn http(&self, handler: &'static str, method: &str, code: u16, seconds: f64) {
        let method = within(&METHODS, method);
        let mut digits = [b'0'; 3];
        let mut rest = code.min(999);
        for digit in digits.iter_mut().rev() {
            *digit = b'0' + u8::try_from(rest % 10).unwrap_or(0);
            rest /= 10;
        }
        let code = std::str::from_utf8(&digits).unwrap_or("000");
        count(&self.0.http_requests, &[handler, method, code], 1);
        if let Ok(histogram) = self.0.http_seconds.get_metric_with_label_values(&[handler]) {
            histogram.observe(seconds);
        }
    }

    /// A usage event came in through `source` and `result` became of it.
    pub fn ingest(&self, source: &'static str, result: &'static str) {
        self.ingest_many(source, result, 1);
    }

    /// The same for a batch.
    pub fn ingest_many(&self, source: &'static str, result: &'static str, events: u64) {
        count(&self.0.ingest_events, &[within(&SOURCES, source), within(&RESULTS, result)], events);
    }

    /// A usage event was refused. Counts it as `rejected`, too.
    pub fn rejected(&self, source: &'static str, reason: &str) {
        self.ingest(source, "rejected");
        count(&self.0.ingest_rejected, &[within(&SOURCES, source), within(&REJECTIONS, reason)], 1);
    }

    /// A request was not let in.
    pub fn auth_refused(&self, reason: &str) {
        count(&self.0.auth_refused, &[within(&AUTH_REFUSALS, reason)], 1);
    }

    /// A usage event of time `event` was accepted at `now`.
    pub fn lag(&self, source: &'static str, event: Timestamp, now: Timestamp) {
        let source = within(&SOURCES, source);
        if let Ok(histogram) = self.0.ingest_lag.get_metric_with_label_values(&[source]) {
            histogram.observe(seconds(now.since(event)).max(0.0));
        }
        if let Ok(gauge) = self.0.ingest_last_event.get_metric_with_label_values(&[source]) {
            gauge.set(seconds(now.nanos()));
        }
    }

    /// Events waiting in the meter's queue.
    pub fn queue_depth(&self, events: usize) {
        set(&self.0.queue_depth, "meter", events);
    }

    /// Events that fit into the meter's queue.
    pub fn queue_capacity(&self, events: usize) {
        set(&self.0.queue_capacity, "meter", events);
    }

    /// Accepted events were lost.
    pub fn queue_dropped(&self, reason: &str, events: u64) {
        count(&self.0.queue_dropped, &["meter", within(&DROPS, reason)], events);
    }

    /// Size of the journal on disk.
    pub fn wal_bytes(&self, bytes: u64) {
        self.0.wal_bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    /// A journal operation failed.
    pub fn wal_error(&self, op: &str) {
        count(&self.0.wal_errors, &[within(&JOURNAL_OPS, op)], 1);
    }

    /// One journal fsync took this long.
    pub fn fsync(&self, seconds: f64) {
        self.0.wal_fsync.observe(seconds);
    }

    /// Records were read back at start.
    pub fn wal_replayed(&self, records: u64) {
        self.0.wal_replayed.inc_by(records);
    }

    /// Is the wall clock not believed, and how often did it jump since the start?
    pub fn clock(&self, frozen: bool, jumps: u64) {
        self.0.clock_frozen.set(i64::from(frozen));
        self.0.clock_jumps.inc_by(jumps.saturating_sub(self.0.clock_jumps.get()));
    }

    /// These price tables are in use, all of them, from `now` on.
    pub fn price_tables(&self, tables: Vec<TableInfo>, now: Timestamp) {
        self.loads(|loads| loads.tables_loaded(tables, now));
    }

    /// A load of price tables failed; what was in use stays. `source` is the table's name, or empty for all of them.
    pub fn price_tables_failed(&self, source: &str) {
        self.loads(|loads| loads.tables_failed(source));
    }

    /// The configuration (its file and the resources it watches) was loaded, or not.
    pub fn config_loaded(&self, ok: bool, now: Timestamp) {
        self.loads(|loads| loads.config_loaded(ok, now));
    }

    /// A budget check was answered.
    pub fn decided(&self, denial: Option<&Denial>, counters: &[CounterAt]) {
        self.decisions(|decisions| decisions.answered(denial, counters));
    }

    fn decisions<T>(&self, change: impl FnOnce(&mut Decisions) -> T) -> T {
        change(&mut self.0.decisions.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn loads<T>(&self, change: impl FnOnce(&mut Loads) -> T) -> T {
        change(&mut self.0.loads.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Nanoseconds as seconds. A duration or an instant to look at, so a float will do.
fn seconds(nanos: i64) -> f64 {
    nanos as f64 / 1e9
}

fn count(counters: &IntCounterVec, labels: &[&str], by: u64) {
    // The label count is the catalogue's; `register` and the tests hold it.
    if let Ok(counter) = counters.get_metric_with_label_values(labels) {
        counter.inc_by(by);
    }
}

fn set(gauges: &IntGaugeVec, label: &str, value: usize) {
    if let Ok(gauge) = gauges.get_metric_with_label_values(&[label]) {
        gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
    }
}

#[cfg(test)]
mod tests;
