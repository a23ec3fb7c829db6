//! Windows: civil hours, days, weeks and months in a budget's own zone, derived from time and never reset by a job.
//!
//! Zones come from the database that is compiled in, so a window depends on nothing outside the program. The spans of
//! one window kind tile time: every instant lies in exactly one, also where clocks change (a test walks over changes).

#[cfg(test)]
mod tests;

use std::sync::{Arc, LazyLock};

use jiff::civil::{Date, Weekday};
use jiff::tz::{TimeZone, TimeZoneDatabase};
use jiff::{SignedDuration, ToSpan, Zoned};
use pricing::Timestamp;
use serde::{Deserialize, Serialize};

static ZONES: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);

const HOUR: SignedDuration = SignedDuration::from_hours(1);
const HOUR_NANOS: i64 = 3_600_000_000_000;
/// Hourly buckets of a rolling day.
const ROLLING_HOURS: i64 = 24;

/// The span over which a limit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Window {
    /// One execution, from start to end.
    Run,
    /// Civil hour.
    Hour,
    /// Civil day: 23 or 25 hours long where clocks change.
    Day,
    /// Civil week from the budget's `weekStart`.
    Week,
    /// Civil month from the budget's `monthStartDay`.
    Month,
    /// The last 24 hours in 24 hourly buckets: the UTC hour that runs and the 23 before it.
    Rolling24h,
}

impl Window {
    /// `run`, `hour`, `day`, `week`, `month`, `rolling24h`: metric label and the wire's word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
            Self::Rolling24h => "rolling24h",
        }
    }
}

/// A half-open span of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Span {
    /// First instant inside.
    pub start: Timestamp,
    /// First instant after; `None` for a run.
    pub end: Option<Timestamp>,
}

/// How a budget cuts time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Calendar {
    /// IANA zone.
    pub time_zone: Arc<str>,
    /// 1 = Monday … 7 = Sunday.
    pub week_start: u8,
    /// 1–28.
    pub month_start_day: u8,
}

impl Span {
    /// Is `at` inside?
    #[must_use]
    pub fn contains(&self, at: Timestamp) -> bool {
        #[cfg(feature = "mistakes")]
        if crate::mistakes::made(crate::mistakes::Mistake::WindowEdge) {
            return at > self.start && self.end.is_none_or(|end| at <= end);
        }
        at >= self.start && self.end.is_none_or(|end| at < end)
    }

    /// Over at `now`? A run's span never is.
    #[must_use]
    pub fn is_closed(&self, now: Timestamp) -> bool {
        self.end.is_some_and(|end| end <= now)
    }
}

impl Calendar {
    /// Is this the name of a zone of the compiled-in database?
    #[must_use]
    pub fn is_zone(name: &str) -> bool {
        ZONES.get(name).is_ok()
    }

    /// The span of `window` that holds `at`. A run's span starts at `at` and has no end. Zones are validated when a
    /// budget is read; one that is unknown here counts as UTC.
    #[must_use]
    pub fn span(&self, window: Window, at: Timestamp) -> Span {
        match window {
            Window::Run => Span { start: at, end: None },
            Window::Rolling24h => rolling(at),
            Window::Hour | Window::Day | Window::Week | Window::Month => {
                let zone = ZONES.get(&self.time_zone).unwrap_or(TimeZone::UTC);
                let here = at.jiff().to_zoned(zone);
                let span = if window == Window::Hour { hour(&here) } else { self.days(window, &here) };
                // Only an instant at the very edge of the calendar has no span: one window without end is the safe answer.
                span.unwrap_or(Span { start: Timestamp::from_nanos(i64::MIN), end: None })
            }
        }
    }

    /// The span of the bucket in which a charge at `at` is summed: the window itself, and the UTC hour for a rolling day.
    #[must_use]
    pub fn bucket(&self, window: Window, at: Timestamp) -> Span {
        if window == Window::Rolling24h { utc_hour(at) } else { self.span(window, at) }
    }

    fn days(&self, window: Window, here: &Zoned) -> Option<Span> {
        let today = here.date();
        let (first, next) = match window {
            Window::Week => {
                let first = today.checked_sub(i64::from(self.days_into_week(today.weekday())).days()).ok()?;
                (first, first.checked_add(1.week()).ok()?)
            }
            Window::Month => {
                let day = i8::try_from(self.month_start_day.clamp(1, 28)).ok()?;
                let this = today.with().day(day).build().ok()?;
                let first = if this <= today { this } else { this.checked_sub(1.month()).ok()? };
                (first, first.checked_add(1.month()).ok()?)
            }
            _ => (today, today.tomorrow().ok()?),
        };
        Some(Span { start: midnight(first, here)?, end: Some(midnight(next, here)?) })
    }

    fn days_into_week(&self, today: Weekday) -> u8 {
        let start = self.week_start.clamp(1, 7);
        let today = today.to_monday_one_offset().unsigned_abs();
        today.saturating_add(7).saturating_sub(start).checked_rem(7).unwrap_or(0)
    }
}

/// The first instant of a date: 00:00, the later end of a gap there, the earlier of two midnights.
fn midnight(date: Date, like: &Zoned) -> Option<Timestamp> {
    Some(Timestamp::from_jiff(date.to_zoned(like.time_zone().clone()).ok()?.timestamp()))
}

/// The civil hour around `here`, cut where the clock changes inside it: the repeated hour of autumn is two windows.
fn hour(here: &Zoned) -> Option<Span> {
    let past = SignedDuration::new(
        i64::from(here.minute()).checked_mul(60)?.checked_add(i64::from(here.second()))?,
        i32::from(here.millisecond())
            .checked_mul(1_000_000)?
            .checked_add(i32::from(here.microsecond()).checked_mul(1_000)?)?
            .checked_add(i32::from(here.nanosecond()))?,
    );
    let at = here.timestamp();
    let zone = here.time_zone();
    let mut start = at.checked_sub(past).ok()?;
    let mut end = at.checked_sub(past).ok()?.checked_add(HOUR).ok()?;
    if zone.to_offset(start) != here.offset() {
        let next = at.checked_add(SignedDuration::from_nanos(1)).ok()?;
        start = zone.preceding(next).next().map_or(start, |change| change.timestamp().max(start));
    }
    if zone.to_offset(end) != here.offset() {
        end = zone.following(at).next().map_or(end, |change| change.timestamp().min(end));
    }
    Some(Span { start: Timestamp::from_jiff(start), end: Some(Timestamp::from_jiff(end)) })
}

fn utc_hour(at: Timestamp) -> Span {
    let into = at.nanos().checked_rem_euclid(HOUR_NANOS).unwrap_or(0);
    let start = at.saturating_add(into.saturating_neg());
    Span { start, end: Some(start.saturating_add(HOUR_NANOS)) }
}

fn rolling(at: Timestamp) -> Span {
    let now = utc_hour(at);
    let back = HOUR_NANOS.saturating_mul(ROLLING_HOURS.saturating_sub(1)).saturating_neg();
    Span { start: now.start.saturating_add(back), end: now.end }
}
