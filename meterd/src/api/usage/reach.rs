//! What a credential decides about usage: the namespace and agent it leaves no choice about, and refusal of all it does not cover.

use std::sync::Arc;

use budget::Ref;

use super::FORBIDDEN;
use crate::api::App;
use crate::auth::{Denied, Principal};
use crate::event::{DEFAULT_NAMESPACE, Rejection, UsageEvent};
use crate::ingest::Item;

/// The items, with what the credential decides put in, and those refused that it does not cover.
pub(super) async fn within(app: &App, who: &Principal, mut items: Vec<Item>) -> Vec<Item> {
    if !who.is_bound() && !who.is_bound_within() {
        return items;
    }
    for item in &mut items {
        if let Ok(event) = &mut item.event
            && let Err(rejection) = decide(who, event)
        {
            item.event = Err(rejection);
        }
    }
    if who.is_bound_within() {
        owned(app, who, &mut items).await;
    }
    items
}

fn decide(who: &Principal, event: &mut UsageEvent) -> Result<(), Rejection> {
    if *event.namespace == *DEFAULT_NAMESPACE
        && !who.sees(DEFAULT_NAMESPACE)
        && let Some(namespace) = who.only_namespace()
    {
        event.namespace = Arc::clone(namespace);
    }
    if event.agent.is_none() {
        event.agent = who.only_agent().cloned();
    }
    who.may_charge(&event.namespace, &event.execution, event.agent.as_deref()).map_err(|denied| rejection(&denied))
}

/// A run that is there already is its agent's: another agent does not charge it.
async fn owned(app: &App, who: &Principal, items: &mut [Item]) {
    let runs: Vec<Option<Ref>> = items
        .iter()
        .map(|item| item.event.as_ref().ok().map(|event| Ref::new(&event.namespace, &event.execution)))
        .collect();
    let agents: Vec<Option<Arc<str>>> = app
        .view
        .read_fresh(|state| {
            let agent = |run: &Option<Ref>| state.execution(run.as_ref()?)?.subject.agent.clone();
            runs.iter().map(agent).collect()
        })
        .await;
    for (item, agent) in items.iter_mut().zip(agents) {
        if let Some(agent) = agent
            && item.event.is_ok()
            && let Err(denied) = who.agent(Some(&agent))
        {
            item.event = Err(rejection(&denied));
        }
    }
}

fn rejection(denied: &Denied) -> Rejection {
    let pointer = match denied {
        Denied::Reach { what, .. } => format!("/{what}"),
        Denied::Role { .. } | Denied::Everywhere { .. } => String::new(),
    };
    Rejection::new(FORBIDDEN, pointer, denied.to_string())
}
