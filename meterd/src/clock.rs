//! The only place that asks what time it is. Everything else is told.
//!
//! The wall clock is believed while it goes as the boot clock does, which nobody sets. When it jumps, time goes on as measured:
//! no window rolls over and nothing expires because somebody set a clock. A wall clock that then stays where it is
//! is believed again. What is believed outlives a restart, as long as the machine does not start anew.

mod belief;
mod guard;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use pricing::Timestamp;
use rustix::time::{ClockId, clock_gettime};

pub use self::belief::Belief;
pub use self::guard::{Guard, Health, JUMP_NANOS, STABLE_NANOS};

/// Tells the time: the wall's as far as it can be believed, or in tests a hand that only the test moves.
#[derive(Clone, Debug)]
pub struct Clock(Arc<Source>);

#[derive(Debug)]
enum Source {
    /// The machine's clocks.
    Machine(Mutex<Guard>),
    /// A hand.
    Manual(AtomicI64),
    /// Two hands, guarded as the machine's are.
    Hands { wall: AtomicI64, boot: AtomicI64, guard: Mutex<Guard> },
}

impl Clock {
    /// The wall clock, guarded.
    #[must_use]
    pub fn wall() -> Self {
        Self(Arc::new(Source::Machine(Mutex::default())))
    }

    /// A clock that stands still until it is set.
    #[must_use]
    pub fn manual(at: Timestamp) -> Self {
        Self(Arc::new(Source::Manual(AtomicI64::new(at.nanos()))))
    }

    /// A guarded clock whose wall and boot hands stand still until they are set.
    #[must_use]
    pub fn hands(wall: Timestamp, boot_nanos: i64) -> Self {
        let (wall, boot) = (AtomicI64::new(wall.nanos()), AtomicI64::new(boot_nanos));
        Self(Arc::new(Source::Hands { wall, boot, guard: Mutex::default() }))
    }

    /// Moves a manual clock, or the wall hand; the machine's wall cannot be moved.
    pub fn set(&self, at: Timestamp) {
        if let Source::Manual(hand) | Source::Hands { wall: hand, .. } = &*self.0 {
            hand.store(at.nanos(), Ordering::SeqCst);
        }
    }

    /// Moves the boot hand.
    pub fn set_boot(&self, nanos: i64) {
        if let Source::Hands { boot, .. } = &*self.0 {
            boot.store(nanos, Ordering::SeqCst);
        }
    }

    /// Now.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        let nanos = match &*self.0 {
            Source::Machine(guard) => {
                let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                let boot = clock_gettime(ClockId::Boottime);
                let boot = boot.tv_sec.saturating_mul(1_000_000_000).saturating_add(boot.tv_nsec);
                guarded(guard, i64::try_from(since.as_nanos()).unwrap_or(i64::MAX), boot)
            }
            Source::Manual(hand) => hand.load(Ordering::SeqCst),
            Source::Hands { wall, boot, guard } => {
                guarded(guard, wall.load(Ordering::SeqCst), boot.load(Ordering::SeqCst))
            }
        };
        Timestamp::from_nanos(nanos)
    }

    /// Goes on with what was believed before a restart, if the machine has not started anew since.
    pub fn resume(&self, belief: &Belief) {
        if let Source::Machine(guard) = &*self.0
            && belief::boot().as_deref() == Some(&*belief.boot)
        {
            *guard.lock().unwrap_or_else(PoisonError::into_inner) = Guard::resumed(belief.difference);
        }
    }

    /// What is believed, to be kept for a restart; `None` for hands.
    #[must_use]
    pub fn belief(&self) -> Option<Belief> {
        let Source::Machine(guard) = &*self.0 else { return None };
        let difference = guard.lock().unwrap_or_else(PoisonError::into_inner).believed()?;
        Some(Belief { boot: belief::boot()?, difference })
    }

    /// Is the wall clock believed, and how often was it not?
    #[must_use]
    pub fn health(&self) -> Health {
        match &*self.0 {
            Source::Machine(guard) | Source::Hands { guard, .. } => {
                guard.lock().unwrap_or_else(PoisonError::into_inner).health()
            }
            Source::Manual(_) => Health::default(),
        }
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::wall()
    }
}

fn guarded(guard: &Mutex<Guard>, wall: i64, boot: i64) -> i64 {
    guard.lock().unwrap_or_else(PoisonError::into_inner).now(wall, boot)
}
