//! Executions: opened, listed, paged, completed, and what may still be spent.

use serde_json::{Value, json};

use super::{Api, RUNS, event};
use crate::event::charge::tests::sample::CALL_USD;

fn names(list: &Value) -> Vec<&str> {
    list["items"].as_array().unwrap().iter().map(|item| item["metadata"]["name"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_run_is_opened_read_and_ended() {
    let api = Api::start();
    let path = format!("{RUNS}/run");
    let unknown = api.get(&path).await.problem(404, "not_found");
    // Or it ended long ago and was forgotten: the answer says where it still is.
    let detail = unknown["detail"].as_str().unwrap();
    assert!(detail.contains("forgetRunsAfter") && detail.contains("meterd describe execution run"), "{detail}");
    let opened = api.put(&path, &json!({"agent": "helper", "team": "blue"})).await.ok();
    assert_eq!((&opened["kind"], &opened["metadata"]["name"]), (&json!("Execution"), &json!("run")));
    assert_eq!(opened["status"]["phase"], "Pending");
    api.post("/v1/usage", &event("e-1", "run")).await.ok();
    let running = api.get(&path).await.ok();
    assert_eq!(running["status"]["phase"], "Running");
    assert_eq!(running["status"]["costUsd"].to_string(), CALL_USD);
    let complete = format!("{path}/complete");
    for (body, code) in [(json!({}), "invalid_completion"), (json!({"phase": "Running"}), "unknown_phase")] {
        api.post(&complete, &body).await.problem(400, code);
    }
    api.post(&format!("{RUNS}/nobody/complete"), &json!({"phase": "Failed"})).await.problem(404, "not_found");
    for _ in 0..2 {
        let ended = api.post(&complete, &json!({"phase": "Succeeded"})).await.ok();
        assert_eq!(ended["status"]["phase"], "Succeeded", "and once more is no error");
    }
    api.post(&complete, &json!({"phase": "Failed"})).await.problem(409, "execution_ended");
    api.put(&path, &json!({"agent": "helper"})).await.problem(409, "execution_ended");
    api.post(&format!("{path}/kill"), &json!({})).await.problem(409, "execution_ended");
    let problem = api.put(&format!("{RUNS}/bad"), &json!({"budgets": {"perRunUsd": "much"}})).await;
    let problem = problem.problem(400, "invalid_execution");
    assert!(problem["problems"].as_array().is_some_and(|problems| !problems.is_empty()), "{problem}");
    api.stop().await;
}

#[tokio::test]
async fn answers_come_as_yaml_where_that_is_asked_for() {
    let api = Api::start();
    let path = format!("{RUNS}/run");
    api.put(&path, &json!({"agent": "helper"})).await.ok();
    let yaml = [("accept", "application/yaml")];
    let by_header = api.send("GET", &path, &yaml, String::new()).await;
    let by_query = api.get(&format!("{path}?format=yaml")).await;
    for answer in [by_header, by_query, api.get(&format!("{RUNS}?format=yaml")).await] {
        assert_eq!(answer.header("content-type"), "application/yaml");
        assert!(answer.text().starts_with("apiVersion: joch.dev/v1alpha1\nkind: Execution"), "{}", answer.text());
        let document: Value = serde_yaml::from_str(&answer.text()).unwrap();
        assert!(document["kind"].as_str().unwrap().starts_with("Execution"));
    }
    let json = api.send("GET", &format!("{path}?format=json"), &yaml, String::new()).await;
    assert_eq!(json.header("content-type"), "application/json");
    api.stop().await;
}

#[tokio::test]
async fn lists_are_filtered_and_paged() {
    let api = Api::start();
    for (run, agent) in [("a", "one"), ("b", "two"), ("c", "one"), ("d", "two"), ("e", "one")] {
        api.put(&format!("{RUNS}/{run}"), &json!({"agent": agent})).await.ok();
    }
    api.put("/v1/namespaces/elsewhere/executions/z", &json!({"agent": "one"})).await.ok();
    let mut costly = event("e-1", "c");
    costly["agent"] = json!("one");
    api.post("/v1/usage", &json!([costly, event("e-2", "d")])).await.ok();
    api.post(&format!("{RUNS}/d/complete"), &json!({"phase": "Failed"})).await.ok();
    for (query, expected) in [
        ("", vec!["a", "b", "c", "d", "e"]),
        ("?agent=one", vec!["a", "c", "e"]),
        ("?phase=failed", vec!["d"]),
        ("?phase=Running", vec!["c"]),
        ("?over_usd=0.005", vec!["c", "d"]),
        ("?over_usd=0.006", vec![]),
        ("?over_usd=0.005&agent=two", vec!["d"]),
        ("?since=2026-11-22T10:00:00Z", vec!["a", "b", "c", "d", "e"]),
        ("?since=2027-01-01T00:00:00Z", vec![]),
    ] {
        let list = api.get(&format!("{RUNS}{query}")).await.ok();
        assert_eq!((names(&list), &list["kind"]), (expected, &json!("ExecutionList")), "{query}");
        assert_eq!(list["continue"], Value::Null);
    }
    assert_eq!(names(&api.get("/v1/executions?agent=one").await.ok()), ["a", "c", "e", "z"]);
    // Page by page the same list, and runs that are opened meanwhile come last.
    for (filter, expected) in [("", vec!["a", "b", "c", "d", "e", "late"]), ("&agent=one", vec!["a", "c", "e", "late"])]
    {
        let mut seen = Vec::new();
        let mut next = String::new();
        loop {
            let page = api.get(&format!("{RUNS}?limit=2{filter}{next}")).await.ok();
            assert!(names(&page).len() <= 2);
            seen.extend(names(&page).into_iter().map(str::to_owned));
            api.put(&format!("{RUNS}/late"), &json!({"agent": "one"})).await.ok();
            match page["continue"].as_str() {
                Some(token) => next = format!("&continue={token}"),
                None => break,
            }
        }
        assert_eq!(seen, expected, "{filter}");
    }
    for query in ["?limit=many", "?continue=-1", "?since=yesterday", "?over_usd=much"] {
        api.get(&format!("{RUNS}{query}")).await.problem(400, "invalid_parameter");
    }
    api.get(&format!("{RUNS}?phase=Stuck")).await.problem(400, "invalid_parameter");
    api.get("/v1/namespaces/%ff/executions/run").await.problem(400, "invalid_path");
    api.stop().await;
}

#[tokio::test]
async fn the_lines_behind_a_cost_come_in_pages() {
    let api = Api::start();
    for n in 0..5 {
        api.post("/v1/usage", &json!([event(&format!("a-{n}"), "a"), event(&format!("b-{n}"), "b")])).await.ok();
    }
    let mut seen = Vec::new();
    let mut next = String::new();
    loop {
        let page = api.get(&format!("{RUNS}/b/entries?limit=2{next}")).await.ok();
        let entries = page["entries"].as_array().unwrap().clone();
        assert!(entries.len() <= 2);
        seen.extend(entries);
        match page["continue"].as_str() {
            Some(token) => next = format!("&continue={token}"),
            None => break,
        }
    }
    let ids: Vec<&str> = seen.iter().map(|entry| entry["event_id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["b-0", "b-1", "b-2", "b-3", "b-4"]);
    assert!(seen.iter().all(|entry| entry["cost_usd"] == CALL_USD && entry["lines"].as_array().unwrap().len() == 2));
    api.get(&format!("{RUNS}/nobody/entries")).await.problem(404, "not_found");
    api.stop().await;
}

#[tokio::test]
async fn the_allowance_says_what_is_left_and_what_is_in_the_way() {
    let api = Api::start();
    let allowance = format!("{RUNS}/run/allowance");
    api.get(&allowance).await.problem(404, "not_found");
    let team = json!({
        "apiVersion": "joch.dev/v1alpha1", "kind": "Budget", "metadata": {"name": "team", "namespace": "ns"},
        "spec": {"limits": {"dailyUsd": 5}},
    });
    api.post("/v1/resources/apply", &team).await.ok();
    api.put(&format!("{RUNS}/run"), &json!({"budgets": {"perRunUsd": 0.01}})).await.ok();
    api.post("/v1/usage", &event("e-1", "run")).await.ok();
    let left = api.get(&allowance).await.ok();
    assert_eq!((&left["decision"], &left["remainingUsd"]), (&json!("allow"), &json!("0.004")));
    let budgets = left["budgets"].as_array().unwrap();
    assert_eq!(budgets.len(), 2);
    let budget = budgets.iter().find(|budget| budget["name"] == "run").unwrap();
    assert_eq!(
        (&budget["limitUsd"], &budget["spentUsd"], &budget["window"]),
        (&json!("0.01"), &json!(CALL_USD), &json!("run"))
    );
    let decided = r#"meterd_budget_decisions_total{agent_namespace="ns",budget="team",result="allow"}"#;
    assert_eq!(api.series(decided).await.as_deref(), Some("1"), "an answered check is counted");
    // I14: over the limit the run is fenced, and stays so.
    let answer = api.post("/v1/usage", &event("e-2", "run")).await.ok();
    assert_eq!(answer["results"][0]["fenced"], true);
    let none = api.get(&allowance).await.ok();
    assert_eq!(
        (&none["decision"], &none["code"], &none["remainingUsd"]),
        (&json!("deny"), &json!("fenced"), &json!("0"))
    );
    api.put(&format!("{RUNS}/run"), &json!({"budgets": {"perRunUsd": 100}})).await.ok();
    assert_eq!(api.get(&allowance).await.ok()["code"], "fenced", "a larger budget lifts no fence");
    api.stop().await;
}

#[tokio::test]
async fn an_operator_kills_a_run_once() {
    let api = Api::start();
    let path = format!("{RUNS}/run/kill");
    api.post(&path, &json!({})).await.problem(404, "not_found");
    api.put(&format!("{RUNS}/run"), &json!({})).await.ok();
    let problem = api.post(&path, &json!({"reason": "x".repeat(1_025)})).await.problem(400, "too_long");
    assert_eq!(problem["pointer"], "/reason");
    api.post(&path, &json!({"because": "x"})).await.problem(400, "invalid_kill");
    let first = api.post(&path, &json!({"reason": "loop"})).await;
    assert_eq!(first.status, 202);
    let first = first.json();
    assert_eq!((&first["state"], &first["execution"]), (&json!("fenced"), &json!("run")));
    let again = api.send("POST", &path, &[], String::new()).await;
    assert_eq!((again.status.as_u16(), &again.json()["id"]), (202, &first["id"]));
    let kills = api.get("/v1/kills").await.ok();
    assert_eq!(kills["kills"].as_array().unwrap().len(), 1);
    assert_eq!(kills["kills"][0]["message"], "killed by local: loop");
    api.stop().await;
}
