//! Routes of models: which models a run may use, read from the document of the route that the run takes.
//!
//! Reads documents only; never chooses a model.

use budget::{Ref, State};

use super::print::Json;

/// The models of a run's route (`provider:model`, the primary one first): the route that the run names, else its agent's; none
/// when there is none.
#[must_use]
pub fn routed_models(state: &State, execution: &Ref, agent: Option<&str>) -> Vec<(String, String)> {
    let Some(route) = state.route(execution, agent) else { return Vec::new() };
    let document = state.resource("ModelRoute", route).and_then(|route| Json::parse(&route.document));
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
