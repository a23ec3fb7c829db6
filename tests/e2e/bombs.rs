//! Small bodies that would become large: refused with 4xx, soon, and without filling the memory.

use std::fs;
use std::io::Write as _;
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::events::{CALL_USD, model_call};
use crate::harness::daemon::Daemon;

const JSON: &str = "application/json";
const PROTOBUF: &str = "application/x-protobuf";
/// Each is answered within this, on a busy machine too.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// All of them together make the daemon no larger than this, beside what it had.
const MEMORY_MAX_MB: u64 = 512;

/// Most memory that the daemon ever had.
fn peak_mb(daemon: &Daemon) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.pid())).expect("it runs");
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("the kernel says");
    line.split_whitespace().nth(1).expect("a number").parse::<u64>().expect("kilobytes") / 1024
}

struct Target {
    daemon: Daemon,
}

impl Target {
    #[track_caller]
    fn refuses(&self, path: &str, headers: &[(&str, &str)], body: &[u8]) {
        let start = Instant::now();
        let answer = self.daemon.request("POST", path, headers, body);
        let took = start.elapsed();
        assert!((400..500).contains(&answer.status), "{path} {headers:?}: {} {}", answer.status, answer.text());
        assert!(took < ANSWER_MAX, "{path} {headers:?}: {took:?}");
    }
}

/// Bytes that unpack to so many megabytes of nothing.
fn packed(megabytes: usize, encoding: &str) -> Vec<u8> {
    let plain = vec![b' '; megabytes << 20];
    if encoding == "zstd" {
        return zstd::encode_all(&plain[..], 3).expect("memory takes all");
    }
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(&plain).expect("memory takes all");
    encoder.finish().expect("memory takes all")
}

/// A protobuf message with one field that holds bytes.
fn field(number: u8, inner: &[u8]) -> Vec<u8> {
    let mut message = vec![number << 3 | 2];
    let mut length = inner.len();
    while length >= 0x80 {
        message.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    message.push(length as u8);
    message.extend(inner);
    message
}

#[test]
fn bombs_are_refused_soon_and_fill_no_memory() {
    let target = Target { daemon: Daemon::start() };
    let before = peak_mb(&target.daemon);
    let intake = ["/v1/usage", "/v1/traces", "/v1/logs", "/v1/metrics", "/v1/litellm", "/v1/provider-usage"];

    for encoding in ["gzip", "zstd"] {
        let bomb = packed(128, encoding);
        for path in intake {
            target.refuses(path, &[("content-type", JSON), ("content-encoding", encoding)], &bomb);
        }
        target.refuses("/v1/traces", &[("content-type", PROTOBUF), ("content-encoding", encoding)], &bomb);
        // One within the other is one encoding more than is read.
        let twice = [("content-type", JSON), ("content-encoding", "gzip, gzip")];
        target.refuses("/v1/usage", &twice, &bomb);
    }

    for open in ["[", "{\"a\":", "{\"resourceSpans\":[{\"resourceLogs\":[{\"resourceMetrics\":[", "[{\"body\":"] {
        let deep = open.repeat(1_000_000 / open.len());
        for path in intake {
            target.refuses(path, &[("content-type", JSON)], deep.as_bytes());
        }
        target.refuses("/v1/usage", &[("content-type", "application/cloudevents+json")], deep.as_bytes());
        target.refuses("/v1/resources/apply", &[("content-type", JSON)], deep.as_bytes());
    }

    // Attributes by the hundred thousand, two bytes each.
    let nothing = [0x4a, 0x00].repeat(1_500_000);
    let span = field(1, &field(2, &field(2, &nothing)));
    target.refuses("/v1/traces", &[("content-type", PROTOBUF)], &span);
    let resource = field(1, &field(1, &[0x0a, 0x00].repeat(1_500_000)));
    for path in ["/v1/traces", "/v1/logs", "/v1/metrics"] {
        target.refuses(path, &[("content-type", PROTOBUF)], &resource);
    }
    for (path, group) in
        [("/v1/traces", "resourceSpans"), ("/v1/logs", "resourceLogs"), ("/v1/metrics", "resourceMetrics")]
    {
        let list = vec!["{}"; 1_000_000].join(",");
        let body = format!("{{\"{group}\":[{{\"resource\":{{\"attributes\":[{list}]}}}}]}}");
        target.refuses(path, &[("content-type", JSON)], body.as_bytes());
    }
    let events = format!("[{}]", vec!["{}"; 1_000_000].join(","));
    for path in ["/v1/usage", "/v1/litellm"] {
        target.refuses(path, &[("content-type", JSON)], events.as_bytes());
    }

    let yaml = [("content-type", "application/yaml")];
    let laughs: String = (1..10)
        .map(|n| format!("l{n}: &l{n} [{}]\n", vec![format!("*l{}", n - 1); 10].join(",")))
        .fold("l0: &l0 [ha]\n".to_owned(), |all, line| all + &line);
    let bodies = [
        laughs,
        "[".repeat(1_000_000),
        "- ".repeat(500_000),
        "? ".repeat(500_000),
        "{a: ".repeat(250_000),
        "&a ".repeat(300_000),
    ];
    for body in bodies {
        for path in ["/v1/resources/apply", "/v1/resources/validate"] {
            let start = Instant::now();
            let answer = target.daemon.request("POST", path, &yaml, body.as_bytes());
            let refused = (400..500).contains(&answer.status)
                || (path.ends_with("validate") && answer.text().contains("problems"));
            assert!(refused, "{path} {:?}: {} {}", &body[..20], answer.status, answer.text());
            assert!(start.elapsed() < ANSWER_MAX, "{path} {:?}: {:?}", &body[..20], start.elapsed());
        }
    }

    let grown = peak_mb(&target.daemon) - before;
    assert!(grown <= MEMORY_MAX_MB, "{grown} MB more than before");
    assert_eq!(target.daemon.usage(&model_call("a-1", "exec-1"))[0]["cost_usd"], CALL_USD, "it goes on");
}
