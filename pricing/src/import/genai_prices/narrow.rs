//! "Contains" and "ends with" where a table refuses them: two globs of the same length that could both fit one id are
//! an error there, and `*one*` and `*two*` always could. Those become prefixes, along the routes by which the provider
//! is known to sell: `amazon.nova-lite`, `us.amazon.nova-lite`.

use crate::import::draft::{Model, Pattern};

/// What stands in front of a model's name in the ids of a provider. `?` is any one letter.
const ROUTES: [(&str, &[&str]); 2] =
    [("aws", &["??.", "apac.", "us-gov.", "global."]), ("google", &["anthropic/", "google/", "vertex_ai/"])];
/// Model names that occur with and without their maker in front.
const MAKERS: [(&str, &str); 2] = [("claude-", "anthropic."), ("titan-", "amazon.")];

/// Replaces the globs that begin with a star, all of them, if two of one length stand in different models. Gives back
/// the model's index and the glob.
pub(super) fn narrow(models: &mut [Model]) -> Vec<(usize, String)> {
    let open: Vec<(usize, String)> = models
        .iter()
        .enumerate()
        .flat_map(|(index, model)| model.patterns.iter().filter_map(move |pattern| Some((index, open_glob(pattern)?))))
        .collect();
    let clash = |(index, glob): &(usize, String)| {
        open.iter().any(|(other, rival)| other != index && rival.len() == glob.len() && may_meet(rival, glob))
    };
    if !open.iter().any(clash) {
        return Vec::new();
    }
    for (index, glob) in &open {
        if let Some(model) = models.get_mut(*index) {
            model.patterns.retain(|pattern| !matches!(pattern, Pattern::Glob(own) if own == glob));
            // The model's own id goes on to mean it, wherever the text stands in it.
            let id = Pattern::Exact(model.id.to_lowercase());
            model.patterns.extend(Some(id).filter(|id| Pattern::Glob(glob.clone()).covers(id)));
            model.patterns.extend(prefixes(&model.provider, glob));
            model.patterns.sort();
            model.patterns.dedup();
        }
    }
    open
}

fn open_glob(pattern: &Pattern) -> Option<String> {
    if let Pattern::Glob(glob) = pattern { glob.starts_with('*').then(|| glob.clone()) } else { None }
}

/// Two globs that begin with a star: only different endings keep them apart.
fn may_meet(left: &str, right: &str) -> bool {
    left.ends_with('*') || right.ends_with('*') || left == right
}

/// The ids that begin with (or, without a star at the end, are) the glob's text, on every known route.
fn prefixes(provider: &str, glob: &str) -> Vec<Pattern> {
    let text = glob.trim_start_matches('*');
    let (text, is_open) = text.strip_suffix('*').map_or((text, false), |text| (text, true));
    let routes = ROUTES.iter().find(|(id, _)| *id == provider).map_or(&[][..], |(_, routes)| routes);
    let makers =
        MAKERS.iter().filter(|(start, _)| provider == "aws" && text.starts_with(start)).map(|(_, maker)| *maker);
    let names: Vec<String> = std::iter::once("").chain(makers).map(|maker| format!("{maker}{text}")).collect();
    let is_routed = routes.iter().any(|route| begins_with(text, route));
    let fronts = std::iter::once("").chain(routes.iter().copied().filter(|_| !is_routed));
    fronts
        .flat_map(|front| names.iter().map(move |name| format!("{front}{name}")))
        .map(|name| match (name.contains('?'), is_open) {
            (true, true) => Pattern::Glob(format!("{name}*")),
            (true, false) => Pattern::Glob(name),
            (false, true) => Pattern::Prefix(name),
            (false, false) => Pattern::Exact(name),
        })
        .collect()
}

/// A text that says its route already.
fn begins_with(text: &str, route: &str) -> bool {
    let mut signs = text.chars();
    route.chars().all(|wanted| signs.next().is_some_and(|sign| sign == wanted || wanted == '?'))
}

#[cfg(test)]
mod tests;
