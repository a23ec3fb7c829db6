//! Executions as joch resources: opened, listed, completed; their cost live, exact and in both notations.

use serde_json::{Value, json};

use crate::events::{CALL_USD, NS, cost_of, literal, model_call, tool_call};
use crate::harness::daemon::Daemon;
use crate::harness::wait::{SOON, until};

fn document(name: &str, agent: &str) -> Value {
    json!({
        "apiVersion": "joch.dev/v1alpha1", "kind": "Execution",
        "metadata": {"name": name, "namespace": NS, "labels": {"ticket": "4711"}},
        "spec": {"agentRef": {"name": agent}, "trigger": {"type": "manual"}, "x-kept": {"as": "sent"}},
    })
}

fn path(name: &str) -> String {
    format!("/v1/namespaces/{NS}/executions/{name}")
}

/// Names of a listing, in its order.
fn listed(daemon: &Daemon, query: &str) -> Vec<String> {
    let answer = daemon.get(&format!("/v1/namespaces/{NS}/executions{query}")).expect(200).json();
    let items = answer["items"].as_array().unwrap_or_else(|| panic!("no items in {answer}"));
    items.iter().map(|item| item["metadata"]["name"].as_str().unwrap_or_default().to_owned()).collect()
}

fn condition<'a>(execution: &'a Value, kind: &str) -> Option<&'a str> {
    let conditions = execution["status"]["conditions"].as_array()?;
    conditions.iter().find(|condition| condition["type"] == kind)?["status"].as_str()
}

#[test]
fn an_opened_execution_keeps_what_was_sent_and_shows_live_cost() {
    let daemon = Daemon::start();
    let opened = daemon.put(&path("exec-1"), &document("exec-1", "support-triage"));
    assert!(matches!(opened.status, 200 | 201), "{} {}", opened.status, opened.text());
    daemon.usage(&json!([model_call("a-1", "exec-1"), model_call("a-2", "exec-1"), tool_call("t-1", "exec-1")]));
    let execution = daemon.execution(NS, "exec-1");
    assert_eq!(execution["kind"], "Execution");
    assert_eq!(execution["metadata"]["namespace"], NS);
    assert_eq!(execution["metadata"]["labels"]["ticket"], "4711");
    assert_eq!(execution["spec"]["agentRef"]["name"], "support-triage");
    assert_eq!(execution["spec"]["x-kept"]["as"], "sent", "unknown fields are handed through");
    let status = &execution["status"];
    assert_eq!(status["phase"], "Running");
    assert_eq!((&status["modelCalls"], &status["toolCalls"], &status["approvals"]), (&json!(2), &json!(1), &json!(0)));
    assert!(status["startedAt"].as_str().is_some_and(|time| time.ends_with('Z')), "{status}");
    assert_eq!(status["completedAt"], Value::Null);
}

/// I1: money is a number literal in joch documents, exact, in JSON and in YAML.
#[test]
fn the_cost_is_an_exact_literal_in_json_and_yaml() {
    let daemon = Daemon::start();
    daemon.usage(&json!([model_call("a-1", "exec-1"), model_call("a-2", "exec-1"), model_call("a-3", "exec-1")]));
    let text = daemon.get(&path("exec-1")).expect(200).text();
    assert_eq!(literal(&text, "costUsd"), "0.001269"); // 3 × 0.000423
    for answer in [
        daemon.request("GET", &path("exec-1"), &[("accept", "application/yaml")], &[]).expect(200),
        daemon.get(&format!("{}?format=yaml", path("exec-1"))).expect(200),
    ] {
        assert_eq!(answer.header("content-type"), Some("application/yaml"));
        let yaml = answer.text();
        assert!(yaml.lines().any(|line| line.trim() == "costUsd: 0.001269"), "{yaml}");
        assert!(yaml.lines().any(|line| line == "kind: Execution"), "{yaml}");
    }
}

#[test]
fn the_listing_filters_by_phase_agent_and_cost_and_pages() {
    let daemon = Daemon::start();
    for name in ["exec-1", "exec-2", "exec-3"] {
        daemon.put(&path(name), &document(name, if name == "exec-2" { "billing" } else { "support-triage" }));
    }
    let mut billing = model_call("b-1", "exec-2");
    billing["agent"] = json!("billing");
    daemon.usage(&json!([
        model_call("a-1", "exec-1"),
        billing,
        model_call("c-1", "exec-3"),
        model_call("c-2", "exec-3")
    ]));
    daemon.post(&format!("{}/complete", path("exec-3")), &json!({"phase": "Succeeded"})).expect(200);
    let sorted = |query: &str| {
        let mut names = listed(&daemon, query);
        names.sort();
        names
    };
    assert_eq!(sorted(""), ["exec-1", "exec-2", "exec-3"]);
    assert_eq!(sorted("?phase=Running"), ["exec-1", "exec-2"]);
    assert_eq!(sorted("?phase=Succeeded"), ["exec-3"]);
    assert_eq!(sorted("?agent=billing"), ["exec-2"]);
    assert_eq!(sorted("?over_usd=0.0005"), ["exec-3"], "0.000846 is over it, 0.000423 is not");
    assert_eq!(sorted("?since=2000-01-01T00:00:00Z").len(), 3);
    assert!(sorted("?since=2100-01-01T00:00:00Z").is_empty());
    let first = daemon.get(&format!("/v1/namespaces/{NS}/executions?limit=2")).expect(200).json();
    assert_eq!(first["items"].as_array().map(Vec::len), Some(2));
    let token = first["continue"].as_str().or(first["metadata"]["continue"].as_str()).unwrap_or_default().to_owned();
    let rest = listed(&daemon, &format!("?limit=2&continue={token}"));
    assert_eq!(rest.len(), 1);
    let mut all: Vec<String> = listed(&daemon, "?limit=2");
    all.extend(rest);
    all.sort();
    assert_eq!(all, ["exec-1", "exec-2", "exec-3"], "pages neither repeat nor leave out");
    assert!(sorted("?phase=Failed").is_empty());
}

#[test]
fn a_completed_execution_is_final_and_stays_so() {
    let daemon = Daemon::start();
    daemon.usage(&model_call("a-1", "exec-1"));
    let complete = format!("{}/complete", path("exec-1"));
    daemon.post(&complete, &json!({"phase": "Running"})).expect(400);
    daemon.post(&complete, &json!({"phase": "Failed"})).expect(200);
    let execution = daemon.execution(NS, "exec-1");
    assert_eq!(execution["status"]["phase"], "Failed");
    assert!(execution["status"]["completedAt"].is_string(), "{execution}");
    assert!(execution["status"]["durationMs"].is_u64(), "{execution}");
    daemon.post(&complete, &json!({"phase": "Failed"})).expect(200);
    daemon.post(&complete, &json!({"phase": "Succeeded"})).expect(409);
    assert_eq!(daemon.execution(NS, "exec-1")["status"]["phase"], "Failed");
    daemon.post(&format!("{}/complete", path("nobody")), &json!({"phase": "Failed"})).expect(404);
    assert_eq!(
        daemon.usage(&model_call("a-2", "exec-1"))[0]["status"],
        "accepted",
        "spend is a fact, also when it is late"
    );
    let text = daemon.get(&path("exec-1")).expect(200).text();
    assert_eq!(literal(&text, "costUsd"), "0.000846");
    assert_eq!(daemon.execution(NS, "exec-1")["status"]["phase"], "Failed");
}

/// The cost is final once the run is over, nothing of it is reserved, and the settle grace has passed. What comes to it later makes a
/// new revision; what is refused, warned of or given back makes none.
#[test]
fn a_cost_is_final_when_nothing_more_is_awaited_and_revised_by_what_comes() {
    let daemon = Daemon::start_with(|_| "budgets: { settleGrace: 300ms }\n".to_owned());
    daemon.apply(&format!(
        "apiVersion: joch.dev/v1alpha1\nkind: Budget\nmetadata: {{ name: cap, namespace: {NS} }}\nspec:\n  \
         limits: {{ perRunUsd: 0.001 }}\n  enforcement: {{ onHardLimit: alert }}\n"
    ));
    let final_now = || {
        let status = daemon.execution(NS, "exec-1")["status"].clone();
        let conditions = status["conditions"].as_array().cloned().unwrap_or_default();
        let last = conditions.into_iter().find(|one| one["type"] == "CostFinal").unwrap();
        (
            last["reason"].as_str().unwrap().to_owned(),
            status["revision"].as_u64().unwrap(),
            status["costUsd"].to_string(),
        )
    };
    let is = |reason: &str, revision: u64, usd: &str| (reason.to_owned(), revision, usd.to_owned());
    let hold = |id: &str| json!({"id": id, "namespace": NS, "execution": "exec-1", "estimate_usd": "0.0005"});
    daemon.usage(&model_call("a-1", "exec-1"));
    daemon.post("/v1/reservations", &hold("r-1")).expect(201);
    assert_eq!(final_now(), is("Running", 0, "0.000423"));
    daemon.post(&format!("{}/complete", path("exec-1")), &json!({"phase": "Succeeded"})).expect(200);
    until("the end of the grace", SOON, || (final_now() == is("Reserved", 0, "0.000423")).then_some(()));
    let mut last = model_call("a-2", "exec-1");
    (last["reservation"], last["final"]) = (json!("r-1"), json!(true));
    daemon.usage(&last);
    assert_eq!(final_now(), is("Settled", 1, "0.000846"));
    daemon.post("/v1/reservations", &hold("r-2")).expect(402);
    assert_eq!(final_now(), is("Settled", 1, "0.000846"), "what is refused revises nothing");
    // Two soft levels' worth of warnings and the limit itself come with this one: one entry of cost, one revision.
    daemon.usage(&model_call("a-3", "exec-1"));
    assert_eq!(final_now(), is("Settled", 2, "0.001269"));
}

/// The entries are the cost: their sum is the status.
#[test]
fn the_entries_of_an_execution_sum_to_its_cost_in_pages() {
    let daemon = Daemon::start();
    let events: Vec<Value> = (0..7).map(|n| model_call(&format!("a-{n}"), "exec-1")).collect();
    daemon.usage(&json!(events));
    daemon.usage(&model_call("z-1", "exec-2"));
    let page = daemon.get(&format!("{}/entries?limit=3", path("exec-1"))).expect(200).json();
    assert_eq!(page["entries"].as_array().map(Vec::len), Some(3));
    let mut seen = Vec::new();
    let mut next = String::new();
    for _ in 0..10 {
        let page = daemon.get(&format!("{}/entries?limit=3{next}", path("exec-1"))).expect(200).json();
        seen.extend(page["entries"].as_array().cloned().unwrap_or_default());
        match page["continue"].as_str() {
            Some(token) if !token.is_empty() => next = format!("&continue={token}"),
            _ => break,
        }
    }
    let seqs: Vec<u64> = seen.iter().map(|entry| entry["seq"].as_u64().unwrap()).collect();
    assert!(seqs.windows(2).all(|pair| pair[0] < pair[1]), "in the order of the ledger: {seqs:?}");
    let charges: Vec<&Value> = seen.iter().filter(|entry| entry["event_id"].is_string()).collect();
    assert_eq!(charges.len(), 7);
    assert!(charges.iter().all(|entry| entry["cost_usd"] == CALL_USD));
    let text = daemon.get(&path("exec-1")).expect(200).text();
    assert_eq!(literal(&text, "costUsd"), cost_of(7));
}

/// The parent's cost and its subtree's are two figures.
#[test]
fn a_child_counts_in_the_subtree_of_its_parent_not_in_its_own_cost() {
    let daemon = Daemon::start();
    let mut child = model_call("c-1", "child");
    child["parent_execution"] = json!("parent");
    daemon.usage(&json!([model_call("p-1", "parent"), child]));
    let text = daemon.get(&path("parent")).expect(200).text();
    assert_eq!(literal(&text, "costUsd"), CALL_USD);
    assert_eq!(literal(&text, "subtreeCostUsd"), "0.000846");
    assert_eq!(literal(&daemon.get(&path("child")).expect(200).text(), "costUsd"), CALL_USD);
}

/// I7: the status names the price tables that its cost rests on.
#[test]
fn the_status_names_its_price_tables_by_digest() {
    let daemon = Daemon::start();
    daemon.usage(&model_call("a-1", "exec-1"));
    let execution = daemon.execution(NS, "exec-1");
    let tables =
        execution["status"]["priceTables"].as_array().unwrap_or_else(|| panic!("no priceTables in {execution}"));
    assert_eq!(tables.len(), 1);
    assert!(tables[0]["digest"].as_str().is_some_and(|digest| digest.len() == 64), "{execution}");
    assert_ne!(condition(&execution, "BudgetExceeded"), Some("True"));
    assert_ne!(condition(&execution, "CostFinal"), Some("True"), "not while it runs");
    daemon.post(&format!("{}/complete", path("exec-1")), &json!({"phase": "Succeeded"})).expect(200);
}
