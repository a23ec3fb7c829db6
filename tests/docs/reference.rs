//! The reference pages are what the program says of itself. `UPDATE=1` writes them anew; otherwise they are compared byte
//! for byte.

mod api;
mod cli;
mod config;
mod metrics;
mod usage;

use std::fs;

use super::root;

/// How to refresh every page at once.
const REFRESH: &str = "UPDATE=1 cargo test -p meterd --test docs reference";

/// A page that says where it comes from.
fn page(title: &str, intro: &str, body: &str) -> String {
    let origin = format!("<!-- Generated: do not edit. Refresh with: {REFRESH} -->");
    format!("{origin}\n\n# {title}\n\n{}\n\n{}\n", intro.trim(), body.trim())
}

/// Compares a page with its file in `docs/reference`, or writes it.
#[track_caller]
fn compare(name: &str, text: &str) {
    let path = root().join("docs/reference").join(name);
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, text).expect("the page is writable");
        return;
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    if found == text {
        return;
    }
    let differs = found.lines().zip(text.lines()).position(|(found, expected)| found != expected);
    let line = differs.unwrap_or_else(|| found.lines().count().min(text.lines().count()));
    panic!(
        "docs/reference/{name} is not what the program says, from line {}:\n  page:    {:?}\n  program: {:?}\n\
         refresh every page with: {REFRESH}",
        line + 1,
        found.lines().nth(line).unwrap_or("(the end)"),
        text.lines().nth(line).unwrap_or("(the end)"),
    );
}

/// A Markdown table.
fn table(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let header: Vec<String> = header.iter().map(|cell| (*cell).to_owned()).collect();
    let mut text = line(&header);
    text.push_str(&format!("|{}\n", "---|".repeat(header.len())));
    for row in rows {
        assert_eq!(row.len(), header.len(), "a row has as many cells as the header: {row:?}");
        text.push_str(&line(&row.iter().map(|cell| cell.replace('|', "\\|")).collect::<Vec<_>>()));
    }
    text
}

/// `name` in code; nothing for nothing.
fn code(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("`{text}`") }
}
