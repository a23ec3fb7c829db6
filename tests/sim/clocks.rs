//! The two clocks of the world, and what the meter must believe of them: written anew, not taken from the meter.

use crate::words::{DAY, MINUTE, SECOND};

/// Wall and boot time, the difference that is trusted, and one that is not yet: since when.
pub struct Clocks {
    pub wall: i64,
    pub boot: i64,
    trusted: i64,
    doubted: Option<(i64, i64)>,
}

impl Clocks {
    pub fn new(wall: i64) -> Self {
        Self { wall, boot: 1_000, trusted: wall - 1_000, doubted: None }
    }

    /// Time goes on.
    pub fn pass(&mut self, nanos: i64) {
        self.wall += nanos;
        self.boot += nanos;
    }

    /// Somebody sets the wall clock.
    pub fn jump(&mut self, by: i64) {
        self.wall += by;
    }

    /// Somebody sets it right again.
    pub fn mend(&mut self) {
        self.wall = self.boot + self.trusted;
    }

    /// A new process believes what it finds.
    pub fn restart(&mut self) {
        (self.trusted, self.doubted) = (self.wall - self.boot, None);
    }

    pub fn is_doubted(&self) -> bool {
        self.doubted.is_some()
    }

    /// More than half a year?
    pub fn is_far_off(&self) -> bool {
        (self.wall - self.boot - self.trusted).abs() > 182 * DAY
    }

    /// What time it is for the meter that looks now.
    pub fn read(&mut self) -> i64 {
        let difference = self.wall - self.boot;
        let like = |other: i64| (difference - other).abs() <= 5 * SECOND;
        let steady = self.doubted.is_some_and(|(of, since)| like(of) && self.boot - since >= 10 * MINUTE);
        if like(self.trusted) || steady {
            (self.trusted, self.doubted) = (difference, None);
            return self.wall;
        }
        let since = self.doubted.filter(|(of, _)| like(*of)).map_or(self.boot, |(_, since)| since);
        self.doubted = Some((difference, since));
        self.boot + self.trusted
    }
}
