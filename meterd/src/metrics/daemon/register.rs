//! Registers the daemon's families with the `prometheus` crate, from the catalogue, enumerated values at 0.

use std::sync::Mutex;

use prometheus::core::Collector;
use prometheus::{
    Error, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry,
};

use super::bills::Bills;
use super::decisions::Decisions;
use super::loads::Loads;
use super::{AUTH_REFUSALS, DROPS, Families, JOURNAL_OPS, QUEUES, REJECTIONS, RESULTS, SINK_FAILURES, SINKS, SOURCES};
use crate::metrics::catalog::{self, Family};

const HTTP_SECONDS: [f64; 11] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];
const FSYNC_SECONDS: [f64; 12] = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0];
const SINK_SECONDS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0];
const LAG_SECONDS: [f64; 11] = [0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 21600.0, 86400.0];

pub(super) fn families() -> Result<Families, Error> {
    let registry = Registry::new();
    let families = Families {
        http_requests: kept(&registry, counters(&catalog::HTTP_REQUESTS))?,
        http_seconds: kept(&registry, histograms(&catalog::HTTP_DURATION, &HTTP_SECONDS))?,
        ingest_events: kept(&registry, counters(&catalog::INGEST_EVENTS))?,
        ingest_rejected: kept(&registry, counters(&catalog::INGEST_REJECTED))?,
        ingest_lag: kept(&registry, histograms(&catalog::INGEST_LAG, &LAG_SECONDS))?,
        ingest_last_event: kept(
            &registry,
            GaugeVec::new(opts(&catalog::INGEST_LAST_EVENT), catalog::INGEST_LAST_EVENT.labels),
        )?,
        dead_letters: kept(&registry, IntGauge::with_opts(opts(&catalog::DEAD_LETTERS)))?,
        auth_refused: kept(&registry, counters(&catalog::AUTH_REFUSED))?,
        queue_depth: kept(&registry, gauges(&catalog::QUEUE_DEPTH))?,
        queue_capacity: kept(&registry, gauges(&catalog::QUEUE_CAPACITY))?,
        queue_dropped: kept(&registry, counters(&catalog::QUEUE_DROPPED))?,
        wal_bytes: kept(&registry, IntGauge::with_opts(opts(&catalog::WAL_BYTES)))?,
        wal_errors: kept(&registry, counters(&catalog::WAL_ERRORS))?,
        wal_fsync: kept(&registry, Histogram::with_opts(histogram_opts(&catalog::WAL_FSYNC, &FSYNC_SECONDS)))?,
        wal_replayed: kept(&registry, IntCounter::with_opts(opts(&catalog::WAL_REPLAYED)))?,
        sink_rows: kept(&registry, counters(&catalog::SINK_ROWS))?,
        sink_errors: kept(&registry, counters(&catalog::SINK_ERRORS))?,
        sink_pending: kept(&registry, gauges(&catalog::SINK_PENDING))?,
        sink_oldest: kept(
            &registry,
            GaugeVec::new(opts(&catalog::SINK_OLDEST_PENDING), catalog::SINK_OLDEST_PENDING.labels),
        )?,
        sink_seconds: kept(&registry, histograms(&catalog::SINK_DURATION, &SINK_SECONDS))?,
        clock_frozen: kept(&registry, IntGauge::with_opts(opts(&catalog::CLOCK_FROZEN)))?,
        clock_jumps: kept(&registry, IntCounter::with_opts(opts(&catalog::CLOCK_JUMPS)))?,
        bills: Mutex::new(Bills::default()),
        loads: Mutex::new(Loads::default()),
        decisions: Mutex::new(Decisions::default()),
        registry,
    };
    zero(&families)?;
    Ok(families)
}

fn kept<C: Collector + Clone + 'static>(registry: &Registry, made: Result<C, Error>) -> Result<C, Error> {
    let collector = made?;
    registry.register(Box::new(collector.clone()))?;
    Ok(collector)
}

fn opts(family: &Family) -> Opts {
    Opts::new(family.name, family.help)
}

fn histogram_opts(family: &Family, bounds: &[f64]) -> HistogramOpts {
    HistogramOpts::new(family.name, family.help).buckets(bounds.to_vec())
}

fn counters(family: &Family) -> Result<IntCounterVec, Error> {
    IntCounterVec::new(opts(family), family.labels)
}

fn gauges(family: &Family) -> Result<IntGaugeVec, Error> {
    IntGaugeVec::new(opts(family), family.labels)
}

fn histograms(family: &Family, bounds: &[f64]) -> Result<HistogramVec, Error> {
    HistogramVec::new(histogram_opts(family, bounds), family.labels)
}

fn zero(families: &Families) -> Result<(), Error> {
    for source in SOURCES {
        for result in RESULTS {
            families.ingest_events.get_metric_with_label_values(&[source, result])?;
        }
        for reason in REJECTIONS {
            families.ingest_rejected.get_metric_with_label_values(&[source, reason])?;
        }
        families.ingest_lag.get_metric_with_label_values(&[source])?;
    }
    for reason in AUTH_REFUSALS {
        families.auth_refused.get_metric_with_label_values(&[reason])?;
    }
    for queue in QUEUES {
        families.queue_depth.get_metric_with_label_values(&[queue])?;
        families.queue_capacity.get_metric_with_label_values(&[queue])?;
        for reason in DROPS {
            families.queue_dropped.get_metric_with_label_values(&[queue, reason])?;
        }
    }
    for sink in SINKS {
        families.sink_rows.get_metric_with_label_values(&[sink])?;
        families.sink_pending.get_metric_with_label_values(&[sink])?;
        families.sink_oldest.get_metric_with_label_values(&[sink])?;
        families.sink_seconds.get_metric_with_label_values(&[sink])?;
        for reason in SINK_FAILURES {
            families.sink_errors.get_metric_with_label_values(&[sink, reason])?;
        }
    }
    for op in JOURNAL_OPS {
        families.wal_errors.get_metric_with_label_values(&[op])?;
    }
    Ok(())
}
