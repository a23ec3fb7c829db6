//! Shares of limits, rounded the safe way.

#![allow(clippy::arithmetic_side_effects)]

use std::sync::Arc;

use super::{Action, Budget, Fraction, Source};
use crate::scope::{Ref, Scope};

fn check(ppm: u32, amount: i128, floor: i128, ceiling: i128) {
    let share = Fraction(ppm);
    assert_eq!((share.of(amount), share.of_rounded_up(amount)), (floor, ceiling), "{ppm} ppm of {amount}");
}

#[test]
fn shares_are_exact_and_rounded_only_at_the_end() {
    check(500_000, 10, 5, 5);
    check(333_333, 10, 3, 4);
    check(300_000, 101, 30, 31);
    check(800_000, 5_000_000_000_000_000_000, 4_000_000_000_000_000_000, 4_000_000_000_000_000_000);
    check(1, 1, 0, 1);
    check(1, 1_000_000, 1, 1);
    check(0, 7, 0, 0);
    check(1_500_000, 10, 15, 15);
    check(1_000_000, 0, 0, 0);
}

#[test]
fn shares_of_the_largest_amounts_do_not_overflow() {
    let most = 99_999_999_999_999_999_999_999_999_999_999_999_999;
    check(1_000_000, most, most, most);
    check(500_000, most, most / 2, most / 2 + 1);
    let floor = 170_141_013_319_285_771_262_455_572_028_580_389_842;
    check(999_999, i128::MAX, floor, floor + 1);
}

fn unlisted(shares: &[u32]) -> Fraction {
    let by_agent = shares.iter().map(|share| (Arc::from("a"), Fraction(*share))).collect();
    Budget {
        source: Source::Budget,
        id: Ref::new("ns", "b"),
        generation: 1,
        scope: Scope::default(),
        limits: Vec::new(),
        soft_levels: Vec::new(),
        on_hard_limit: Action::Deny,
        time_zone: "UTC".into(),
        week_start: 1,
        month_start_day: 1,
        by_agent,
        policy: crate::policy::Policy::default(),
    }
    .unlisted_share()
}

#[test]
fn the_unlisted_agents_share_what_is_left() {
    assert_eq!(unlisted(&[500_000, 300_000]), Fraction(200_000));
    assert_eq!(unlisted(&[500_000, 500_000]), Fraction(0));
    assert_eq!(unlisted(&[900_000, 900_000]), Fraction(0));
    assert_eq!(unlisted(&[]), Fraction::ONE);
}
