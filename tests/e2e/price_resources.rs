//! Prices as resources: tables, books and models from the watched folder and by `apply`, scoped, reloaded, kept, proved.

use std::fs;

use serde_json::{Value, json};

use crate::events::{NS, call_of, literal};
use crate::harness::cli;
use crate::harness::daemon::Daemon;
use crate::harness::wait::{SOON, until};

/// A model at 2 USD a million in and 10 out.
const LIST: &str = "apiVersion: joch.dev/v1alpha1\nkind: PriceTable\nmetadata: { name: acme-list }\nspec:\n  version: \"1\"\n  \
    models:\n    - { provider: acme, id: large, rates: [{ set: { input_tokens: \"2\", output_tokens: \"10\" } }] }\n";

/// What was agreed for input, for the research team and for one namespace.
fn contract(rate: &str) -> String {
    format!(
        "apiVersion: joch.dev/v1alpha1\nkind: PriceTable\nmetadata: {{ name: acme-deal }}\nspec:\n  version: \"{rate}\"\n  models:\n    \
         - {{ provider: acme, id: large, rates: [{{ appliesTo: base, set: {{ input_tokens: \"{rate}\" }} }}] }}\n---\n\
         apiVersion: joch.dev/v1alpha1\nkind: PriceBook\nmetadata: {{ name: acme }}\nspec:\n  layers:\n    \
         - {{ layer: contract, priceTable: acme-deal, scope: {{ teams: [research] }} }}\n    \
         - {{ layer: contract, priceTable: acme-deal, scope: {{ namespaces: [lab] }} }}\n"
    )
}

/// What a million tokens in cost, for a namespace and a team. The numbering makes each call another one.
fn price(daemon: &Daemon, namespace: &str, team: &str, count: &mut u32) -> Value {
    *count += 1;
    let mut call = call_of(&format!("p-{count}"), "acme", "large", json!({"input_tokens": 1_000_000}));
    call["namespace"] = json!(namespace);
    call["team"] = json!(team);
    call["execution"] = json!(format!("run-{namespace}-{team}"));
    daemon.usage(&call)[0]["cost_usd"].clone()
}

#[test]
fn what_is_applied_prices_its_scope_outlives_a_crash_and_is_proved() {
    let (mut daemon, mut count) = (Daemon::start(), 0);
    assert_eq!(price(&daemon, NS, "support", &mut count), Value::Null, "nobody knows acme yet");
    let answer = daemon.apply(&format!("{LIST}---\n{}", contract("1")));
    let statuses: Vec<&Value> = answer["results"].as_array().unwrap().iter().map(|result| &result["status"]).collect();
    assert_eq!(statuses, [&json!("applied"); 3]);
    let run = format!("/v1/namespaces/{NS}/executions/run-{NS}-support");
    until("the quarantined call to settle", SOON, || {
        (literal(&daemon.get(&run).expect(200).text(), "costUsd") == "2").then_some(())
    });
    let mut prices = |daemon: &Daemon| {
        [(NS, "support"), (NS, "research"), ("lab", "support")].map(|(ns, team)| price(daemon, ns, team, &mut count))
    };
    assert_eq!(prices(&daemon), [json!("2"), json!("1"), json!("1")]);
    assert_eq!(daemon.apply(LIST)["results"][0]["status"], "unchanged");

    daemon.kill();
    daemon.start_again();
    assert_eq!(prices(&daemon), [json!("2"), json!("1"), json!("1")], "as before the crash");
    daemon.apply(&contract("0.5"));
    assert_eq!(prices(&daemon), [json!("2"), json!("0.5"), json!("0.5")]);

    // Without its table the book says nothing that holds: refused whole, and nothing changes.
    let url = daemon.api().to_owned();
    let delete = |kind: &str, name: &str| cli::run(&["delete", kind, name, "--url", &url], daemon.folder());
    let refused = delete("PriceTable", "acme-deal").expect_code(1);
    assert!(refused.stderr.contains("no price table is named \"acme-deal\""), "{}", refused.stderr);
    let bad = contract("0.25").replace("research", "support").replace("priceTable: acme-deal", "priceTable: acme-dael");
    let answer = daemon.request("POST", "/v1/resources/apply", &[], bad.as_bytes());
    let problem = answer.expect(400).json();
    assert_eq!(problem["code"], "invalid_prices", "{problem}");
    assert!(problem["problems"][0]["hint"].as_str().unwrap().contains("did you mean acme-deal?"), "{problem}");
    assert_eq!(prices(&daemon), [json!("2"), json!("0.5"), json!("0.5")]);
    delete("PriceBook", "acme").expect_code(0);
    delete("PriceBook", "acme").expect_code(1);
    assert_eq!(prices(&daemon), [json!("2"), json!("2"), json!("2")], "a list price that acme-list goes before");
    delete("PriceTable", "acme-deal").expect_code(0);
    assert_eq!(prices(&daemon), [json!("2"), json!("2"), json!("2")]);

    assert!(daemon.stop().success());
    let data_dir = daemon.data_dir().display().to_string();
    cli::run(&["verify", "--data-dir", &data_dir], daemon.folder()).expect_code(0);
}

/// A hosted model at 3 and 4 USD a million, and one on this machine.
const MODELS: &str = "apiVersion: model.joch.dev/v1alpha1\nkind: Model\nmetadata: { name: large, namespace: lab }\nspec:\n  \
    provider: acme\n  model: large\n  pricing: { currency: USD, inputPerMillionTokens: 3.0, outputPerMillionTokens: 4 }\n---\n\
    apiVersion: joch.dev/v1alpha1\nkind: Model\nmetadata: { name: here, namespace: lab }\nspec:\n  \
    { provider: acme, model: small, endpoint: { type: local } }\n";

#[test]
fn the_folder_of_resources_may_hold_prices_and_is_reloaded_whole() {
    let daemon = Daemon::start_with(|folder| {
        let resources = folder.join("resources");
        fs::create_dir(&resources).expect("a new folder");
        fs::write(resources.join("prices.yaml"), format!("{LIST}---\n{}---\n{MODELS}", contract("1"))).expect("a file");
        format!("resources: {{ dir: {} }}\n", resources.display())
    });
    let (file, mut count) = (daemon.folder().join("resources/prices.yaml"), 0);
    assert_eq!(price(&daemon, NS, "support", &mut count), json!("2"));
    assert_eq!(price(&daemon, "lab", "support", &mut count), json!("1"), "the contract over the model's own price");
    let mut local = call_of("local", "acme", "small", json!({"input_tokens": 10, "output_tokens": 10}));
    local["namespace"] = json!("lab");
    assert_eq!(daemon.usage(&local)[0]["cost_usd"], json!("0"), "a model on this machine costs nothing");

    // A layer whose table is gone: the folder as it is now does not hold together, so what was good stays.
    fs::write(&file, contract("0.5").split("---").last().unwrap()).unwrap();
    until("the place in the log", SOON, || daemon.log().contains("prices.yaml:7").then_some(()));
    assert_eq!(price(&daemon, NS, "research", &mut count), json!("1"));
    fs::write(&file, format!("{LIST}---\n{MODELS}")).unwrap();
    until("the contract to be gone", SOON, || (price(&daemon, NS, "research", &mut count) == "2").then_some(()));
    assert_eq!(price(&daemon, "lab", "research", &mut count), json!("3"), "the model's own price for its namespace");
    assert_eq!(price(&daemon, NS, "support", &mut count), json!("2"), "and nobody else's");

    let url = daemon.api().to_owned();
    let refused = cli::run(&["delete", "PriceTable", "acme-list", "--url", &url], daemon.folder()).expect_code(1);
    assert!(refused.stderr.contains("resources.dir"), "{}", refused.stderr);
    cli::run(&["check", "resources"], daemon.folder()).expect_code(0);
    fs::write(daemon.folder().join("dear.yaml"), MODELS.replace("currency: USD", "currency: EUR")).unwrap();
    let checked = cli::run(&["check", "dear.yaml"], daemon.folder()).expect_code(78);
    assert!(checked.stdout.contains("a Model's price is in USD (spec.pricing.currency)"), "{}", checked.stdout);
}
