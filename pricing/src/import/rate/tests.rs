//! Rates: exact texts, cleaned doubles, refusals.

use super::{NotARate, rate};

fn check(input: &str, expected: Result<&str, NotARate>) {
    assert_eq!(rate(input).map(|rate| rate.to_string()), expected.map(str::to_owned), "{input:?}");
}

#[test]
fn authored_numbers_keep_their_value() {
    check("0.25", Ok("0.25"));
    check("0.250", Ok("0.25"));
    check("15", Ok("15"));
    check("100", Ok("100"));
    check("0", Ok("0"));
    check("0.0", Ok("0"));
    check("-0.0", Ok("0"));
    check("0.003625", Ok("0.003625"));
    check("123456789.012345", Ok("123456789.012345"));
    check("0.000000000001", Ok("0.000000000001"));
}

#[test]
fn exponents_are_exact() {
    check("5e-07", Ok("0.0000005"));
    check("1.25E-6", Ok("0.00000125"));
    check("2.5e1", Ok("25"));
    check("1e3", Ok("1000"));
    check("1e-30", Err(NotARate::OutOfRange));
    check("1e40", Err(NotARate::OutOfRange));
}

#[test]
fn doubles_printed_in_full_are_cleaned() {
    check("0.18000000000000002", Ok("0.18"));
    check("0.13999999999999999", Ok("0.14"));
    check("0.27999999999999997", Ok("0.28"));
    check("1.0399999999999998", Ok("1.04"));
    check("5.0000000000000004e-08", Ok("0.00000005"));
    // One twelfth and one twenty-fourth, each in the spellings that occur.
    check("0.0833333333333333", Ok("0.0833333333333333"));
    check("0.08333333333333334", Ok("0.0833333333333333"));
    check("0.0416666666666667", Ok("0.0416666666666667"));
    check("0.041666666666666664", Ok("0.0416666666666667"));
    check("0.04166666666666665", Ok("0.0416666666666667"));
}

#[test]
fn what_is_no_rate_is_refused() {
    check("-1", Err(NotARate::Negative));
    check("", Err(NotARate::NotADecimal));
    check("free", Err(NotARate::NotADecimal));
    check("\"1\"", Err(NotARate::NotADecimal));
    check("1e", Err(NotARate::NotADecimal));
    check("0.12345678901234567890123456789012", Err(NotARate::NotADecimal));
}
