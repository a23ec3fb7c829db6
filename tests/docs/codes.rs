//! The codes of refused events and bodies that `send-usage.md` lists are those that the daemon answers: each one listed is
//! provoked here, and nothing else is.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use super::harness::daemon::Daemon;
use super::harness::wait::SOON;
use super::root;

/// The guide's section on codes.
fn section() -> String {
    let text = fs::read_to_string(root().join("docs/guides/send-usage.md")).expect("the guide is there");
    let begin = text.find("### Codes").expect("the guide has a section on codes");
    let rest = &text[begin + 3..];
    rest[..rest.find("\n### ").expect("another section follows")].to_owned()
}

fn code_words(text: &str) -> BTreeSet<String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// An event that is right but for what `change` says.
fn event(time: &str, change: Value) -> String {
    let mut event = json!({
        "id": "x", "time": time, "execution": "exec", "kind": "model", "provider": "openai", "model": "gpt-4o-mini",
        "usage": { "input_tokens": 1 },
    });
    for (key, value) in change.as_object().expect("an object") {
        event[key] = value.clone();
    }
    event.to_string()
}

/// One line for each code, right but for the one thing.
fn refused_lines(time: &str) -> Vec<(&'static str, String)> {
    let of = |change: Value| event(time, change);
    let mut deep = json!(1);
    for _ in 0..40 {
        deep = json!([deep]);
    }
    let labels: Value =
        (0..33).map(|number| (format!("l{number}"), json!("v"))).collect::<serde_json::Map<_, _>>().into();
    vec![
        ("malformed_json", "{".to_owned()),
        ("missing_field", of(json!({ "id": null }))),
        ("duplicate_field", of(json!({})).replacen('{', "{\"id\": \"y\",", 1)),
        ("invalid_type", of(json!({ "id": 7 }))),
        ("invalid_value", of(json!({ "outcome": "fine" }))),
        ("empty_value", of(json!({ "id": "" }))),
        ("too_long", of(json!({ "id": "x".repeat(257) }))),
        ("control_character", of(json!({ "id": "a\u{7}" }))),
        ("too_many", of(json!({ "labels": labels }))),
        ("too_deep", of(json!({ "extra": deep }))),
        ("unknown_kind", of(json!({ "kind": "thought" }))),
        ("unexpected_field", of(json!({ "quantities": { "calls": 1 } }))),
        ("unknown_usage_key", of(json!({ "usage": { "input_token": 1 } }))),
        ("invalid_quantity", of(json!({ "usage": { "input_tokens": -1 } }))),
        ("invalid_amount", of(json!({ "reported_cost_usd": "much" }))),
        ("negative_amount", of(json!({ "reported_cost_usd": "-1" }))),
        ("invalid_time", of(json!({ "time": "yesterday" }))),
        ("too_old", of(json!({ "time": "2020-01-01T00:00:00Z" }))),
        ("in_future", of(json!({ "time": "2100-01-01T00:00:00Z" }))),
    ]
}

#[test]
fn codes_of_refused_events_are_as_listed() {
    let daemon = Daemon::start();
    let good = event(&super::replay::now(), json!({ "id": "good" }));
    let lines = refused_lines(&super::replay::now());
    for (code, line) in &lines {
        let body = format!("{good}\n{line}\n");
        let headers = [("content-type", "application/x-ndjson")];
        let answer = daemon.request("POST", "/v1/usage", &headers, body.as_bytes()).expect(200).json();
        assert_eq!(answer["results"][1]["status"], "rejected", "{line}: {answer}");
        assert_eq!(answer["results"][1]["reason"], *code, "{line}: {answer}");
    }
    let section = section();
    let rows = section.lines().filter(|line| line.starts_with("| `")).filter_map(|row| row.split('|').nth(1));
    let listed: BTreeSet<String> = rows.flat_map(code_words).collect();
    let mut provoked: BTreeSet<String> = lines.iter().map(|(code, _)| (*code).to_owned()).collect();
    provoked.insert(past_the_range());
    assert_eq!(listed, provoked);
}

/// Two calls of 10^15 tokens at 90,000 USD each: one is 9 x 10^19 USD, together they would pass 10^20.
fn past_the_range() -> String {
    let daemon = Daemon::start_with(|folder| {
        let table = "apiVersion: joch.dev/v1alpha1\nkind: PriceTable\nmetadata: { name: dear }\nspec:\n  version: \"1\"\n  \
                     per: { tokens: 1 }\n  models: [{ provider: dear, id: dear, rates: [{ set: { input_tokens: \"90000\" } }] }]\n";
        let prices = folder.join("prices");
        fs::create_dir(&prices).expect("the folder is writable");
        fs::write(prices.join("dear.yaml"), table).expect("the folder is writable");
        format!("prices: {{ dirs: [{}] }}\n", prices.display())
    });
    let call = |id: &str| {
        let usage = json!({ "input_tokens": 1_000_000_000_000_000_u64 });
        let of = json!({ "id": id, "provider": "dear", "model": "dear", "usage": usage });
        event(&super::replay::now(), of)
    };
    let headers = [("content-type", "application/x-ndjson")];
    let body = format!("{}\n{}\n", call("first"), call("second"));
    let answer = daemon.request("POST", "/v1/usage", &headers, body.as_bytes()).expect(200).json();
    assert_eq!(answer["results"][0]["cost_usd"], "90000000000000000000", "{answer}");
    answer["results"][1]["reason"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
}

/// A code, its status, and the headers and body that provoke it.
type Case<'a> = (&'a str, u16, &'a [(&'a str, &'a str)], &'a [u8]);

/// What is answered to a request whose head ends and whose body begins with `rest`.
fn raw(api: &str, rest: &str) -> String {
    let host = api.strip_prefix("http://").expect("an http address");
    let mut socket = TcpStream::connect(host).expect("the daemon listens");
    socket.set_read_timeout(Some(SOON)).expect("a socket has a time-out");
    let head = format!("POST /v1/usage HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n{rest}");
    socket.write_all(head.as_bytes()).expect("the daemon reads");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).expect("the daemon answers and closes");
    answer
}

#[test]
fn codes_of_refused_bodies_are_as_listed() {
    let config = "ingest: { bodyBytesMax: 1000000 }\nserver: { bodyTimeout: 500ms }\n";
    let daemon = Daemon::start_with(|_| config.to_owned());
    let bomb = {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(&vec![b' '; 900_000]).expect("memory is writable");
        encoder.finish().expect("memory is writable")
    };
    let large = vec![b' '; 1_000_001];
    let many = "1\n".repeat(16_385);
    let ndjson = ("content-type", "application/x-ndjson");
    let gzip = ("content-encoding", "gzip");
    let zstd = ("content-encoding", "zstd");
    let cases: [Case<'_>; 9] = [
        ("empty_body", 400, &[ndjson], b" \n"),
        ("invalid_utf8", 400, &[ndjson], b"\xff"),
        ("malformed_json", 400, &[ndjson], b"{"),
        ("malformed_gzip", 400, &[gzip], b"{}"),
        ("malformed_zstd", 400, &[zstd], b"{}"),
        ("unsupported_encoding", 415, &[("content-encoding", "br")], b"{}"),
        ("body_too_large", 413, &[ndjson], &large),
        ("compression_ratio", 413, &[gzip], &bomb),
        ("too_many_events", 413, &[ndjson], many.as_bytes()),
    ];
    let mut provoked = BTreeSet::new();
    for (code, status, headers, body) in cases {
        daemon.request("POST", "/v1/usage", headers, body).problem(status, code);
        provoked.insert(code.to_owned());
    }
    let slow = "content-length: 10\r\n\r\n{";
    let broken = "transfer-encoding: chunked\r\n\r\nnot a length\r\n";
    for (code, status, rest) in [("body_timeout", "408", slow), ("body_cut_off", "400", broken)] {
        let answer = raw(daemon.api(), rest);
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")) && answer.contains(&format!("\"{code}\"")),
            "{answer}"
        );
        provoked.insert(code.to_owned());
    }
    let section = section();
    let (_, of_bodies) = section.split_once("Of a body:").expect("the section lists the codes of bodies");
    assert_eq!(code_words(of_bodies), provoked);
}
