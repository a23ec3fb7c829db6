//! Routes of models: which models a run may use, read from the documents of its agent and of the agent's route.
//!
//! Reads documents only; never chooses a model.

use budget::{Ref, State};

use super::print::Json;

/// The models of the route that a run's agent names (`provider:model`, the primary one first); none when it names none.
#[must_use]
pub fn routed_models(state: &State, execution: &Ref, agent: Option<&str>) -> Vec<(String, String)> {
    let known = state.execution(execution).and_then(|run| run.subject.agent.clone());
    let Some(agent) = agent.map(str::to_owned).or_else(|| known.map(|agent| agent.to_string())) else {
        return Vec::new();
    };
    let route = state
        .resource("Agent", &Ref::new(&execution.namespace, &agent))
        .and_then(|agent| Json::parse(&agent.document))
        .and_then(|agent| text(agent.get("spec")?.get("modelRoute")?.get("routeRef")?.get("name")?));
    let Some(route) = route else { return Vec::new() };
    let document = state.resource("ModelRoute", &Ref::new(&execution.namespace, &route));
    let document = document.and_then(|route| Json::parse(&route.document));
    let strategy = document.as_ref().and_then(|route| route.get("spec")?.get("strategy"));
    let Some(strategy) = strategy else { return Vec::new() };
    let mut models: Vec<String> = strategy.get("primary").and_then(text).into_iter().collect();
    if let Some(Json::List(fallback)) = strategy.get("fallback") {
        models.extend(fallback.iter().filter_map(text));
    }
    let pair = |model: String| model.split_once(':').map(|(provider, model)| (provider.to_owned(), model.to_owned()));
    models.into_iter().filter_map(pair).collect()
}

fn text(json: &Json) -> Option<String> {
    if let Json::String(text) = json { Some(text.clone()) } else { None }
}
