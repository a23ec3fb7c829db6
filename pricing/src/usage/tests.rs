//! Usage: names and codes that must never move, quantities, leaves, both serialised forms.

use super::*;

fn usage(text: &str) -> Usage {
    let mut usage = Usage::new();
    for pair in text.split_whitespace() {
        let (name, quantity) = pair.split_once('=').unwrap();
        usage.set(UsageKey::parse(name).unwrap(), quantity.parse().unwrap()).unwrap();
    }
    usage
}

/// Declared pairs in, leaves (without zeros) or the refusal out.
fn check(declared: &str, expected: &str) {
    let found = match usage(declared).leaves() {
        Ok(leaves) => {
            let leaves = leaves.iter().filter(|(_, quantity)| !quantity.is_zero());
            leaves.map(|(key, quantity)| format!("{key}={quantity}")).collect::<Vec<_>>().join(" ")
        }
        Err(invalid) => invalid.to_string(),
    };
    assert_eq!(found, expected, "leaves of {declared:?}");
}

#[test]
fn leaves_are_what_is_left_of_their_totals() {
    check("input_tokens=10 output_tokens=5", "input_tokens=10 output_tokens=5");
    check(
        "input_tokens=2600 cache_read_tokens=2000 cache_write_tokens=400 cache_write_1h_tokens=400 output_tokens=1200 \
         output_reasoning_tokens=900 web_searches=2",
        "input_tokens=200 output_tokens=300 cache_read_tokens=2000 cache_write_1h_tokens=400 \
         output_reasoning_tokens=900 web_searches=2",
    );
    check("input_tokens=10 cache_write_1h_tokens=4", "input_tokens=6 cache_write_1h_tokens=4");
    check("audio_seconds=10.5 input_audio_seconds=4.25", "audio_seconds=6.25 input_audio_seconds=4.25");
    check("input_audio_seconds=4.25", "input_audio_seconds=4.25");
    check(
        "input_document_pages=63 input_annotated_document_pages=32",
        "input_document_pages=31 input_annotated_document_pages=32",
    );
    check("", "");
}

#[test]
fn a_reported_intersection_is_counted_once() {
    check(
        "input_tokens=97824 cache_read_tokens=16184 input_audio_tokens=820 cache_audio_read_tokens=83 \
         input_image_tokens=27227 cache_image_read_tokens=86",
        "input_tokens=53762 cache_read_tokens=16015 input_audio_tokens=737 input_image_tokens=27141 \
         cache_audio_read_tokens=83 cache_image_read_tokens=86",
    );
    check(
        "input_tokens=10 cache_read_tokens=6 input_audio_tokens=6 cache_audio_read_tokens=6",
        "input_tokens=4 cache_audio_read_tokens=6",
    );
}

/// Parts that do not fit beside each other, and whose intersection nobody told, share as few tokens as they must.
#[test]
fn an_intersection_that_must_be_is_the_least_that_can_be() {
    check(
        "input_tokens=10 cache_read_tokens=6 input_audio_tokens=6",
        "cache_read_tokens=4 input_audio_tokens=4 cache_audio_read_tokens=2",
    );
    check(
        "input_tokens=345 cache_read_tokens=312 input_image_tokens=258",
        "cache_read_tokens=87 input_image_tokens=33 cache_image_read_tokens=225",
    );
    check("input_tokens=10 cache_read_tokens=4 input_audio_tokens=6", "cache_read_tokens=4 input_audio_tokens=6");
}

#[test]
fn parts_larger_than_their_total_are_refused() {
    check(
        "input_tokens=600 cache_read_tokens=400 cache_write_tokens=300",
        "cache_read_tokens + cache_write_tokens = 700 is more than input_tokens (600)",
    );
    check(
        "input_tokens=9 cache_write_tokens=1 cache_write_1h_tokens=2",
        "cache_write_1h_tokens = 2 is more than cache_write_tokens (1)",
    );
    check("output_tokens=1 output_reasoning_tokens=2", "output_reasoning_tokens = 2 is more than output_tokens (1)");
    check(
        "input_tokens=10 cache_read_tokens=6 input_audio_tokens=6 cache_audio_read_tokens=1",
        "cache_read_tokens + input_audio_tokens + cache_audio_read_tokens = 11 is more than input_tokens (10)",
    );
    check(
        "input_tokens=10 cache_read_tokens=6 input_audio_tokens=11",
        "cache_read_tokens + input_audio_tokens = 17 is more than input_tokens (10)",
    );
    check("cache_read_tokens=6", "cache_read_tokens is 6 but input_tokens, which contains it, is not given");
    check("cache_read_tokens=0", "");
}

#[test]
fn token_totals_are_disjoint_and_add_up() {
    let tokens = usage(
        "input_tokens=100 cache_read_tokens=40 input_audio_tokens=20 cache_audio_read_tokens=5 cache_write_tokens=10 \
         cache_write_1h_tokens=4 output_tokens=30 output_reasoning_tokens=12 output_audio_tokens=3 web_searches=9",
    );
    let totals = tokens.tokens().unwrap();
    assert_eq!(totals, TokenTotals { input: 50, cache_read: 40, cache_write: 10, output: 18, reasoning: 12 });
    assert_eq!(totals.total(), 130);
}

#[test]
fn quantities_read_exactly_or_say_why_not() {
    for (text, expected) in [
        ("0", "0"),
        ("007", "7"),
        ("1.50", "1.5"),
        ("9007199254740993", "9007199254740993"),
        ("10000000000000000", "10000000000000000"),
        ("0.000000000001", "0.000000000001"),
        ("9999999999999999.999999999999", "9999999999999999.999999999999"),
        ("10000000000000000.5", "\"10000000000000000.5\" is out of range: quantities go up to 10^16"),
        ("10000000000000000000000", "\"10000000000000000000000\" is out of range: quantities go up to 10^16"),
        ("0.0000000000001", "\"0.0000000000001\" has more than 12 digits after the point"),
        ("-1", "a quantity cannot be negative: \"-1\""),
        ("1e3", "not a quantity: \"1e3\"; write digits, such as 1200 or \"1.5\""),
        ("1.", "not a quantity: \"1.\"; write digits, such as 1200 or \"1.5\""),
        (".5", "not a quantity: \".5\"; write digits, such as 1200 or \"1.5\""),
        ("", "not a quantity: \"\"; write digits, such as 1200 or \"1.5\""),
        ("+1", "not a quantity: \"+1\"; write digits, such as 1200 or \"1.5\""),
    ] {
        let found = text.parse::<Quantity>().map_or_else(|error| error.to_string(), |quantity| quantity.to_string());
        assert_eq!(found, expected, "reading {text:?}");
    }
    assert_eq!(Quantity::from_u64(QUANTITY_MAX + 1), None);
    assert_eq!(Quantity::from_u64(7).unwrap().as_u64(), Some(7));
    assert_eq!("7.5".parse::<Quantity>().unwrap().as_u64(), None);
}

#[test]
fn fractions_of_tokens_are_refused() {
    let mut usage = Usage::new();
    let refused = usage.set(UsageKey::InputTokens, "1.5".parse().unwrap()).unwrap_err();
    assert_eq!(refused.to_string(), "input_tokens must be a whole number, not 1.5");
    usage.set(UsageKey::DurationSeconds, "1.5".parse().unwrap()).unwrap();
    assert_eq!(usage.count(UsageKey::DurationSeconds), 1);
}

#[test]
fn json_is_a_map_of_names() {
    let json = r#"{"input_tokens":2600,"cache_read_tokens":2000,"duration_seconds":"1.5"}"#;
    let read: Usage = serde_json::from_str(json).unwrap();
    assert_eq!(serde_json::to_string(&read).unwrap(), json);
    for (json, reason) in [
        (r#"{"input_tokens":1,"input_tokens":1}"#, "given twice"),
        (r#"{"tokens":1}"#, "unknown usage name \"tokens\""),
        (r#"{"input_tokens":-1}"#, "cannot be negative"),
        (r#"{"input_tokens":1.5}"#, "expected a whole number"),
        (r#"{"input_tokens":"1.5"}"#, "must be a whole number"),
        (r#"{"input_tokens":10000000000000001}"#, "out of range"),
        (r#"{"input_tokens":null}"#, "expected a whole number"),
    ] {
        let error = serde_json::from_str::<Usage>(json).unwrap_err().to_string();
        assert!(error.contains(reason), "{json}: {error}");
    }
}

#[test]
fn binary_is_compact_and_returns_the_same() {
    let usage = usage("input_tokens=2600 cache_read_tokens=2000 audio_seconds=9999999999999999.999999999999");
    let bytes = postcard::to_stdvec(&usage).unwrap();
    assert_eq!(postcard::from_bytes::<Usage>(&bytes).unwrap(), usage);
    assert!(bytes.len() <= 26, "{} bytes", bytes.len());
    let mut attrs = Attrs::new();
    attrs.set("speed", "fast");
    attrs.set("processing", "batch");
    attrs.set("speed", "slow");
    let bytes = postcard::to_stdvec(&attrs).unwrap();
    assert_eq!(postcard::from_bytes::<Attrs>(&bytes).unwrap(), attrs);
    let json = serde_json::to_string(&attrs).unwrap();
    assert_eq!(json, r#"{"processing":"batch","speed":"slow"}"#);
    assert_eq!(serde_json::from_str::<Attrs>(&json).unwrap(), attrs);
    assert_eq!((attrs.get("speed"), attrs.get("region"), attrs.iter().len()), (Some("slow"), None, 2));
}

#[test]
fn names_and_codes_are_a_bijection_and_stay_where_they_are() {
    for key in UsageKey::ALL {
        assert_eq!(UsageKey::parse(key.as_str()), Some(*key));
        assert_eq!(UsageKey::from_code(key.code()), Some(*key));
        assert!(key.wider().iter().all(|wider| wider.family() == key.family()));
    }
    assert!(UsageKey::ALL.is_sorted_by_key(|key| key.code()));
    // A sample of the ledger's format: these numbers are on disks.
    let sample = [
        "input_tokens=1",
        "output_tokens=2",
        "cache_write_1h_tokens=7",
        "output_reasoning_tokens=23",
        "audio_seconds=40",
        "web_searches=60",
        "calls=72",
        "minutes=91",
    ];
    for pair in sample {
        let (name, code) = pair.split_once('=').unwrap();
        assert_eq!(UsageKey::parse(name).unwrap().code().to_string(), code, "{name}");
    }
    assert_eq!(Family::ALL.iter().filter_map(|family| Family::parse(family.as_str())).count(), Family::ALL.len());
}
