//! Steps of scenario tables that say who is bound by what: teams, environments, agents' routes, and routes' limits.

use budget::entry::{Applied, Origin};
use budget::{Budget, Link, Ref};

/// `team NAME budgets=a,b [namespaces=x,y]`, `environment NAME budgets=a`, `takes AGENT route=NAME`; an empty list takes it back.
pub fn linked(kind: &str, id: Ref, words: &[(&str, &str)]) -> Result<Applied, String> {
    let mut link = Link::default();
    for (key, value) in words {
        let names = || value.split(',').filter(|name| !name.is_empty());
        match *key {
            "budgets" => link.budgets = names().map(|name| Ref::new(&id.namespace, name)).collect(),
            "namespaces" => link.namespaces = names().map(Into::into).collect(),
            "route" => link.route = names().next().map(|name| Ref::new(&id.namespace, name)),
            _ => return Err(format!("unknown word {key}")),
        }
    }
    let document = format!("{link:?}").into();
    Ok(Applied { kind: kind.into(), id, generation: 0, origin: Origin::Api, document, budgets: Vec::new(), link })
}

/// A route with its limits.
pub fn route(budget: Budget) -> Applied {
    let (id, document) = (budget.id.clone(), format!("{budget:?}").into());
    let (generation, link) = (0, Link::default());
    Applied { kind: "ModelRoute".into(), id, generation, origin: Origin::Api, document, budgets: vec![budget], link }
}
