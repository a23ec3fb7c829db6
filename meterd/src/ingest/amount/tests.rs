//! Amounts by their text: exact where 10⁻¹⁸ holds them, half-even where it does not.

use super::{from_double, from_text};

fn check(text: &str, expected: Option<&str>) {
    assert_eq!(from_text(text).map(|amount| amount.to_string()).as_deref(), expected, "{text}");
}

#[test]
fn text_is_exact_or_rounded_half_even() {
    check("0.42", Some("0.42"));
    check("7.68e-05", Some("0.0000768"));
    check("1", Some("1"));
    check("-0.5", Some("-0.5"));
    check("0.0000000000000000005", Some("0"));
    check("0.0000000000000000015", Some("0.000000000000000002"));
    check("0.0000000000000000025", Some("0.000000000000000002"));
    check("0.00000000000000000250000001", Some("0.000000000000000003"));
    check("0.9999999999999999999", Some("1"));
    check("1.2300000000000001e-05", Some("0.0000123"));
    check("1e-40", Some("0"));
    check("1e400", None);
    check("1e9223372036854775807", None);
    check("", None);
    check("abc", None);
    check("1.2.3", None);
    check("-", None);
    check("0x10", None);
    check(&"9".repeat(200), None);
}

#[test]
fn doubles_are_read_by_their_shortest_decimal() {
    let check = |value: f64, expected: Option<&str>| {
        assert_eq!(from_double(value).map(|amount| amount.to_string()).as_deref(), expected, "{value}");
    };
    check(0.000423, Some("0.000423"));
    check(0.008025000000000001, Some("0.008025000000000001"));
    check(0.00035999999999999997, Some("0.00036"));
    check(0.1, Some("0.1"));
    check(0.0, Some("0"));
    check(f64::NAN, None);
    check(f64::INFINITY, None);
    check(1e300, None);
    check(5e-324, None);
}
