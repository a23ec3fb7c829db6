//! Budgets and resources: applied as a whole or not at all, listed with live figures.

use serde_json::{Value, json};

use super::{Api, event};

const BUDGET: &str = "apiVersion: joch.dev/v1alpha1\nkind: Budget\nmetadata: { name: team, namespace: ns }\nspec:\n  scope: { teams: [blue] }\n  limits: { dailyUsd: 5 }\n";

async fn apply(api: &Api, path: &str, yaml: &str) -> super::Answer {
    api.send("POST", &format!("/v1/resources/{path}"), &[("content-type", "application/yaml")], yaml.to_owned()).await
}

#[tokio::test]
async fn a_budget_is_applied_once_and_listed_with_its_figures() {
    let api = Api::start();
    let read = apply(&api, "validate", BUDGET).await.ok();
    assert_eq!((&read["valid"], &read["resources"][0]["name"]), (&json!(true), &json!("team")));
    assert_eq!(api.app.view.ledger().committed(), 0, "validating changes nothing");
    for expected in ["applied", "unchanged"] {
        assert_eq!(apply(&api, "apply", BUDGET).await.ok()["results"][0]["status"], expected);
    }
    let mut call = event("e-1", "run");
    call["team"] = json!("blue");
    api.post("/v1/usage", &call).await.ok();
    let one = api.get("/v1/namespaces/ns/budgets/team").await.ok();
    assert_eq!((&one["kind"], &one["metadata"]["name"]), (&json!("Budget"), &json!("team")));
    assert!(one["status"].to_string().contains("0.006"), "{one}");
    let list = api.get("/v1/budgets").await.ok();
    assert_eq!((&list["kind"], &list["items"][0]), (&json!("BudgetList"), &one));
    assert_eq!(api.get("/v1/budgets?namespace=elsewhere").await.ok()["items"], json!([]));
    let yaml = api.get("/v1/namespaces/ns/budgets/team?format=yaml").await;
    assert_eq!(yaml.header("content-type"), "application/yaml");
    let document: Value = serde_yaml::from_str(&yaml.text()).unwrap();
    assert_eq!(document["metadata"]["name"], "team");
    api.get("/v1/namespaces/ns/budgets/nothing").await.problem(404, "not_found");
    api.stop().await;
}

#[tokio::test]
async fn nothing_is_applied_if_anything_is_wrong() {
    let api = Api::start();
    let bad = BUDGET.replace("dailyUsd: 5", "dailyUsd: lots").replace("name: team", "name: other");
    for path in ["apply", "validate"] {
        let problem = apply(&api, path, &format!("{BUDGET}---\n{bad}")).await.problem(400, "invalid_resource");
        let fault = &problem["problems"][0];
        assert!(fault["line"].as_u64().is_some_and(|line| line > 7), "{problem}");
        assert!(problem["pointer"].as_str().unwrap().ends_with("/dailyUsd"), "{problem}");
    }
    assert_eq!(api.app.view.ledger().committed(), 0);
    assert_eq!(api.get("/v1/budgets").await.ok()["items"], json!([]));
    // Nobody takes prices in here, so the budget beside them is not applied either.
    let table = crate::event::charge::tests::sample::TABLE;
    apply(&api, "apply", &format!("{BUDGET}---\n{table}")).await.problem(503, "ledger_stopped");
    assert_eq!(api.get("/v1/budgets").await.ok()["items"], json!([]));
    api.send("POST", "/v1/resources/apply", &[], vec![0xff, 0xfe]).await.problem(400, "not_utf8");
    api.stop().await;
}
