//! Families of what goes out (sinks) and of what comes back (bills compared). Label values are closed sets.

use prometheus::{CounterVec, Error, GaugeVec, HistogramVec, IntCounterVec, IntGaugeVec, Registry};

use pricing::{Money, Timestamp};

use super::register::{counters, gauges, histograms, kept, opts};
use super::{DaemonMetrics, OTHER, count, within};
use crate::metrics::catalog;

/// Places that entries are carried to: the label `sink`.
pub(super) const SINKS: [&str; 1] = ["clickhouse"];
/// Why a write failed: the label `reason`.
pub(super) const SINK_ERRORS: [&str; 8] =
    ["network", "timeout", "refused", "setting", "foreign", "unsettled", "ledger", OTHER];
/// Whose bills are compared: the label `provider`.
pub(super) const BILLS: [&str; 5] = ["openai", "anthropic", "aws", "generic", OTHER];
/// Which way a correction goes: the label `direction`.
pub(super) const DIRECTIONS: [&str; 2] = ["up", "down"];

const WRITE_SECONDS: [f64; 10] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];

#[derive(Debug)]
pub(super) struct Sinks {
    rows: IntCounterVec,
    errors: IntCounterVec,
    pending: IntGaugeVec,
    oldest: GaugeVec,
    seconds: HistogramVec,
    reconcile_last: GaugeVec,
    reconcile_captured: GaugeVec,
    reconcile_drift: GaugeVec,
    reconcile_adjustments: CounterVec,
}

impl Sinks {
    /// Registered, the values of sinks at 0. A bill that was never compared has no sample: its ratio is not 0.
    pub(super) fn register(registry: &Registry) -> Result<Self, Error> {
        let floats = |family: &catalog::Family| GaugeVec::new(opts(family), family.labels);
        let sinks = Self {
            rows: kept(registry, counters(&catalog::SINK_ROWS))?,
            errors: kept(registry, counters(&catalog::SINK_ERRORS))?,
            pending: kept(registry, gauges(&catalog::SINK_PENDING))?,
            oldest: kept(registry, floats(&catalog::SINK_OLDEST))?,
            seconds: kept(registry, histograms(&catalog::SINK_SECONDS, &WRITE_SECONDS))?,
            reconcile_last: kept(registry, floats(&catalog::RECONCILE_LAST))?,
            reconcile_captured: kept(registry, floats(&catalog::RECONCILE_CAPTURED))?,
            reconcile_drift: kept(registry, floats(&catalog::RECONCILE_DRIFT))?,
            reconcile_adjustments: kept(
                registry,
                CounterVec::new(opts(&catalog::RECONCILE_ADJUSTMENTS), catalog::RECONCILE_ADJUSTMENTS.labels),
            )?,
        };
        for sink in SINKS {
            sinks.rows.get_metric_with_label_values(&[sink])?;
            sinks.pending.get_metric_with_label_values(&[sink])?;
            sinks.oldest.get_metric_with_label_values(&[sink])?;
            sinks.seconds.get_metric_with_label_values(&[sink])?;
            for reason in SINK_ERRORS {
                sinks.errors.get_metric_with_label_values(&[sink, reason])?;
            }
        }
        Ok(sinks)
    }
}

impl DaemonMetrics {
    /// A batch arrived whole.
    pub fn sink_delivered(&self, sink: &'static str, rows: u64, seconds: f64) {
        count(&self.0.sinks.rows, &[within(&SINKS, sink)], rows);
        if let Ok(histogram) = self.0.sinks.seconds.get_metric_with_label_values(&[within(&SINKS, sink)]) {
            histogram.observe(seconds);
        }
    }

    /// A batch did not arrive.
    pub fn sink_failed(&self, sink: &'static str, reason: &str) {
        count(&self.0.sinks.errors, &[within(&SINKS, sink), within(&SINK_ERRORS, reason)], 1);
    }

    /// So many entries wait, the oldest of them since then.
    pub fn sink_pending(&self, sink: &'static str, entries: u64, oldest: Option<Timestamp>) {
        if let Ok(gauge) = self.0.sinks.pending.get_metric_with_label_values(&[within(&SINKS, sink)]) {
            gauge.set(i64::try_from(entries).unwrap_or(i64::MAX));
        }
        if let Ok(gauge) = self.0.sinks.oldest.get_metric_with_label_values(&[within(&SINKS, sink)]) {
            gauge.set(oldest.map_or(0.0, |at| at.millis() as f64 / 1_000.0));
        }
    }

    /// A bill was compared: what was metered and what was billed. Nothing billed gives no ratio.
    pub fn reconciled(&self, provider: &str, now: Timestamp, metered: Money, billed: Money) {
        let provider = within(&BILLS, provider);
        let set = |family: &GaugeVec, value: f64| {
            if let Ok(gauge) = family.get_metric_with_label_values(&[provider]) {
                gauge.set(value);
            }
        };
        let sinks = &self.0.sinks;
        set(&sinks.reconcile_last, now.millis() as f64 / 1_000.0);
        set(&sinks.reconcile_drift, for_the_eye(billed.scaled().saturating_sub(metered.scaled())));
        if !billed.is_zero() {
            set(&sinks.reconcile_captured, for_the_eye(metered.scaled()) / for_the_eye(billed.scaled()));
        }
    }

    /// A correction was booked.
    pub fn reconcile_booked(&self, provider: &str, difference: Money) {
        let [up, down] = DIRECTIONS;
        let direction = if difference.is_negative() { down } else { up };
        let labels = [within(&BILLS, provider), direction];
        if let Ok(counter) = self.0.sinks.reconcile_adjustments.get_metric_with_label_values(&labels) {
            counter.inc_by(for_the_eye(difference.scaled()).abs());
        }
    }
}

/// Prometheus keeps floats; nothing is ever computed from this one.
fn for_the_eye(scaled: i128) -> f64 {
    scaled as f64 / 1e18
}
