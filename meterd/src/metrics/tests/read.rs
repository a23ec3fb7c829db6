//! Reads an exposition back, independently of the writer: samples by name and labels, values as scaled integers.

use std::collections::{BTreeMap, BTreeSet};

use pricing::Money;

use crate::metrics::LedgerMetrics;
use crate::metrics::text::{Format, Writer};

/// Samples by their text up to the value, such as `meterd_queue_depth{queue="meter"}`.
pub(in crate::metrics) struct Exposition {
    pub(in crate::metrics) text: String,
    samples: BTreeMap<String, String>,
}

impl Exposition {
    /// Splits a text into samples; no sample may come twice and no family may be taken up again.
    pub(in crate::metrics) fn parse(text: Vec<u8>) -> Self {
        let text = String::from_utf8(text).unwrap();
        let (mut samples, mut families) = (BTreeMap::new(), BTreeSet::new());
        for line in text.lines() {
            if let Some(meta) = line.strip_prefix("# TYPE ") {
                assert!(families.insert(meta.to_owned()), "a family twice: {meta}");
            } else if !line.starts_with('#') {
                let line = line.split_once(" # ").map_or(line, |(sample, _)| sample);
                let (series, value) = line.rsplit_once(' ').unwrap();
                assert!(samples.insert(series.to_owned(), value.to_owned()).is_none(), "a sample twice: {series}");
            }
        }
        Self { text, samples }
    }

    pub(in crate::metrics) fn of_ledger(ledger: &LedgerMetrics) -> Self {
        let mut writer = Writer::new(Format::Text);
        ledger.write(&mut writer);
        Self::parse(writer.finish())
    }

    /// The value of one series; `None` when it is not there.
    pub(in crate::metrics) fn value(&self, series: &str) -> Option<&str> {
        self.samples.get(series).map(String::as_str)
    }

    /// Series of a family.
    pub(in crate::metrics) fn family<'a>(&'a self, name: &str) -> impl Iterator<Item = (&'a str, &'a str)> {
        let prefix = format!("{name}{{");
        self.samples
            .iter()
            .filter(move |(series, _)| series.starts_with(&prefix))
            .map(|(series, value)| (series.as_str(), value.as_str()))
    }

    /// Checks one series' value.
    pub(in crate::metrics) fn check(&self, series: &str, expected: &str) {
        let family = series.split('{').next().unwrap_or(series);
        let near: Vec<_> = self.family(family).collect();
        assert_eq!(self.value(series), Some(expected), "{series}; there are {near:#?}");
    }
}

/// The exact sum of a family's series that hold all of `labels`, in the scale of money.
pub(in crate::metrics) fn sum(exposition: &Exposition, family: &str, labels: &[&str]) -> i128 {
    exposition
        .family(family)
        .filter(|(series, _)| labels.iter().all(|label| series.contains(label)))
        .map(|(_, value)| value.parse::<Money>().unwrap().scaled())
        .sum()
}
