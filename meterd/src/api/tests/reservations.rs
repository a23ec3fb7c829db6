//! Reservations over the router: bodies as clients send them, and what comes back.

use serde_json::json;

use super::{Api, event};

const PATH: &str = "/v1/reservations";

async fn with_budget() -> Api {
    let api = Api::start();
    let budget = "apiVersion: joch.dev/v1alpha1\nkind: Budget\nmetadata: { name: cap, namespace: ns }\nspec: { limits: { perRunUsd: 5 } }\n";
    api.send("POST", "/v1/resources/apply", &[], budget).await.ok();
    api
}

#[tokio::test]
async fn a_reservation_is_granted_settled_and_listed() {
    let api = with_budget().await;
    let body =
        json!({ "id": "res-1", "namespace": "ns", "execution": "run", "agent": "helper", "estimate_usd": "3.5" });
    let granted = api.post(PATH, &body).await;
    assert_eq!(granted.status.as_u16(), 201, "{}", granted.text());
    let first = granted.json();
    assert_eq!((&first["decision"], &first["heldUsd"]), (&json!("allow"), &json!("3.5")));
    assert!(first["expiresAt"].as_str().is_some_and(|at| at.starts_with("2026-11-22T10:10:00")), "{first}");
    assert_eq!(first["budgets"][0]["heldUsd"], "3.5");
    let again = api.post(PATH, &body).await;
    assert_eq!((again.status.as_u16(), &again.json()["expiresAt"]), (200, &first["expiresAt"]));
    let other = json!({ "id": "res-1", "namespace": "ns", "execution": "run", "agent": "helper", "estimate_usd": "3" });
    assert_eq!(api.post(PATH, &other).await.problem(409, "id_conflict")["pointer"], "/id");
    let settled = api.post(&format!("{PATH}/res-1/settle"), &json!({ "id": "s", "cost_usd": "1.25" })).await.ok();
    assert_eq!(
        (&settled["status"], &settled["state"], &settled["heldUsd"]),
        (&json!("accepted"), &json!("settled"), &json!("0"))
    );
    let settled = api.post(&format!("{PATH}/res-1/settle"), &json!({ "id": "s", "cost_usd": "1.25" })).await.ok();
    assert_eq!((&settled["status"], &settled["flags"]), (&json!("duplicate"), &json!([])));
    let late = api.post(&format!("{PATH}/res-1/settle"), &json!({ "id": "t", "cost_usd": "0.25" })).await.ok();
    assert_eq!((&late["status"], &late["flags"]), (&json!("accepted"), &json!(["late"])));
    let one = api.get(&format!("{PATH}/res-1")).await.ok();
    assert_eq!(
        (&one["state"], &one["spentUsd"], &one["requestedUsd"]),
        (&json!("settled"), &json!("1.25"), &json!("3.5"))
    );
    let run = api.get("/v1/namespaces/ns/executions/run").await.text();
    assert!(run.contains(r#""costUsd":1.5"#), "{run}");
    let entries = api.get("/v1/namespaces/ns/executions/run/entries").await.ok();
    assert_eq!(
        (&entries["entries"][0]["status"], &entries["entries"][0]["reservation"]),
        (&json!("reported"), &json!("res-1"))
    );
    assert_eq!(entries["entries"][1]["flags"], json!(["late"]));
    api.stop().await;
}

#[tokio::test]
async fn a_denial_says_which_budget_and_how_much() {
    let api = with_budget().await;
    let ask = |id: &str, usd: &str| json!({ "id": id, "namespace": "ns", "execution": "run", "estimate_usd": usd });
    api.post(PATH, &ask("a", "3")).await.ok();
    let denied = api.post(PATH, &ask("b", "2.01")).await;
    assert_eq!(denied.status.as_u16(), 402, "{}", denied.text());
    let decision = denied.json();
    assert_eq!((&decision["decision"], &decision["code"]), (&json!("deny"), &json!("budget_exceeded")));
    assert_eq!((&decision["budget"]["name"], &decision["window"]), (&json!("cap"), &json!("run")));
    assert_eq!(
        (&decision["limitUsd"], &decision["spentUsd"], &decision["heldUsd"]),
        (&json!("5"), &json!("0"), &json!("3"))
    );
    assert_eq!((&decision["requestedUsd"], &decision["retryable"]), (&json!("2.01"), &json!(false)));
    assert_eq!(decision["resetsAt"], json!(null));
    // A denial stays one, also when there is room.
    api.post(&format!("{PATH}/a/release"), &json!({ "id": "a" })).await.ok();
    assert_eq!(api.post(PATH, &ask("b", "2.01")).await.status.as_u16(), 402);
    api.post(PATH, &ask("c", "2.01")).await.ok();
    let none = api.post(PATH, &json!({ "id": "d", "namespace": "ns", "execution": "run" })).await;
    assert_eq!((none.status.as_u16(), &none.json()["code"]), (402, &json!("no_estimate")));
    let denied = api.get(&format!("{PATH}?state=denied")).await.ok();
    assert_eq!(denied["items"].as_array().map(Vec::len), Some(2));
    api.stop().await;
}

#[tokio::test]
async fn an_estimate_is_the_worst_case_of_the_model() {
    let api = with_budget().await;
    let estimate = |id: &str, model: &str| {
        json!({ "id": id, "namespace": "ns", "execution": "run",
            "estimate": { "provider": "acme", "model": model, "input_tokens": 1000, "max_output_tokens": 500 } })
    };
    let held = api.post(PATH, &estimate("a", "swift")).await.ok();
    let event = api.post("/v1/usage", &event("e", "run")).await.ok();
    assert_eq!(held["heldUsd"], event["results"][0]["cost_usd"]);
    assert_eq!(held["heldTokens"], 1500);
    let unknown = api.post(PATH, &estimate("b", "unheard-of")).await;
    assert_eq!((unknown.status.as_u16(), &unknown.json()["code"]), (402, &json!("no_estimate")));
    api.stop().await;
}

#[tokio::test]
async fn an_event_settles_the_reservation_that_it_names() {
    let api = with_budget().await;
    let ask = |id: &str| json!({ "id": id, "namespace": "ns", "execution": "run", "estimate_usd": "1" });
    api.post(PATH, &ask("a")).await.ok();
    let mut call = event("e", "run");
    call["reservation"] = json!("a");
    api.post("/v1/usage", &call).await.ok();
    assert_eq!(api.get(&format!("{PATH}/a")).await.ok()["state"], "settled");
    api.post(PATH, &ask("b")).await.ok();
    let settled =
        api.post(&format!("{PATH}/b/settle"), &json!({ "event": event("f", "run"), "final": false })).await.ok();
    assert_eq!(settled["state"], "held");
    let extended = api.post(&format!("{PATH}/b/extend"), &json!({ "id": "b", "ttl": "30s" })).await.ok();
    assert_eq!(extended["state"], "held");
    api.post(&format!("{PATH}/b/release"), &json!({})).await.ok();
    api.post(&format!("{PATH}/b/extend"), &json!({ "ttl": "30s" })).await.problem(409, "reservation_resolved");
    api.post(&format!("{PATH}/nobody/release"), &json!({})).await.problem(404, "not_found");
    api.stop().await;
}

#[tokio::test]
async fn bodies_that_cannot_be_are_refused_at_their_field() {
    let api = with_budget().await;
    let check = async |body: serde_json::Value, code: &str, pointer: Option<&str>| {
        let problem = api.post(PATH, &body).await.problem(400, code);
        assert_eq!(problem["pointer"].as_str(), pointer, "{problem}");
    };
    check(json!({ "execution": "run" }), "invalid_reservation", None).await;
    check(json!({ "id": "", "execution": "run" }), "invalid_value", Some("/id")).await;
    check(json!({ "id": "a", "execution": "run", "estimate_usd": "-1" }), "invalid_amount", Some("/estimate_usd"))
        .await;
    check(json!({ "id": "a", "execution": "run", "estimate_usd": "1", "ttl": "2d" }), "invalid_ttl", Some("/ttl"))
        .await;
    api.post(&format!("{PATH}/a/settle"), &json!({})).await.problem(400, "invalid_settlement");
    api.stop().await;
}

#[tokio::test]
async fn a_guardian_answers_for_tool_calls() {
    let api = Api::start();
    let budget = "apiVersion: joch.dev/v1alpha1\nkind: Budget\nmetadata: { name: tools, namespace: default }\nspec: { limits: { toolCallLimitPerRun: 1 } }\n";
    api.send("POST", "/v1/resources/apply", &[], budget).await.ok();
    let call = async |method: &str, step: &str| {
        let params = json!({ "toolCallRequest": { "executionId": step, "toolId": "search", "inputs": [] },
            "context": { "agent": { "id": "helper" }, "session": { "id": "run" } } });
        let request = json!({ "jsonrpc": "2.0", "id": 7, "method": method, "params": params });
        api.post("/v1/hooks/aos", &request).await.ok()
    };
    assert_eq!(call("ping", "a").await["result"]["status"], "ok");
    let first = call("steps/toolCallRequest", "a").await;
    assert_eq!((&first["id"], &first["result"]["decision"]), (&json!(7), &json!("allow")), "{first}");
    assert_eq!(first["result"]["data"]["reservationId"], "aos/run/a");
    let second = call("steps/toolCallRequest", "b").await;
    assert_eq!(
        (&second["result"]["decision"], &second["result"]["reason"]),
        (&json!("deny"), &json!("budget_exceeded"))
    );
    assert_eq!(second["result"]["data"]["bindingBudget"]["name"], "tools");
    assert_eq!(second["result"]["policyVersion"], "1");
    assert_eq!(call("steps/message", "c").await["result"]["decision"], "deny");
    assert_eq!(call("steps/toolCallResult", "a").await["result"]["decision"], "allow");
    assert_eq!(call("steps/toolCallRequest", "d").await["result"]["decision"], "allow");
    assert_eq!(call("unheard/of", "a").await["error"]["code"], -32_601);
    // What names the run stands here or there, whoever writes it.
    for (n, params) in [
        json!({ "executionId": "run", "agent": { "name": "helper" }, "stepId": "e" }),
        json!({ "metadata": { "joch.execution.id": "run" } }),
        json!({ "session": { "id": "run" }, "toolCallRequest": { "toolId": "search" } }),
        json!({ "context": { "execution": { "id": "run" } } }),
        json!({ "sessionId": "run" }),
    ]
    .into_iter()
    .enumerate()
    {
        let request = json!({ "id": n, "method": "steps/toolCallRequest", "params": params });
        let answer = api.post("/v1/hooks/aos", &request).await.ok();
        assert_eq!(answer["result"]["reason"], "budget_exceeded", "{request}: {answer}");
    }
    api.stop().await;
}
