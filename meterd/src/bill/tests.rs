//! Reports in the providers' shapes, and comparisons worked out by hand.

use pricing::Timestamp;

use super::{Billed, Cause, Metered, Provider, compare, read};
use crate::event::charge::tests::sample::usd;

fn day(text: &str) -> Timestamp {
    format!("{text}T00:00:00Z").parse().unwrap()
}

fn billed(date: &str, model: Option<&str>, cost: &str) -> Billed {
    Billed { day: day(date), model: model.map(Into::into), cost_usd: usd(cost) }
}

fn metered(date: &str, model: &str, cost: &str) -> Metered {
    Metered { day: day(date), model: model.into(), cost: usd(cost), unpriced_calls: 0, cached_tokens: 0, tokens: 100 }
}

#[test]
fn reports_are_read_exactly() {
    let openai = r#"{"object":"page","data":[{"object":"bucket","start_time":1795305600,"end_time":1795392000,"results":[
        {"object":"organization.costs.result","amount":{"value":0.1234567890123456789,"currency":"usd"},"line_item":"gpt-4o-mini-2024-07-18, input","project_id":null},
        {"object":"organization.costs.result","amount":{"value":0.5,"currency":"usd"},"line_item":"gpt-4o-mini-2024-07-18, output"}]}],"has_more":false}"#;
    let found = read(Provider::OpenAi, openai).unwrap();
    assert_eq!(found, [billed("2026-11-22", Some("gpt-4o-mini-2024-07-18"), "0.623456789012345678")]);
    let anthropic = r#"{"data":[{"starting_at":"2026-11-22T00:00:00Z","ending_at":"2026-11-23T00:00:00Z","results":[
        {"amount":"123.45","currency":"USD","model":"claude-haiku-4-5","cost_type":"tokens","token_type":"output_tokens"},
        {"amount":"0.55","currency":"USD","model":null,"description":"Web Search Usage"}]}],"has_more":false}"#;
    let found = read(Provider::Anthropic, anthropic).unwrap();
    let expected = [
        billed("2026-11-22", Some("Web Search Usage"), "0.0055"),
        billed("2026-11-22", Some("claude-haiku-4-5"), "1.2345"),
    ];
    assert_eq!(found, expected);
    let aws = "line_item_usage_start_date,line_item_usage_type,line_item_unblended_cost,line_item_currency_code\n\
               2026-11-22T05:00:00Z,USE1-Claude-input,1.25,USD\n2026-11-22T06:00:00Z,USE1-Claude-input,0.75,USD\n";
    assert_eq!(read(Provider::Aws, aws).unwrap(), [billed("2026-11-22", Some("USE1-Claude-input"), "2")]);
    let generic = "Date,Model,cost_usd\n2026-11-22,gpt-4o,3\n2026-11-23,gpt-4o,4.5\n";
    let expected = [billed("2026-11-22", Some("gpt-4o"), "3"), billed("2026-11-23", Some("gpt-4o"), "4.5")];
    assert_eq!(read(Provider::Generic, generic).unwrap(), expected);
}

#[test]
fn what_is_no_bill_is_told_with_its_place() {
    let check = |provider: Provider, text: &str, at: &str| assert_eq!(read(provider, text).unwrap_err().at, at);
    check(Provider::OpenAi, "{\"data\": [\n{}]}", "line 2");
    check(Provider::Generic, "when,what\n", "line 1");
    check(Provider::Generic, "date,cost_usd\nyesterday,1\n", "line 2");
    check(Provider::Generic, "date,cost_usd\n2026-11-22,much\n", "line 2");
    check(Provider::Generic, "date,cost_usd,currency\n2026-11-22,1,EUR\n", "line 2");
}

/// Worked out: 10 + 4 + 1 = 15 billed; 9 + 4 + 2 = 15 metered of the bill's day, 5 of the day after is not compared.
#[test]
fn each_difference_has_a_likely_cause() {
    let bill = [
        billed("2026-11-22", Some("gpt-4o-2024-08-06"), "10"),
        billed("2026-11-22", Some("o3"), "4"),
        billed("2026-11-22", Some("whisper-1"), "1"),
    ];
    let cached = Metered { cached_tokens: 50, ..metered("2026-11-22", "gpt-4o", "9") };
    let meter = [
        cached,
        metered("2026-11-22", "o3", "4"),
        metered("2026-11-22", "other", "2"),
        metered("2026-11-23", "o3", "5"),
    ];
    let report = compare(&bill, &meter);
    let rows: Vec<(&str, String, Cause, Option<&str>)> = report
        .rows
        .iter()
        .map(|row| (row.model.as_deref().unwrap(), row.difference_usd.to_string(), row.cause, row.captured.as_deref()))
        .collect();
    assert_eq!(
        rows,
        [
            ("gpt-4o-2024-08-06", "1".to_owned(), Cause::CacheConvention, Some("0.900000")),
            ("o3", "0".to_owned(), Cause::Agrees, Some("1.000000")),
            ("other", "-2".to_owned(), Cause::NotBilled, None),
            ("whisper-1", "1".to_owned(), Cause::UnmeteredTraffic, Some("0.000000")),
        ]
    );
    assert_eq!((report.billed_usd, report.metered_usd, report.difference_usd), (usd("15"), usd("15"), usd("0")));
    // A report without models is compared by day.
    let report = compare(&[billed("2026-11-22", None, "20")], &meter);
    assert_eq!((report.rows.len(), report.difference_usd, report.captured.as_deref()), (1, usd("5"), Some("0.750000")));
}
