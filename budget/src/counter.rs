//! Counters of one limit: what was spent in each window, and which thresholds have been reported.
//!
//! A civil window has one bucket, a rolling day 24. `spent` of a bucket is the sum of the charges booked to it and
//! nothing else. Which buckets a charge belongs to is settled by its own time, which bucket is judged by log time:
//!
//! - the charge's time lies in the window that runs at log time: it counts there and may warn, reach and kill;
//! - it lies in a closed window: it counts there, as long as that bucket is kept, and triggers nothing;
//! - it lies in a later window (a clock ahead of ours, at most `AHEAD_MAX_NANOS`): it counts there and is judged
//!   there, at once; the window that runs goes on beside it.

use std::sync::Arc;

use pricing::Timestamp;
use serde::{Deserialize, Serialize};

use crate::budget::{Fraction, Unit};
#[cfg(feature = "mistakes")]
use crate::mistakes::{Mistake, made};
use crate::window::{Calendar, Span, Window};

/// Closed civil windows that a counter remembers; older late charges are in the ledger only.
pub const CLOSED_KEPT_MAX: usize = 2;
/// A charge dated further ahead of the log than this counts as dated so far ahead.
pub const AHEAD_MAX_NANOS: i64 = 3_600_000_000_000;
/// `CounterAt::agent` of the share that the unlisted agents have together.
pub const REST: &str = "*";

/// Which part of a limit a counter holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Share {
    /// All of it.
    Whole,
    /// What one agent may use.
    Agent(Arc<str>),
    /// What the agents that are not listed may use together.
    Rest,
}

/// The amount in force and its soft levels as amounts, ascending.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Cap {
    pub(crate) amount: i128,
    pub(crate) levels: Vec<(Fraction, i128)>,
}

/// Sums of a bucket and what was reported about them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tally {
    pub(crate) spent: i128,
    pub(crate) held: i128,
    /// The highest soft level reported; it and those below it stay silent.
    pub(crate) warned: Fraction,
    /// The hard limit was reported.
    pub(crate) reached: bool,
}

/// A tally and its span.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Bucket {
    pub(crate) span: Span,
    pub(crate) tally: Tally,
}

/// One (unit, window, share) of a budget. Its position in the budget never changes; without a cap it is out of force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) unit: Unit,
    pub(crate) window: Window,
    pub(crate) share: Share,
    pub(crate) cap: Option<Cap>,
    /// How often it came into force: what a run counted before is not counted on.
    pub(crate) term: u32,
    /// By start; empty for a run's limit, whose tally is kept with the run.
    buckets: Vec<Bucket>,
}

impl Share {
    /// As `CounterAt::agent` spells it.
    pub(crate) fn label(&self) -> Option<Arc<str>> {
        match self {
            Self::Whole => None,
            Self::Agent(agent) => Some(Arc::clone(agent)),
            Self::Rest => Some(Arc::from(REST)),
        }
    }

    /// Does it count calls of `agent`, where `listed` agents have shares of their own?
    pub(crate) fn binds(&self, agent: Option<&Arc<str>>, listed: &[(Arc<str>, Fraction)]) -> bool {
        match self {
            Self::Whole => true,
            Self::Agent(own) => agent == Some(own),
            Self::Rest => agent.is_none_or(|agent| listed.iter().all(|(name, _)| name != agent)),
        }
    }
}

impl Cap {
    pub(crate) fn new(amount: i128, soft_levels: &[Fraction]) -> Self {
        let mut levels: Vec<_> = soft_levels.iter().map(|level| (*level, level.of_rounded_up(amount))).collect();
        levels.sort_unstable();
        Self { amount, levels }
    }
}

impl Tally {
    /// Adds a charge.
    pub(crate) fn add(&mut self, delta: i128) {
        self.spent = self.spent.saturating_add(delta);
    }

    /// The tally under a changed cap: what lies above `spent` now will be reported again.
    pub(crate) fn rearmed(mut self, cap: &Cap) -> Self {
        #[cfg(feature = "mistakes")]
        if made(Mistake::RaisedLimitSilent) {
            return self;
        }
        let still = cap.levels.iter().rev().find(|(level, from)| *level <= self.warned && *from <= self.spent);
        self.warned = still.map_or(Fraction::default(), |(level, _)| *level);
        self.reached &= self.spent >= cap.amount;
        self
    }
}

impl Row {
    pub(crate) fn new(unit: Unit, window: Window, share: Share) -> Self {
        Self { unit, window, share, cap: None, term: 0, buckets: Vec::new() }
    }

    pub(crate) fn is(&self, unit: Unit, window: Window, share: &Share) -> bool {
        self.unit == unit && self.window == window && self.share == *share
    }

    /// The time that picks the bucket of a charge dated `time` that is logged at `now`.
    pub(crate) fn effective(time: Timestamp, now: Timestamp) -> Timestamp {
        time.min(now.saturating_add(AHEAD_MAX_NANOS))
    }

    /// The window that holds `at`; from the newest bucket when it is still that one, else from the calendar.
    pub(crate) fn window_at(&self, calendar: &Calendar, at: Timestamp) -> Span {
        if self.window != Window::Rolling24h
            && let Some(bucket) = self.buckets.iter().rev().find(|bucket| bucket.span.contains(at))
        {
            return bucket.span;
        }
        calendar.span(self.window, at)
    }

    /// The sums of a window.
    pub(crate) fn tally(&self, window: Span) -> Tally {
        let mut all = Tally::default();
        for Bucket { tally, .. } in self.buckets.iter().filter(|bucket| window.contains(bucket.span.start)) {
            all.spent = all.spent.saturating_add(tally.spent);
            all.held = all.held.saturating_add(tally.held);
            all.warned = all.warned.max(tally.warned);
            all.reached |= tally.reached;
        }
        all
    }

    /// When `need` will have left `window` by time alone: at its end, or hour by hour out of a rolling day.
    pub(crate) fn resets_at(&self, window: Span, need: i128) -> Option<Timestamp> {
        const DAY_NANOS: i64 = 86_400_000_000_000;
        if self.window != Window::Rolling24h {
            return window.end;
        }
        let (mut left, mut last) = (0_i128, None);
        for Bucket { span, tally } in self.buckets.iter().filter(|bucket| window.contains(bucket.span.start)) {
            let leaves = tally.spent.saturating_add(tally.held);
            if leaves > 0 {
                left = left.saturating_add(leaves);
                last = Some(span.start.saturating_add(DAY_NANOS));
            }
            if left >= need.max(1) {
                break;
            }
        }
        last
    }

    /// Books a charge dated `time`, logged at `now`.
    pub(crate) fn book(&mut self, calendar: &Calendar, now: Timestamp, time: Timestamp, delta: i128) {
        let at = Self::effective(time, now);
        if delta != 0 {
            self.with_bucket(calendar, at, |tally| tally.add(delta));
            self.forget(calendar, now);
        }
    }

    /// Changes what is held in the bucket of `at`. What was forgotten with its bucket is not given back.
    pub(crate) fn hold(&mut self, calendar: &Calendar, at: Timestamp, delta: i128) {
        if delta >= 0 || self.buckets.iter().any(|bucket| bucket.span.contains(at)) {
            self.with_bucket(calendar, at, |tally| tally.held = tally.held.saturating_add(delta).max(0));
        }
    }

    /// Notes in the newest bucket of `window` what was reported about it.
    pub(crate) fn mark(&mut self, calendar: &Calendar, window: Span, note: impl FnOnce(&mut Tally)) {
        let newest = window.end.map_or(window.start, |end| end.saturating_add(-1));
        self.with_bucket(calendar, newest, note);
    }

    /// Takes a new cap, or goes out of force and forgets.
    pub(crate) fn put_cap(&mut self, calendar: &Calendar, now: Timestamp, cap: Option<Cap>) {
        #[cfg(feature = "mistakes")]
        if made(Mistake::EditForgetsSums) {
            self.buckets.clear();
        }
        if let Some(cap) = &cap {
            let all = self.tally(self.window_at(calendar, now)).rearmed(cap);
            let rolling = self.window == Window::Rolling24h;
            for Bucket { tally, .. } in &mut self.buckets {
                // The hours of a rolling day are judged together, civil windows each by itself.
                let now = if rolling { all } else { tally.rearmed(cap) };
                tally.warned = tally.warned.min(now.warned);
                tally.reached &= now.reached;
            }
        } else {
            self.buckets.clear();
        }
        if self.cap.is_none() && cap.is_some() {
            self.term = self.term.saturating_add(1);
        }
        self.cap = cap;
    }

    /// Cuts time in a new way: what the running window holds stays in the running window, so nothing is let through.
    pub(crate) fn recut(&mut self, old: &Calendar, new: &Calendar, now: Timestamp) {
        if matches!(self.window, Window::Run | Window::Rolling24h) || self.buckets.is_empty() {
            return;
        }
        let tally = self.tally(self.window_at(old, now));
        self.buckets = vec![Bucket { span: new.span(self.window, now), tally }];
    }

    fn with_bucket(&mut self, calendar: &Calendar, at: Timestamp, change: impl FnOnce(&mut Tally)) {
        let found = self.buckets.iter().rposition(|bucket| bucket.span.contains(at));
        let position = found.unwrap_or_else(|| {
            let span = calendar.bucket(self.window, at);
            let position = self.buckets.partition_point(|bucket| bucket.span.start < span.start);
            self.buckets.insert(position, Bucket { span, tally: Tally::default() });
            position
        });
        if let Some(bucket) = self.buckets.get_mut(position) {
            change(&mut bucket.tally);
        }
    }

    /// Drops what no decision can need again.
    fn forget(&mut self, calendar: &Calendar, now: Timestamp) {
        if self.buckets.len() <= CLOSED_KEPT_MAX {
            return;
        }
        if self.window == Window::Rolling24h {
            let oldest = calendar.span(Window::Rolling24h, now).start;
            self.buckets.retain(|bucket| bucket.span.start >= oldest);
        } else {
            let closed = self.buckets.iter().filter(|bucket| bucket.span.is_closed(now)).count();
            self.buckets.drain(..closed.saturating_sub(CLOSED_KEPT_MAX).min(self.buckets.len()));
        }
    }
}
