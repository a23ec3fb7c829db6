//! What the sinks tell of themselves: rows delivered, writes that failed, what waits. Their names are a closed set.

use pricing::Timestamp;

use super::{DaemonMetrics, OTHER, count, seconds, set, within};

/// Where entries go beyond the ledger: the label `sink`.
pub const SINKS: [&str; 2] = ["clickhouse", OTHER];
/// Why a write failed: the label `reason`.
pub const SINK_FAILURES: [&str; 6] = ["connect", "timeout", "refused", "schema", "server", OTHER];

impl DaemonMetrics {
    /// A batch of so many rows was delivered, and how long its write took.
    pub fn sink_delivered(&self, sink: &str, rows: u64, took_seconds: f64) {
        let sink = within(&SINKS, sink);
        count(&self.0.sink_rows, &[sink], rows);
        if let Ok(histogram) = self.0.sink_seconds.get_metric_with_label_values(&[sink]) {
            histogram.observe(took_seconds);
        }
    }

    /// A write failed; the sink tries again.
    pub fn sink_failed(&self, sink: &str, reason: &str) {
        count(&self.0.sink_errors, &[within(&SINKS, sink), within(&SINK_FAILURES, reason)], 1);
    }

    /// So many rows are not delivered yet, and the event time of the oldest of them.
    pub fn sink_pending(&self, sink: &str, rows: usize, oldest: Option<Timestamp>) {
        let sink = within(&SINKS, sink);
        set(&self.0.sink_pending, sink, rows);
        if let Ok(gauge) = self.0.sink_oldest.get_metric_with_label_values(&[sink]) {
            gauge.set(oldest.filter(|_| rows > 0).map_or(0.0, |oldest| seconds(oldest.nanos())));
        }
    }
}
