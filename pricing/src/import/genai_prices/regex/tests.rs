//! Regular expressions: what can be said as patterns, what cannot.

use super::{is_exclusion, patterns};
use crate::import::draft::Pattern;

/// Patterns as `=exact prefix* glob`, in order; `-` where there are none.
fn check(regex: &str, expected: &str) {
    let text = |pattern: &Pattern| match pattern {
        Pattern::Exact(id) => format!("={id}"),
        Pattern::Prefix(prefix) => format!("{prefix}…"),
        Pattern::Glob(glob) => glob.clone(),
    };
    let found = patterns(regex).map_or("-".to_owned(), |all| all.iter().map(text).collect::<Vec<_>>().join(" "));
    assert_eq!(found, expected, "{regex}");
}

#[test]
fn dates_at_the_end_are_left_to_the_lookup() {
    check(r"^claude-fable-5-\d{8}$", "=claude-fable-5");
    check(r"^gpt-5\.6-sol-\d{4}-\d{2}-\d{2}$", "=gpt-5.6-sol");
    check(r"^claude-opus-5[-@]\d{8}$", "=claude-opus-5 =claude-opus-5");
    check(r"^x-ai/grok-4\.3-\d{8}$", "=x-ai/grok-4.3");
}

#[test]
fn options_are_written_out() {
    check(r"^(typesafe/)?jev-1\.13(-\d{8})?$", "=jev-1.13 =jev-1.13 =typesafe/jev-1.13 =typesafe/jev-1.13");
    check(r"^grok-4\.5\[fast=false\]$", "=grok-4.5[fast=false]");
}

#[test]
fn a_last_digit_is_ten_prefixes() {
    let ten: Vec<String> = (0..10).map(|digit| format!("gemini-4-argon-{digit}…")).collect();
    check(r"^gemini-4-argon-\d", &ten.join(" "));
    check(r"^o1-", "o1-…");
}

#[test]
fn other_digits_are_not_guessed() {
    check(r"^model-\d{8}-latest$", "-");
    check(r"^model-\d{6}$", "-");
    check(r"^model-v\d{8}$", "-");
    check(r"^model-d\d-\d{8}$", "-");
    check(r"^\d\d", "-");
}

#[test]
fn what_is_not_understood_is_refused() {
    for regex in
        ["gpt", "^o[1-4]", "^a.b$", "^a+$", "^(a|b)$", "^a*", "^(?!x)", r"^\w+$", "^a{2,3}$", "^a$b", "^(a", "^é$"]
    {
        check(regex, "-");
    }
    check("^(a)?(b)?(c)?(d)?(e)?$", "-");
}

#[test]
fn exclusions_are_recognised() {
    assert!(is_exclusion(r"^(?!.*-[tT][tT][sS](?:$|-))"));
    assert!(!is_exclusion(r"^gpt-\d"));
}
