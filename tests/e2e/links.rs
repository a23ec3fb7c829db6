//! Who is bound by what, through joch documents: teams, environments, routes, slices of a parent's budget.

use serde_json::{Value, json};

use crate::events::NS;
use crate::harness::cli;
use crate::harness::daemon::Daemon;
use crate::harness::http::Response;

fn document(kind: &str, name: &str, spec: &str) -> String {
    format!(
        "apiVersion: joch.dev/v1alpha1\nkind: {kind}\nmetadata: {{ name: {name}, namespace: {NS} }}\nspec: {spec}\n---\n"
    )
}

fn reserve(daemon: &Daemon, id: &str, run: &str, usd: Option<&str>, who: Value) -> Response {
    let mut body = json!({ "id": id, "namespace": NS, "execution": run });
    for (key, value) in who.as_object().into_iter().flatten() {
        body[key.as_str()] = value.clone();
    }
    if let Some(usd) = usd {
        body["estimate_usd"] = json!(usd);
    }
    daemon.post("/v1/reservations", &body)
}

fn denied_by(answer: Response) -> (String, String) {
    let answer = answer.expect(402).json();
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    (word(&answer["code"]), word(&answer["budget"]["name"]))
}

/// A budget that names no scope is its team's alone once the team refers to it.
#[test]
fn teams_and_environments_are_bound_by_what_they_refer_to() {
    let daemon = Daemon::start();
    let documents = document("Budget", "shared", "{ limits: { dailyUsd: 5 } }")
        + &document("Team", "red", "{ namespaces: [], budgetRefs: [{ name: shared }] }")
        + &document("Environment", "prod", "{ budgetRefs: [shared] }");
    let applied = daemon.apply(&documents);
    assert_eq!(applied["warnings"], json!([]), "{applied}");
    reserve(&daemon, "r-1", "a", Some("3"), json!({ "team": "red" })).expect(201);
    reserve(&daemon, "r-2", "b", Some("9"), json!({ "team": "blue" })).expect(201);
    let denied = reserve(&daemon, "r-3", "c", Some("2.01"), json!({ "environment": "prod" }));
    assert_eq!(denied_by(denied), ("budget_exceeded".to_owned(), "shared".to_owned()));
    daemon.post("/v1/reservations/r-1/settle", &json!({ "cost_usd": "1.5" })).expect(200);
    reserve(&daemon, "r-4", "c", Some("2.01"), json!({ "environment": "prod" })).expect(201);
    let budget = daemon.get(&format!("/v1/namespaces/{NS}/budgets/shared")).expect(200).json();
    assert_eq!(budget["status"]["counters"][0]["spent"].to_string(), "1.5", "{budget}");
    assert_eq!(budget["status"]["counters"][0]["held"].to_string(), "2.01", "{budget}");
    daemon.wait_for_metric("meterd_budget_charged_usd_total", &[("budget", "shared")], "1.5");
}

#[test]
fn a_route_limits_its_runs_and_each_of_their_calls() {
    let mut daemon = Daemon::start();
    let route = "{ strategy: { primary: \"openai:gpt-4o-mini\" }, constraints: { maxCostUsdPerExecution: 1, maxCostUsdPerCall: 0.4 } }";
    let documents = document("ModelRoute", "fast", route)
        + &document("ModelRoute", "open", "{ strategy: { primary: \"openai:gpt-4o\" } }")
        + &document("Agent", "writer", "{ modelRoute: { routeRef: { name: fast } } }");
    let applied = daemon.apply(&documents);
    assert_eq!(applied["warnings"], json!([]), "{applied}");
    let writer = || json!({ "agent": "writer" });
    let dear = reserve(&daemon, "r-1", "a", Some("0.41"), writer()).expect(402).json();
    assert_eq!(
        (&dear["code"], &dear["limitUsd"], &dear["window"]),
        (&json!("call_too_expensive"), &json!("0.4"), &json!("call"))
    );
    // Without an estimate the call holds what it may cost at most.
    let held = reserve(&daemon, "r-2", "a", None, writer()).expect(201).json();
    assert_eq!(held["heldUsd"], "0.4", "{held}");
    reserve(&daemon, "r-3", "a", Some("0.4"), writer()).expect(201);
    assert_eq!(
        denied_by(reserve(&daemon, "r-4", "a", Some("0.3"), writer())),
        ("budget_exceeded".to_owned(), "fast".to_owned())
    );
    // A run that takes another route is bound by that one.
    let other = json!({ "agent": "writer", "modelRouteOverride": { "routeRef": { "name": "open" } } });
    daemon.put(&format!("/v1/namespaces/{NS}/executions/b"), &other).expect(200);
    reserve(&daemon, "r-5", "b", Some("7"), writer()).expect(201);
    daemon.kill();
    daemon.start_again();
    assert_eq!(
        denied_by(reserve(&daemon, "r-6", "a", Some("0.3"), writer())),
        ("budget_exceeded".to_owned(), "fast".to_owned())
    );
    reserve(&daemon, "r-7", "b", Some("7"), writer()).expect(201);
}

/// A quarter of 8 USD is 2 USD; when the parent has 4, it is 1.
#[test]
fn a_child_has_a_slice_of_its_parents_budget() {
    let daemon = Daemon::start();
    let open = |name: &str, body: Value| daemon.put(&format!("/v1/namespaces/{NS}/executions/{name}"), &body);
    let child = || json!({ "parent": "above", "budgets": { "sliceOfParent": 0.25, "onHardLimit": "deny" } });
    let refused = open("below", child()).problem(409, "nothing_to_slice");
    assert_eq!(refused["pointer"], "/budgets/sliceOfParent");
    open("above", json!({ "budgets": { "perRunUsd": 8, "onHardLimit": "deny" } })).expect(200);
    open("below", child()).expect(200);
    assert_eq!(
        denied_by(reserve(&daemon, "r-1", "below", Some("2.01"), json!({}))),
        ("budget_exceeded".to_owned(), "below".to_owned())
    );
    reserve(&daemon, "r-2", "below", Some("0.75"), json!({})).expect(201);
    open("above", json!({ "budgets": { "perRunUsd": 4, "onHardLimit": "deny" } })).expect(200);
    let allowance = daemon.get(&format!("/v1/namespaces/{NS}/executions/below/allowance")).expect(200).json();
    assert_eq!(allowance["remainingUsd"], "0.25", "{allowance}");
    open("below", json!({ "parent": "above", "budgets": { "sliceOfParent": 1.5 } })).expect(400);
}

/// What refers to nothing is said before anybody relies on it.
#[test]
fn check_names_references_that_lead_nowhere() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let documents = document("Budget", "monthly", "{ limits: { monthlyUsd: 5 } }")
        + &document("Team", "red", "{ budgetRefs: [{ name: montly }] }")
        + &document("ModelRoute", "fast", "{ constraints: { maxCostUsdPerCall: 1 } }")
        + &document("Agent", "writer", "{ modelRoute: { routeRef: { name: fats } } }");
    std::fs::write(folder.path().join("resources.yaml"), documents).unwrap();
    let ended = cli::run(&["check", "resources.yaml"], folder.path()).expect_code(0);
    let said = format!("{}{}", ended.stdout, ended.stderr);
    assert!(
        said.contains("9:22: warning: no Budget here is named \"montly\"")
            && said.contains("did you mean \"monthly\"?"),
        "{said}"
    );
    assert!(
        said.contains("19:33: warning: no ModelRoute here is named \"fats\"")
            && said.contains("(spec.modelRoute.routeRef)"),
        "{said}"
    );
}
