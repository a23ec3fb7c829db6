//! Windows by plain arithmetic: integer division, and the calendar of the proleptic Gregorian year. Zones have no clock changes.

use budget::Window;

use crate::words::{DAY, HOUR};

/// First instant inside, first instant after.
pub type Span = (i64, i64);

/// The window that holds `at`, in a zone so many hours east of Greenwich.
pub fn span(window: Window, zone_hours: i64, at: i64) -> Span {
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
