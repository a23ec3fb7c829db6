//! Books: layers, provider names, model names in two places, pinned tables.

mod layers;
mod regions;

use super::*;
use crate::cost::Target;
use crate::table::UnmatchedPolicy;
use crate::time::Timestamp;
use crate::usage::{Attrs, Usage};

fn table(name: &str, spec: &str) -> Arc<PriceTable> {
    let text = format!(
        "{{ apiVersion: joch.dev/v1alpha1, kind: PriceTable, metadata: {{ name: {name} }}, spec: {{ version: '1', {spec} }} }}"
    );
    Arc::new(PriceTable::parse(&text).unwrap().0.remove(0))
}

fn models(names: &[(&str, &str)]) -> String {
    let entry = |(provider, id): &(&str, &str)| {
        format!("{{ provider: {provider}, id: {id}, rates: [{{ set: {{ input_tokens: 1 }} }}] }}")
    };
    format!("models: [{}]", names.iter().map(entry).collect::<Vec<_>>().join(", "))
}

fn book() -> PriceBook {
    PriceBook::new(vec![
        table("list", &models(&[("google", "gemini-3"), ("x-ai", "grok-5"), ("openai", "gpt-6"), ("openai", "gpt-5")])),
        table("vertex", &models(&[("vertex_ai", "gemini-3")])),
        table("contract", &models(&[("openai", "gpt-6")])),
    ])
}

/// `provider:model[<request model]` in, the table that answers out.
fn check(asked: &str, expected: &str) {
    let (provider, names) = asked.split_once(':').unwrap();
    let (model, request_model) = names.split_once('<').map_or((names, None), |(model, request)| (model, Some(request)));
    let book = book();
    let target = Target::Model { provider, model, request_model };
    let (usage, attrs) = (Usage::new(), Attrs::new());
    let at = Timestamp::from_nanos(0);
    let call = Call { target, at, usage: &usage, attrs: &attrs, namespace: "default", team: None };
    let found = match book.lookup(&call) {
        Ok(found) => format!("{}/{}", found.reference.name, found.parts()[0].entry.id),
        Err(reason) => reason.to_string(),
    };
    assert_eq!(found, expected, "{asked}");
}

#[test]
fn the_highest_layer_answers_under_the_providers_own_name_first() {
    check("openai:gpt-6", "contract/gpt-6");
    check("OpenAI:GPT-5", "list/gpt-5");
    check("xai:grok-5", "list/grok-5");
    check("gemini:models/gemini-3", "list/gemini-3");
    check("gcp.vertex_ai:publishers/google/models/gemini-3", "list/gemini-3");
    check("vertex_ai:gemini-3", "vertex/gemini-3");
    check("openai:deployment-1<gpt-5", "list/gpt-5");
    check("openai:gpt-5<gpt-6", "list/gpt-5");
    check("openai:nothing<nothing", "unknown_model");
    check("azure:gpt-6", "unknown_provider");
    check("litellm:openai/gpt-6", "contract/gpt-6");
    check("litellm:gemini/gemini-3", "list/gemini-3");
    check("litellm:gpt-6", "unknown_provider");
    check("litellm:openai/gpt-7", "unknown_model");
    check("xai:x-ai/grok-5", "list/grok-5");
    check("gemini:google/gemini-3", "list/gemini-3");
    check("openai:xai/grok-5", "unknown_model");
}

#[test]
fn a_book_knows_its_tables_models_and_policies() {
    let book = book();
    let newest = book.tables().last().unwrap();
    assert!(book.find(&newest.reference().digest).is_some_and(|found| Arc::ptr_eq(found, newest)));
    assert!(book.find("00").is_none());
    assert!(book.has_model("xai", "grok-5") && !book.has_model("openai", "gpt-7"));
    assert_eq!(
        (book.unmatched_model("n", None), book.unmatched_tool("n", None)),
        (Unmatched::Quarantine, Unmatched::ZeroWithFlag)
    );
    let strict = PriceBook::new(vec![table("a", "unmatched: { tool: quarantine }"), table("b", "models: []")]);
    assert_eq!(strict.unmatched_tool("n", None), Unmatched::Quarantine);
    assert_eq!(strict.tables()[1].unmatched(), UnmatchedPolicy::default());
    assert_eq!(strict.tables()[0].entries(), 0);
    assert_eq!(newest.models().collect::<Vec<_>>(), [("openai", "gpt-6")]);
}

#[test]
fn no_common_name_is_itself_another_name() {
    for (alias, provider) in crate::model::provider_aliases() {
        assert_eq!(crate::model::canonical_provider(provider), None, "{alias}");
    }
}
