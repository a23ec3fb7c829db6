//! Price books: a contract for one team over the list, hot reload of both, proof, and re-pricing by layers.

use std::fs;

use serde_json::{Value, json};

use crate::events::{NS, call_of, literal};
use crate::harness::cli;
use crate::harness::daemon::Daemon;
use crate::harness::wait::{SOON, until};

const LIST: &str = r#"
apiVersion: joch.dev/v1alpha1
kind: PriceTable
metadata: { name: acme-list }
spec:
  version: "1"
  models:
    - provider: acme
      id: large
      match: { prefix: [large] }
      rates:
        - set: { input_tokens: "2", output_tokens: "10" }
        - when: { usage: { input_tokens: { gt: 200000 } } }
          set: { input_tokens: "4", output_tokens: "20" }
"#;

fn contract(version: &str, rate: &str) -> String {
    format!(
        "apiVersion: joch.dev/v1alpha1\nkind: PriceTable\nmetadata: {{ name: acme-deal }}\nspec:\n  version: \"{version}\"\n  models:\n    \
         - provider: acme\n      id: large\n      rates: [{{ appliesTo: base, set: {{ input_tokens: \"{rate}\" }} }}]\n---\n\
         apiVersion: joch.dev/v1alpha1\nkind: PriceBook\nmetadata: {{ name: acme }}\nspec:\n  layers:\n    \
         - {{ layer: contract, priceTable: acme-deal, scope: {{ teams: [research] }} }}\n"
    )
}

fn start() -> Daemon {
    Daemon::start_with(|folder| {
        let prices = folder.join("prices");
        fs::create_dir(&prices).expect("a new folder");
        fs::write(prices.join("list.yaml"), LIST).expect("a new file");
        fs::write(prices.join("deal.yaml"), contract("1", "1")).expect("a new file");
        format!("prices: {{ dirs: [{}] }}\n", prices.display())
    })
}

fn cost(daemon: &Daemon, execution: &str) -> String {
    literal(&daemon.get(&format!("/v1/namespaces/{NS}/executions/{execution}")).expect(200).text(), "costUsd")
        .to_owned()
}

/// A call of a run; 100,000 tokens in and 1,000 out.
fn call(id: &str, execution: &str, team: Option<&str>) -> Value {
    let mut call = call_of(id, "acme", "large-2", json!({"input_tokens": 100_000, "output_tokens": 1_000}));
    call["execution"] = json!(execution);
    call.as_object_mut().unwrap().remove("team");
    team.into_iter().for_each(|team| call["team"] = json!(team));
    call
}

/// Worked out: by the list 0.1 M × 2 + 0.001 M × 10 = 0.21; by the contract 0.1 M × 1 + 0.01 = 0.11.
#[test]
fn a_contract_prices_its_team_and_the_ledger_proves_it() {
    let mut daemon = start();
    daemon.put(&format!("/v1/namespaces/{NS}/executions/theirs"), &json!({"team": "research"})).expect(200);
    // The run's team counts where the event says none, and the event is the same event when it is sent again.
    let first = call("a", "theirs", None);
    let results =
        daemon.usage(&json!([first, call("b", "ours", Some("support")), call("c", "named", Some("research"))]));
    let costs: Vec<&Value> = results.iter().map(|result| &result["cost_usd"]).collect();
    assert_eq!(costs, [&json!("0.11"), &json!("0.21"), &json!("0.11")]);
    assert_eq!(daemon.usage(&first)[0]["status"], "duplicate");
    let line = &daemon.entries(NS, "theirs")[0];
    assert_eq!(
        (&line["price_table"]["name"], &line["price_table"]["version"]),
        (&json!("acme-list + acme-deal"), &json!("1 + 1"))
    );

    let deal = daemon.folder().join("prices/deal.yaml");
    fs::write(&deal, contract("2", "0.5").replace("acme-deal, scope", "acme-dael, scope")).unwrap();
    until("the wrong name in the log", SOON, || daemon.log().contains("did you mean acme-deal?").then_some(()));
    assert_eq!(daemon.usage(&call("d", "theirs", None))[0]["cost_usd"], "0.11", "the last good book stays");
    fs::write(&deal, contract("2", "0.5")).unwrap();
    let mut tries = 0;
    until("the new contract", SOON, || {
        tries += 1;
        (daemon.usage(&call(&format!("t{tries}"), "tries", Some("research")))[0]["cost_usd"] == "0.06").then_some(())
    });
    assert_eq!(cost(&daemon, "theirs"), "0.22");
    assert_eq!(cost(&daemon, "ours"), "0.21");

    // Re-priced by both tables: the two calls of that run come to 0.12, the other team's stay.
    let tables = daemon.folder().join("prices").display().to_string();
    let url = daemon.api().to_owned();
    let arguments = ["reprice", "--tables", &tables, "--since", "1h", "-o", "json", "--url", &url];
    let report: Value = serde_json::from_str(&cli::run(&arguments, daemon.folder()).expect_code(0).stdout).unwrap();
    let teams: Vec<&Value> = report["rows"].as_array().unwrap().iter().map(|row| &row["team"]).collect();
    assert_eq!(teams, [&json!("research")], "{report}");
    assert_eq!((cost(&daemon, "theirs"), cost(&daemon, "ours")), ("0.12".to_owned(), "0.21".to_owned()));

    assert!(daemon.stop().success());
    let data_dir = daemon.data_dir().display().to_string();
    cli::run(&["verify", "--data-dir", &data_dir], daemon.folder()).expect_code(0);
    // A contract's pinned copy that is gone is a cost that nothing proves any more.
    let pinned = fs::read_dir(daemon.data_dir().join("prices")).unwrap().map(|file| file.unwrap().path());
    let deal = pinned.into_iter().find(|path| {
        let text = fs::read_to_string(path).unwrap();
        text.contains(r#""name":"acme-deal""#) && text.contains(r#""version":"1""#)
    });
    fs::remove_file(deal.expect("the contract is pinned")).unwrap();
    let ended = cli::run(&["verify", "--data-dir", &data_dir], daemon.folder()).expect_code(1);
    assert!(ended.stderr.contains("acme-list + acme-deal"), "{}", ended.stderr);
}

#[test]
fn what_decides_is_explained_and_checked() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("prices")).unwrap();
    fs::write(folder.path().join("prices/list.yaml"), LIST).unwrap();
    fs::write(folder.path().join("prices/deal.yaml"), contract("1", "1")).unwrap();
    cli::run(&["check", "prices"], folder.path()).expect_code(0);
    let show = |more: &[&str]| {
        let mut arguments = vec!["tables", "show", "acme:large-2", "--tables", "prices", "--no-seed", "-o", "csv"];
        arguments.extend(more);
        cli::run(&arguments, folder.path()).expect_code(0).stdout
    };
    let theirs = show(&["--team", "research"]);
    assert!(theirs.contains("1.0,yes,input_tokens,1,1000000,\"always, where no conditional rate holds\""), "{theirs}");
    assert!(!show(&["--team", "support"]).contains("1.0"), "only the list is left");
    fs::write(folder.path().join("prices/deal.yaml"), contract("1", "1").replace("appliesTo: base, ", "")).unwrap();
    let ended = cli::run(&["check", "prices"], folder.path()).expect_code(78);
    assert!(
        ended.stdout.contains("prices/deal.yaml:9:15: error: a contract's rate without `when`"),
        "{}",
        ended.stdout
    );
    assert!(ended.stdout.contains("appliesTo: base, or appliesTo: all"), "{}", ended.stdout);
}
