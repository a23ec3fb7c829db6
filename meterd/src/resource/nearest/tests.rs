//! Near words are found, far ones are not.

use super::nearest;

fn check(word: &str, candidates: &[&str], expected: Option<&str>) {
    assert_eq!(nearest(word, candidates.iter().copied()), expected, "{word}");
}

#[test]
fn finds_what_was_meant() {
    let limits = ["perRunUsd", "dailyUsd", "monthlyUsd", "tokenLimitDaily"];
    check("dailyUSD", &limits, Some("dailyUsd"));
    check("daily_usd", &limits, Some("dailyUsd"));
    check("daliyUsd", &limits, Some("dailyUsd"));
    check("monthyUsd", &limits, Some("monthlyUsd"));
    check("colour", &limits, None);
    check("", &limits, None);
    check("Europe/Berln", &["Europe/Berlin", "Europe/Bern"], Some("Europe/Berlin"));
    check("on", &["no"], None);
}
