//! Who may use which route: one row a route. What has no row is for administrators alone.

use crate::auth::Role::{self, Admin, Ingest, Kill, Read, Reserve};

/// How far a route reaches, and so what a bound principal may do with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// Nobody has to say who they are.
    Open,
    /// The namespace, and with it the run, are in the path: checked before the handler.
    Path,
    /// The handler checks what the body names, or leaves out what the principal may not see.
    Handler,
    /// About every namespace at once: for principals that are not bound.
    Everywhere,
}

/// One route.
#[derive(Clone, Copy, Debug)]
pub(super) struct Access {
    pub(super) method: &'static str,
    pub(super) path: &'static str,
    /// Any of these will do; an administrator may do everything.
    pub(super) roles: &'static [Role],
    pub(super) reach: Reach,
    /// Done or refused, it becomes an entry of the ledger.
    pub(super) audited: bool,
}

const fn open(method: &'static str, path: &'static str) -> Access {
    Access { method, path, roles: &[], reach: Reach::Open, audited: false }
}

const fn to(method: &'static str, path: &'static str, roles: &'static [Role], reach: Reach) -> Access {
    Access { method, path, roles, reach, audited: false }
}

const fn audited(method: &'static str, path: &'static str, roles: &'static [Role], reach: Reach) -> Access {
    Access { method, path, roles, reach, audited: true }
}

/// Whoever runs a call may ask about it.
const CALLERS: &[Role] = &[Read, Reserve, Ingest];

const TABLE: &[Access] = &[
    open("get", "/"),
    open("get", "/console/{file}"),
    open("get", "/runbooks/{name}"),
    open("get", "/openapi.json"),
    open("get", "/healthz"),
    open("get", "/readyz"),
    to("post", "/v1/usage", &[Ingest], Reach::Handler),
    to("post", "/v1/provider-usage", &[Ingest], Reach::Handler),
    to("post", "/v1/litellm", &[Ingest], Reach::Handler),
    to("post", "/v1/traces", &[Ingest], Reach::Handler),
    to("post", "/v1/logs", &[Ingest], Reach::Handler),
    to("post", "/v1/metrics", &[Ingest], Reach::Handler),
    to("post", "/api/public/otel/v1/traces", &[Ingest], Reach::Handler),
    to("post", "/v1/reservations", &[Reserve], Reach::Handler),
    to("get", "/v1/reservations", &[Reserve, Read], Reach::Handler),
    to("get", "/v1/reservations/{id}", &[Reserve, Read], Reach::Handler),
    to("post", "/v1/reservations/{id}/settle", &[Reserve], Reach::Handler),
    to("post", "/v1/reservations/{id}/release", &[Reserve], Reach::Handler),
    to("post", "/v1/reservations/{id}/extend", &[Reserve], Reach::Handler),
    to("post", "/v1/hooks/aos", &[Reserve], Reach::Handler),
    to("get", "/v1/executions", &[Read], Reach::Handler),
    to("get", "/v1/namespaces/{namespace}/executions", &[Read], Reach::Path),
    to("get", "/v1/namespaces/{namespace}/executions/{name}", CALLERS, Reach::Path),
    to("put", "/v1/namespaces/{namespace}/executions/{name}", &[Ingest, Reserve], Reach::Path),
    to("put", "/v1/namespaces/{namespace}/executions/{name}/process", &[Ingest, Reserve], Reach::Path),
    to("post", "/v1/namespaces/{namespace}/executions/{name}/complete", &[Ingest, Reserve], Reach::Path),
    to("get", "/v1/namespaces/{namespace}/executions/{name}/entries", &[Read], Reach::Path),
    to("get", "/v1/namespaces/{namespace}/executions/{name}/allowance", CALLERS, Reach::Path),
    audited("post", "/v1/namespaces/{namespace}/executions/{name}/kill", &[Kill], Reach::Path),
    to("get", "/v1/namespaces/{namespace}/executions/{name}/signals", CALLERS, Reach::Path),
    to("post", "/v1/namespaces/{namespace}/executions/{name}/signals/{id}/ack", &[Ingest, Reserve, Kill], Reach::Path),
    to("put", "/v1/namespaces/{namespace}/executions/{name}/process", &[Ingest, Reserve], Reach::Path),
    to("get", "/v1/budgets", &[Read], Reach::Handler),
    to("get", "/v1/namespaces/{namespace}/budgets/{name}", &[Read], Reach::Path),
    to("get", "/v1/kills", &[Read], Reach::Handler),
    to("get", "/v1/quarantine", &[Read], Reach::Handler),
    to("get", "/v1/quarantine/{id}", &[Read], Reach::Handler),
    audited("post", "/v1/quarantine/{id}/release", &[Admin], Reach::Handler),
    to("get", "/v1/dead-letters", &[Read], Reach::Handler),
    audited("post", "/v1/dead-letters/import", &[Admin], Reach::Everywhere),
    to("get", "/v1/cost", &[Read], Reach::Handler),
    to("get", "/v1/prices", &[Read], Reach::Handler),
    to("get", "/v1/prices/{digest}", &[Read], Reach::Handler),
    to("get", "/v1/events", &[Read], Reach::Handler),
    audited("post", "/v1/reprice", &[Admin], Reach::Everywhere),
    to("post", "/v1/simulate", &[Read], Reach::Everywhere),
    audited("post", "/v1/adjustments", &[Admin], Reach::Everywhere),
    audited("post", "/v1/resources/apply", &[Admin], Reach::Everywhere),
    audited("delete", "/v1/resources/{kind}/{namespace}/{name}", &[Admin], Reach::Everywhere),
    to("post", "/v1/resources/validate", &[Read], Reach::Handler),
    to("get", "/v1/export/focus", &[Read], Reach::Handler),
    to("get", "/v1/sinks", &[Read], Reach::Everywhere),
    audited("post", "/v1/sinks/{sink}/backfill", &[Admin], Reach::Everywhere),
    audited("post", "/v1/sinks/{sink}/pause", &[Admin], Reach::Everywhere),
    audited("post", "/v1/sinks/{sink}/resume", &[Admin], Reach::Everywhere),
    audited("post", "/v1/reconcile", &[Admin], Reach::Everywhere),
];

/// The row of a route; the strictest there is for one that has none.
pub(super) fn of(method: &str, path: &'static str) -> Access {
    find(method, path).unwrap_or(Access { method: "", path, roles: &[Admin], reach: Reach::Everywhere, audited: true })
}

/// The row of a route. HEAD is GET without a body.
pub(super) fn find(method: &str, path: &str) -> Option<Access> {
    let method = if method.eq_ignore_ascii_case("head") { "get" } else { method };
    TABLE.iter().find(|row| row.path == path && row.method.eq_ignore_ascii_case(method)).copied()
}
