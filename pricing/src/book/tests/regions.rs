//! Regions in front of names: the same model, and an attribute that a surcharge may ask for.

use super::*;
use crate::cost::{Outcome, price};
use crate::usage::UsageKey;

const TABLE: &str = "{ apiVersion: joch.dev/v1alpha1, kind: PriceTable, metadata: { name: t }, spec: { version: '1', models: [\
    { provider: aws, id: anthropic.claude-9, match: { prefix: [anthropic.claude-9] }, rates: [{ set: { input_tokens: 10 } }], \
      adjust: [{ name: regional, when: { attrs: { region_prefix: { notIn: [global] } } }, multiply: '1.1', families: [tokens] }] }, \
    { provider: aws, id: eu.anthropic.claude-9-mini, rates: [{ set: { input_tokens: 7 } }] }, \
    { provider: azure, id: gpt-9, rates: [{ set: { input_tokens: 5 } }, { when: { attrs: { region_prefix: eu } }, set: { input_tokens: 6 } }] } ] } }";

fn check(provider: &str, model: &str, request_model: Option<&str>, expected: &str) {
    let book = PriceBook::new(vec![Arc::new(PriceTable::parse(TABLE).unwrap().0.remove(0))]);
    let (mut usage, attrs) = (Usage::new(), Attrs::new());
    usage.set(UsageKey::InputTokens, "1000000".parse().unwrap()).unwrap();
    let target = Target::Model { provider, model, request_model };
    let call = Call { target, at: Timestamp::from_nanos(0), usage: &usage, attrs: &attrs, namespace: "n", team: None };
    let found = match price(&book, &call) {
        Outcome::Priced(cost) => cost.total.to_string(),
        Outcome::Unpriced(reason) => reason.to_string(),
    };
    assert_eq!(found, expected, "{provider} {model}");
}

#[test]
fn a_region_in_front_of_a_name_is_where_it_was_served() {
    check("aws", "anthropic.claude-9", None, "10");
    check("aws", "us.anthropic.claude-9-20270101-v1:0", None, "11");
    check("bedrock", "US.anthropic.claude-9", None, "11");
    check("aws", "global.anthropic.claude-9", None, "10");
    check("aws", "eu-west-1/anthropic.claude-9", None, "11");
    check("aws", "bedrock/eu-west-1/anthropic.claude-9", None, "11");
    // A Bedrock response may name the bare model; the request says where.
    check("aws", "anthropic.claude-9", Some("apac.anthropic.claude-9"), "11");
    // A table that prices a region by a name of its own has its way.
    check("aws", "eu.anthropic.claude-9-mini", None, "7");
    check("azure", "gpt-9", None, "5");
    check("azure", "eu/gpt-9", None, "6");
    check("azure_ai", "azure/us/gpt-9", None, "5");
    check("aws", "us.claude-9", None, "unknown_model");
    check("aws", "xx.anthropic.claude-9", None, "unknown_model");
}
