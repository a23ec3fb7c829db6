//! `GET …/signals`: what a stream and a long poll say, from where, and to how many.

use axum::body::Body;
use axum::http::Request;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::{Api, RUNS, event};
use crate::signal::LISTENERS_PER_RUN_MAX;

/// One open stream.
struct Stream {
    body: Body,
    read: String,
}

/// One event of it: id, event, data.
type Event = (u64, String, Value);

impl Stream {
    async fn open(api: &Api, run: &str, last_id: Option<u64>) -> Self {
        let mut request = Request::builder().uri(format!("{RUNS}/{run}/signals")).header("accept", "text/event-stream");
        if let Some(id) = last_id {
            request = request.header("last-event-id", id);
        }
        let response = api.router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        let mut stream = Self { body: response.into_body(), read: String::new() };
        assert_eq!(stream.block().await.as_deref(), Some(": connected"));
        stream
    }

    /// The next block, up to its blank line; `None` at the end.
    async fn block(&mut self) -> Option<String> {
        while !self.read.contains("\n\n") {
            let frame = self.body.frame().await?.unwrap();
            self.read.push_str(std::str::from_utf8(frame.data_ref().unwrap()).unwrap());
        }
        let (block, rest) = self.read.split_once("\n\n").unwrap();
        let (block, rest) = (block.to_owned(), rest.to_owned());
        self.read = rest;
        Some(block)
    }

    async fn next(&mut self) -> Option<Event> {
        let block = self.block().await?;
        let field = |name: &str| {
            let line = block.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
            line.unwrap_or_else(|| panic!("no {name} in {block}")).to_owned()
        };
        Some((field("id").parse().unwrap(), field("event"), serde_json::from_str(&field("data")).unwrap()))
    }
}

/// A run with a budget of three calls and a soft level at one.
async fn budgeted(api: &Api, run: &str) {
    let body = json!({"budgets": {"perRunUsd": 0.018}});
    api.put(&format!("{RUNS}/{run}"), &body).await.ok();
}

async fn calls(api: &Api, run: &str, ids: std::ops::Range<usize>) {
    for id in ids {
        api.post("/v1/usage", &event(&format!("{run}-{id}"), run)).await.ok();
    }
}

#[tokio::test]
async fn a_stream_tells_its_run_of_warnings_and_the_kill() {
    let api = Api::start();
    budgeted(&api, "run").await;
    budgeted(&api, "other").await;
    let (mut stream, mut other) = (Stream::open(&api, "run", None).await, Stream::open(&api, "other", None).await);
    calls(&api, "run", 0..3).await;
    let mut events = Vec::new();
    while events.last().is_none_or(|(_, event, _): &Event| event != "kill") {
        events.push(stream.next().await.unwrap());
    }
    assert!(events.windows(2).all(|pair| pair[0].0 < pair[1].0), "ids rise: {events:?}");
    assert!(events[..events.len() - 1].iter().all(|(_, event, _)| event == "budget_warning"), "{events:?}");
    let (seq, _, kill) = events.last().unwrap();
    assert_eq!(kill["id"], format!("kill-{seq}"));
    assert_eq!(
        (&kill["execution"], &kill["reason"], &kill["costUsd"]),
        (&json!("run"), &json!("budget_exceeded"), &json!("0.018"))
    );
    // The transport took it, and the ledger knows.
    loop {
        let kills = api.get("/v1/kills").await.ok();
        if kills["kills"][0]["state"] == "sent" {
            break;
        }
    }
    api.app.stop.cancel();
    assert!(stream.next().await.is_none(), "a stream ends when the daemon goes down");
    assert!(other.next().await.is_none(), "and another run's had nothing to say");
    api.stop().await;
}

#[tokio::test]
async fn a_stream_resumes_after_the_last_id_and_without_one_at_the_kill() {
    let api = Api::start();
    budgeted(&api, "run").await;
    calls(&api, "run", 0..3).await;
    let mut all = Vec::new();
    let mut from_the_start = Stream::open(&api, "run", Some(0)).await;
    while all.last().is_none_or(|(_, event, _): &Event| event != "kill") {
        all.push(from_the_start.next().await.unwrap());
    }
    assert!(all.len() > 1);
    for (index, (seq, _, _)) in all[..all.len() - 1].iter().enumerate() {
        let mut resumed = Stream::open(&api, "run", Some(*seq)).await;
        for expected in &all[index + 1..] {
            assert_eq!(resumed.next().await.as_ref(), Some(expected));
        }
    }
    let mut fresh = Stream::open(&api, "run", None).await;
    assert_eq!(fresh.next().await.as_ref(), all.last(), "the kill that stands is all that a new listener needs");
    // Whoever has seen it all hears only what comes.
    for after in [all.last().unwrap().0, u64::MAX] {
        let mut seen = Stream::open(&api, "run", Some(after)).await;
        let next = tokio::select! { biased; next = seen.next() => Some(next), () = std::future::ready(()) => None };
        assert_eq!(next, None);
    }
    let bad = [("accept", "text/event-stream"), ("last-event-id", "kill-9")];
    api.send("GET", &format!("{RUNS}/run/signals"), &bad, Body::empty()).await.problem(400, "invalid_last_event_id");
    api.stop().await;
}

#[tokio::test]
async fn a_long_poll_gives_what_there_is_or_waits_for_it() {
    let api = Api::start();
    budgeted(&api, "run").await;
    let path = format!("{RUNS}/run/signals");
    assert_eq!(api.get(&path).await.ok(), json!({"signals": []}));
    let poll = format!("{path}?after=0&wait_seconds=30");
    let (answer, ()) = tokio::join!(api.get(&poll), calls(&api, "run", 0..3));
    let first = answer.ok()["signals"][0].clone();
    assert_eq!(first["event"], "budget_warning");
    let rest = api.get(&format!("{path}?after={}", first["seq"])).await.ok();
    let last = rest["signals"].as_array().unwrap().last().unwrap().clone();
    assert_eq!((&last["event"], &last["data"]["id"]), (&json!("kill"), &last["id"]));
    api.get(&format!("{path}?after=x")).await.problem(400, "invalid_parameter");
    api.stop().await;
}

#[tokio::test]
async fn a_run_takes_so_many_listeners_and_room_comes_back() {
    let api = Api::start();
    let mut streams = Vec::new();
    for _ in 0..LISTENERS_PER_RUN_MAX {
        streams.push(Stream::open(&api, "run", None).await);
    }
    let accept = [("accept", "text/event-stream")];
    let path = format!("{RUNS}/run/signals");
    api.send("GET", &path, &accept, Body::empty()).await.problem(503, "too_many_listeners");
    Stream::open(&api, "other", None).await;
    drop(streams);
    while api.app.hub.runs() > 0 {
        tokio::task::yield_now().await;
    }
    Stream::open(&api, "run", None).await;
    api.stop().await;
}

#[tokio::test]
async fn an_acknowledgement_and_its_proof() {
    let api = Api::start();
    let kill = api.post(&format!("{RUNS}/run/kill"), &json!({})).await;
    kill.problem(404, "not_found");
    calls(&api, "run", 0..1).await;
    let kill = api.post(&format!("{RUNS}/run/kill"), &json!({"reason": "loop"})).await.ok();
    let id = kill["id"].as_str().unwrap();
    let ack = |run: &str, id: &str| format!("{RUNS}/{run}/signals/{id}/ack");
    api.post(&ack("run", "kill-99"), &json!({})).await.problem(404, "not_found");
    calls(&api, "other", 0..1).await;
    api.post(&ack("other", id), &json!({})).await.problem(404, "not_found");
    for (body, code) in [
        (json!({"channel": "pigeon"}), "unknown_channel"),
        (json!({"proof": "trust me"}), "unknown_proof"),
        (json!({"what": 1}), "invalid_ack"),
    ] {
        api.post(&ack("run", id), &body).await.problem(400, code);
    }
    assert_eq!(api.post(&ack("run", id), &json!({})).await.ok(), json!({"id": id, "state": "acked"}));
    let state = |kills: Value| kills["kills"][0]["state"].clone();
    assert_eq!(state(api.get("/v1/kills").await.ok()), "acked");
    let proof = json!({"channel": "process", "proof": "process_gone"});
    assert_eq!(api.post(&ack("run", id), &proof).await.ok()["state"], "confirmed");
    assert_eq!(state(api.get("/v1/kills?namespace=ns").await.ok()), "confirmed");
    assert_eq!(api.get("/v1/kills?namespace=elsewhere").await.ok(), json!({"kills": []}));
    assert_eq!(api.get(&format!("{RUNS}/run")).await.ok()["status"]["phase"], "Cancelled");
    api.stop().await;
}
