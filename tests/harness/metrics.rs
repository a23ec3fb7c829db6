//! Reading a text exposition: samples with their labels, values as exact decimals.

use rust_decimal::Decimal;

/// One sample line.
#[derive(Debug)]
pub(crate) struct Sample {
    pub(crate) name: String,
    pub(crate) labels: Vec<(String, String)>,
    pub(crate) value: String,
}

/// Every sample of a text exposition (0.0.4 or OpenMetrics; exemplars are cut off).
pub(crate) fn samples(text: &str) -> Vec<Sample> {
    text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).map(sample).collect()
}

/// Sum of all samples of `name` that carry all of `labels`; `None` when there is no such series.
#[track_caller]
pub(crate) fn sum(text: &str, name: &str, labels: &[(&str, &str)]) -> Option<Decimal> {
    let has = |sample: &Sample, (key, value): &(&str, &str)| sample.labels.iter().any(|(k, v)| k == key && v == value);
    let matching: Vec<Decimal> = samples(text)
        .iter()
        .filter(|sample| sample.name == name && labels.iter().all(|label| has(sample, label)))
        .map(|sample| sample.value.parse().unwrap_or_else(|error| panic!("{error} in {sample:?}")))
        .collect();
    (!matching.is_empty()).then(|| matching.iter().sum())
}

#[track_caller]
fn sample(line: &str) -> Sample {
    let (series, value) = match line.find('}') {
        Some(_) => split_labelled(line),
        None => line.split_once(' ').unwrap_or((line, "")),
    };
    let (name, labels) = series.split_once('{').unwrap_or((series, ""));
    let value = value.split_whitespace().next().unwrap_or_default().to_owned();
    Sample { name: name.to_owned(), labels: parse_labels(labels), value }
}

/// Cuts behind the brace that closes the labels; quoted braces do not count.
fn split_labelled(line: &str) -> (&str, &str) {
    let (mut quoted, mut escaped) = (false, false);
    for (at, char) in line.char_indices() {
        match char {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => quoted = !quoted,
            '}' if !quoted => return (&line[..at], &line[at + 1..]),
            _ => {}
        }
    }
    (line, "")
}

fn parse_labels(text: &str) -> Vec<(String, String)> {
    let mut labels = Vec::new();
    let mut rest = text;
    while let Some((name, after)) = rest.split_once("=\"") {
        let (mut value, mut end, mut escaped) = (String::new(), after.len(), false);
        for (at, char) in after.char_indices() {
            match char {
                'n' if escaped => value.push('\n'),
                _ if escaped => value.push(char),
                '"' => {
                    end = at;
                    break;
                }
                '\\' => {}
                _ => value.push(char),
            }
            escaped = char == '\\' && !escaped;
        }
        labels.push((name.trim_start_matches(',').to_owned(), value));
        rest = after.get(end + 1..).unwrap_or_default();
    }
    labels
}

#[test]
fn samples_are_read_with_quoted_braces_and_exemplars() {
    let text = "# HELP a b\na_total{x=\"1\",y=\"q}\\\"\\n\"} 1.50 # {t=\"z\"} 0.1 2\nb 2 17\n";
    let found = samples(text);
    assert_eq!(found.len(), 2);
    assert_eq!(found[0].labels, [("x".to_owned(), "1".to_owned()), ("y".to_owned(), "q}\"\n".to_owned())]);
    assert_eq!(sum(text, "a_total", &[("x", "1")]).unwrap().to_string(), "1.50");
    assert_eq!(sum(text, "a_total", &[("x", "2")]), None);
    assert_eq!(sum(text, "b", &[]).unwrap().to_string(), "2");
}
