//! `/openapi.json` against the server itself: what it documents is there, and what users need is documented.

use serde_json::Value;

use crate::harness::daemon::Daemon;

/// Paths of the contract that this version answers.
const PATHS: &[&str] = &[
    "/v1/usage",
    "/v1/traces",
    "/v1/namespaces/{ns}/executions",
    "/v1/namespaces/{ns}/executions/{name}",
    "/v1/namespaces/{ns}/executions/{name}/complete",
    "/v1/namespaces/{ns}/executions/{name}/entries",
    "/v1/namespaces/{ns}/executions/{name}/allowance",
    "/v1/namespaces/{ns}/executions/{name}/signals",
    "/v1/namespaces/{ns}/executions/{name}/signals/{id}/ack",
    "/v1/namespaces/{ns}/executions/{name}/kill",
    "/v1/namespaces/{ns}/budgets/{name}",
    "/v1/budgets",
    "/v1/resources/apply",
    "/healthz",
    "/readyz",
    "/openapi.json",
];

/// A template with its names of parameters taken out: `/a/{b}` and `/a/{c}` are one route.
fn shape(path: &str) -> String {
    path.split('/').map(|part| if part.starts_with('{') { "{}" } else { part }).collect::<Vec<_>>().join("/")
}

fn document(daemon: &Daemon) -> Value {
    let answer = daemon.get("/openapi.json").expect(200);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let document = answer.json();
    assert!(document["openapi"].as_str().is_some_and(|version| version.starts_with("3.")), "{}", document["openapi"]);
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
    document
}

#[test]
fn every_route_of_the_contract_is_documented() {
    let daemon = Daemon::start();
    let document = document(&daemon);
    let documented: Vec<String> =
        document["paths"].as_object().expect("paths").keys().map(|path| shape(path)).collect();
    let missing: Vec<&&str> = PATHS.iter().filter(|path| !documented.contains(&shape(path))).collect();
    assert!(missing.is_empty(), "not documented: {missing:?}");
}

/// Every documented operation reaches a handler: neither an unknown route nor a refused method.
#[test]
fn every_documented_operation_is_answered() {
    let daemon = Daemon::start();
    let no_route = |answer: &Value| answer["detail"].as_str().is_some_and(|detail| detail.starts_with("no such path"));
    assert!(no_route(&daemon.get("/v1/nowhere").json()), "what the server says of a path that it does not know");
    let document = document(&daemon);
    let mut operations = 0;
    for (path, item) in document["paths"].as_object().expect("paths") {
        let concrete: String = path
            .split('/')
            .map(|part| if part.starts_with('{') { "unknown" } else { part })
            .collect::<Vec<_>>()
            .join("/");
        for method in ["get", "put", "post", "delete", "patch"].iter().filter(|method| item[**method].is_object()) {
            operations += 1;
            let operation = &item[*method];
            assert!(
                operation["summary"].as_str().is_some_and(|text| !text.is_empty()),
                "{method} {path} has no summary"
            );
            assert!(
                operation["responses"].as_object().is_some_and(|all| !all.is_empty()),
                "{method} {path} has no responses"
            );
            let answer = daemon.request(&method.to_uppercase(), &concrete, &[("accept", "application/json")], &[]);
            assert_ne!(answer.status, 405, "{method} {path}");
            if answer.status == 404 {
                assert!(!no_route(&answer.json()), "{method} {path} is no route of the server");
            }
            assert!(answer.status < 500, "{method} {path}: {} {}", answer.status, answer.text());
        }
    }
    assert!(operations >= PATHS.len(), "only {operations} operations");
}
