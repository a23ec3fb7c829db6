//! Wall time against boot time: what is believed, and what is said when they part. Reads no clock.

/// Wall and boot time may part by so much between two looks, in nanoseconds: more is a jump. Five seconds.
pub const JUMP_NANOS: i64 = 5_000_000_000;
/// A wall clock that jumped and then went well for so long is believed, in nanoseconds. Ten minutes.
pub const STABLE_NANOS: i64 = 600_000_000_000;

/// How the wall clock does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// It jumped and is not believed yet.
    pub frozen: bool,
    /// Times that it jumped.
    pub jumps: u64,
}

/// The difference between wall and boot time that is believed, and the one that is not yet.
#[derive(Clone, Copy, Debug, Default)]
pub struct Guard {
    /// Wall less boot.
    believed: Option<i64>,
    doubt: Option<Doubt>,
    jumps: u64,
}

#[derive(Clone, Copy, Debug)]
struct Doubt {
    /// Wall less boot as it is since the jump.
    difference: i64,
    /// Boot time of the jump.
    since: i64,
}

impl Guard {
    /// A guard that goes on with what was believed before.
    #[must_use]
    pub fn resumed(difference: i64) -> Self {
        Self { believed: Some(difference), ..Self::default() }
    }

    /// Wall less boot time, as it is believed; `None` before the first look.
    #[must_use]
    pub const fn believed(&self) -> Option<i64> {
        self.believed
    }

    /// What time it is when the clocks say this.
    pub fn now(&mut self, wall: i64, boot: i64) -> i64 {
        let difference = wall.saturating_sub(boot);
        #[cfg(feature = "mistakes")]
        if budget::mistakes::made(budget::mistakes::Mistake::ClockFollowed) {
            return wall;
        }
        let believed = *self.believed.get_or_insert(difference);
        if near(difference, believed) {
            // Slewing: a clock that is steered goes a little faster or slower.
            self.believed = Some(difference);
            if self.doubt.take().is_some() {
                tracing::warn!("the wall clock is back where it was before it jumped");
            }
            return wall;
        }
        match self.doubt {
            Some(doubt) if near(difference, doubt.difference) => {
                if boot.saturating_sub(doubt.since) >= STABLE_NANOS {
                    tracing::warn!(
                        by_seconds = difference.saturating_sub(believed) / 1_000_000_000,
                        "the wall clock has been steady since it jumped: it is believed again"
                    );
                    (self.believed, self.doubt) = (Some(difference), None);
                    return wall;
                }
                self.doubt = Some(Doubt { difference, ..doubt });
            }
            _ => {
                self.jumps = self.jumps.saturating_add(1);
                self.doubt = Some(Doubt { difference, since: boot });
                tracing::error!(
                    by_seconds = difference.saturating_sub(believed) / 1_000_000_000,
                    "the wall clock jumped: budgets go on by measured time until it is steady; check the machine's time service"
                );
            }
        }
        boot.saturating_add(believed)
    }

    /// How the wall clock does.
    #[must_use]
    pub const fn health(&self) -> Health {
        Health { frozen: self.doubt.is_some(), jumps: self.jumps }
    }
}

fn near(one: i64, other: i64) -> bool {
    one.abs_diff(other) <= JUMP_NANOS.unsigned_abs()
}
