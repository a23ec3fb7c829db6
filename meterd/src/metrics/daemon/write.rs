//! Writes the daemon's families, in the catalogue's order, with the same writer that the ledger's families use.

use std::collections::BTreeMap;

use prometheus::proto::{Metric, MetricFamily};

use super::{DaemonMetrics, process};
use crate::metrics::catalog::{BUILD_INFO, Family, Kind, Origin, catalog};
use crate::metrics::text::{Sample, Writer, bound};

/// The revision that was built, when the build says so.
const REVISION: &str = match option_env!("METERD_REVISION") {
    Some(revision) => revision,
    None => "unknown",
};

/// Writes every family of the daemon.
pub fn render_daemon(daemon: &DaemonMetrics, writer: &mut Writer) {
    let gathered = daemon.0.registry.gather();
    let by_name: BTreeMap<&str, &MetricFamily> = gathered.iter().map(|family| (family.name(), family)).collect();
    for family in catalog().iter().filter(|family| family.origin == Origin::Daemon) {
        if let Some(metrics) = by_name.get(family.name) {
            writer.family(family);
            for metric in metrics.get_metric() {
                sample(family, metric, writer);
            }
        }
    }
    daemon.bills(|bills| bills.write(writer));
    daemon.decisions(|decisions| decisions.write(writer));
    daemon.loads(|loads| loads.write(writer));
    writer.family(&BUILD_INFO);
    let build = writer.sample(&BUILD_INFO, "").label("version", env!("CARGO_PKG_VERSION"));
    build.label("revision", REVISION).count(1);
    process::write(writer);
}

fn sample(family: &Family, metric: &Metric, writer: &mut Writer) {
    match family.kind {
        Kind::Counter => labelled(writer.sample(family, ""), metric).float(metric.get_counter().get_value()),
        Kind::Gauge | Kind::Info => labelled(writer.sample(family, ""), metric).float(metric.get_gauge().get_value()),
        Kind::Histogram => {
            let histogram = metric.get_histogram();
            for bucket in histogram.get_bucket() {
                let le = bound(bucket.upper_bound());
                let sample = labelled(writer.sample(family, "_bucket"), metric).label("le", &le);
                sample.count(bucket.cumulative_count());
            }
            let all = histogram.get_sample_count();
            labelled(writer.sample(family, "_bucket"), metric).label("le", "+Inf").count(all);
            labelled(writer.sample(family, "_sum"), metric).float(histogram.get_sample_sum());
            labelled(writer.sample(family, "_count"), metric).count(all);
        }
    }
}

fn labelled<'a>(mut sample: Sample<'a>, metric: &Metric) -> Sample<'a> {
    for pair in metric.get_label() {
        sample = sample.label(pair.name(), pair.value());
    }
    sample
}
