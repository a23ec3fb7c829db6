//! When a rule applies: dates, daily windows, attributes and this request's usage. A conjunction; empty means always.

use jiff::civil;
use jiff::tz::TimeZone;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

use super::compiled;
use crate::model::region;
use crate::time::Timestamp;
use crate::usage::{Attrs, Usage, UsageKey};

/// Seconds of a civil day; a window may end there.
pub(super) const DAY_SECONDS: u32 = 86_400;

/// A condition on one call.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct When {
    /// Inclusive.
    pub(super) from: Option<Timestamp>,
    /// Exclusive.
    pub(super) until: Option<Timestamp>,
    /// Any of them; none means all day.
    pub(super) windows: Vec<Window>,
    pub(super) attrs: Vec<AttrTest>,
    pub(super) usage: Vec<UsageTest>,
}

/// A part of each day, on some days. The weekday and the exceptions are those of the instant itself, so a window that
/// wraps past midnight belongs to two days.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Window {
    /// Seconds since local midnight, inclusive.
    pub(super) start: u32,
    /// Exclusive; at most [`DAY_SECONDS`]. Before `start`, the window wraps past midnight.
    pub(super) end: u32,
    #[serde(with = "compiled::zone")]
    pub(super) tz: TimeZone,
    pub(super) days: Option<Weekdays>,
    pub(super) except: Option<Arc<Calendar>>,
}

/// Days of the week in a zone.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Weekdays {
    /// Monday first.
    pub(super) on: [bool; 7],
    #[serde(with = "compiled::zone")]
    pub(super) tz: TimeZone,
}

/// Named dates in a zone, such as public holidays.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Calendar {
    #[serde(with = "compiled::zone")]
    pub(super) tz: TimeZone,
    /// Sorted.
    pub(super) dates: Vec<civil::Date>,
}

/// A condition on a served attribute; an attribute that is not there meets none.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct AttrTest {
    pub(super) name: Box<str>,
    pub(super) test: Test,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Test {
    /// One of these texts.
    In(Vec<Box<str>>),
    /// Some other text.
    NotIn(Vec<Box<str>>),
    /// Bounds on its number.
    Bounds(Bounds),
}

/// A condition on a declared (inclusive) quantity; what was not declared counts as 0.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct UsageTest {
    pub(super) key: UsageKey,
    pub(super) bounds: Bounds,
}

/// Above, or at least.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Bounds {
    #[serde(with = "compiled::optional")]
    pub(super) gt: Option<Decimal>,
    #[serde(with = "compiled::optional")]
    pub(super) gte: Option<Decimal>,
}

/// How a call was served: what its event says, and the region that stood in front of the model's name, which few tables
/// ask for, so that it is looked for only then.
#[derive(Clone, Copy)]
pub(crate) struct Served<'a> {
    pub(crate) attrs: &'a Attrs,
    pub(crate) region_prefix: &'a dyn Fn() -> Option<&'a str>,
}

impl<'a> Served<'a> {
    fn get(&self, name: &str) -> Option<&'a str> {
        let said = self.attrs.get(name);
        if said.is_none() && name == region::ATTRIBUTE { (self.region_prefix)() } else { said }
    }
}

impl When {
    /// Does it hold for this call?
    pub(crate) fn holds(&self, at: Timestamp, usage: &Usage, attrs: Served<'_>) -> bool {
        self.is_within_dates(at)
            && self.usage.iter().all(|test| test.holds(usage))
            && self.attrs.iter().all(|test| test.holds(attrs))
            && self.is_in_a_window(at)
    }

    /// Does it hold at that time for some call?
    pub(crate) fn holds_at(&self, at: Timestamp) -> bool {
        self.is_within_dates(at) && self.is_in_a_window(at)
    }

    /// Does it ask for more than the time?
    pub(crate) const fn depends_on_the_call(&self) -> bool {
        !self.attrs.is_empty() || !self.usage.is_empty()
    }

    /// Does it ask for nothing but a date?
    pub(crate) const fn is_base(&self) -> bool {
        self.windows.is_empty() && !self.depends_on_the_call()
    }

    /// Does it hold for every call?
    pub(crate) const fn is_always(&self) -> bool {
        self.is_base() && self.from.is_none() && self.until.is_none()
    }

    fn is_within_dates(&self, at: Timestamp) -> bool {
        self.from.is_none_or(|from| from <= at) && self.until.is_none_or(|until| at < until)
    }

    fn is_in_a_window(&self, at: Timestamp) -> bool {
        self.windows.is_empty() || self.windows.iter().any(|window| window.holds(at))
    }
}

impl Window {
    fn holds(&self, at: Timestamp) -> bool {
        let at = at.jiff();
        let time = self.tz.to_datetime(at).time();
        let parts = [(time.hour(), 3_600), (time.minute(), 60), (time.second(), 1)];
        let second = parts.iter().fold(0u32, |sum, (part, unit)| {
            sum.saturating_add(u32::try_from(*part).unwrap_or(0).saturating_mul(*unit))
        });
        let inside = if self.start <= self.end {
            self.start <= second && second < self.end
        } else {
            second >= self.start || second < self.end
        };
        inside
            && self.days.as_ref().is_none_or(|days| days.hold(at))
            && !self.except.as_ref().is_some_and(|calendar| calendar.has(at))
    }
}

impl Weekdays {
    fn hold(&self, at: jiff::Timestamp) -> bool {
        let day = self.tz.to_datetime(at).weekday().to_monday_zero_offset();
        usize::try_from(day).ok().and_then(|day| self.on.get(day)).copied().unwrap_or(false)
    }
}

impl Calendar {
    fn has(&self, at: jiff::Timestamp) -> bool {
        self.dates.binary_search(&self.tz.to_datetime(at).date()).is_ok()
    }
}

impl AttrTest {
    fn holds(&self, attrs: Served<'_>) -> bool {
        let Some(value) = attrs.get(&self.name) else { return false };
        match &self.test {
            Test::In(values) => values.iter().any(|wanted| **wanted == *value),
            Test::NotIn(values) => values.iter().all(|other| **other != *value),
            Test::Bounds(bounds) => Decimal::from_str_exact(value).is_ok_and(|number| bounds.hold(number)),
        }
    }
}

impl UsageTest {
    fn holds(&self, usage: &Usage) -> bool {
        self.bounds.hold(usage.get(self.key).unwrap_or_default().decimal())
    }
}

impl Bounds {
    fn hold(&self, number: Decimal) -> bool {
        self.gt.is_none_or(|limit| number > limit) && self.gte.is_none_or(|limit| number >= limit)
    }
}
