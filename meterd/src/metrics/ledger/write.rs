//! Writes the ledger's families: counters, histograms, and what the caps and the eviction did to them.

use super::LedgerMetrics;
use super::families::{Families, foldable};
use super::kinds::{Counter, Histogram};
use super::series::{Buckets, Cause, Key, Symbols};
use super::shown::Amounts;
use crate::metrics::catalog::{EXPORTER_EVICTED, EXPORTER_OVERFLOW, EXPORTER_SERIES, Family};
use crate::metrics::text::{Exemplar, Sample, Writer};

impl LedgerMetrics {
    /// Writes every family of the ledger.
    pub fn write(&self, writer: &mut Writer) {
        self.write_as(None, writer);
    }

    /// Writes every series that there is, with the amounts that it had then.
    pub fn write_as(&self, then: Option<&Amounts>, writer: &mut Writer) {
        let families = &self.families;
        for counter in Counter::ALL {
            counter_family(families, counter, then, writer);
        }
        for histogram in Histogram::ALL {
            histogram_family(families, histogram, then, writer);
        }
        exporter(families, writer);
    }
}

fn counter_family(families: &Families, counter: Counter, then: Option<&Amounts>, writer: &mut Writer) {
    let family = counter.family();
    writer.family(family);
    if !writer.wants(family) {
        return;
    }
    for (row, (key, total)) in families.table(counter).into_iter().flat_map(|table| table.iter()).enumerate() {
        if families.shows(family, key) {
            let amount = then.map_or(total.amount, |then| then.counter(counter, row));
            // What caused the newest step is told with that step.
            let cause = total.cause.as_deref().filter(|_| then.is_none());
            let cause = cause.map(|cause| exemplar(cause, counter.scale()));
            let sample = labelled(writer.sample(family, ""), &families.symbols, family, key);
            sample.decimal_with(amount, counter.scale(), cause.as_ref());
        }
    }
}

fn histogram_family(families: &Families, histogram: Histogram, then: Option<&Amounts>, writer: &mut Writer) {
    let (family, scale, bounds) = (histogram.family(), histogram.scale(), histogram.bounds());
    writer.family(family);
    if !writer.wants(family) {
        return;
    }
    let none = Buckets::default();
    for (row, (key, buckets)) in families.buckets(histogram).into_iter().flat_map(|table| table.iter()).enumerate() {
        let buckets = then.map_or(buckets, |then| then.buckets(histogram, row).unwrap_or(&none));
        // An exemplar stands on the one bucket that its observation falls into.
        let newest = buckets.newest.as_ref();
        let place = newest.map(|cause| bounds.partition_point(|bound| *bound < cause.amount));
        let newest = newest.map(|cause| exemplar(cause, scale));
        let at = |bucket: usize| newest.as_ref().filter(|_| place == Some(bucket));
        for (bucket, (bound, count)) in bounds.iter().zip(buckets.cumulative(bounds)).enumerate() {
            let sample = labelled(writer.sample(family, "_bucket"), &families.symbols, family, key);
            sample.le(*bound, scale).decimal_with(i128::from(count), 0, at(bucket));
        }
        let sample = labelled(writer.sample(family, "_bucket"), &families.symbols, family, key);
        sample.label("le", "+Inf").decimal_with(i128::from(buckets.count()), 0, at(bounds.len()));
        labelled(writer.sample(family, "_sum"), &families.symbols, family, key).decimal(buckets.sum, scale);
        labelled(writer.sample(family, "_count"), &families.symbols, family, key).count(buckets.count());
    }
}

fn labelled<'a>(mut sample: Sample<'a>, symbols: &Symbols, family: &Family, key: &Key) -> Sample<'a> {
    for (label, symbol) in family.labels.iter().zip(key) {
        sample = sample.label(label, symbols.text(*symbol));
    }
    sample
}

fn exemplar(cause: &Cause, scale: u32) -> Exemplar<'_> {
    let (execution_id, trace_id) = (&cause.execution, cause.trace);
    Exemplar { execution_id, trace_id, value: cause.amount, scale, at_nanos: cause.at_nanos }
}

fn exporter(families: &Families, writer: &mut Writer) {
    writer.family(&EXPORTER_SERIES);
    for (counter, shown) in Counter::ALL.iter().zip(families.shown()) {
        let shown = u64::try_from(shown).unwrap_or(u64::MAX);
        writer.sample(&EXPORTER_SERIES, "").label("family", counter.family().name).count(shown);
    }
    for histogram in Histogram::ALL {
        let series = families.buckets(histogram).map_or(0, |table| table.len());
        let series = u64::try_from(series).unwrap_or(u64::MAX);
        writer.sample(&EXPORTER_SERIES, "").label("family", histogram.family().name).count(series);
    }
    let all = || Counter::ALL.iter().map(|c| c.family()).chain(Histogram::ALL.iter().map(|h| h.family()));
    writer.family(&EXPORTER_OVERFLOW);
    for family in all() {
        for label in foldable(family) {
            let sample = writer.sample(&EXPORTER_OVERFLOW, "").label("family", family.name).label("label", label);
            sample.count(families.overflowed(family.name, label));
        }
    }
    writer.family(&EXPORTER_EVICTED);
    for counter in Counter::ALL {
        let family = counter.family();
        for reason in EVICTIONS {
            let sample = writer.sample(&EXPORTER_EVICTED, "").label("family", family.name).label("reason", reason);
            sample.count(families.evicted(family.name, reason));
        }
    }
}

/// Why a series is taken out: nobody charged to it for long, or its budget is gone.
const EVICTIONS: [&str; 2] = ["idle", "removed"];
