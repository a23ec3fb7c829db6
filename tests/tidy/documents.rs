//! What the documents promise: the import table, a test for each invariant, and words that say something.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use crate::none;
use crate::rooms::{EVERYTHING, IMPORTS};
use crate::source::{root, rust_files, walk, word};

const DOCUMENT: &str = "ARCHITECTURE.md";

/// Words that tell the reader nothing, or that speak of anything but the project.
const WORDS_REFUSED: &[&str] = &[
    "blazing",
    "seamless",
    "leverage",
    "cutting-edge",
    "state-of-the-art",
    "world-class",
    "game-chang",
    "supercharge",
    "effortless",
    "next-generation",
    "enterprise-grade",
    "battle-tested",
    "best-in-class",
    "todo:",
    "fixme",
    "tbd",
    "lorem ipsum",
    "/work/",
    "../shared",
];

fn architecture() -> String {
    fs::read_to_string(root().join(DOCUMENT)).unwrap_or_else(|error| panic!("cannot read {DOCUMENT}: {error}"))
}

/// The words in backticks of a piece of Markdown.
fn code_words(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// Cells of a table row; `None` for any other line and for the rule below the head.
fn cells(line: &str) -> Option<Vec<&str>> {
    let inner = line.trim().strip_prefix('|')?.strip_suffix('|')?;
    let cells: Vec<&str> = inner.split('|').map(str::trim).collect();
    if cells.iter().all(|cell| cell.chars().all(|char| "-: ".contains(char))) { None } else { Some(cells) }
}

/// A row of the import table as sorted names: what comes after a semicolon explains and is not read.
fn import_row(row: &[&str]) -> (BTreeSet<String>, BTreeSet<String>) {
    let names = |cell: &str| code_words(cell).map(str::to_owned).collect::<BTreeSet<_>>();
    let uses = row.get(1).copied().unwrap_or_default().split(';').next().unwrap_or_default();
    let mut used = names(uses);
    if uses.starts_with(EVERYTHING) {
        used.insert(EVERYTHING.to_owned());
    }
    (names(row.first().copied().unwrap_or_default()), used)
}

#[test]
fn the_architecture_document_shows_the_same_import_table() {
    let text = architecture();
    let mut shown = BTreeSet::new();
    let mut inside = false;
    for line in text.lines() {
        let row = cells(line);
        inside = match &row {
            Some(row) if row.first() == Some(&"room") => true,
            _ => inside && line.trim_start().starts_with('|'),
        };
        if let (true, Some(row)) = (inside, row)
            && row.first() != Some(&"room")
        {
            shown.insert(import_row(&row));
        }
    }
    let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
    let held: BTreeSet<_> = IMPORTS.iter().map(|(rooms, allowed)| (set(rooms), set(allowed))).collect();
    let describe = |(rooms, uses): &(BTreeSet<String>, BTreeSet<String>)| {
        let list =
            |names: &BTreeSet<String>| names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        format!("| {} | {} |", list(rooms), list(uses))
    };
    let mut findings: Vec<String> = held
        .difference(&shown)
        .map(|row| format!("{DOCUMENT}: the table `| room | may use |` lacks the row {}", describe(row)))
        .collect();
    findings.extend(
        shown
            .difference(&held)
            .map(|row| format!("{DOCUMENT}: tests/tidy/rooms.rs does not have the row {}", describe(row))),
    );
    none(&findings);
}

/// Names of all test functions of the project.
fn test_functions() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for file in rust_files() {
        let mut is_test = false;
        for line in file.code.lines().map(str::trim) {
            if line.starts_with("#[") {
                is_test |= line.contains("test]") || line.contains("::test(");
            } else if is_test && let Some(at) = line.find("fn ") {
                names.insert(word(&line[at + 3..]).to_owned());
                is_test = false;
            }
        }
    }
    names
}

/// The invariant that a table row states, and the tests that its last cell names: `| I7 | … | `a_test`; why |`.
/// What comes after a semicolon explains and is not read.
fn invariant(line: &str) -> Option<(u32, Vec<String>)> {
    let row = cells(line)?;
    let number = row.first()?.strip_prefix('I')?.parse().ok()?;
    let named =
        code_words(row.last()?.split(';').next()?).map(|name| name.rsplit("::").next().unwrap_or(name).to_owned());
    Some((number, named.collect()))
}

#[test]
fn each_invariant_names_a_test_that_exists() {
    let (text, tests) = (architecture(), test_functions());
    let (mut stated, mut findings) = (BTreeSet::new(), Vec::new());
    for (number, line) in text.lines().enumerate() {
        let Some((invariant, named)) = invariant(line) else { continue };
        let at = format!("{DOCUMENT}:{}: I{invariant}", number + 1);
        if !stated.insert(invariant) {
            findings.push(format!("{at} is stated twice"));
        }
        if named.is_empty() {
            findings.push(format!("{at} names no test: write the function's name in backticks in its last cell"));
        }
        for name in named.iter().filter(|name| !tests.contains(*name)) {
            findings.push(format!("{at} names `{name}`, and no test function has that name"));
        }
    }
    assert!(stated.len() > 10, "{DOCUMENT} states only {stated:?}: has the table's form changed?");
    none(&findings);
}

#[test]
fn documents_use_words_that_say_something() {
    let mut paths: Vec<PathBuf> = Vec::new();
    walk(&root(), "md", &mut paths);
    assert!(!paths.is_empty(), "no document under {}", root().display());
    let mut findings = Vec::new();
    for path in paths {
        let text = fs::read_to_string(&path).expect("documents are text");
        let shown = path.strip_prefix(root()).expect("below the root").display().to_string();
        for (number, line) in text.lines().enumerate() {
            let lower = line.to_lowercase();
            for refused in WORDS_REFUSED.iter().filter(|refused| has_word(&lower, refused)) {
                findings.push(format!("{shown}:{}: `{refused}`: say the fact instead, or leave it out", number + 1));
            }
        }
    }
    none(&findings);
}

/// Does the text hold the word, not in the middle of another one?
fn has_word(text: &str, sought: &str) -> bool {
    text.match_indices(sought).any(|(at, _)| {
        !sought.starts_with(char::is_alphabetic) || !text[..at].ends_with(|char: char| char.is_alphanumeric())
    })
}

#[test]
fn rows_and_invariants_are_read_as_written() {
    let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
    let row = cells("| `sink`, `signal` | `follow` and types of `budget`; never `meter` |").expect("a row");
    assert_eq!(import_row(&row), (set(&["sink", "signal"]), set(&["follow", "budget"])));
    assert_eq!(import_row(&cells("| `daemon` | everything |").expect("a row")).1, set(&[EVERYTHING]));
    assert!(cells("|---|---|").is_none());
    let read = invariant("| I7 | Once; only once. | `a_b`, `c::d_e`; clippy's `f_g` |").expect("an invariant");
    assert_eq!(read, (7, vec!["a_b".to_owned(), "d_e".to_owned()]));
    assert_eq!(invariant("I12 is kept free"), None);
    assert_eq!(invariant("| It | is | `a_b` |"), None);
    assert!(has_word("a todo here", "todo") && !has_word("mastodon todos", "tbd"));
}
