//! The bounded wait-until: the only place in the tests where a thread pauses. Never a fixed delay before an assertion.

use std::thread;
use std::time::{Duration, Instant};

/// Pause between two looks.
const STEP: Duration = Duration::from_millis(5);

/// How long a local condition may take on a busy machine before the test fails.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// Looks until `probe` finds something; fails after `limit`, naming what was waited for.
#[track_caller]
pub(crate) fn until<T>(what: &str, limit: Duration, mut probe: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + limit;
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(Instant::now() < end, "waited {limit:?} in vain for {what}");
        thread::sleep(STEP);
    }
}
