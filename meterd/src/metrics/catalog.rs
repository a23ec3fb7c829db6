//! The catalogue: every metric family declared once, with its name, type, unit, labels, help and writer.
//!
//! Both writers and `meterd metrics --catalog` read these rows; nothing else in the daemon spells a family's name.
//! No value is ever kept here.

mod families;

use std::io;

use comfy_table::{Table, presets::ASCII_MARKDOWN};
use serde::Serialize;

pub use self::families::*;

/// The type of a family, in OpenMetrics' words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Only rises.
    Counter,
    /// Rises and falls.
    Gauge,
    /// Observations in buckets.
    Histogram,
    /// Always 1; the labels say something. A gauge in the older text format.
    Info,
}

impl Kind {
    /// OpenMetrics' word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::Info => "info",
        }
    }
}

/// Where the samples of a family come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// A fold of the ledger: resumes after a restart.
    Ledger,
    /// Read off the state at the scrape.
    State,
    /// The daemon's own counters: start at 0 with the process.
    Daemon,
}

/// One metric family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Family {
    /// Name, with `_total` or `_info` where the type asks for it.
    pub name: &'static str,
    /// Type.
    #[serde(rename = "type")]
    pub kind: Kind,
    /// Base unit, the last word of the name; empty when there is none.
    pub unit: &'static str,
    /// Label names in the order they are written; `le` is understood.
    pub labels: &'static [&'static str],
    /// One sentence.
    pub help: &'static str,
    /// Where the samples come from.
    pub origin: Origin,
}

impl Family {
    /// The name OpenMetrics knows the family by: counters lose `_total`, infos lose `_info`.
    #[must_use]
    pub fn open_metrics_name(&self) -> &'static str {
        let suffix = match self.kind {
            Kind::Counter => "_total",
            Kind::Info => "_info",
            Kind::Gauge | Kind::Histogram => "",
        };
        self.name.strip_suffix(suffix).unwrap_or(self.name)
    }
}

/// Every family, in the order of the reference page.
#[must_use]
pub const fn catalog() -> &'static [Family] {
    families::ALL
}

/// How to print the catalogue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// A Markdown table: legible in a terminal, and the reference page's source.
    Table,
    /// One JSON array.
    Json,
}

/// Prints every family: name, type, unit, labels, help and, as JSON, the origin.
pub fn print_catalog(out: &mut dyn io::Write, layout: Layout) -> io::Result<()> {
    match layout {
        Layout::Table => {
            let mut table = Table::new();
            table.load_style(ASCII_MARKDOWN);
            table.set_header(["name", "type", "unit", "labels", "help"]);
            for family in catalog() {
                let labels = family.labels.join(", ");
                table.add_row([family.name, family.kind.as_str(), family.unit, labels.as_str(), family.help]);
            }
            writeln!(out, "{table}")
        }
        Layout::Json => {
            serde_json::to_writer_pretty(&mut *out, catalog())?;
            writeln!(out)
        }
    }
}

#[cfg(test)]
mod tests;
