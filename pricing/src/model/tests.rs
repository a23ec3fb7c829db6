//! Names: spellings, globs, precedence and clashes.

use super::*;
use crate::time::Timestamp;

fn check(name: &str, expected: &str) {
    assert_eq!(spellings(&normal(name)).collect::<Vec<_>>().join(" "), expected, "spellings of {name:?}");
}

#[test]
fn names_lose_path_version_and_date_in_turn() {
    check("GPT-4o", "gpt-4o");
    check("gpt-4o-2024-08-06", "gpt-4o-2024-08-06 gpt-4o");
    check("claude-opus-4-6-20260205", "claude-opus-4-6-20260205 claude-opus-4-6");
    check(
        "publishers/anthropic/models/claude-opus-4-5@20251101",
        "publishers/anthropic/models/claude-opus-4-5@20251101 claude-opus-4-5@20251101 claude-opus-4-5",
    );
    check("models/gemini-3.8-flash", "models/gemini-3.8-flash gemini-3.8-flash");
    check("accounts/fireworks/models/kimi-k3", "accounts/fireworks/models/kimi-k3 kimi-k3");
    check("supermodels/x", "supermodels/x");
    check("@cf/meta/llama-3", "@cf/meta/llama-3");
    check("voxtral-small-24b-2507", "voxtral-small-24b-2507");
    check("text-20", "text-20");
}

#[test]
fn globs_cover_what_they_say() {
    for (glob, name, expected) in [
        ("*", "", true),
        ("*", "abc", true),
        ("a*c", "abbc", true),
        ("a*c", "abcd", false),
        ("a?c", "abc", true),
        ("a?c", "ac", false),
        ("*b*", "abc", true),
        ("*b*", "ac", false),
        ("a*b*c", "aXbYbZc", true),
        ("abc", "abc", true),
        ("abc", "abcd", false),
        ("a**", "a", true),
        ("?", "é", true),
        ("*-latest", "gpt-latest-latest", true),
    ] {
        assert_eq!(Glob::new(glob).covers(name), expected, "{glob} covers {name:?}");
    }
    for (left, right, expected) in [
        ("*foo", "bar*", true),
        ("foo*", "bar*", false),
        ("a?c", "ab*", true),
        ("*a", "*b", false),
        ("*", "", true),
        ("a*b", "ac*db", true),
        ("a*b", "a*c", false),
        ("?", "", false),
        ("**", "x", true),
        ("abc", "abd", false),
    ] {
        assert_eq!(Glob::new(left).overlaps(&Glob::new(right)), expected, "{left} and {right}");
        assert_eq!(Glob::new(right).overlaps(&Glob::new(left)), expected, "{right} and {left}");
    }
}

#[test]
fn precedence_is_exact_alias_prefix_glob_and_the_longest_wins() {
    let mut names = Names::default();
    names.add_glob(Glob::new("*"), 0).unwrap();
    names.add_glob(Glob::new("gpt*-mini"), 1).unwrap();
    names.add_prefix("gpt-", 2).unwrap();
    names.add_prefix("gpt-4", 3).unwrap();
    names.add_alias("gpt-4-latest", None, Some(Timestamp::from_millis(10)), 4).unwrap();
    names.add_alias("gpt-4-latest", Some(Timestamp::from_millis(10)), None, 5).unwrap();
    names.add_exact("gpt-4", 6).unwrap();
    let answer = |name: &str, at| names.find(name, at).map(|answer| (answer.entry, answer.rank, answer.pattern));
    let find = |name: &str, millis: i64| answer(name, Some(Timestamp::from_millis(millis)));
    assert_eq!(find("gpt-4", 0), Some((6, Rank::Exact, "gpt-4")));
    assert_eq!(find("gpt-4-latest", 9), Some((4, Rank::Alias, "gpt-4-latest")));
    assert_eq!(find("gpt-4-latest", 10), Some((5, Rank::Alias, "gpt-4-latest")));
    assert_eq!(answer("gpt-4-latest", None), Some((4, Rank::Alias, "gpt-4-latest")));
    assert_eq!(find("gpt-41", 0), Some((3, Rank::Prefix, "gpt-4")));
    assert_eq!(find("gpt-3", 0), Some((2, Rank::Prefix, "gpt-")));
    assert_eq!(find("gpt3-mini", 0), Some((1, Rank::Glob, "gpt*-mini")));
    assert_eq!(find("gp", 0), Some((0, Rank::Glob, "*")));
    assert_eq!(find("é", 0), Some((0, Rank::Glob, "*")));
}

#[test]
fn equal_ranks_clash() {
    let mut names = Names::default();
    let at = |millis| Some(Timestamp::from_millis(millis));
    names.add_exact("a", 0).unwrap();
    names.add_exact("a", 0).unwrap();
    assert_eq!(names.add_exact("a", 1), Err(Clash { entry: 0, pattern: None }));
    names.add_prefix("a", 0).unwrap();
    assert_eq!(names.add_prefix("a", 1), Err(Clash { entry: 0, pattern: None }));
    names.add_alias("b", at(1), at(5), 0).unwrap();
    assert_eq!(names.add_alias("b", at(4), None, 1), Err(Clash { entry: 0, pattern: None }));
    assert_eq!(names.add_alias("b", None, at(1), 1), Ok(()));
    names.add_glob(Glob::new("*foo"), 0).unwrap();
    assert_eq!(names.add_glob(Glob::new("bar*"), 1), Err(Clash { entry: 0, pattern: Some("*foo".to_owned()) }));
    names.add_glob(Glob::new("barx*"), 1).unwrap();
}
