//! What a PromQL expression names: metrics with the labels of their matchers, and the labels that it groups and joins by.
//! Reads names only; Prometheus itself judges the rest.

use std::collections::{BTreeMap, BTreeSet};

/// What an expression names.
#[derive(Debug, Default)]
pub(crate) struct Names {
    /// Metrics, each with the labels of all its matchers.
    pub(crate) metrics: BTreeMap<String, BTreeSet<String>>,
    /// Labels in `by`, `on`, `group_left` and the like.
    pub(crate) grouped: BTreeSet<String>,
}

const GROUPINGS: [&str; 6] = ["by", "without", "on", "ignoring", "group_left", "group_right"];
const WORDS: [&str; 18] = [
    "and", "or", "unless", "offset", "bool", "inf", "nan", "sum", "min", "max", "avg", "count", "topk", "bottomk",
    "quantile", "group", "stddev", "stdvar",
];

impl Names {
    pub(crate) fn of(expression: &str) -> Self {
        let mut names = Self::default();
        let mut rest = expression;
        while let Some(first) = rest.chars().next() {
            rest = match first {
                '"' | '\'' => after_string(rest, first),
                '[' => rest.split_once(']').map_or("", |(_, rest)| rest),
                '$' => word(&rest[1..]).1,
                _ if first.is_ascii_digit() => rest.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == '.'),
                _ if is_name(first) => {
                    let (name, rest) = word(rest);
                    names.named(name, rest)
                }
                _ => &rest[first.len_utf8()..],
            };
        }
        names
    }

    fn named<'a>(&mut self, name: &str, rest: &'a str) -> &'a str {
        let next = rest.trim_start();
        if GROUPINGS.contains(&name) {
            let Some((labels, rest)) = next.strip_prefix('(').and_then(|list| list.split_once(')')) else {
                return rest;
            };
            let labels = labels.split(',').map(str::trim).filter(|label| !label.is_empty());
            self.grouped.extend(labels.map(str::to_owned));
            return rest;
        }
        if WORDS.contains(&name) || next.starts_with('(') {
            return rest;
        }
        let labels = self.metrics.entry(name.to_owned()).or_default();
        let Some(mut inner) = next.strip_prefix('{') else { return rest };
        while !inner.is_empty() && !inner.starts_with('}') {
            let first = inner.chars().next().unwrap_or(' ');
            inner = if first == '"' || first == '\'' {
                after_string(inner, first)
            } else if is_name(first) {
                let (label, rest) = word(inner);
                labels.insert(label.to_owned());
                rest
            } else {
                &inner[first.len_utf8()..]
            };
        }
        inner.strip_prefix('}').unwrap_or(inner)
    }
}

fn is_name(char: char) -> bool {
    char.is_ascii_alphanumeric() || char == '_' || char == ':'
}

fn word(text: &str) -> (&str, &str) {
    text.split_at(text.find(|char| !is_name(char)).unwrap_or(text.len()))
}

fn after_string(text: &str, quote: char) -> &str {
    let mut escaped = false;
    for (place, char) in text.char_indices().skip(1) {
        if char == quote && !escaped {
            return &text[place + 1..];
        }
        escaped = char == '\\' && !escaped;
    }
    ""
}

#[test]
fn names_are_found_and_nothing_else() {
    let names = Names::of(
        "sum by (team, le) (rate(a_total{x=\"b{}\",y=~'c'}[5m] offset 1w)) / on (z) group_left () \
         (r:a:rate1h > 3e2) * $__range_s or vector(0)",
    );
    let metrics: Vec<&str> = names.metrics.keys().map(String::as_str).collect();
    assert_eq!(metrics, ["a_total", "r:a:rate1h"]);
    assert_eq!(names.metrics["a_total"].iter().map(String::as_str).collect::<Vec<_>>(), ["x", "y"]);
    assert_eq!(names.grouped.iter().map(String::as_str).collect::<Vec<_>>(), ["le", "team", "z"]);
}
