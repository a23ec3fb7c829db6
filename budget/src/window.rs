//! Windows: civil hours, days, weeks and months in a budget's own zone, derived from time and never reset by a job.

use std::sync::Arc;

use pricing::Timestamp;
use serde::{Deserialize, Serialize};

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
    /// The 24 hours before now, in 24 hourly buckets.
    Rolling24h,
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
