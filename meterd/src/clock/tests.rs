//! What a guarded clock says when its two hands part. Moves the hands itself; asks no machine.

use pricing::Timestamp;

use super::guard::{Guard, JUMP_NANOS, STABLE_NANOS};
use super::{Belief, Clock, Health};

const SECOND: i64 = 1_000_000_000;
const YEAR: i64 = 365 * 86_400 * SECOND;
const START: i64 = 1_790_000_000 * SECOND;

/// Readings of (wall, boot) after one another, in nanoseconds after the start, and what time it is then.
fn check(readings: &[(i64, i64, i64)], frozen: bool, jumps: u64) {
    let clock = Clock::hands(Timestamp::from_nanos(START), 50);
    assert_eq!(clock.now().nanos(), START);
    for (wall, boot, now) in readings {
        clock.set(Timestamp::from_nanos(START + wall));
        clock.set_boot(50 + boot);
        assert_eq!(clock.now().nanos() - START, *now, "at wall {wall}, boot {boot}");
    }
    assert_eq!(clock.health(), Health { frozen, jumps });
}

#[test]
fn a_clock_that_goes_well_is_believed() {
    check(&[(SECOND, SECOND, SECOND), (9 * SECOND, 7 * SECOND, 9 * SECOND)], false, 0);
    // Slewed by four seconds each hour for a day, it is followed.
    let slewed: Vec<_> =
        (1..=24).map(|hour| (hour * 3_604 * SECOND, hour * 3_600 * SECOND, hour * 3_604 * SECOND)).collect();
    check(&slewed, false, 0);
    // Asleep for a night: the boot clock counts that.
    check(&[(30_000 * SECOND, 30_000 * SECOND, 30_000 * SECOND)], false, 0);
}

#[test]
fn a_jump_of_a_year_is_not_followed_and_back_is_forgotten() {
    for jump in [YEAR, -YEAR, JUMP_NANOS + 1, -JUMP_NANOS - 1] {
        check(
            &[
                (jump + SECOND, SECOND, SECOND),
                (jump + 300 * SECOND, 300 * SECOND, 300 * SECOND),
                (301 * SECOND, 301 * SECOND, 301 * SECOND),
            ],
            false,
            1,
        );
    }
}

#[test]
fn a_clock_that_is_steady_after_a_jump_is_believed_again() {
    let (jump, after) = (-YEAR, SECOND + STABLE_NANOS);
    check(&[(jump + SECOND, SECOND, SECOND), (jump + after - 1, after - 1, after - 1)], true, 1);
    check(&[(jump + SECOND, SECOND, SECOND), (jump + after, after, jump + after)], false, 1);
    // One that goes on jumping is not.
    let jumps: Vec<_> = (1..100).map(|n| (n * YEAR + n * 60 * SECOND, n * 60 * SECOND, n * 60 * SECOND)).collect();
    check(&jumps, true, 99);
}

/// A restart in the middle of a jump goes on with the time from before it.
#[test]
fn what_was_believed_outlives_a_restart() {
    let belief = Belief { boot: "b-1".to_owned(), difference: START - 50 };
    let kept: Belief = belief.to_string().parse().unwrap();
    assert_eq!(kept, belief);
    let mut guard = Guard::resumed(kept.difference);
    assert_eq!(guard.now(START + YEAR + SECOND, 50 + SECOND), START + SECOND);
    assert!(guard.health().frozen);
    assert_eq!(guard.now(START + 2 * SECOND, 50 + 2 * SECOND), START + 2 * SECOND, "and is back with it");
    assert!(!guard.health().frozen);
    for garbage in ["", "b-1", "b-1 soon", "b-1 1 2"] {
        assert!(garbage.parse::<Belief>().is_err(), "{garbage:?}");
    }
}
