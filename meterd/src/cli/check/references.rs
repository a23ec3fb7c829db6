//! References between resources that lead nowhere: a team's or an environment's budgets, an agent's route. Reads what was read.

use std::path::PathBuf;
use std::sync::Arc;

use budget::Ref;
use pricing::document::Problem;

use super::place_of;
use crate::config::FileProblem;
use crate::resource::Resource;
use crate::resource::nearest::did_you_mean;

/// A reference to what none of the files has binds nobody, which nobody would notice. Only kinds that the files have at all are
/// compared: the others may live elsewhere.
pub(super) fn references(files: &[(PathBuf, String)], resources: &[Resource]) -> Vec<FileProblem> {
    let (budgets, routes) = (named(resources, "Budget"), named(resources, "ModelRoute"));
    let mut problems = Vec::new();
    for resource in resources {
        let (meta, link) = (resource.meta(), resource.link());
        let budget_refs = link.budgets.iter().map(|to| ("Budget", "spec.budgetRefs", &budgets, to));
        let route_refs = link.route.iter().map(|to| ("ModelRoute", "spec.modelRoute.routeRef", &routes, to));
        for (kind, path, known, to) in budget_refs.chain(route_refs) {
            if known.is_empty() || known.contains(&to) {
                continue;
            }
            let message = format!("no {kind} here is named {:?}{}, so it binds nobody", &*to.name, elsewhere(to, meta));
            let hint = did_you_mean(&to.name, known.iter().map(|known| &*known.name));
            let (file, place) = place_of(files, meta, path, &to.name);
            problems.push(FileProblem { file, problem: Problem { hint, ..Problem::warning(place, path, message) } });
        }
    }
    problems
}

fn named<'a>(resources: &'a [Resource], kind: &str) -> Vec<&'a Ref> {
    resources.iter().map(Resource::meta).filter(|meta| &*meta.kind == kind).map(|meta| &meta.id).collect()
}

fn elsewhere(to: &Ref, meta: &crate::resource::Meta) -> Arc<str> {
    if to.namespace == meta.id.namespace { "".into() } else { format!(" in namespace {:?}", &*to.namespace).into() }
}
