//! Money: what is read, what is refused, and both serialised forms.

use super::*;

fn check(text: &str, expected: &str) {
    let found = text.parse::<Money>().map_or_else(|error| error.to_string(), |money| money.to_string());
    assert_eq!(found, expected, "reading {text:?}");
}

#[test]
fn amounts_read_and_print_exactly() {
    for (text, expected) in [
        ("0", "0"),
        ("-0", "0"),
        ("0.620", "0.62"),
        ("-3", "-3"),
        ("1.5e-7", "0.00000015"),
        ("12E2", "1200"),
        ("1e-18", "0.000000000000000001"),
        ("10e-19", "0.000000000000000001"),
        ("007.10", "7.1"),
        ("99999999999999999999.999999999999999999", "99999999999999999999.999999999999999999"),
        ("-99999999999999999999.999999999999999999", "-99999999999999999999.999999999999999999"),
        ("0e2000000000", "0"),
    ] {
        check(text, expected);
    }
}

#[test]
fn what_is_no_amount_is_refused() {
    for text in [
        "",
        "-",
        "1.",
        ".5",
        "1,5",
        "+1",
        "1e",
        "1e1.5",
        "--1",
        "0x1",
        "1_0",
        " 1",
        "1 ",
        "1..2",
        "١",
        "NaN",
        "1e99999999999",
    ] {
        check(text, &format!("not a decimal amount: {text:?}"));
    }
    check("1e-19", "\"1e-19\" has digits below 10^-18 USD");
    check("0.0000000000000000001", "\"0.0000000000000000001\" has digits below 10^-18 USD");
    check("100000000000000000000", "\"100000000000000000000\" is out of range: amounts go up to 10^20 USD");
    check("1e2000000000", "\"1e2000000000\" is out of range: amounts go up to 10^20 USD");
}

#[test]
fn arithmetic_is_checked() {
    let most = Money::from_scaled(SCALED_MAX).unwrap();
    let least = Money::from_scaled(1).unwrap();
    assert_eq!(most.checked_add(least), None);
    assert_eq!(Money::ZERO.checked_sub(most).and_then(|money| money.checked_sub(least)), None);
    assert_eq!(Money::checked_sum([most, Money::ZERO]), Some(most));
    assert_eq!(Money::checked_sum([most, least]), None);
    assert_eq!(Money::from_scaled(SCALED_MAX + 1), None);
    assert_eq!(Money::from_scaled(i128::MIN), None);
    assert!(Money::ZERO.checked_sub(least).is_some_and(Money::is_negative));
}

#[test]
fn both_serialised_forms_return_the_same() {
    let money: Money = "-0.42".parse().unwrap();
    assert_eq!(serde_json::to_string(&money).unwrap(), "\"-0.42\"");
    assert_eq!(serde_json::from_str::<Money>("\"-0.42\"").unwrap(), money);
    assert!(serde_json::from_str::<Money>("0.42").is_err(), "a JSON number may have passed through a float");
    let bytes = postcard::to_stdvec(&money).unwrap();
    assert_eq!(postcard::from_bytes::<Money>(&bytes).unwrap(), money);
    let beyond = postcard::to_stdvec(&i128::MAX).unwrap();
    assert!(postcard::from_bytes::<Money>(&beyond).is_err());
}
