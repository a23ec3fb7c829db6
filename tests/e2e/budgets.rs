//! Budgets: every limit acts at its exact amount; soft levels warn, hard limits fence, kills reach the run and are recorded.

use std::time::Duration;

use serde_json::{Value, json};

use crate::events::{CALL_TOKENS, CALL_USD, NS, literal, model_call, quiet_zone, tool_call};
use crate::harness::daemon::Daemon;

/// How soon a signal is on the stream.
const SIGNAL_MAX: Duration = Duration::from_secs(5);

fn budget(name: &str, limits: &str, action: &str) -> String {
    let zone = quiet_zone();
    format!(
        "apiVersion: joch.dev/v1alpha1\nkind: Budget\nmetadata: {{ name: {name}, namespace: {NS} }}\nspec:\n  \
         scope: {{ namespaces: [{NS}] }}\n  timeZone: {zone}\n  limits: {{ {limits} }}\n  \
         enforcement: {{ onSoftLimit: alert, onHardLimit: {action}, softLimitPct: 0.8 }}\n"
    )
}

fn allowance(daemon: &Daemon, execution: &str) -> Value {
    daemon.get(&format!("/v1/namespaces/{NS}/executions/{execution}/allowance")).expect(200).json()
}

fn condition(daemon: &Daemon, execution: &str, kind: &str) -> bool {
    let document = daemon.execution(NS, execution);
    let conditions = document["status"]["conditions"].as_array().cloned().unwrap_or_default();
    conditions.iter().any(|condition| condition["type"] == kind && condition["status"] == "True")
}

/// Books calls of one execution until the allowance says deny; how many it took, at most 10.
fn calls_until_denied(daemon: &Daemon, execution: &str, event: fn(&str, &str) -> Value) -> u32 {
    for calls in 1..=10 {
        let result = daemon.usage(&event(&format!("{execution}-{calls}"), execution)).remove(0);
        assert!(matches!(result["status"].as_str(), Some("accepted" | "quarantined")), "spend is a fact: {result}");
        if allowance(daemon, execution)["decision"] == "deny" {
            return calls;
        }
    }
    panic!("never denied: {}", allowance(daemon, execution));
}

/// I15: each limit denies at the call that reaches it, not before and not later, and names itself.
/// A call costs 0.000423 USD and 2,369 tokens.
#[test]
fn each_limit_acts_at_the_call_that_reaches_it() {
    let check = |limits: &str, window: &str, event: fn(&str, &str) -> Value, expected: u32| {
        let daemon = Daemon::start();
        daemon.apply(&budget("cap", limits, "deny"));
        assert_eq!(calls_until_denied(&daemon, "exec-1", event), expected, "{limits}");
        let denied = allowance(&daemon, "exec-1");
        let budgets = denied["budgets"].as_array().unwrap_or_else(|| panic!("no budgets in {denied}"));
        let binding = budgets.iter().find(|budget| budget["name"] == "cap" && budget["window"] == window);
        assert!(binding.is_some(), "{window} of cap in {denied}");
    };
    check("perRunUsd: 0.000846", "run", model_call, 2); // exactly two calls: reaching it is enough
    check("perRunUsd: 0.000847", "run", model_call, 3); // two calls leave 0.000001
    check("dailyUsd: 0.0012", "day", model_call, 3);
    check("monthlyUsd: 0.0012", "month", model_call, 3);
    assert_eq!(CALL_TOKENS, 2369);
    check("tokenLimitDaily: 4738", "day", model_call, 2); // 2 × 2,369
    check("tokenLimitDaily: 4739", "day", model_call, 3);
    check("tokenLimitPerRun: 3000", "run", model_call, 2);
    check("toolCallLimitPerRun: 3", "run", tool_call, 3);
}

#[test]
fn a_window_is_shared_by_all_runs_of_its_scope_and_a_run_limit_is_not() {
    let daemon = Daemon::start();
    daemon.apply(&budget("cap", "perRunUsd: 0.0008, dailyUsd: 0.0012", "deny"));
    daemon.usage(&json!([model_call("a-1", "exec-1"), model_call("a-2", "exec-1")]));
    assert_eq!(allowance(&daemon, "exec-1")["decision"], "deny", "0.000846 of 0.0008 a run");
    daemon.usage(&model_call("b-1", "exec-2"));
    let second = allowance(&daemon, "exec-2");
    assert_eq!(second["decision"], "deny", "0.001269 of 0.0012 a day: {second}");
    let mut elsewhere = model_call("c-1", "exec-3");
    elsewhere["namespace"] = json!("another");
    daemon.usage(&elsewhere);
    let other = daemon.get("/v1/namespaces/another/executions/exec-3/allowance").expect(200).json();
    assert_eq!(other["decision"], "allow", "out of the budget's scope");
    let text = daemon.get(&format!("/v1/namespaces/{NS}/budgets/cap")).expect(200).text();
    assert_eq!(literal(&text, "daySpentUsd"), "0.001269", "three calls of {CALL_USD}");
}

#[test]
fn the_allowance_is_what_is_left_of_the_tightest_limit() {
    let daemon = Daemon::start();
    daemon.apply(&budget("cap", "perRunUsd: 0.001, dailyUsd: 5", "deny"));
    daemon.usage(&model_call("a-1", "exec-1"));
    let left = allowance(&daemon, "exec-1");
    assert_eq!(left["execution"], "exec-1");
    assert_eq!(left["decision"], "allow");
    assert_eq!(left["remainingUsd"], "0.000577", "0.001 − 0.000423");
    let budgets = left["budgets"].as_array().unwrap();
    let run = budgets.iter().find(|budget| budget["window"] == "run").unwrap_or_else(|| panic!("{left}"));
    assert_eq!(run["name"], "cap");
    assert_eq!((&run["limitUsd"], &run["spentUsd"]), (&json!("0.001"), &json!(CALL_USD)));
    assert_eq!(run["resetsAt"], Value::Null, "a run's limit does not reset");
    let day = budgets.iter().find(|budget| budget["window"] == "day").unwrap_or_else(|| panic!("{left}"));
    assert_eq!(day["remainingUsd"], "4.999577");
    assert!(day["resetsAt"].as_str().is_some_and(|time| time.ends_with('Z')), "{day}");
}

/// I14: a hard limit with `terminate` fences the run in the entry of its charge; the kill is on the stream, once.
#[test]
fn a_terminating_budget_warns_kills_and_records_the_acknowledgement() {
    let daemon = Daemon::start();
    daemon.apply(&budget("cap", "perRunUsd: 0.001", "terminate"));
    daemon.usage(&model_call("a-1", "exec-1"));
    let mut stream = daemon.signals(NS, "exec-1", None);
    daemon.usage(&model_call("a-2", "exec-1")); // 0.000846: past 80 % of 0.001
    let warning = stream.next_named("budget_warning", SIGNAL_MAX).json();
    assert!(warning.to_string().contains("cap"), "it names the budget: {warning}");
    assert!(condition(&daemon, "exec-1", "SoftLimitReached"));
    assert!(!condition(&daemon, "exec-1", "BudgetExceeded"));
    daemon.usage(&model_call("a-3", "exec-1")); // 0.001269: over it
    let event = stream.next_named("kill", SIGNAL_MAX);
    let kill = event.json()["id"].as_str().unwrap_or_else(|| panic!("no id in {event:?}")).to_owned();
    assert!(kill.starts_with("kill-"), "{kill}");
    assert!(event.id.is_some(), "resumable");
    assert!(condition(&daemon, "exec-1", "BudgetExceeded"));
    assert_eq!(allowance(&daemon, "exec-1")["decision"], "deny");
    let ack = format!("/v1/namespaces/{NS}/executions/exec-1/signals/{kill}/ack");
    daemon.post(&ack, &json!({})).expect(200);
    daemon.post(&ack, &json!({})).expect(200);
    daemon.post(&format!("/v1/namespaces/{NS}/executions/exec-1/signals/kill-0/ack"), &json!({})).expect(404);
    daemon.wait_for_metric("meterd_kill_signals_acked_total", &[("channel", "stream")], "1");
    assert_eq!(daemon.usage(&model_call("a-4", "exec-1"))[0]["status"], "accepted", "late spend is still a fact");
    assert_eq!(literal(&daemon.get(&format!("/v1/namespaces/{NS}/executions/exec-1")).text(), "costUsd"), "0.001692");
    let kills = daemon.get("/v1/kills").expect(200).json();
    let kills = kills["kills"].as_array().unwrap_or_else(|| panic!("no kills in {kills}"));
    assert_eq!(kills.len(), 1, "one kill, however much is spent after it: {kills:?}");
    let status = &daemon.execution(NS, "exec-1")["status"];
    assert_eq!(status["kill"]["id"], kill.as_str());
    assert_eq!(status["kill"]["state"], "Acked");
    assert_eq!(status["callsAfterFence"], 1);
}

/// A subscriber that comes late, comes again or comes after a restart still gets the kill.
#[test]
fn a_kill_waits_for_its_run_across_reconnection_and_restart() {
    let mut daemon = Daemon::start();
    daemon.apply(&budget("cap", "perRunUsd: 0.0004", "terminate"));
    daemon.usage(&model_call("a-1", "exec-1"));
    let first = daemon.signals(NS, "exec-1", None).next_named("kill", SIGNAL_MAX).json()["id"].clone();
    daemon.kill();
    daemon.start_again();
    let again = daemon.signals(NS, "exec-1", None).next_named("kill", SIGNAL_MAX).json()["id"].clone();
    assert_eq!(first, again, "the same kill: one id for one decision");
    assert_eq!(allowance(&daemon, "exec-1")["decision"], "deny", "the fence holds");
}

/// A limit that alerts only says so; a limit that denies kills nobody.
#[test]
fn alert_and_deny_do_not_kill() {
    for (action, decision) in [("alert", "allow"), ("deny", "deny")] {
        let daemon = Daemon::start();
        daemon.apply(&budget("cap", "perRunUsd: 0.0004", action));
        daemon.usage(&model_call("a-1", "exec-1"));
        assert!(condition(&daemon, "exec-1", "BudgetExceeded"), "{action}");
        assert_eq!(allowance(&daemon, "exec-1")["decision"], decision, "{action}");
        assert_eq!(daemon.execution(NS, "exec-1")["status"]["phase"], "Running", "{action}");
        daemon.wait_for_metric(
            "meterd_budget_threshold_events_total",
            &[("budget", "cap"), ("threshold", "hard")],
            "1",
        );
    }
}

/// `Agent.spec.budgets` binds every run of the agent that inherits it.
#[test]
fn the_budgets_of_an_agent_bind_its_runs() {
    let daemon = Daemon::start();
    daemon.apply(&format!(
        "apiVersion: joch.dev/v1alpha1\nkind: Agent\nmetadata: {{ name: support-triage, namespace: {NS} }}\nspec:\n  \
         budgets: {{ tokenLimitPerRun: 4000, costLimitUsdPerDay: 100, toolCallLimitPerRun: 2 }}\n"
    ));
    assert_eq!(calls_until_denied(&daemon, "exec-1", model_call), 2, "2 × 2,369 tokens ≥ 4,000");
    assert_eq!(calls_until_denied(&daemon, "exec-2", tool_call), 2);
    let mut other = model_call("o-1", "exec-3");
    other["agent"] = json!("another-agent");
    other["usage"]["input_tokens"] = json!(9000);
    daemon.usage(&other);
    assert_eq!(allowance(&daemon, "exec-3")["decision"], "allow", "another agent's run");
}

/// An operator's kill fences like a budget's and says who and why.
#[test]
fn an_operator_can_kill_a_run() {
    let daemon = Daemon::start();
    daemon.usage(&model_call("a-1", "exec-1"));
    let path = format!("/v1/namespaces/{NS}/executions/exec-1/kill");
    let mut stream = daemon.signals(NS, "exec-1", None);
    let answer = daemon.post(&path, &json!({"reason": "runs in circles"}));
    assert!(matches!(answer.status, 200..=202), "{} {}", answer.status, answer.text());
    let kill = stream.next_named("kill", SIGNAL_MAX).json();
    assert!(kill.to_string().contains("runs in circles"), "{kill}");
    assert_eq!(allowance(&daemon, "exec-1")["decision"], "deny");
    daemon.post(&format!("/v1/namespaces/{NS}/executions/nobody/kill"), &json!({"reason": "x"})).expect(404);
}

#[test]
fn budgets_show_their_status_as_joch_resources() {
    let daemon = Daemon::start();
    daemon.apply(&budget("cap", "dailyUsd: 0.5, monthlyUsd: 10", "deny"));
    daemon.usage(&json!([model_call("a-1", "exec-1"), model_call("a-2", "exec-2")]));
    let list = daemon.get("/v1/budgets").expect(200).json();
    let items = list["items"].as_array().unwrap_or_else(|| panic!("no items in {list}"));
    assert_eq!(items.len(), 1);
    assert_eq!(items[0]["kind"], "Budget");
    assert_eq!(items[0]["metadata"]["name"], "cap");
    let text = daemon.get(&format!("/v1/namespaces/{NS}/budgets/cap")).expect(200).text();
    assert_eq!(literal(&text, "daySpentUsd"), "0.000846");
    assert_eq!(literal(&text, "monthSpentUsd"), "0.000846");
    assert_eq!(literal(&text, "monthlyUsd"), "10", "the limit as it was written");
    daemon.get(&format!("/v1/namespaces/{NS}/budgets/none")).expect(404);
    daemon.wait_for_metric("meterd_budget_spent_usd", &[("budget", "cap"), ("window", "day")], "0.000846");
    daemon.wait_for_metric("meterd_budget_limit_usd", &[("budget", "cap"), ("window", "month")], "10");
}

/// A budget that cannot be read is refused whole, with its place; what was in force stays.
#[test]
fn a_broken_budget_is_refused_with_its_place() {
    let daemon = Daemon::start();
    daemon.apply(&budget("cap", "dailyUsd: 0.5", "deny"));
    let yaml = [("content-type", "application/yaml")];
    let check = |text: &str, mention: &str| {
        let answer = daemon.request("POST", "/v1/resources/apply", &yaml, text.as_bytes());
        assert!(matches!(answer.status, 400 | 422), "{} {}", answer.status, answer.text());
        assert_eq!(answer.header("content-type"), Some("application/problem+json"));
        assert!(answer.text().contains(mention), "`{mention}` in {}", answer.text());
    };
    check(&budget("cap", "dailyUsd: -1", "deny"), "dailyUsd");
    check(&budget("cap", "dailyUsd: lots", "deny"), "dailyUsd");
    check(&budget("cap", "dailyUsd: 1", "explode"), "onHardLimit");
    check("kind: Budget\nmetadata: {", "line ");
    let text = daemon.get(&format!("/v1/namespaces/{NS}/budgets/cap")).expect(200).text();
    assert_eq!(literal(&text, "dailyUsd"), "0.5");
}
