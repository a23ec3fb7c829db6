//! A principal: roles, and the tenant, namespaces, agents and executions that its credential allows.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};

use crate::config::auth::{Grant, LOCAL_TENANT, Role};

/// Whoever a credential stands for.
#[derive(Debug)]
pub struct Principal {
    grant: Grant,
    limiter: Option<DefaultDirectRateLimiter>,
}

/// Why a principal may not do a thing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// None of its roles is one of these.
    #[error("{name} has none of the roles {needed}")]
    Role {
        /// The principal.
        name: Arc<str>,
        /// The roles of which one would do.
        needed: String,
    },
    /// It is bound to some namespaces, agents or executions, and this is another.
    #[error("{name} may not speak for {what} {value}")]
    Reach {
        /// The principal.
        name: Arc<str>,
        /// `namespace`, `agent` or `execution`.
        what: &'static str,
        /// The one it named.
        value: String,
    },
    /// It is bound to some namespaces, and this is about all of them.
    #[error("{name} is bound to its namespaces, and this is about all of them")]
    Everywhere {
        /// The principal.
        name: Arc<str>,
    },
}

impl Principal {
    /// Of a grant.
    #[must_use]
    pub fn new(grant: Grant) -> Self {
        let rate = grant.requests_per_second.and_then(NonZeroU32::new);
        let limiter = rate.map(|rate| {
            let burst = grant.burst.and_then(NonZeroU32::new).unwrap_or(rate);
            RateLimiter::direct(Quota::per_second(rate).allow_burst(burst))
        });
        Self { grant, limiter }
    }

    /// Whoever comes while nobody is named: this machine's user, who may do everything.
    #[must_use]
    pub fn local() -> Self {
        Self::new(Grant {
            name: Arc::from(LOCAL_TENANT),
            tenant: Arc::from(LOCAL_TENANT),
            roles: vec![Role::Admin],
            namespaces: Vec::new(),
            agents: Vec::new(),
            executions: Vec::new(),
            requests_per_second: None,
            burst: None,
        })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.grant.name
    }

    /// Its tenant.
    #[must_use]
    pub fn tenant(&self) -> &Arc<str> {
        &self.grant.tenant
    }

    /// Has it one of these roles? An admin has all.
    pub fn has_one_of(&self, roles: &[Role]) -> Result<(), Denied> {
        let has = |role: &Role| *role == Role::Admin || roles.contains(role);
        if self.grant.roles.iter().any(has) {
            return Ok(());
        }
        let needed: Vec<&str> = roles.iter().map(|role| role.as_str()).collect();
        Err(Denied::Role { name: Arc::clone(&self.grant.name), needed: needed.join(", ") })
    }

    /// Is it bound to some namespaces?
    #[must_use]
    pub fn is_bound(&self) -> bool {
        !self.grant.namespaces.is_empty()
    }

    /// Is it bound to some agents or executions?
    #[must_use]
    pub fn is_bound_within(&self) -> bool {
        !self.grant.agents.is_empty() || !self.grant.executions.is_empty()
    }

    /// May it know of this namespace?
    #[must_use]
    pub fn sees(&self, namespace: &str) -> bool {
        fits(&self.grant.namespaces, namespace)
    }

    /// May it do what is about every namespace at once?
    pub fn everywhere(&self) -> Result<(), Denied> {
        if self.is_bound() { Err(Denied::Everywhere { name: Arc::clone(&self.grant.name) }) } else { Ok(()) }
    }

    /// May it name this namespace?
    pub fn namespace(&self, namespace: &str) -> Result<(), Denied> {
        self.check(&self.grant.namespaces, "namespace", namespace)
    }

    /// May it name this execution?
    pub fn execution(&self, execution: &str) -> Result<(), Denied> {
        self.check(&self.grant.executions, "execution", execution)
    }

    /// May it speak for this agent? One that is bound to agents may not leave the agent open.
    pub fn agent(&self, agent: Option<&str>) -> Result<(), Denied> {
        if self.grant.agents.is_empty() {
            return Ok(());
        }
        self.check(&self.grant.agents, "agent", agent.unwrap_or(""))
    }

    /// May it charge, hold or end this?
    pub fn may_charge(&self, namespace: &str, execution: &str, agent: Option<&str>) -> Result<(), Denied> {
        self.namespace(namespace)?;
        self.execution(execution)?;
        self.agent(agent)
    }

    /// The namespace of what names none, when the credential leaves no choice.
    #[must_use]
    pub fn only_namespace(&self) -> Option<&Arc<str>> {
        only(&self.grant.namespaces)
    }

    /// The agent of what names none, when the credential leaves no choice.
    #[must_use]
    pub fn only_agent(&self) -> Option<&Arc<str>> {
        only(&self.grant.agents)
    }

    /// Counts one request; how long to wait if there were too many.
    pub fn take_turn(&self) -> Result<(), Duration> {
        let Some(limiter) = &self.limiter else { return Ok(()) };
        limiter.check().map_err(|early| early.wait_time_from(DefaultClock::default().now()))
    }

    fn check(&self, allowed: &[Arc<str>], what: &'static str, value: &str) -> Result<(), Denied> {
        if fits(allowed, value) {
            return Ok(());
        }
        let value = if value.is_empty() { "(none)".to_owned() } else { value.chars().take(80).collect() };
        Err(Denied::Reach { name: Arc::clone(&self.grant.name), what, value })
    }
}

fn only(allowed: &[Arc<str>]) -> Option<&Arc<str>> {
    match allowed {
        [one] if !one.ends_with('*') => Some(one),
        _ => None,
    }
}

/// Nothing named allows all; a `*` at the end stands for any rest.
fn fits(allowed: &[Arc<str>], value: &str) -> bool {
    allowed.is_empty()
        || allowed.iter().any(|pattern| match pattern.strip_suffix('*') {
            Some(prefix) => value.starts_with(prefix) && !value.is_empty(),
            None => **pattern == *value,
        })
}
