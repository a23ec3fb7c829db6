//! Free allowances: credits beside the charges, shared by a group, the same after a crash, and proved.

use std::fs;

use serde_json::{Value, json};

use crate::events::{NS, call_of, literal, quiet_zone};
use crate::harness::cli;
use crate::harness::daemon::Daemon;

/// Two models at 10 USD a thousand searches, which share three free ones a day.
fn table() -> String {
    let model = |id: &str| {
        format!(
            "    - provider: acme\n      id: {id}\n      rates: [{{ set: {{ input_tokens: 1, output_tokens: 2, web_searches: 10 }} }}]\n      \
             allowances: [{{ name: grounding, unit: web_searches, free: 3, period: day, tz: {}, group: acme-searches }}]\n",
            quiet_zone()
        )
    };
    format!(
        "apiVersion: joch.dev/v1alpha1\nkind: PriceTable\nmetadata: {{ name: house }}\nspec:\n  version: \"1\"\n  models:\n{}{}",
        model("one"),
        model("two")
    )
}

fn budget() -> String {
    format!(
        "apiVersion: joch.dev/v1alpha1\nkind: Budget\nmetadata: {{ name: cap, namespace: {NS} }}\nspec:\n  \
         scope: {{ namespaces: [{NS}] }}\n  limits: {{ perRunUsd: 0.025 }}\n  enforcement: {{ onHardLimit: terminate }}\n"
    )
}

fn start() -> Daemon {
    Daemon::start_with(|folder| {
        for (name, text) in [("prices", table()), ("resources", budget())] {
            fs::create_dir(folder.join(name)).expect("a new folder");
            fs::write(folder.join(name).join("house.yaml"), text).expect("a new file");
        }
        let (prices, resources) = (folder.join("prices"), folder.join("resources"));
        format!("prices: {{ dirs: [{}] }}\nresources: {{ dir: {} }}\n", prices.display(), resources.display())
    })
}

fn searching(id: &str, model: &str, searches: u64) -> Value {
    call_of(id, "acme", model, json!({"input_tokens": 1_000, "output_tokens": 1_000, "web_searches": searches}))
}

fn cost(daemon: &Daemon) -> String {
    literal(&daemon.get(&format!("/v1/namespaces/{NS}/executions/prices")).expect(200).text(), "costUsd").to_owned()
}

/// Worked out: a call is 0.001 + 0.002 and 0.01 a search. The first takes 2 of the 3 free searches (−0.02), the second,
/// of the other model, the last one (−0.01 of 0.02); the third pays.
#[test]
fn what_is_free_is_credited_once_and_shared() {
    let mut daemon = start();
    let first = searching("a", "one", 2);
    let results = daemon.usage(&json!([first, searching("b", "two", 2)]));
    assert_eq!(
        (&results[0]["cost_usd"], &results[1]["cost_usd"]),
        (&json!("0.023"), &json!("0.023")),
        "the price itself"
    );
    assert_eq!(cost(&daemon), "0.016", "0.003 and 0.013");
    let execution = daemon.execution(NS, "prices");
    assert_eq!(execution["status"]["phase"], "Running", "what is free counts for no limit: {execution}");
    daemon.kill();
    daemon.start_again();
    assert_eq!(daemon.usage(&first)[0]["status"], "duplicate");
    daemon.usage(&searching("c", "one", 1));
    assert_eq!(cost(&daemon), "0.029", "0.016 + 0.013: the quota is used up, also after a crash");
    let credits: Vec<(Value, Value)> = daemon
        .entries(NS, "prices")
        .into_iter()
        .filter(|entry| entry["kind"] == "adjustment")
        .map(|entry| (entry["status"].clone(), entry["cost_usd"].clone()))
        .collect();
    assert_eq!(credits, [(json!("allowance"), json!("-0.02")), (json!("allowance"), json!("-0.01"))]);
    daemon.wait_for_metric("meterd_cost_usd_total", &[], "0.059");
    assert!(daemon.stop().success());
    let data_dir = daemon.data_dir().display().to_string();
    cli::run(&["verify", "--data-dir", &data_dir], daemon.folder()).expect_code(0);
}
