//! `config.md`: every key with its default, variable and meaning, from the built-in `default.yaml`.

use std::collections::BTreeMap;

use meterd::config::{DEFAULT_YAML, keys};

use super::{code, compare, page, table};

const INTRO: &str = "Give the file with `-c FILE`; `meterd check -c FILE` says what is wrong with it and exits 78.";

/// A line of the file that sets a key or opens a mapping.
struct Line {
    path: String,
    value: String,
    comment: String,
}

/// Comments above the first key, and every key with the comment that covers it: its own, else the one of the key before it
/// in the same mapping, else its mapping's.
fn read(yaml: &str) -> (String, Vec<Line>) {
    let mut lines: Vec<Line> = Vec::new();
    let mut comment: Vec<String> = Vec::new();
    let mut intro = None;
    let mut above: Vec<String> = Vec::new();
    for line in yaml.lines() {
        let bare = line.trim_start();
        let depth = (line.len() - bare.len()) / 2;
        if let Some(text) = bare.strip_prefix('#') {
            comment.push(text.trim().to_owned());
            continue;
        }
        let Some((key, value)) = bare.split_once(':') else {
            assert!(bare.is_empty(), "not a key, a comment or a blank line: {line:?}");
            if intro.is_none() {
                intro = Some(std::mem::take(&mut comment).join("\n"));
            }
            continue;
        };
        above.truncate(depth);
        above.push(key.to_owned());
        let path = above.join(".");
        let parent = above[..depth].join(".");
        let own = std::mem::take(&mut comment).join(" ");
        let covers = |line: &&Line| line.path == parent || line.path.rsplit_once('.').map_or("", |at| at.0) == parent;
        let inherited = || lines.iter().rev().find(covers).filter(|_| depth > 0).map(|line| line.comment.clone());
        let comment = if own.is_empty() { inherited().unwrap_or_default() } else { own };
        lines.push(Line { path, value: value.trim().to_owned(), comment });
    }
    (intro.expect("the file begins with what it is"), lines)
}

#[test]
fn config_page_is_fresh() {
    let variables: BTreeMap<&str, String> = keys().collect();
    let (intro, lines) = read(DEFAULT_YAML);
    let settings: Vec<&Line> = lines.iter().filter(|line| variables.contains_key(line.path.as_str())).collect();
    assert_eq!(settings.len(), variables.len(), "default.yaml shows every key once");
    let header = ["key", "default", "variable", "meaning"];
    let row = |line: &&&Line| {
        vec![
            code(&line.path),
            code(&line.value),
            code(&variables[line.path.as_str()]),
            line.comment.replace('*', "\\*"),
        ]
    };
    let mut sections: Vec<&str> = Vec::new();
    for line in &settings {
        let section = line.path.split('.').next().expect("a first part");
        if !sections.contains(&section) {
            sections.push(section);
        }
    }
    let mut body = String::new();
    for section in sections {
        let within: Vec<&&Line> = settings.iter().filter(|line| line.path.split('.').next() == Some(section)).collect();
        body.push_str(&format!("## {section}\n\n{}\n", table(&header, within.iter().map(row))));
    }
    compare("config.md", &page("Configuration", &format!("{intro}\n\n{INTRO}"), &body));
}
