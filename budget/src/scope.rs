//! Names of things and the selector that says which runs a budget binds. Never a limit.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::charge::Subject;

/// A namespaced name: of an execution, a budget, an agent …
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Ref {
    /// Namespace.
    #[serde(deserialize_with = "pricing::text::name")]
    pub namespace: Arc<str>,
    /// Name.
    #[serde(deserialize_with = "pricing::text::name")]
    pub name: Arc<str>,
}

impl Ref {
    /// `namespace/name`.
    #[must_use]
    pub fn new(namespace: &str, name: &str) -> Self {
        Self { namespace: pricing::text::shared(namespace), name: Arc::from(name) }
    }
}

impl fmt::Display for Ref {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// Which runs a budget binds. An empty list does not restrict; several kinds must all match; within a kind any does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scope {
    /// Team names.
    pub teams: Vec<Arc<str>>,
    /// Namespaces.
    pub namespaces: Vec<Arc<str>>,
    /// Agent names.
    pub agents: Vec<Arc<str>>,
    /// Environments.
    pub environments: Vec<Arc<str>>,
    /// Labels that must all be there.
    pub labels: Vec<(Arc<str>, Arc<str>)>,
    /// Exactly this execution: budgets that an execution carries itself.
    pub execution: Option<Ref>,
    /// Nobody wrote it: it is the budget's namespace, until a team or an environment refers to the budget.
    pub implied: bool,
}

impl Scope {
    /// Does this scope bind a run of `execution` with `subject`?
    #[must_use]
    pub fn matches(&self, execution: &Ref, subject: &Subject) -> bool {
        let any = |names: &[Arc<str>], name: Option<&Arc<str>>| {
            names.is_empty() || name.is_some_and(|name| names.contains(name))
        };
        self.execution.as_ref().is_none_or(|only| only == execution)
            && any(&self.teams, subject.team.as_ref())
            && any(&self.namespaces, Some(&execution.namespace))
            && any(&self.agents, subject.agent.as_ref())
            && any(&self.environments, subject.environment.as_ref())
            && self.labels.iter().all(|label| subject.labels.contains(label))
    }
}
