//! Usage refused for its time: kept, listed, and booked once by hand, across restarts.

use serde_json::{Value, json};

use crate::events::{CALL_USD, NS, model_call};
use crate::harness::cli;
use crate::harness::daemon::Daemon;

fn at(id: &str, time: &str) -> Value {
    let mut event = model_call(id, "exec-1");
    event["time"] = json!(time);
    event
}

#[test]
fn what_is_refused_for_its_time_is_kept_and_booked_once() {
    let mut daemon = Daemon::start();
    let old = at("old", "2026-01-02T03:04:05Z");
    let ahead = at("ahead", "2099-01-01T00:00:00Z");
    let problem = daemon.post("/v1/usage", &old).problem(400, "too_old");
    assert!(problem.to_string().contains("kept as dead letter 1,"), "{problem}");
    let batch = json!([old, ahead, model_call("now", "exec-1")]);
    let answer = daemon.post("/v1/usage", &batch).expect(200).json();
    assert_eq!((&answer["rejected"], &answer["accepted"]), (&json!(2), &json!(1)));
    let messages: Vec<&str> = (0..2).filter_map(|n| answer["results"][n]["message"].as_str()).collect();
    assert!(messages[0].contains("dead letter 1,") && messages[1].contains("dead letter 2,"), "{messages:?}");

    // kill -9: what was said to be kept is kept, and nothing of it is charged.
    daemon.kill();
    daemon.start_again();
    let listed = daemon.get("/v1/dead-letters").expect(200).json();
    let shown: Vec<_> = listed["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| (&item["id"], &item["event_id"], &item["reason"]))
        .collect();
    assert_eq!(
        shown,
        [(&json!(1), &json!("old"), &json!("too_old")), (&json!(2), &json!("ahead"), &json!("in_future"))]
    );
    assert_eq!(listed["items"][0]["cost_usd"], CALL_USD);
    assert_eq!(daemon.entries(NS, "exec-1").iter().filter(|entry| entry["event_id"].is_string()).count(), 1);

    let run = |args: &[&str], code: i32| {
        let args: Vec<&str> = args.iter().copied().chain(["--url", daemon.api()]).collect();
        cli::run(&args, daemon.folder()).expect_code(code).stdout
    };
    assert!(run(&["late", "list"], 0).contains("too_old"));
    let imported = run(&["late", "import", "1"], 0);
    assert!(imported.contains("imported"), "{imported}");
    assert!(run(&["late", "import", "1"], 0).contains("duplicate"));
    assert!(run(&["late", "import", "7"], 1).contains("unknown"));
    let all = daemon.post("/v1/dead-letters/import", &json!({ "all": true })).expect(200).json();
    assert_eq!((&all["imported"], &all["results"][0]["id"]), (&json!(1), &json!(2)));
    assert_eq!(daemon.post("/v1/dead-letters/import", &json!({ "ids": [1, 2] })).expect(200).json()["imported"], 0);
    daemon.post("/v1/dead-letters/import", &json!({})).problem(400, "invalid_body");

    let entries = daemon.entries(NS, "exec-1");
    let late: Vec<_> = entries
        .iter()
        .filter(|entry| entry["flags"] == json!(["late"]))
        .map(|entry| (&entry["event_id"], &entry["cost_usd"]))
        .collect();
    assert_eq!(late, [(&json!("old"), &json!(CALL_USD)), (&json!("ahead"), &json!(CALL_USD))]);

    // Sent again after a restart, it says where it went; the ledger holds.
    daemon.kill();
    daemon.start_again();
    let problem = daemon.post("/v1/usage", &old).problem(400, "too_old");
    assert!(problem.to_string().contains("has been imported"), "{problem}");
    let listed = daemon.get("/v1/dead-letters").expect(200).json();
    assert_eq!((&listed["total"], &listed["imported"]), (&json!(0), &json!(2)));
}
