//! Windows by plain arithmetic: integer division, and the calendar of the proleptic Gregorian year. Of the zones only New York
//! has clock changes: on the second Sunday of March and the first of November, at two in the morning.

use budget::Window;

use crate::words::{DAY, HOUR, NEW_YORK};

/// First instant inside, first instant after.
pub type Span = (i64, i64);

/// The window that holds `at`, in a zone so many hours east of Greenwich, or in New York.
pub fn span(window: Window, zone_hours: i64, at: i64) -> Span {
    if zone_hours == NEW_YORK {
        return new_york(window, at);
    }
    let shift = zone_hours * HOUR;
    let local = at + shift;
    let (start, end) = match window {
        Window::Run => return (i64::MIN, i64::MAX),
        Window::Rolling24h => {
            let hour = at.div_euclid(HOUR) * HOUR;
            return (hour - 23 * HOUR, hour + HOUR);
        }
        Window::Hour => floor(local, HOUR),
        Window::Day => floor(local, DAY),
        Window::Week => {
            // 1970-01-01 was a Thursday: weeks begin on the Monday four days later.
            let (start, end) = floor(local - 4 * DAY, 7 * DAY);
            (start + 4 * DAY, end + 4 * DAY)
        }
        Window::Month => month(local.div_euclid(DAY)),
    };
    (start - shift, end - shift)
}

/// Where a charge is summed: the start of its bucket.
pub fn bucket(window: Window, zone_hours: i64, at: i64) -> i64 {
    match window {
        Window::Run => 0,
        Window::Rolling24h => floor(at, HOUR).0,
        _ => span(window, zone_hours, at).0,
    }
}

fn floor(at: i64, size: i64) -> Span {
    let start = at.div_euclid(size) * size;
    (start, start + size)
}

/// The month around a day, counted on month by month from January 2020.
fn month(day: i64) -> Span {
    let (mut year, mut month, mut first) = (2020, 0, 18_262);
    loop {
        let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let len = [31, if leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31][month];
        if day < first + len {
            return (first * DAY, (first + len) * DAY);
        }
        first += len;
        month = (month + 1) % 12;
        year += i64::from(month == 0);
    }
}

/// Clocks change at whole hours of UTC and never at midnight, so hours are UTC's and a day's ends have one offset each.
fn new_york(window: Window, at: i64) -> Span {
    if matches!(window, Window::Run | Window::Rolling24h | Window::Hour) {
        return span(window, 0, at);
    }
    let (start, end) = span(window, 0, at - if is_summer(at) { 4 * HOUR } else { 5 * HOUR });
    let utc = |midnight: i64| if is_summer(midnight + 4 * HOUR) { midnight + 4 * HOUR } else { midnight + 5 * HOUR };
    (utc(start), utc(end))
}

/// Is New York four hours behind Greenwich, and not five?
fn is_summer(at: i64) -> bool {
    // The year begins at midnight of Greenwich: the changes are far from there.
    let mut first = 18_262;
    let mut year = 2020;
    let days = |year: i64| if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) { 366 } else { 365 };
    while at.div_euclid(DAY) >= first + days(year) {
        first += days(year);
        year += 1;
    }
    let sunday = |from: i64| from + (3 - from).rem_euclid(7);
    // 1970-01-01 was a Thursday, so days that leave 3 are Sundays.
    let march = first + days(year) - 306;
    let november = march + 245;
    (sunday(march) + 7) * DAY + 7 * HOUR <= at && at < sunday(november) * DAY + 6 * HOUR
}
