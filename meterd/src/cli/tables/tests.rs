//! What the commands say of small tables.

use std::path::Path;
use std::sync::Arc;

use pricing::{PriceBook, PriceTable};

use super::{diff, instant, models_of, objects, show, tables_of, target};
use crate::cli::output::Output;

fn table(name: &str, models: &str) -> String {
    format!(
        "apiVersion: joch.dev/v1alpha1\nkind: PriceTable\nmetadata: {{ name: {name} }}\nspec:\n  version: \"1\"\n  \
         models:\n{models}"
    )
}

const OLD: &str = r#"    - { provider: p, id: gone, rates: [{ set: { input_tokens: "1" } }] }
    - provider: p
      id: kept
      match: { exact: [kept], prefix: [kept-], alias: [{ name: latest, from: 2026-01-01 }], glob: ["*-kept"] }
      cap: { web_searches: "1" }
      rates:
        - set: { input_tokens: "1", output_tokens: "2" }
        - when: { attrs: { processing: batch } }
          set: { input_tokens: "0.5" }
        - when: { from: 2026-06-01 }
          reset: true
          set: { input_tokens: "1.5", output_tokens: "2" }
        - when: { from: 2027-01-01 }
          set: { input_tokens: "3" }
"#;
const NEW: &str = r#"    - { provider: p, id: fresh, rates: [{ set: { input_tokens: "1" } }] }
    - provider: p
      id: kept
      match: { exact: [kept] }
      rates:
        - set: { input_tokens: "1.0", output_tokens: "2.5", web_searches: "10" }
"#;

fn book(models: &str) -> PriceBook {
    let (tables, _) = PriceTable::parse(&table("t", models)).unwrap();
    PriceBook::new(tables.into_iter().map(Arc::new).collect())
}

#[test]
fn a_list_has_tables_or_models() {
    let book = book(OLD);
    let digest = book.tables()[0].reference().digest.to_string();
    assert_eq!(tables_of(&book).rows, [["t", "1", "2", &digest]]);
    assert_eq!(models_of(&book).rows, [["p", "gone", "t", "1"], ["p", "kept", "t", "1"]]);
    assert!(objects(&models_of(&book)).to_json().starts_with(r#"[{"provider":"p","model":"gone""#));
}

/// How a name was matched.
fn check_match(name: &str, at: &str, expected: &str) {
    let at = instant(at).unwrap();
    let explained = book(OLD).explain("p", name, at, "default", None);
    let found = match &explained {
        Ok(explained) => format!("{} {} {}", explained.id, explained.rank.as_str(), explained.pattern),
        Err(reason) => reason.to_string(),
    };
    assert_eq!(found, expected, "{name} at {at}");
}

#[test]
fn the_match_is_explained() {
    check_match("kept", "2026-11-22", "kept exact kept");
    check_match("Kept-3", "2026-11-22", "kept prefix kept-");
    check_match("latest", "2026-11-22", "kept alias latest");
    check_match("latest", "2025-11-22T10:00:00+01:00", "unknown_model");
    check_match("old-kept", "2026-11-22", "kept glob *-kept");
    check_match("p/gone", "2026-11-22", "gone exact gone");
    check_match("nothing", "2026-11-22", "unknown_model");
}

#[test]
fn each_rule_says_whether_it_is_in_force() {
    let at = instant("2026-11-22").unwrap();
    let explained = book(OLD).explain("p", "kept", at, "default", None).unwrap();
    let csv = show::text(&explained, "p:kept", at, Output::Csv);
    let expected = r#"rule,in_force,unit,usd,per,when
0,replaced,input_tokens,1,1000000,always
0,replaced,output_tokens,2,1000000,always
1,replaced,input_tokens,0.5,1000000,"{""attrs"":{""processing"":""batch""}}"
2,yes,input_tokens,1.5,1000000,"{""from"":""2026-06-01""}, forgetting all above"
2,yes,output_tokens,2,1000000,"{""from"":""2026-06-01""}, forgetting all above"
3,not-now,input_tokens,3,1000000,"{""from"":""2027-01-01""}"
"#;
    assert_eq!(csv, expected);
    let earlier = instant("2026-05-01").unwrap();
    let explained = book(OLD).explain("p", "kept", earlier, "default", None).unwrap();
    let force: Vec<&str> = explained.rules.iter().map(|rule| rule.force.as_str()).collect();
    assert_eq!(force, ["yes", "depends", "not-now", "not-now"]);
    let table = show::text(&explained, "p:kept", earlier, Output::Table);
    assert!(table.contains("matched   exact \"kept\"\n"), "{table}");
    assert!(table.contains("cap       {\"web_searches\":\"1\"}\n"), "{table}");
    let json = show::text(&explained, "p:kept", earlier, Output::Json);
    assert!(json.contains(r#""matched":{"rank":"exact","pattern":"kept"}"#), "{json}");
}

#[test]
fn a_diff_names_what_was_added_removed_and_changed() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, models: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, table("t", models)).unwrap();
        path
    };
    let (old, new) = (write("old.yaml", OLD), write("new.yaml", NEW));
    let (old, new) = (diff::load(&old).unwrap(), diff::load(&new).unwrap());
    let rows = diff::rows(&old, &new).csv();
    for line in [
        "added,p:fresh,-,-,-,-",
        "removed,p:gone,-,-,-,-",
        "changed,p:kept,output_tokens,2 per 1000000,2.5 per 1000000,always",
        "changed,p:kept,web_searches,-,10 per 1000,always",
        r#"changed,p:kept,input_tokens,0.5 per 1000000,-,"{""attrs"":{""processing"":""batch""}}""#,
        r#"changed,p:kept,cap,"{""web_searches"":""1""}",-,always"#,
    ] {
        assert!(rows.lines().any(|found| found == line), "{line} in {rows}");
    }
    assert!(!rows.contains("input_tokens,1 per"), "1 and 1.0 are the same: {rows}");
    assert!(diff::rows(&old, &old).rows.is_empty());
    assert!(!diff::load(Path::new("built-in")).unwrap().is_empty());
}

const TOOLS: &str = r#"
  tools:
    - { match: { glob: "search_*" }, rates: [{ set: { calls: "1" } }] }
    - { match: { mcpServer: github }, rates: [{ set: { calls: "2" } }] }
    - { match: { tool: search_issues }, rates: [{ set: { calls: "3" } }] }
    - { match: { mcpServer: github, tool: search_issues }, billOn: [Succeeded], rates: [{ set: { calls: "4" } }] }
"#;

/// Which of these entries prices a tool, and which come after it.
#[test]
fn tools_are_explained_with_what_they_go_before() {
    let text = format!(
        "apiVersion: joch.dev/v1alpha1\nkind: PriceTable\nmetadata: {{ name: t }}\nspec:\n  version: \"1\"{TOOLS}"
    );
    let (tables, _) = PriceTable::parse(&text).unwrap();
    let book = PriceBook::new(tables.into_iter().map(Arc::new).collect());
    let at = instant("2026-11-22").unwrap();
    let explain = |tool: &str, server: Option<&str>| {
        let (asked, target) = target(None, Some(tool), server).unwrap();
        let explained = book.explain_target(target, at, "default", None).map_err(|reason| reason.to_string())?;
        Ok::<String, String>(show::text(&explained, &asked, at, Output::Table))
    };
    let found = explain("search_issues", Some("github")).unwrap();
    for line in [
        "asked     tool search_issues of github at 2026-11-22T00:00:00Z",
        "matched   exact \"search_issues\" of github",
        "before    exact \"search_issues\": search_issues in t 1",
        "before    glob \"search_*\": search_* in t 1",
        "before    glob \"*\" of github: * in t 1",
        "billOn    [\"Succeeded\"]",
        "0     yes       calls  4    1    always",
    ] {
        assert!(found.lines().any(|found| found.trim_end() == line), "{line} in\n{found}");
    }
    let expected = [
        ("search_issues", None, "matched   exact \"search_issues\"", "calls  3"),
        ("search_code", Some("github"), "matched   glob \"search_*\"", "calls  1"),
        ("star", Some("github"), "matched   glob \"*\" of github", "calls  2"),
    ];
    for (tool, server, matched, rate) in expected {
        let found = explain(tool, server).unwrap();
        assert!(found.contains(matched) && found.contains(rate), "{tool} of {server:?}: {found}");
    }
    assert_eq!(explain("star", None).unwrap_err(), "unknown_tool");
}

/// Everything that claims a model's name, the strongest first.
#[test]
fn a_models_other_claims_come_after_the_one_that_answers() {
    let models = r#"    - { provider: p, id: exact, match: { exact: [m-1-x] }, rates: [{ set: { input_tokens: "1" } }] }
    - { provider: p, id: long, match: { prefix: [m-1-] }, rates: [{ set: { input_tokens: "2" } }] }
    - { provider: p, id: short, match: { prefix: [m-] }, rates: [{ set: { input_tokens: "3" } }] }
    - { provider: p, id: star, match: { glob: ["*-x"] }, rates: [{ set: { input_tokens: "4" } }] }
"#;
    let at = instant("2026-11-22").unwrap();
    let explained = book(models).explain("p", "m-1-x", at, "default", None).unwrap();
    let claims: Vec<&str> = explained.claims.iter().map(|claim| &*claim.id).collect();
    assert_eq!(claims, ["exact", "long", "short", "star"]);
    let text = show::text(&explained, "p:m-1-x", at, Output::Json);
    assert!(text.contains(r#""before":[{"table":"t","version":"1","id":"long""#), "{text}");
}
