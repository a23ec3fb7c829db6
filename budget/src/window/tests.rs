//! Spans of windows: worked by hand from published clock changes, and the law that they tile time.
#![allow(clippy::arithmetic_side_effects)]

use pricing::Timestamp;

use super::{Calendar, Window};

fn calendar(zone: &str) -> Calendar {
    Calendar { time_zone: zone.into(), week_start: 1, month_start_day: 1 }
}

fn check_in(calendar: &Calendar, window: Window, at: &str, expected: &str) {
    let span = calendar.span(window, at.parse().unwrap());
    let end = span.end.map_or_else(|| "…".to_owned(), |end| end.to_string());
    assert_eq!(format!("{} {end}", span.start), expected, "{window:?} of {at} in {}", calendar.time_zone);
    assert!(span.contains(at.parse().unwrap()));
}

fn check(zone: &str, window: Window, at: &str, expected: &str) {
    check_in(&calendar(zone), window, at, expected);
}

#[test]
fn days_are_23_24_or_25_hours_long() {
    let ny = "America/New_York";
    check(ny, Window::Day, "2026-03-07T12:00:00Z", "2026-03-07T05:00:00Z 2026-03-08T05:00:00Z");
    check(ny, Window::Day, "2026-03-08T12:00:00Z", "2026-03-08T05:00:00Z 2026-03-09T04:00:00Z");
    check(ny, Window::Day, "2026-03-09T03:59:59.999999999Z", "2026-03-08T05:00:00Z 2026-03-09T04:00:00Z");
    check(ny, Window::Day, "2026-11-01T04:00:00Z", "2026-11-01T04:00:00Z 2026-11-02T05:00:00Z");
    check("Asia/Kolkata", Window::Day, "2026-11-22T18:29:59Z", "2026-11-21T18:30:00Z 2026-11-22T18:30:00Z");
}

#[test]
fn a_day_may_start_at_one_have_two_midnights_or_be_missing() {
    // 2018-11-04: São Paulo skipped midnight, Havana had it twice. Apia had no 2011-12-30.
    check("America/Sao_Paulo", Window::Day, "2018-11-04T12:00:00Z", "2018-11-04T03:00:00Z 2018-11-05T02:00:00Z");
    check("America/Havana", Window::Day, "2018-11-04T05:30:00Z", "2018-11-04T04:00:00Z 2018-11-05T05:00:00Z");
    check("Pacific/Apia", Window::Day, "2011-12-30T09:00:00Z", "2011-12-29T10:00:00Z 2011-12-30T10:00:00Z");
    check("Pacific/Apia", Window::Day, "2011-12-30T10:00:00Z", "2011-12-30T10:00:00Z 2011-12-31T10:00:00Z");
}

#[test]
fn the_repeated_hour_is_two_windows() {
    let ny = "America/New_York";
    check(ny, Window::Hour, "2026-11-01T05:30:00Z", "2026-11-01T05:00:00Z 2026-11-01T06:00:00Z");
    check(ny, Window::Hour, "2026-11-01T06:30:00Z", "2026-11-01T06:00:00Z 2026-11-01T07:00:00Z");
    check("Asia/Kolkata", Window::Hour, "2026-11-22T18:29:59Z", "2026-11-22T17:30:00Z 2026-11-22T18:30:00Z");
    // Lord Howe moves its clock by 30 minutes: the hour that follows is cut short.
    check("Australia/Lord_Howe", Window::Hour, "2026-04-04T15:10:00Z", "2026-04-04T15:00:00Z 2026-04-04T15:30:00Z");
}

#[test]
fn weeks_and_months_start_where_the_budget_says() {
    let mut own = calendar("Europe/Berlin");
    check_in(&own, Window::Week, "2026-11-22T22:59:59Z", "2026-11-15T23:00:00Z 2026-11-22T23:00:00Z");
    check_in(&own, Window::Month, "2026-10-31T22:59:59Z", "2026-09-30T22:00:00Z 2026-10-31T23:00:00Z");
    own.week_start = 7;
    own.month_start_day = 28;
    check_in(&own, Window::Week, "2026-11-22T12:00:00Z", "2026-11-21T23:00:00Z 2026-11-28T23:00:00Z");
    check_in(&own, Window::Month, "2026-03-27T22:00:00Z", "2026-02-27T23:00:00Z 2026-03-27T23:00:00Z");
    check_in(&own, Window::Month, "2026-01-01T12:00:00Z", "2025-12-27T23:00:00Z 2026-01-27T23:00:00Z");
}

#[test]
fn rolling_run_and_unknown_zones() {
    check("UTC", Window::Rolling24h, "2026-11-22T10:59:59Z", "2026-11-21T11:00:00Z 2026-11-22T11:00:00Z");
    check("UTC", Window::Run, "2026-11-22T10:59:59Z", "2026-11-22T10:59:59Z …");
    check("Nowhere/At_All", Window::Day, "2026-11-22T10:59:59Z", "2026-11-22T00:00:00Z 2026-11-23T00:00:00Z");
    assert!(Calendar::is_zone("Europe/Berlin") && !Calendar::is_zone("Nowhere/At_All"));
}

#[test]
fn spans_tile_time() {
    let zones = ["America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "America/Havana", "Pacific/Apia", "UTC"];
    for zone in zones {
        for window in [Window::Hour, Window::Day, Window::Week, Window::Month] {
            let calendar = Calendar { time_zone: zone.into(), week_start: 3, month_start_day: 15 };
            let mut at: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
            let last: Timestamp = "2027-01-10T00:00:00Z".parse().unwrap();
            while at < last {
                let span = calendar.span(window, at);
                let end = span.end.unwrap();
                assert!(end > at && calendar.span(window, span.start) == span, "{zone} {window:?} {at}");
                assert_eq!(calendar.span(window, end.saturating_add(-1)), span, "{zone} {window:?} {at}");
                assert_eq!(calendar.span(window, end).start, end, "{zone} {window:?} {at}: a gap or an overlap");
                at = end;
            }
        }
    }
}
