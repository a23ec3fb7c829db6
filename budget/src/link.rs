//! What resources say about budgets that other resources carry: teams and environments that are bound by them, and the routes that
//! agents take. Never a limit, never a counter.
//!
//! A reference adds runs to those that a budget's own scope names. A budget that names no scope is its namespace's, until
//! something refers to it: then it is theirs alone.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::budget::{Budget, Source};
use crate::charge::Subject;
use crate::scope::{Ref, Scope};

const TEAM: &str = "Team";
const ENVIRONMENT: &str = "Environment";
const AGENT: &str = "Agent";

/// What one resource says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// `budgetRefs` of a Team or an Environment: budgets that bind its runs as well.
    pub budgets: Vec<Ref>,
    /// `namespaces` of a Team: runs in them that name no team are its own.
    pub namespaces: Vec<Arc<str>>,
    /// The ModelRoute of an Agent.
    pub route: Option<Ref>,
}

/// What of a run decides which budgets bind its calls, beside whom a call is for.
#[derive(Clone, Copy, Debug)]
pub struct OfRun<'a> {
    /// Its name.
    pub execution: &'a Ref,
    /// It takes its agent's per-run limits.
    pub inherit: bool,
    /// The route that it takes instead of its agent's.
    pub route: Option<&'a Ref>,
}

/// What every resource says, by kind and name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Links {
    of: BTreeMap<(Arc<str>, Ref), Link>,
}

impl Link {
    /// Says nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Links {
    /// Takes what a resource says now; was it something else before?
    pub fn put(&mut self, kind: &Arc<str>, id: &Ref, link: &Link) -> bool {
        if link.is_empty() {
            return self.remove(kind, id);
        }
        self.of.insert((Arc::clone(kind), id.clone()), link.clone()).as_ref() != Some(link)
    }

    /// Forgets what a resource said; did it say anything?
    pub fn remove(&mut self, kind: &Arc<str>, id: &Ref) -> bool {
        self.of.remove(&(Arc::clone(kind), id.clone())).is_some()
    }

    /// Does a budget bind calls for `subject` of a run?
    #[must_use]
    pub fn bind(&self, budget: &Budget, run: OfRun<'_>, subject: &Subject) -> bool {
        self.reach(budget.source, &budget.id, &budget.scope, run, subject)
    }

    /// The same for who keeps only a part of the budget.
    #[must_use]
    pub fn reach(&self, source: Source, id: &Ref, scope: &Scope, run: OfRun<'_>, subject: &Subject) -> bool {
        match source {
            Source::ModelRoute => self.route(run, subject) == Some(id),
            Source::Agent | Source::Execution => scope.matches(run.execution, subject),
            Source::Budget => {
                let mut referred = false;
                for ((kind, name), link) in self.of.iter().filter(|(_, link)| link.budgets.contains(id)) {
                    referred = true;
                    if link.is_of(kind, name, run.execution, subject) {
                        return true;
                    }
                }
                !(scope.implied && referred) && scope.matches(run.execution, subject)
            }
        }
    }

    /// The route that a call takes: the run's own, else its agent's.
    #[must_use]
    pub fn route<'a>(&'a self, run: OfRun<'a>, subject: &Subject) -> Option<&'a Ref> {
        if run.route.is_some() || self.of.is_empty() {
            return run.route;
        }
        let agent = Ref { namespace: Arc::clone(&run.execution.namespace), name: Arc::clone(subject.agent.as_ref()?) };
        self.of.get(&(Arc::from(AGENT), agent))?.route.as_ref()
    }
}

impl Link {
    /// Is a call of the team or the environment whose link this is?
    fn is_of(&self, kind: &str, id: &Ref, execution: &Ref, subject: &Subject) -> bool {
        match kind {
            TEAM => match &subject.team {
                Some(team) => *team == id.name,
                None => self.namespaces.contains(&execution.namespace),
            },
            ENVIRONMENT => subject.environment.as_ref() == Some(&id.name),
            _ => false,
        }
    }
}
