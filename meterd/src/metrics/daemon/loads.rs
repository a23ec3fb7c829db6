//! What was loaded and whether it worked: price tables and configuration. Their names are text from files, so the
//! `prometheus` crate does not keep them; the number of tables is bounded.

use std::collections::BTreeMap;
use std::sync::Arc;

use pricing::Timestamp;

use crate::metrics::catalog::{
    CONFIG_RELOAD_AT, CONFIG_RELOAD_OK, Family, PRICE_TABLE_EFFECTIVE, PRICE_TABLE_ENTRIES, PRICE_TABLE_INFO,
    PRICE_TABLE_RELOAD_AT, PRICE_TABLE_RELOAD_OK,
};
use crate::metrics::text::Writer;

/// Most price tables with series; the rest is left out of the exposition, not out of the book.
const TABLES_MAX: usize = 1000;
/// meterd prices in US dollars only.
const CURRENCY: &str = "USD";
const NANOS: u32 = 9;

/// A price table in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableInfo {
    /// The table's name: the label `source`.
    pub source: Arc<str>,
    /// Its version.
    pub version: Arc<str>,
    /// Its digest, 64 hex digits.
    pub digest: Arc<str>,
    /// How many models and tools it prices.
    pub entries: usize,
    /// When its newest prices were published, if it says so.
    pub effective: Option<Timestamp>,
}

/// The loads so far.
#[derive(Debug, Default)]
pub(super) struct Loads {
    tables: BTreeMap<Arc<str>, TableInfo>,
    /// Whether the last load worked and when one last did, by table.
    table_loads: BTreeMap<Arc<str>, Load>,
    config: Option<Load>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Load {
    ok: bool,
    succeeded_at: Option<Timestamp>,
}

impl Loads {
    pub(super) fn tables_loaded(&mut self, tables: Vec<TableInfo>, now: Timestamp) {
        self.tables = tables.into_iter().take(TABLES_MAX).map(|table| (Arc::clone(&table.source), table)).collect();
        let loaded = Load { ok: true, succeeded_at: Some(now) };
        self.table_loads = self.tables.keys().map(|source| (Arc::clone(source), loaded)).collect();
    }

    pub(super) fn tables_failed(&mut self, source: &str) {
        if source.is_empty() {
            self.table_loads.values_mut().for_each(|load| load.ok = false);
        } else if self.table_loads.contains_key(source) || self.table_loads.len() < TABLES_MAX {
            self.table_loads.entry(Arc::from(source)).or_default().ok = false;
        }
    }

    pub(super) fn config_loaded(&mut self, ok: bool, now: Timestamp) {
        let before = self.config.and_then(|load| load.succeeded_at);
        self.config = Some(Load { ok, succeeded_at: if ok { Some(now) } else { before } });
    }

    pub(super) fn write(&self, writer: &mut Writer) {
        writer.family(&PRICE_TABLE_INFO);
        for table in self.tables.values() {
            let sample = writer.sample(&PRICE_TABLE_INFO, "").label("version", &table.version);
            let sample = sample.label("digest", &table.digest).label("source", &table.source);
            sample.label("currency", CURRENCY).count(1);
        }
        writer.family(&PRICE_TABLE_ENTRIES);
        for table in self.tables.values() {
            let entries = u64::try_from(table.entries).unwrap_or(u64::MAX);
            writer.sample(&PRICE_TABLE_ENTRIES, "").label("source", &table.source).count(entries);
        }
        let effective = self.tables.values().map(|table| (&table.source, table.effective));
        times(&PRICE_TABLE_EFFECTIVE, effective, writer);
        writer.family(&PRICE_TABLE_RELOAD_OK);
        for (source, load) in &self.table_loads {
            writer.sample(&PRICE_TABLE_RELOAD_OK, "").label("source", source).count(u64::from(load.ok));
        }
        times(
            &PRICE_TABLE_RELOAD_AT,
            self.table_loads.iter().map(|(source, load)| (source, load.succeeded_at)),
            writer,
        );
        writer.family(&CONFIG_RELOAD_OK);
        if let Some(load) = self.config {
            writer.sample(&CONFIG_RELOAD_OK, "").count(u64::from(load.ok));
        }
        writer.family(&CONFIG_RELOAD_AT);
        if let Some(at) = self.config.and_then(|load| load.succeeded_at) {
            writer.sample(&CONFIG_RELOAD_AT, "").decimal(i128::from(at.nanos()), NANOS);
        }
    }
}

fn times<'a>(family: &Family, times: impl Iterator<Item = (&'a Arc<str>, Option<Timestamp>)>, writer: &mut Writer) {
    writer.family(family);
    for (source, time) in times {
        if let Some(time) = time {
            writer.sample(family, "").label("source", source).decimal(i128::from(time.nanos()), NANOS);
        }
    }
}
