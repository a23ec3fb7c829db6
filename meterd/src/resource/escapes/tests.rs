//! Pairs are joined; everything else stays byte for byte.

use super::join_surrogates;

fn check(text: &str, expected: &str) {
    assert_eq!(join_surrogates(text), expected);
}

#[test]
fn only_pairs_in_json_are_joined() {
    check(r#"{"a":"\ud83d\ude00!"}"#, "{\"a\":\"😀!\"}");
    check(r#"["\uD83D\uDE00\u00e9"]"#, "[\"😀\\u00e9\"]");
    check(r#"{"a":"\\ud83d\ude00"}"#, r#"{"a":"\\ud83d\ude00"}"#);
    check(r#"{"a":"\ud83d"}"#, r#"{"a":"\ud83d"}"#);
    check(r#"{"a":"\ude00\ud83d"}"#, r#"{"a":"\ude00\ud83d"}"#);
    check(r#"{"a":"\u00e9\ud83d\ude00"}"#, "{\"a\":\"\\u00e9😀\"}");
    check(r"a: '\ud83d\ude00'", r"a: '\ud83d\ude00'");
    check("{\"a\":\"\\", "{\"a\":\"\\");
    check("{\"\\u00", "{\"\\u00");
}
