//! Overlaps: what an earlier model takes from later ones, and what it needs to keep it.

use super::{Shadowed, resolve};
use crate::import::draft::{Model, Pattern};

/// `=exact`, `prefix…`, anything else a glob.
fn pattern(text: &str) -> Pattern {
    if let Some(id) = text.strip_prefix('=') {
        Pattern::Exact(id.to_owned())
    } else if let Some(prefix) = text.strip_suffix('…') {
        Pattern::Prefix(prefix.to_owned())
    } else {
        Pattern::Glob(text.to_owned())
    }
}

fn text(pattern: &Pattern) -> String {
    match pattern {
        Pattern::Exact(id) => format!("={id}"),
        Pattern::Prefix(prefix) => format!("{prefix}…"),
        Pattern::Glob(glob) => glob.clone(),
    }
}

fn models(before: &[&str]) -> Vec<Model> {
    let of = |patterns: &&str| Model {
        provider: "p".to_owned(),
        id: "m".to_owned(),
        patterns: patterns.split_whitespace().map(pattern).collect(),
        ..Model::default()
    };
    before.iter().map(of).collect()
}

/// One text of patterns for each model, before and after.
fn check(before: &[&str], after: &[&str]) -> Vec<Shadowed> {
    let mut models = models(before);
    let shadowed = resolve(&mut models);
    let left: Vec<String> =
        models.iter().map(|model| model.patterns.iter().map(text).collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(left, after, "{before:?}");
    shadowed
}

#[test]
fn patterns_that_do_not_meet_stay() {
    assert_eq!(check(&["=a b…", "=b-c *d*"], &["=a b…", "*d*"]).len(), 1);
    assert_eq!(check(&["=a", "=b", "c…"], &["=a", "=b", "c…"]), []);
}

#[test]
fn the_first_in_the_file_keeps_what_two_claim() {
    let shadowed = check(&["=a", "=a =b"], &["=a", "=b"]);
    assert_eq!(shadowed, [Shadowed { model: 1, pattern: pattern("=a"), by: 0 }]);
    check(&["a…", "a…"], &["a…", ""]);
    check(&["*a*", "*a*"], &["*a*", ""]);
}

#[test]
fn a_wider_earlier_pattern_covers_narrower_later_ones() {
    check(&["a…", "=a-1 a-2… a-3*"], &["a…", ""]);
    check(&["*a*", "=xay xa… *a-1* x?a"], &["*a*", ""]);
    check(&["x?z…", "=xyz"], &["x?z…", "=xyz"]);
    check(&["x?z*", "=xyz"], &["x?z*", ""]);
}

#[test]
fn a_narrower_earlier_pattern_leaves_the_rest() {
    check(&["=a-1 a-2…", "a…"], &["=a-1 a-2…", "a…"]);
    check(&["*a-1*", "*a*"], &["*a-1*", "*a*"]);
}

#[test]
fn the_winner_gets_what_a_third_would_take() {
    // In file order the first model has xa-1; without it as an exact id the third one's prefix would go before `*a*`.
    check(&["*a*", "=xa-1", "x…"], &["=xa-1 *a*", "", "x…"]);
}

#[test]
fn a_widened_pattern_takes_nothing_away() {
    let mut both = models(&["pro…", "=pro-tts"]);
    both[0].widened = vec![pattern("pro…")];
    assert_eq!(resolve(&mut both), []);
}
