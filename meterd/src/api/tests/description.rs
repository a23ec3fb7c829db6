//! `/openapi.json` and the router say the same.

use std::collections::BTreeSet;

use axum::body::Body;

use super::Api;

const METHODS: [&str; 6] = ["get", "put", "post", "delete", "patch", "head"];

/// Paths as `api::router` writes them: the source is the list, so that none can be left out.
fn routed() -> BTreeSet<String> {
    let source = include_str!("../../api.rs");
    let body = source.split("pub fn router").nth(1).unwrap().split("pub fn metrics_router").next().unwrap();
    let base = "/v1/namespaces/{namespace}/executions";
    let one = "/v1/namespaces/{namespace}/executions/{name}";
    let path = |route: &str| {
        let argument = route.split(", ").next().unwrap();
        match argument {
            "executions" => base.to_owned(),
            "execution" => one.to_owned(),
            text => {
                let text = text.trim_start_matches("&format!(").trim_end_matches(')').trim_matches('"');
                text.replace("{execution}", one).replace("{{", "{").replace("}}", "}")
            }
        }
    };
    body.split(".route(").skip(1).map(path).collect()
}

#[tokio::test]
async fn every_described_path_is_routed_and_every_route_is_described() {
    let api = Api::start();
    let document = api.get("/openapi.json").await.ok();
    let paths = document["paths"].as_object().unwrap();
    let described: BTreeSet<String> = paths.keys().cloned().collect();
    assert_eq!(routed(), described);
    for (path, operations) in paths {
        let concrete = path.replace("{namespace}", "ns").replace("{name}", "run").replace("{id}", "kill-1");
        for method in METHODS {
            // Streams would not end by themselves; a long poll without a wait does.
            let answer = api.send(&method.to_uppercase(), &concrete, &[], Body::empty()).await;
            let is_described =
                operations.get(method).is_some() || (method == "head" && operations.get("get").is_some());
            assert_eq!(answer.status.as_u16() != 405, is_described, "{method} {path}: {}", answer.status);
            if answer.status.as_u16() == 405 && method != "head" {
                answer.problem(405, "method_not_allowed");
            }
        }
    }
    api.stop().await;
}

#[tokio::test]
async fn operations_are_named_once_and_their_parameters_are_those_of_the_path() {
    let api = Api::start();
    let document = api.get("/openapi.json").await.ok();
    assert_eq!(document["openapi"], "3.1.0");
    let mut ids = BTreeSet::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let id = operation["operationId"].as_str().unwrap();
            assert!(ids.insert(id.to_owned()), "{id} twice");
            let parameters = operation["parameters"].as_array().unwrap();
            let in_path = parameters.iter().filter(|parameter| parameter["in"] == "path").count();
            assert_eq!(in_path, path.matches('{').count(), "{method} {path}");
        }
    }
    api.stop().await;
}

#[tokio::test]
async fn an_unknown_path_is_a_problem_that_names_the_way_out() {
    let api = Api::start();
    let problem = api.get("/v1/nothing").await.problem(404, "unknown_path");
    assert!(problem["detail"].as_str().unwrap().contains("/openapi.json"));
    api.stop().await;
}
