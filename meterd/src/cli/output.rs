//! Forms of answers: tables for people, JSON, YAML and CSV for programs. Figures keep every digit in every form.

use std::io::{self, Write};

use clap::ValueEnum;
use comfy_table::presets::NOTHING;
use comfy_table::{ContentArrangement, Table};

use crate::metrics::{Layout, print_catalog};

/// `-o`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Output {
    /// Columns for people
    Table,
    /// JSON
    Json,
    /// YAML
    Yaml,
    /// Comma-separated values with a header line
    Csv,
}

/// Rows under a header.
pub(super) struct Rows {
    pub(super) header: Vec<&'static str>,
    pub(super) rows: Vec<Vec<String>>,
}

impl Rows {
    pub(super) fn new(header: &[&'static str]) -> Self {
        Self { header: header.to_vec(), rows: Vec::new() }
    }

    /// As a table without lines, like kubectl's.
    pub(super) fn table(&self) -> String {
        let mut table = Table::new();
        table.load_style(NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        table.set_header(self.header.iter().map(|name| name.to_uppercase()));
        for row in &self.rows {
            table.add_row(row);
        }
        let text = table.to_string();
        text.lines().map(|line| line.trim_end().strip_prefix(' ').unwrap_or(line.trim_end())).fold(
            String::with_capacity(text.len()),
            |mut lines, line| {
                lines.push_str(line);
                lines.push('\n');
                lines
            },
        )
    }

    /// RFC 4180.
    pub(super) fn csv(&self) -> String {
        let quote = |cell: &str| {
            if cell.contains([',', '"', '\n', '\r']) {
                format!("\"{}\"", cell.replace('"', "\"\""))
            } else {
                cell.to_owned()
            }
        };
        let mut text = self.header.join(",");
        text.push('\n');
        for row in &self.rows {
            text.push_str(&row.iter().map(|cell| quote(cell)).collect::<Vec<_>>().join(","));
            text.push('\n');
        }
        text
    }
}

/// Data goes to stdout.
pub(super) fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    if !text.ends_with('\n') {
        out.write_all(b"\n")?;
    }
    out.flush()
}

/// `meterd metrics --catalog`.
pub(super) fn catalog(output: Output, out: &mut dyn io::Write) -> io::Result<()> {
    let layout = match output {
        Output::Json | Output::Yaml => Layout::Json,
        Output::Table | Output::Csv => Layout::Table,
    };
    print_catalog(out, layout)
}
