//! An answer about cost as a table, JSON, YAML or CSV. Only tables are rounded, and only when asked.

use pricing::Money;
use serde_json::Value;

use super::super::output::{Output, Rows};
use crate::resource::print::Json;
use crate::rollup::columns;

/// Cells of tables: what people look for first.
const FIGURES: [&str; 4] = ["cost_usd", "calls", "tokens.total", "unpriced_calls"];
/// Cells of CSV: everything.
const ALL_FIGURES: [&str; 13] = [
    "cost_usd",
    "calls",
    "model_calls",
    "tool_calls",
    "approvals",
    "unpriced_calls",
    "tokens.total",
    "tokens.input",
    "tokens.cache_read",
    "tokens.cache_write",
    "tokens.output",
    "tokens.reasoning",
    "entries",
];

/// The answer in the form asked for.
pub(super) fn show(answer: &Value, output: Output, round: Option<u32>) -> String {
    match output {
        Output::Json => answer.to_string(),
        Output::Yaml => Json::parse(&answer.to_string()).map(|json| json.to_yaml()).unwrap_or_default(),
        Output::Table => table(answer, round),
        Output::Csv => rows(answer, &ALL_FIGURES, None).csv(),
    }
}

fn table(answer: &Value, round: Option<u32>) -> String {
    let mut rows = rows(answer, &FIGURES, round);
    if let Some(total) = answer.get("total") {
        let names = rows.header.iter().position(|name| *name == "cost_usd").unwrap_or(0);
        let mut cells: Vec<String> =
            (0..names).map(|at| if at == 0 { "TOTAL".to_owned() } else { String::new() }).collect();
        cells.extend(rows.header.iter().skip(names).map(|name| cell(total, field(name), round)));
        rows.rows.push(cells);
    }
    let mut text = rows.table();
    if let Some(left_out) = answer.get("rows_left_out").and_then(Value::as_u64).filter(|rows| *rows > 0) {
        text.push_str(&format!("({left_out} more rows; the total holds them too: --limit shows more)\n"));
    }
    text
}

fn rows(answer: &Value, figures: &[&'static str], round: Option<u32>) -> Rows {
    let by = answer.get("by").and_then(Value::as_str).unwrap_or_default();
    let list = answer.get("rows").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let mut header: Vec<&'static str> = Vec::new();
    if answer.get("bucket").is_some_and(Value::is_string) {
        header.push("bucket");
    }
    header.extend(columns(by));
    header.extend(figures.iter().map(|figure| title(figure)));
    if list.iter().any(|row| row.get("subtree_cost_usd").is_some()) {
        header.push("subtree_cost_usd");
    }
    let mut rows = Rows::new(&header);
    for row in list {
        rows.rows.push(header.iter().map(|name| cell(row, field(name), round)).collect());
    }
    rows
}

/// A column's title for a field inside another.
fn title(figure: &'static str) -> &'static str {
    match figure {
        "tokens.total" => "tokens",
        "tokens.input" => "input_tokens",
        "tokens.cache_read" => "cache_read_tokens",
        "tokens.cache_write" => "cache_write_tokens",
        "tokens.output" => "output_tokens",
        "tokens.reasoning" => "reasoning_tokens",
        other => other,
    }
}

fn field(title: &str) -> &str {
    match title {
        "tokens" => "tokens.total",
        "input_tokens" => "tokens.input",
        "cache_read_tokens" => "tokens.cache_read",
        "cache_write_tokens" => "tokens.cache_write",
        "output_tokens" => "tokens.output",
        "reasoning_tokens" => "tokens.reasoning",
        other => other,
    }
}

fn cell(row: &Value, field: &str, round: Option<u32>) -> String {
    let value = field.split('.').try_fold(row, |value, key| value.get(key));
    match value {
        Some(Value::String(text)) => match (field.ends_with("_usd"), round) {
            (true, Some(decimals)) => rounded(text, decimals),
            _ => text.clone(),
        },
        Some(Value::Null) => "-".to_owned(),
        Some(value) => value.to_string(),
        None => String::new(),
    }
}

/// An exact amount at so many decimals, halves away from zero: for the eye.
fn rounded(text: &str, decimals: u32) -> String {
    let Ok(amount) = text.parse::<Money>() else { return text.to_owned() };
    let decimals = decimals.min(18);
    let unit = 10_u128.pow(18 - decimals);
    let units = (amount.scaled().unsigned_abs() + unit / 2) / unit;
    let sign = if amount.is_negative() && units > 0 { "-" } else { "" };
    let (whole, rest) = (units / 10_u128.pow(decimals), units % 10_u128.pow(decimals));
    if decimals == 0 {
        format!("{sign}{whole}")
    } else {
        format!("{sign}{whole}.{rest:0width$}", width = decimals as usize)
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn amounts_are_rounded_for_the_eye() {
        let check = |text: &str, decimals: u32, expected: &str| assert_eq!(super::rounded(text, decimals), expected);
        check("0.005", 2, "0.01");
        check("0.0049999", 2, "0.00");
        check("-1.005", 2, "-1.01");
        check("-0.001", 2, "0.00");
        check("12.5", 0, "13");
        check("99999999999999999999.999999999999999999", 2, "100000000000000000000.00");
    }
}
