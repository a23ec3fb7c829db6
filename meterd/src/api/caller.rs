//! The door: who asks, may they use this route, are they asking too often; and the audit entry of what changes things.

use std::sync::Arc;
use std::time::Duration;

use axum::RequestExt;
use axum::extract::{FromRequestParts, RawPathParams, Request};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use budget::entry::Audit;
use budget::{Command, Ref};

use super::App;
use super::access::{self, Access, Reach};
use crate::auth::{self, Denied, Principal, Role, Unknown};
use crate::server::body::header_text;
use crate::server::peer::Peer;
use crate::server::problem::Problem;

/// The principal of a request, as the door found it.
#[derive(Clone, Debug)]
pub(crate) struct Caller(pub(crate) Arc<Principal>);

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        // Only a route that the door does not stand before could come here, and none is built so.
        parts.extensions.get::<Self>().cloned().ok_or_else(|| refused(Unknown::Missing))
    }
}

/// Stands before every handler.
pub(super) async fn admit(app: &App, path: &'static str, mut request: Request, next: Next) -> Response {
    let access = access::of(request.method().as_str(), path);
    if access.reach == Reach::Open {
        return next.run(request).await;
    }
    let principal = match identify(app, &request) {
        Ok(principal) => principal,
        Err(problem) => return problem.into_response(),
    };
    let place = match access.reach {
        Reach::Path => match request.extract_parts::<RawPathParams>().await {
            Ok(params) => Place::of(&params),
            Err(rejection) => return Problem::bad_request("invalid_path", rejection.body_text()).into_response(),
        },
        Reach::Open | Reach::Handler | Reach::Everywhere => Place::default(),
    };
    if let Err(problem) = check(app, &principal, &access, &place, request.method().is_safe()).await {
        if problem.code() == "forbidden" {
            record(app, &principal, &access, request.uri().path().to_owned(), StatusCode::FORBIDDEN).await;
        }
        return problem.into_response();
    }
    let object = if access.audited { request.uri().path().to_owned() } else { String::new() };
    request.extensions_mut().insert(Caller(Arc::clone(&principal)));
    let response = next.run(request).await;
    // What was wrong in itself has changed nothing.
    if access.audited && response.status().is_success() {
        record(app, &principal, &access, object, response.status()).await;
    }
    response
}

/// The door of gRPC, where every route is for one role and its handler checks what the body names.
pub(super) fn enter(app: &App, request: &Request, roles: &[Role]) -> Result<Caller, Problem> {
    let principal = identify(app, request)?;
    if let Err(wait) = principal.take_turn() {
        app.metrics.auth_refused("rate");
        return Err(too_often(&principal, wait));
    }
    if let Err(denied) = principal.has_one_of(roles) {
        app.metrics.auth_refused("forbidden");
        return Err(denied.into());
    }
    Ok(Caller(principal))
}

/// Namespace and run, where a path names them.
#[derive(Debug, Default)]
struct Place {
    namespace: Option<String>,
    execution: Option<String>,
}

impl Place {
    fn of(params: &RawPathParams) -> Self {
        let get = |wanted: &str| params.iter().find(|(name, _)| *name == wanted).map(|(_, value)| value.to_owned());
        Self { namespace: get("namespace"), execution: get("name") }
    }
}

/// Who sent it.
fn identify(app: &App, request: &Request) -> Result<Arc<Principal>, Problem> {
    let registry = app.auth.registry();
    let peer = request.extensions().get::<Peer>();
    // No page of a browser reaches a Unix socket.
    if registry.is_open() && peer.is_none_or(|peer| peer.unix().is_none()) {
        not_from_a_page(app, request)?;
    }
    let caller = auth::Caller {
        authorization: header_text(request.headers(), &header::AUTHORIZATION),
        unix: peer.and_then(Peer::unix),
        certificate: peer.map(Peer::certificate).unwrap_or_default(),
    };
    registry.identify(&caller).map_err(|unknown| {
        app.metrics.auth_refused(unknown.as_str());
        refused(unknown)
    })
}

/// While nobody has to say who they are, a page of somebody else's in this machine's browser must not speak for its user.
fn not_from_a_page(app: &App, request: &Request) -> Result<(), Problem> {
    let host = header_text(request.headers(), &header::HOST);
    let origin = header_text(request.headers(), &header::ORIGIN);
    let same = |origin: &str| origin.split_once("://").is_some_and(|(_, authority)| Some(authority) == host);
    if origin.is_none_or(same) && (app.open_to_all || host.is_none_or(is_this_machine)) {
        return Ok(());
    }
    app.metrics.auth_refused("foreign_origin");
    let detail =
        "without auth.tokens only this machine's own programs are answered, under the name localhost or its address";
    Err(Problem::new(StatusCode::FORBIDDEN, "foreign_origin", detail))
}

fn is_this_machine(host: &str) -> bool {
    let name =
        host.rsplit_once(':').filter(|(_, port)| port.bytes().all(|b| b.is_ascii_digit())).map_or(host, |at| at.0);
    let name = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost") || name.parse::<std::net::IpAddr>().is_ok()
}

async fn check(app: &App, who: &Principal, access: &Access, place: &Place, safe: bool) -> Result<(), Problem> {
    if let Err(wait) = who.take_turn() {
        app.metrics.auth_refused("rate");
        return Err(too_often(who, wait));
    }
    let denied = |denied: Denied| {
        app.metrics.auth_refused("forbidden");
        Problem::from(denied)
    };
    who.has_one_of(access.roles).map_err(denied)?;
    match access.reach {
        Reach::Everywhere => who.everywhere().map_err(denied),
        Reach::Path => {
            if let Some(namespace) = &place.namespace {
                who.namespace(namespace).map_err(denied)?;
            }
            let Some(execution) = place.execution.as_deref().filter(|_| access.path.contains("/executions/")) else {
                return Ok(());
            };
            who.execution(execution).map_err(denied)?;
            if safe || !who.is_bound_within() {
                return Ok(());
            }
            let run = Ref::new(place.namespace.as_deref().unwrap_or_default(), execution);
            let owner = app.view.read_fresh(|state| state.execution(&run).map(|run| run.subject.agent.clone())).await;
            owner.map_or(Ok(()), |agent| who.agent(agent.as_deref())).map_err(denied)
        }
        Reach::Open | Reach::Handler => Ok(()),
    }
}

/// What somebody did, or was refused, goes into the ledger: who, what, to what, with which result. Refusals are limited, so
/// that nobody fills the disk with them; the log has every one.
async fn record(app: &App, who: &Principal, access: &Access, object: String, status: StatusCode) {
    let action = format!("{} {}", access.method.to_ascii_uppercase(), access.path);
    if !status.is_success() {
        tracing::warn!(principal = %who.name(), action, object, status = status.as_u16(), "refused");
        if !app.auth.may_record_refusal() {
            return;
        }
    }
    let audit = Audit {
        principal: Arc::clone(who.name()),
        tenant: Arc::clone(who.tenant()),
        action: Arc::from(action),
        object: Arc::from(object),
        status: status.as_u16(),
    };
    // A ledger that takes nothing more has said so to the request itself.
    let _ = app.meter.command_when_room(Command::Audit(audit)).await;
}

fn refused(unknown: Unknown) -> Problem {
    let detail = match unknown {
        Unknown::Missing => {
            "send `authorization: Bearer TOKEN`; auth.tokens in the configuration names who may come in"
        }
        Unknown::Invalid => {
            "nobody is known by this credential; auth.tokens in the configuration names who may come in"
        }
    };
    let code = if unknown == Unknown::Missing { "unauthenticated" } else { "invalid_credential" };
    Problem::new(StatusCode::UNAUTHORIZED, code, detail)
        .header(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"meterd\""))
}

/// 429 is about the rate of requests and never about money.
fn too_often(who: &Principal, wait: Duration) -> Problem {
    let seconds = u32::try_from(wait.as_secs().saturating_add(1)).unwrap_or(u32::MAX);
    let detail = format!("{} sends requests faster than its requestsPerSecond; nothing was taken", who.name());
    Problem::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", detail).retry_after(seconds)
}

impl From<Denied> for Problem {
    fn from(denied: Denied) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", denied.to_string())
    }
}
