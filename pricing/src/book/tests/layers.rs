//! Layers: whose prices they are, what a contract does to the list's tiers, digests, and what is refused.

use super::*;
use crate::cost::{Line, Outcome, price};
use crate::usage::{Quantity, UsageKey};

const LIST: &str = r#"
apiVersion: joch.dev/v1alpha1
kind: PriceTable
metadata: { name: list }
spec:
  version: "1"
  models:
    - provider: acme
      id: large
      match: { exact: [large], prefix: [large-], alias: [latest] }
      rates:
        - set: { input_tokens: "2", output_tokens: "10" }
        - when: { usage: { input_tokens: { gt: 200000 } } }
          set: { input_tokens: "4", output_tokens: "15" }
      adjust: [{ name: us, when: { attrs: { geo: us } }, multiply: "1.1", families: [tokens] }]
"#;

fn contract(name: &str, rates: &str) -> String {
    format!(
        "{{ apiVersion: joch.dev/v1alpha1, kind: PriceTable, metadata: {{ name: {name} }}, spec: {{ version: '7', \
         models: [{{ provider: acme, id: large, {rates} }}] }} }}"
    )
}

fn books(layers: &str) -> Vec<Layers> {
    let text = format!(
        "{{ apiVersion: joch.dev/v1alpha1, kind: PriceBook, metadata: {{ name: prices }}, spec: {{ layers: [{layers}] }} }}"
    );
    vec![Layers::from_node(&crate::document::parse(&text).unwrap()[0]).unwrap()]
}

fn tables(texts: &[&str]) -> Vec<Arc<PriceTable>> {
    texts.iter().map(|text| Arc::new(PriceTable::parse(text).unwrap().0.remove(0))).collect()
}

/// What `tokens` of input and 1,000 of output cost, and the lines.
fn priced(
    book: &PriceBook,
    model: &str,
    tokens: u64,
    who: (&str, Option<&str>),
    geo: Option<&str>,
) -> (String, Vec<Line>, TableRef) {
    let mut usage = Usage::new();
    usage.set(UsageKey::InputTokens, Quantity::from_u64(tokens).unwrap()).unwrap();
    usage.set(UsageKey::OutputTokens, Quantity::from_u64(1_000).unwrap()).unwrap();
    let mut attrs = Attrs::new();
    geo.into_iter().for_each(|geo| attrs.set("geo", geo));
    let target = Target::Model { provider: "acme", model, request_model: None };
    let call =
        Call { target, at: Timestamp::from_nanos(0), usage: &usage, attrs: &attrs, namespace: who.0, team: who.1 };
    match price(book, &call) {
        Outcome::Priced(cost) => (cost.total.to_string(), cost.lines, cost.table),
        Outcome::Unpriced(reason) => panic!("{reason}"),
    }
}

#[test]
fn a_contract_is_for_its_team_and_namespace_only() {
    let contract = contract("deal", "rates: [{ appliesTo: all, set: { input_tokens: 1 } }]");
    let layers = books("{ layer: contract, priceTable: deal, scope: { teams: [red, blue], namespace: prod } }");
    let book = PriceBook::layered(tables(&[LIST, &contract]), &layers).unwrap();
    let cost = |namespace, team| priced(&book, "large", 1_000_000, (namespace, team), None).0;
    // 1,000,000 tokens are above the tier: 4 + 0.015; the contract's 1 replaces the tier's input rate.
    assert_eq!(cost("prod", Some("red")), "1.015");
    assert_eq!(cost("prod", Some("blue")), "1.015");
    assert_eq!(cost("prod", Some("green")), "4.015");
    assert_eq!(cost("prod", None), "4.015");
    assert_eq!(cost("test", Some("red")), "4.015");
    assert!(book.by_team());
}

#[test]
fn base_leaves_the_tiers_alone_and_all_replaces_them() {
    for (applies, below, above) in [("base", "0.11", "4.015"), ("all", "0.11", "1.015")] {
        let contract = contract("deal", &format!("rates: [{{ appliesTo: {applies}, set: {{ input_tokens: 1 }} }}]"));
        let layers = books("{ layer: contract, priceTable: deal }");
        let book = PriceBook::layered(tables(&[LIST, &contract]), &layers).unwrap();
        let cost = |tokens| priced(&book, "large", tokens, ("n", None), None).0;
        assert_eq!((cost(100_000), cost(1_000_000)), (below.to_owned(), above.to_owned()), "{applies}");
    }
}

#[test]
fn a_contract_holds_for_every_name_that_the_list_has_for_its_model() {
    let contract = contract("deal", "rates: [{ appliesTo: base, set: { input_tokens: 1 } }]");
    let book = PriceBook::layered(tables(&[LIST, &contract]), &books("{ layer: contract, priceTable: deal }")).unwrap();
    for name in ["large", "large-v2", "latest", "LARGE-2026-01-01"] {
        assert_eq!(priced(&book, name, 100_000, ("n", None), None).0, "0.11", "{name}");
    }
}

#[test]
fn rules_and_adjusts_are_appended_and_each_line_says_where_its_rate_stands() {
    let discount = contract(
        "deal",
        "rates: [{ reset: false, set: {}, when: { attrs: { x: y } } }], adjust: [{ name: d, multiply: '0.8' }]",
    );
    let hotfix = contract("fix", "rates: [{ appliesTo: all, set: { output_tokens: 5 } }]");
    // Written upside down: the kinds decide.
    let layers = books("{ layer: override, priceTable: fix }, { layer: contract, priceTable: deal }");
    let book = PriceBook::layered(tables(&[&hotfix, LIST, &discount]), &layers).unwrap();
    let (total, lines, table) = priced(&book, "large", 100_000, ("n", None), Some("us"));
    // (0.2 + 0.005) × 1.1 × 0.8
    assert_eq!(total, "0.1804");
    assert_eq!(lines.iter().map(|line| (line.layer, line.rule)).collect::<Vec<_>>(), [(0, 0), (2, 0)]);
    assert_eq!(lines[0].multiplier.as_deref(), Some("0.88"));
    assert_eq!((&*table.name, &*table.version), ("list + deal + fix", "1 + 7 + 7"));
    // The pinned pile reads back to a book that prices the same, whoever asks.
    let pins: Vec<_> = book.pins().map(|(reference, json)| (reference.clone(), json)).collect();
    let (reference, json) = pins.iter().find(|(reference, _)| *reference == table).unwrap();
    let again = Layers::from_node(&crate::document::parse(json).unwrap()[0]).unwrap();
    let wanted: Vec<&str> = again.pinned().filter_map(|(_, digest)| digest).collect();
    let tables = wanted.iter().map(|digest| Arc::clone(book.find(digest).unwrap())).collect();
    let again = PriceBook::layered(tables, &[again]).unwrap();
    assert_eq!(priced(&again, "large", 100_000, ("x", None), Some("us")), (total, lines, reference.clone()));
}

#[test]
fn a_model_that_only_the_contract_has_is_priced_by_it() {
    let private = contract(
        "deal",
        "match: { exact: [private] }, rates: [{ appliesTo: all, set: { input_tokens: 1, output_tokens: 1 } }]",
    );
    let layers = books("{ layer: contract, priceTable: deal, scope: { team: red } }");
    let book = PriceBook::layered(tables(&[LIST, &private]), &layers).unwrap();
    assert_eq!(priced(&book, "private", 1_000, ("n", Some("red")), None).0, "0.002");
    let call = |team| {
        let (usage, attrs) = (Usage::new(), Attrs::new());
        let target = Target::Model { provider: "acme", model: "private", request_model: None };
        let at = Timestamp::from_nanos(0);
        book.lookup(&Call { target, at, usage: &usage, attrs: &attrs, namespace: "n", team }).is_ok()
    };
    assert!(call(Some("red")) && !call(None));
    assert!(book.has_model("acme", "private"));
}

/// Tables and layers in, what is refused out.
fn refused(contract: &str, layers: &str) -> Vec<String> {
    let problems = PriceBook::layered(tables(&[LIST, contract]), &books(layers)).unwrap_err();
    problems
        .into_iter()
        .map(|found| format!("{}: {}: {}", found.resource, found.problem.path, found.problem.message))
        .collect()
}

#[test]
fn what_cannot_be_meant_is_refused() {
    let flat = contract("deal", "rates: [{ set: { input_tokens: 1 } }]");
    assert_eq!(
        refused(&flat, "{ layer: contract, priceTable: deal }, { layer: override, priceTable: dela }"),
        [
            "prices: spec.layers[1].priceTable: no price table is named \"dela\"",
            "deal: spec.models[0].rates[0]: a contract's rate without `when` also replaces the list's tiers, batch and other rates",
        ]
    );
    let other = "0".repeat(64);
    let found = refused(&flat, &format!("{{ layer: list, priceTable: deal, digest: '{other}' }}"));
    assert!(found[0].contains("deal is pinned by digest 000"), "{found:?}");
    // As a list price the same rule is fine.
    assert!(PriceBook::layered(tables(&[LIST, &flat]), &books("{ layer: list, priceTable: deal }")).is_ok());
}

#[test]
fn an_explanation_names_layers_and_rules() {
    let contract = contract("deal", "rates: [{ appliesTo: base, set: { input_tokens: 1 } }]");
    let layers = books("{ layer: contract, priceTable: deal, scope: { team: red } }");
    let book = PriceBook::layered(tables(&[LIST, &contract]), &layers).unwrap();
    let explained = |team| book.explain("acme", "latest", Timestamp::from_nanos(0), "n", team).unwrap();
    let red = explained(Some("red"));
    assert_eq!(red.layers.iter().map(|layer| &*layer.table.name).collect::<Vec<_>>(), ["list", "deal"]);
    assert_eq!((red.rank.as_str(), &*red.pattern), ("alias", "latest"));
    let rules: Vec<_> =
        red.rules.iter().map(|rule| (rule.layer, rule.index, rule.base_only, rule.force.as_str())).collect();
    assert_eq!(rules, [(0, 0, false, "yes"), (0, 1, false, "depends"), (1, 0, true, "yes")]);
    assert_eq!(explained(None).layers.len(), 1);
}
