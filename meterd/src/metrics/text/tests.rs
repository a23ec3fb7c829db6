//! Exact decimals, escaping and both formats, as the scraper reads them.

use pricing::Money;
use proptest::prelude::*;

use super::{Exemplar, Format, Writer, bound, decimal};
use crate::metrics::catalog::{BUILD_INFO, COST, Family, KILL_OVERSHOOT};

fn number(value: i128, scale: u32) -> String {
    let mut out = Vec::new();
    decimal(&mut out, value, scale);
    String::from_utf8(out).unwrap()
}

#[test]
fn decimals_are_the_shortest_exact_text() {
    let check = |value: i128, scale: u32, expected: &str| assert_eq!(number(value, scale), expected);
    check(0, 18, "0");
    check(1, 18, "0.000000000000000001");
    check(-1, 18, "-0.000000000000000001");
    check(620_000_000_000_000_000, 18, "0.62");
    check(5_000_000_000_000_000_000_000_000, 18, "5000000");
    check(9_007_199_254_740_993, 9, "9007199.254740993");
    check(1_000_000_000_000_000_000, 0, "1000000000000000000");
    check(999_999_999_999_999_999, 0, "999999999999999999");
    check(800_000, 6, "0.8");
    check(-1_795_341_600_500_000_000, 9, "-1795341600.5");
    check(i128::MAX, 18, "170141183460469231731.687303715884105727");
    check(i128::MIN, 18, "-170141183460469231731.687303715884105728");
    check(i128::MIN, 0, "-170141183460469231731687303715884105728");
}

proptest! {
    /// The writer and `Money` agree on every amount, and reading the text back gives the amount (invariant I1).
    #[test]
    fn decimals_agree_with_money(scaled in -(10i128.pow(38) - 1)..10i128.pow(38)) {
        let money = Money::from_scaled(scaled).unwrap();
        let text = number(scaled, 18);
        prop_assert_eq!(&text, &money.to_string());
        prop_assert_eq!(text.parse::<Money>().unwrap(), money);
    }
}

fn one(format: Format, family: &Family, write: impl FnOnce(super::Sample<'_>)) -> String {
    let mut writer = Writer::new(format);
    writer.family(family);
    write(writer.sample(family, ""));
    String::from_utf8(writer.finish()).unwrap()
}

#[test]
fn a_counter_drops_its_suffix_only_in_openmetrics_metadata() {
    let write = |sample: super::Sample<'_>| {
        sample.label("agent", "a\"b\\c\nd").label("team", "").decimal(1_500_000_000_000_000_000, 18);
    };
    assert_eq!(
        one(Format::Text, &COST, write),
        "# HELP meterd_cost_usd_total Metered cost in US dollars since the ledger began, all categories.\n\
         # TYPE meterd_cost_usd_total counter\n\
         meterd_cost_usd_total{agent=\"a\\\"b\\\\c\\nd\",team=\"\"} 1.5\n"
    );
    assert_eq!(
        one(Format::OpenMetrics, &COST, write),
        "# TYPE meterd_cost_usd counter\n# UNIT meterd_cost_usd usd\n\
         # HELP meterd_cost_usd Metered cost in US dollars since the ledger began, all categories.\n\
         meterd_cost_usd_total{agent=\"a\\\"b\\\\c\\nd\",team=\"\"} 1.5\n# EOF\n"
    );
}

#[test]
fn an_info_is_a_gauge_to_the_older_format() {
    let write = |sample: super::Sample<'_>| sample.label("version", "1").count(1);
    assert!(one(Format::Text, &BUILD_INFO, write).contains("# TYPE meterd_build_info gauge\nmeterd_build_info{"));
    let open = one(Format::OpenMetrics, &BUILD_INFO, write);
    assert!(open.contains("# TYPE meterd_build info\n# HELP meterd_build "), "{open}");
    assert!(open.contains("meterd_build_info{version=\"1\"} 1\n# EOF\n"), "{open}");
}

#[test]
fn help_escapes_quotes_only_in_openmetrics() {
    let family = Family { help: "say \"no\"\\\n", ..COST };
    let write = |sample: super::Sample<'_>| sample.count(0);
    assert!(one(Format::Text, &family, write).contains("say \"no\"\\\\\\n\n"));
    assert!(one(Format::OpenMetrics, &family, write).contains("say \\\"no\\\"\\\\\\n\n"));
}

#[test]
fn bounds_are_spelled_as_openmetrics_does() {
    let le = |bound| {
        let mut writer = Writer::new(Format::Text);
        writer.sample(&KILL_OVERSHOOT, "_bucket").le(bound, 18).count(3);
        String::from_utf8(writer.finish()).unwrap()
    };
    assert_eq!(le(0), "meterd_kill_overshoot_usd_bucket{le=\"0.0\"} 3\n");
    assert_eq!(le(10i128.pow(18) / 4), "meterd_kill_overshoot_usd_bucket{le=\"0.25\"} 3\n");
    assert_eq!(le(10i128.pow(19)), "meterd_kill_overshoot_usd_bucket{le=\"10.0\"} 3\n");
    assert_eq!([bound(0.25), bound(5.0), bound(f64::INFINITY)], ["0.25", "5.0", "+Inf"]);
}

#[test]
fn exemplars_appear_in_openmetrics_and_never_too_long() {
    let long = "x".repeat(117);
    let write = |id: &str, format| {
        one(format, &COST, |sample| {
            let exemplar = Exemplar { execution_id: id, trace_id: None, value: 25, scale: 2, at_nanos: 1_500_000_000 };
            sample.decimal_with(1, 0, Some(&exemplar));
        })
    };
    let sample = |text: String| text.lines().find(|line| line.starts_with("meterd")).unwrap().to_owned();
    assert_eq!(sample(write("e1", Format::Text)), "meterd_cost_usd_total 1");
    assert_eq!(sample(write("e1", Format::OpenMetrics)), "meterd_cost_usd_total 1 # {execution_id=\"e1\"} 0.25 1.5");
    assert_eq!(sample(write(&long, Format::OpenMetrics)), "meterd_cost_usd_total 1");
    assert!(sample(write(&long[1..], Format::OpenMetrics)).contains("execution_id"));
    // 12 + 76 and 8 + 32 are 128: one more and only the trace stays.
    let traced = |id: &str| {
        sample(one(Format::OpenMetrics, &COST, |sample| {
            let exemplar =
                Exemplar { execution_id: id, trace_id: Some(0xab), value: 25, scale: 2, at_nanos: 1_500_000_000 };
            sample.decimal_with(1, 0, Some(&exemplar));
        }))
    };
    let trace = "trace_id=\"000000000000000000000000000000ab\"} 0.25 1.5";
    assert_eq!(traced(&long[..76]), format!("meterd_cost_usd_total 1 # {{execution_id=\"{}\",{trace}", &long[..76]));
    assert_eq!(traced(&long[..77]), format!("meterd_cost_usd_total 1 # {{{trace}"));
}
