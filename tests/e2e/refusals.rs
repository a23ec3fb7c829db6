//! Bad input: each refusal is a problem document with a stable code and the place, and books nothing.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use crate::events::{CALL_USD, NS, model_call};
use crate::harness::daemon::Daemon;

const JSON: (&str, &str) = ("content-type", "application/json");

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).expect("memory takes all");
    encoder.finish().expect("memory takes all")
}

/// One event with one change: the refusal points to the field.
#[test]
fn an_impossible_event_is_refused_with_the_field() {
    let daemon = Daemon::start();
    let check = |change: &dyn Fn(&mut Value), pointer: &str| {
        let mut event = model_call("bad-1", "exec-1");
        change(&mut event);
        let answer = daemon.post("/v1/usage", &event);
        let code = answer.json()["code"].as_str().unwrap_or_default().to_owned();
        assert!(
            !code.is_empty() && code.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'),
            "{}",
            answer.text()
        );
        let problem = answer.problem(400, &code);
        assert_eq!(problem["pointer"], pointer, "{problem}");
        assert_eq!(problem["retryable"], false, "{problem}");
    };
    check(&|event| event["usage"]["input_tokens"] = json!(-1), "/usage/input_tokens");
    check(&|event| event["usage"]["output_tokens"] = json!(1.5), "/usage/output_tokens");
    check(&|event| event["usage"]["input_tokens"] = json!("many"), "/usage/input_tokens");
    check(&|event| event["usage"]["input_tokens"] = json!(1e30), "/usage/input_tokens");
    check(&|event| event["kind"] = json!("prayer"), "/kind");
    check(&|event| event["time"] = json!("yesterday"), "/time");
    check(&|event| event["id"] = json!(""), "/id");
    check(&|event| event["id"] = json!(17), "/id");
    check(&|event| drop(event.as_object_mut().unwrap().remove("id")), "/id");
    check(&|event| event["outcome"] = json!("maybe"), "/outcome");
    check(&|event| event["reported_cost_usd"] = json!("-1"), "/reported_cost_usd");
    daemon.get(&format!("/v1/namespaces/{NS}/executions/exec-1")).expect(404);
    daemon.wait_for_metric("meterd_ingest_events_total", &[("result", "rejected")], "11");
}

/// Partial success: the good events are booked, each bad one says why.
#[test]
fn a_bad_event_in_an_array_does_not_stop_the_good_ones() {
    let daemon = Daemon::start();
    let mut bad = model_call("a-2", "exec-1");
    bad["usage"]["input_tokens"] = json!(-5);
    let answer = daemon
        .post("/v1/usage", &json!([model_call("a-1", "exec-1"), bad, model_call("a-3", "exec-1")]))
        .expect(200)
        .json();
    assert_eq!(answer["accepted"], 2);
    let statuses: Vec<&Value> = answer["results"].as_array().unwrap().iter().map(|result| &result["status"]).collect();
    assert_eq!(statuses, ["accepted", "rejected", "accepted"]);
    let reason = answer["results"][1]["reason"].as_str().unwrap_or_default();
    assert!(!reason.is_empty(), "{answer}");
    assert_eq!(daemon.execution(NS, "exec-1")["status"]["modelCalls"], 2);
}

#[test]
fn a_body_that_cannot_be_read_says_where_it_breaks() {
    let daemon = Daemon::start();
    let check = |body: &[u8], mention: &str| {
        let answer = daemon.request("POST", "/v1/usage", &[JSON], body);
        let code = answer.json()["code"].as_str().unwrap_or_default().to_owned();
        let problem = answer.problem(400, &code);
        let detail = problem["detail"].as_str().unwrap_or_default();
        assert!(detail.contains(mention), "`{mention}` in {problem}");
    };
    check(b"{\"id\": \"a-1\",\n \"kind\": }", "line 2");
    check(b"{\"id\": \"a-1\"", "line 1");
    check(b"not json", "line 1");
    check(b"", "empty");
    let deep = "[".repeat(100_000);
    let answer = daemon.request("POST", "/v1/usage", &[JSON], deep.as_bytes());
    assert_eq!(answer.status, 400, "{}", answer.text());
    assert_eq!(daemon.usage(&model_call("a-1", "exec-1"))[0]["cost_usd"], CALL_USD, "it goes on");
}

/// I11: a body has a bound, before and after decompression; the default is 4 MiB.
#[test]
fn bodies_have_a_bound_before_and_after_decompression() {
    let daemon = Daemon::start();
    let large = vec![b' '; 4 * 1024 * 1024 + 1];
    daemon.request("POST", "/v1/usage", &[JSON], &large).problem(413, "body_too_large");
    let bomb = gzip(&vec![b' '; 256 * 1024 * 1024]);
    assert!(bomb.len() < 300_000, "a small body that unpacks to 256 MiB: {}", bomb.len());
    let encoded = [JSON, ("content-encoding", "gzip")];
    daemon.request("POST", "/v1/usage", &encoded, &bomb).problem(413, "body_too_large");
    let small_bomb = gzip(&vec![b' '; 1024 * 1024]);
    daemon.request("POST", "/v1/usage", &encoded, &small_bomb).problem(413, "compression_ratio");
    let traces = [("content-type", "application/x-protobuf"), ("content-encoding", "gzip")];
    assert_eq!(daemon.request("POST", "/v1/traces", &traces, &bomb).status, 413);
    let event = gzip(model_call("a-1", "exec-1").to_string().as_bytes());
    let answer = daemon.request("POST", "/v1/usage", &encoded, &event).expect(200).json();
    assert_eq!(answer["results"][0]["cost_usd"], CALL_USD, "gzip itself is fine");
}

#[test]
fn unknown_encodings_types_and_methods_are_refused_by_name() {
    let daemon = Daemon::start();
    let event = model_call("a-1", "exec-1").to_string();
    let answer = daemon.request("POST", "/v1/usage", &[JSON, ("content-encoding", "br")], event.as_bytes());
    let problem = answer.problem(415, "unsupported_encoding");
    assert!(
        problem["detail"].as_str().is_some_and(|detail| detail.contains("gzip")),
        "it says what would do: {problem}"
    );
    let answer = daemon.request("POST", "/v1/usage", &[JSON, ("content-encoding", "gzip")], event.as_bytes());
    assert_eq!(answer.status, 400, "not gzip at all: {}", answer.text());
    assert_eq!(daemon.request("DELETE", "/v1/usage", &[], &[]).status, 405);
    let answer = daemon.get("/v1/nowhere");
    let code = answer.json()["code"].as_str().unwrap_or_default().to_owned();
    answer.problem(404, &code);
    assert_eq!(daemon.request("POST", "/v1/traces", &[("content-type", "text/csv")], b"a,b").status, 415);
}

/// Parameters of a query are input too.
#[test]
fn parameters_that_cannot_be_read_are_refused() {
    let daemon = Daemon::start();
    daemon.usage(&model_call("a-1", "exec-1"));
    for query in ["over_usd=much", "since=yesterday", "limit=many", "continue=nowhere", "phase=Sleeping"] {
        let answer = daemon.get(&format!("/v1/namespaces/{NS}/executions?{query}"));
        let name = query.split('=').next().unwrap();
        let problem = answer.problem(400, "invalid_parameter");
        assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains(name)), "{name} in {problem}");
    }
}

/// I11: a body without a stated length has the same bound.
#[test]
fn a_chunked_body_has_the_same_bound() {
    let daemon = Daemon::start();
    let chunk = format!("10000\r\n{}\r\n", " ".repeat(0x1_0000));
    let body = format!("{}0\r\n\r\n", chunk.repeat(65)); // 65 × 64 KiB is over 4 MiB
    let status = send_raw(&daemon, "transfer-encoding: chunked\r\n", body.as_bytes());
    assert_eq!(status, Some(413));
    let event = model_call("a-1", "exec-1").to_string();
    let body = format!("{:x}\r\n{event}\r\n0\r\n\r\n", event.len());
    assert_eq!(send_raw(&daemon, "transfer-encoding: chunked\r\n", body.as_bytes()), Some(200));
}

/// I11: a peer that stops in the middle of a request does not hold its connection for ever, and others go on meanwhile.
#[test]
fn a_stalled_request_is_ended_by_its_deadline() {
    let daemon = Daemon::start_with(|_| "server: { headerTimeout: 300ms, bodyTimeout: 300ms }\n".to_owned());
    let host = daemon.api().trim_start_matches("http://").to_owned();
    let mut stalled: Vec<TcpStream> = Vec::new();
    for start in ["POST /v1/usage HT", "POST /v1/usage HTTP/1.1\r\nhost: localhost\r\ncontent-length: 10\r\n\r\n{"] {
        let mut socket = TcpStream::connect(&host).unwrap();
        socket.write_all(start.as_bytes()).unwrap();
        stalled.push(socket);
    }
    assert_eq!(daemon.usage(&model_call("a-1", "exec-1"))[0]["cost_usd"], CALL_USD);
    for mut socket in stalled {
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let mut answer = Vec::new();
        socket.read_to_end(&mut answer).expect("the server ends the connection itself");
        let text = String::from_utf8_lossy(&answer);
        assert!(answer.is_empty() || text.starts_with("HTTP/1.1 408"), "{text}");
    }
}

/// Sends a request with a body of any framing while reading the answer; its status.
fn send_raw(daemon: &Daemon, framing: &str, body: &[u8]) -> Option<u16> {
    let host = daemon.api().trim_start_matches("http://").to_owned();
    let mut socket = TcpStream::connect(&host).expect("the daemon accepts connections");
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let head = format!(
        "POST /v1/usage HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\nexpect: 100-continue\r\n{framing}\r\n"
    );
    socket.write_all(head.as_bytes()).unwrap();
    let mut writer = socket.try_clone().unwrap();
    let body = body.to_vec();
    // The peer may refuse and close while the body is on its way: what counts is its answer.
    let sending = std::thread::spawn(move || drop(writer.write_all(&body)));
    let mut received = Vec::new();
    let mut buffer = [0_u8; 4096];
    let status = loop {
        let text = String::from_utf8_lossy(&received).into_owned();
        let last = text.match_indices("HTTP/1.1 ").last().and_then(|(at, _)| text[at + 9..].get(..3)?.parse().ok());
        if last.is_some_and(|status: u16| status >= 200) {
            break last;
        }
        match socket.read(&mut buffer) {
            Ok(read) if read > 0 => received.extend_from_slice(&buffer[..read]),
            _ => break None,
        }
    };
    drop(socket);
    sending.join().unwrap();
    status
}
