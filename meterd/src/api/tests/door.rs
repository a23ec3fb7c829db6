//! The door: every route has its roles, and a credential reaches what it names and nothing else.

use axum::body::Body;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Answer, Api, RUNS, event};
use crate::api::access;
use crate::auth;
use crate::config;

const ALPHA: &str = "Bearer token-of-the-agent-alpha";
const READER: &str = "Bearer token-of-some-other-tenant";
const ROOT: &str = "Bearer token-of-the-administrator";

/// Agent alpha of `ns`, a reader of another tenant, and an administrator.
fn closed(api: &Api) -> TempDir {
    let folder = TempDir::new().unwrap();
    let write = |name: &str, header: &str| {
        std::fs::write(folder.path().join(name), header.strip_prefix("Bearer ").unwrap()).unwrap();
    };
    write("alpha", ALPHA);
    write("reader", READER);
    write("root", ROOT);
    let text = "auth:\n  tokens:\n\
                \x20   - { name: alpha, tokenFile: alpha, roles: [ingest, reserve], namespaces: [ns], agents: [alpha] }\n\
                \x20   - { name: reader, tokenFile: reader, roles: [read, ingest, kill], tenant: other, namespaces: [theirs] }\n\
                \x20   - { name: root, tokenFile: root, roles: [admin] }\n";
    let file = folder.path().join("meterd.yaml");
    let loaded = config::resolve(Some((&file, text)), &[], &[]).unwrap();
    api.app.auth.replace(auth::load(&loaded.config.auth, 0).unwrap());
    folder
}

impl Api {
    async fn signed(&self, token: &str, method: &str, path: &str, body: &Value) -> Answer {
        let headers = [("authorization", token), ("content-type", "application/json")];
        let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
        self.send(method, path, &headers, body).await
    }
}

fn of_agent(id: &str, run: &str, agent: &str) -> Value {
    let mut event = event(id, run);
    event["agent"] = json!(agent);
    event
}

#[tokio::test]
async fn no_route_lacks_a_role_and_no_role_lacks_a_route() {
    let api = Api::start();
    let document = api.get("/openapi.json").await.ok();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let row = access::find(method, path);
            assert!(row.is_some(), "{method} {path} needs a row in api/access.rs: who may use it?");
            let open = row.unwrap().reach == access::Reach::Open;
            assert_eq!(operation["x-roles"].as_array().unwrap().is_empty(), open, "{method} {path}");
        }
    }
    api.stop().await;
}

#[tokio::test]
async fn nobody_comes_in_without_a_credential_that_is_known() {
    let api = Api::start();
    let _folder = closed(&api);
    let answer = api.get("/v1/budgets").await;
    answer.problem(401, "unauthenticated");
    assert_eq!(answer.header("www-authenticate"), "Bearer realm=\"meterd\"");
    api.signed("Bearer nobody-knows-this-one", "GET", "/v1/budgets", &Value::Null)
        .await
        .problem(401, "invalid_credential");
    api.post("/v1/usage", &event("1", "run")).await.problem(401, "unauthenticated");
    assert!(api.get("/openapi.json").await.status.is_success() && api.get("/readyz").await.status.is_success());
    assert_eq!(api.series("meterd_auth_refused_total{reason=\"missing\"}").await.as_deref(), Some("2"));
    api.signed(ROOT, "GET", "/v1/budgets", &Value::Null).await.ok();
    api.stop().await;
}

/// The one sentence that everything here is for.
#[tokio::test]
async fn a_token_for_one_agent_cannot_charge_another_read_another_tenant_or_kill() {
    let api = Api::start();
    let _folder = closed(&api);
    let usage = "/v1/usage";
    assert_eq!(api.signed(ALPHA, "POST", usage, &of_agent("1", "mine", "alpha")).await.ok()["accepted"], 1);
    api.signed(ROOT, "POST", usage, &of_agent("2", "theirs", "beta")).await.ok();

    // Another agent, another namespace, and another agent's run under its own name.
    api.signed(ALPHA, "POST", usage, &of_agent("3", "mine", "beta")).await.problem(403, "forbidden");
    api.signed(ALPHA, "POST", usage, &of_agent("4", "theirs", "alpha")).await.problem(403, "forbidden");
    let mut foreign = of_agent("5", "mine", "alpha");
    foreign["namespace"] = json!("theirs");
    let problem = api.signed(ALPHA, "POST", usage, &foreign).await.problem(403, "forbidden");
    assert_eq!(problem["pointer"], "/namespace");
    // Without an agent or a namespace the credential says which.
    let mut silent = event("6", "mine");
    silent.as_object_mut().unwrap().retain(|key, _| key != "agent" && key != "namespace");
    assert_eq!(api.signed(ALPHA, "POST", usage, &silent).await.ok()["accepted"], 1);
    // One of several is refused alone, all of several together.
    let mixed = json!([of_agent("7", "mine", "alpha"), of_agent("8", "mine", "beta")]);
    let answer = api.signed(ALPHA, "POST", usage, &mixed).await.ok();
    assert_eq!((&answer["accepted"], &answer["results"][1]["reason"]), (&json!(1), &json!("forbidden")));
    let foreign = json!([of_agent("9", "mine", "beta"), of_agent("10", "theirs", "alpha")]);
    api.signed(ALPHA, "POST", usage, &foreign).await.problem(403, "forbidden");

    let run = format!("{RUNS}/mine");
    api.signed(ALPHA, "POST", &format!("{run}/kill"), &json!({})).await.problem(403, "forbidden");
    api.signed(ALPHA, "POST", &format!("{RUNS}/theirs/complete"), &json!({"phase": "Failed"}))
        .await
        .problem(403, "forbidden");
    api.signed(ALPHA, "PUT", &format!("{RUNS}/new"), &json!({"agentRef": {"name": "beta"}}))
        .await
        .problem(403, "forbidden");
    api.signed(ALPHA, "POST", "/v1/resources/apply", &json!({})).await.problem(403, "forbidden");
    api.signed(ALPHA, "GET", "/v1/executions", &Value::Null).await.problem(403, "forbidden");

    for path in [run.clone(), format!("{run}/entries"), format!("{run}/signals"), format!("{run}/allowance")] {
        api.signed(READER, "GET", &path, &Value::Null).await.problem(403, "forbidden");
    }
    api.signed(READER, "POST", &format!("{run}/kill"), &json!({})).await.problem(403, "forbidden");
    let seen = api.signed(READER, "GET", "/v1/executions", &Value::Null).await.ok();
    assert_eq!(seen["items"], json!([]));
    let cost = api.signed(ROOT, "GET", &run, &Value::Null).await.ok();
    assert_eq!(cost["status"]["modelCalls"], 3, "the three that were taken");
    api.stop().await;
}

/// A token of one namespace asks about its own costs, whatever the question; about all, and about others, it may not ask.
#[tokio::test]
async fn costs_of_other_namespaces_are_not_told() {
    let api = Api::start();
    let _folder = closed(&api);
    api.signed(ROOT, "POST", "/v1/usage", &event("1", "ours")).await.ok();
    let mut theirs = event("2", "own");
    theirs["namespace"] = json!("theirs");
    api.signed(READER, "POST", "/v1/usage", &theirs).await.ok();
    let one = api.signed(ROOT, "GET", "/v1/cost?by=namespace&since=30d&namespace=ns", &Value::Null).await.ok();
    let (asked, all) = ("since=30d&source=ledger", "&until=2026-12-30T00:00:00Z");
    for by in ["team", "agent", "model", "provider", "namespace", "environment", "execution", "label:tier"] {
        let question = format!("/v1/cost?by={by}&{asked}{all}");
        api.signed(READER, "GET", &question, &Value::Null).await.problem(403, "forbidden");
        for other in ["namespace=ns", "execution=ns/ours", "namespace=ns&execution=ours"] {
            api.signed(READER, "GET", &format!("{question}&{other}"), &Value::Null).await.problem(403, "forbidden");
        }
        let own = api.signed(READER, "GET", &format!("{question}&namespace=theirs"), &Value::Null).await.ok();
        let (of_one, of_own) = (&one["total"]["cost_usd"], &own["total"]["cost_usd"]);
        assert_eq!(of_own, of_one, "one call like the other namespace's: {own}");
        assert!(!own.to_string().contains("ours"), "{own}");
        // An execution names its namespace, and that one counts.
        let run = api.signed(READER, "GET", &format!("{question}&execution=theirs/own"), &Value::Null).await.ok();
        assert_eq!(&run["total"]["cost_usd"], of_own);
        let both = api.signed(ROOT, "GET", &question, &Value::Null).await.ok();
        assert_ne!(&both["total"]["cost_usd"], of_own, "an administrator sees both");
    }
    api.signed(READER, "GET", "/v1/export/focus?since=30d", &Value::Null).await.problem(403, "forbidden");
    api.signed(READER, "GET", "/v1/export/focus?since=30d&namespace=ns", &Value::Null).await.problem(403, "forbidden");
    let rows = api.signed(READER, "GET", "/v1/export/focus?since=30d&namespace=theirs", &Value::Null).await;
    assert!(rows.status.is_success() && !rows.text().contains(",ns,"), "{}", rows.text());
    api.signed(ALPHA, "GET", "/v1/cost?by=team&namespace=ns", &Value::Null).await.problem(403, "forbidden");
    api.stop().await;
}

#[tokio::test]
async fn ids_of_two_tenants_do_not_meet() {
    let api = Api::start();
    let _folder = closed(&api);
    api.signed(ALPHA, "POST", "/v1/usage", &of_agent("same", "mine", "alpha")).await.ok();
    let mut theirs = of_agent("same", "other", "gamma");
    theirs["namespace"] = json!("theirs");
    assert_eq!(api.signed(READER, "POST", "/v1/usage", &theirs).await.ok()["accepted"], 1);
    api.stop().await;
}

#[tokio::test]
async fn what_is_done_and_what_is_refused_becomes_an_entry() {
    let api = Api::start();
    let _folder = closed(&api);
    api.signed(ROOT, "POST", "/v1/usage", &event("1", "run")).await.ok();
    api.signed(ALPHA, "POST", &format!("{RUNS}/run/kill"), &json!({})).await.problem(403, "forbidden");
    api.signed(ROOT, "POST", &format!("{RUNS}/run/kill"), &json!({"reason": "enough"})).await.ok();
    let mut audits = Vec::new();
    api.app.view.read_fresh(|_| ()).await;
    api.app
        .view
        .ledger()
        .scan(1, |entry| {
            if let budget::Fact::Audited(audit) = &entry.fact {
                audits.push(format!("{} {} {} {}", audit.principal, audit.action, audit.object, audit.status));
            }
            true
        })
        .unwrap();
    let action = "POST /v1/namespaces/{namespace}/executions/{name}/kill";
    assert_eq!(audits, [format!("alpha {action} {RUNS}/run/kill 403"), format!("root {action} {RUNS}/run/kill 202")]);
    api.stop().await;
}

#[tokio::test]
async fn too_many_requests_wait_and_are_not_a_matter_of_money() {
    let api = Api::start();
    let folder = closed(&api);
    let text = "auth: { tokens: [{ name: slow, tokenFile: alpha, roles: [ingest], requestsPerSecond: 1, burst: 2 }] }";
    let file = folder.path().join("meterd.yaml");
    let loaded = config::resolve(Some((&file, text)), &[], &[]).unwrap();
    api.app.auth.replace(auth::load(&loaded.config.auth, 0).unwrap());
    for id in ["1", "2"] {
        api.signed(ALPHA, "POST", "/v1/usage", &event(id, "run")).await.ok();
    }
    let answer = api.signed(ALPHA, "POST", "/v1/usage", &event("3", "run")).await;
    let problem = answer.problem(429, "rate_limited");
    assert_eq!((&problem["retryable"], answer.header("retry-after")), (&json!(true), "1"));
    api.stop().await;
}

#[tokio::test]
async fn a_page_of_somebody_elses_cannot_speak_for_this_machines_user() {
    let api = Api::start();
    let headers = |host: &'static str, origin: &'static str| [("host", host), ("origin", origin)];
    let refused = [
        headers("127.0.0.1:7460", "https://evil.example"),
        headers("evil.example:7460", "http://evil.example:7460"),
        headers("127.0.0.1:7460", "null"),
    ];
    for headers in refused {
        api.send("GET", "/v1/budgets", &headers, Body::empty()).await.problem(403, "foreign_origin");
    }
    api.send("GET", "/v1/budgets", &headers("127.0.0.1:7460", "http://127.0.0.1:7460"), Body::empty()).await.ok();
    api.send("GET", "/v1/budgets", &headers("localhost:7460", "http://localhost:7460"), Body::empty()).await.ok();
    api.send("GET", "/v1/budgets", &[("host", "[::1]:7460")], Body::empty()).await.ok();
    api.stop().await;
}

#[tokio::test]
async fn every_request_is_counted_once_under_its_route() {
    let api = Api::start();
    api.get("/v1/budgets").await.ok();
    api.get("/v1/nowhere").await.problem(404, "unknown_path");
    api.put("/v1/budgets", &json!({})).await.problem(405, "method_not_allowed");
    let _folder = closed(&api);
    api.get("/v1/budgets").await.problem(401, "unauthenticated");
    api.signed(ALPHA, "GET", "/v1/budgets", &Value::Null).await.problem(403, "forbidden");
    let count = async |handler: &str, method: &str, code: u16| {
        let labels = format!(r#"code="{code}",handler="{handler}",method="{method}""#);
        api.series(&format!("meterd_http_requests_total{{{labels}}}")).await
    };
    for (handler, method, code) in [
        ("/v1/budgets", "GET", 200),
        ("other", "GET", 404),
        ("/v1/budgets", "PUT", 405),
        ("/v1/budgets", "GET", 401),
        ("/v1/budgets", "GET", 403),
    ] {
        assert_eq!(count(handler, method, code).await.as_deref(), Some("1"), "{method} {handler} {code}");
    }
}
