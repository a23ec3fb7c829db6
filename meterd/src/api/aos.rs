//! `POST /v1/hooks/aos`: a Guardian of the Agent Observability Standard, JSON-RPC 2.0: a thin adapter over reservations.
//!
//! Reads leniently: what a request leaves out is taken from the run. A step that cannot be made within the budgets is
//! `deny`; what this Guardian has no opinion on is `allow`. Reads ids only, never the content of a step.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use budget::reservation::{Estimate, Reserve};
use budget::{Command, Denial, Ref, Subject, Verdict};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::App;
use super::answer::typed;
use super::caller::Caller;
use super::reservations::message;
use crate::event::{DEFAULT_NAMESPACE, NAME_BYTES_MAX};
use crate::server::body::read;
use crate::server::problem::Problem;
use crate::signal::counter_json;

/// What decides, as answers name it.
const POLICY: &str = "meterd.budgets";
const INVALID_REQUEST: i32 = -32_600;
const METHOD_NOT_FOUND: i32 = -32_601;
const INVALID_PARAMS: i32 = -32_602;
const PARSE_ERROR: i32 = -32_700;

/// A step, as far as budgets care.
struct Step {
    reservation: Arc<str>,
    execution: Ref,
    agent: Option<Arc<str>>,
}

pub(super) async fn post(State(app): State<App>, caller: Caller, body: Body) -> Result<Response, Problem> {
    let raw = read(body, app.body).await?;
    let Ok(request) = serde_json::from_slice::<Value>(&raw) else {
        return Ok(failed(&Value::Null, PARSE_ERROR, "the body is not JSON"));
    };
    let id = request.get("id").cloned().unwrap_or(Value::Null);
    let Some(method) = request.get("method").and_then(Value::as_str) else {
        return Ok(failed(&id, INVALID_REQUEST, "the request names no method"));
    };
    let params = request.get("params").cloned().unwrap_or(Value::Null);
    if method == "ping" {
        return Ok(answered(&id, &json!({ "status": "ok", "policyId": POLICY })));
    }
    if !method.starts_with("steps/") && method != "protocols/MCP" {
        return Ok(failed(&id, METHOD_NOT_FOUND, "methods are ping, steps/… and protocols/MCP"));
    }
    let Some(step) = step(&params, &id) else {
        let detail = "neither executionId nor context.session.id names the execution";
        return Ok(failed(&id, INVALID_PARAMS, detail));
    };
    caller.0.may_charge(&step.execution.namespace, &step.execution.name, step.agent.as_deref())?;
    let result = match method {
        "steps/toolCallRequest" => reserve(&app, step, params.get("estimateUsd").and_then(Value::as_str)).await?,
        "steps/toolCallResult" => release(&app, step).await?,
        _ => allowance(&app, &step).await,
    };
    Ok(answered(&id, &result))
}

/// The execution (`executionId` of the context, of the request itself or of the payload, else the session), the agent, and the step's
/// own id. The published schema and those who use it differ in where these stand, so each is taken from wherever it is.
fn step(params: &Value, id: &Value) -> Option<Step> {
    let context = params.get("context").unwrap_or(&Value::Null);
    let payloads = ["toolCallRequest", "toolCallResult", "agentTrigger", "message"];
    let payload = payloads.iter().find_map(|name| params.get(name)).unwrap_or(&Value::Null);
    let text = |value: Option<&Value>| {
        let text = value.and_then(Value::as_str).filter(|text| !text.is_empty() && text.len() <= NAME_BYTES_MAX);
        text.filter(|text| !text.chars().any(char::is_control)).map(str::to_owned)
    };
    let within = |outer: &str, inner: &str| text(context.get(outer).and_then(|value| value.get(inner)));
    let top = |key: &str| text(params.get(key));
    let inside = |outer: &str, inner: &str| text(params.get(outer).and_then(|value| value.get(inner)));
    let call = text(payload.get("executionId"));
    let session = text(context.get("executionId")).or_else(|| within("execution", "id")).or_else(|| top("executionId"));
    let session = session.or_else(|| inside("metadata", "joch.execution.id"));
    let session =
        session.or_else(|| within("session", "id")).or_else(|| inside("session", "id")).or_else(|| top("sessionId"));
    let name = session.or_else(|| call.clone())?;
    let namespace =
        text(context.get("namespace")).or_else(|| top("namespace")).or_else(|| within("organization", "id"));
    let own = call.filter(|call| *call != name).or_else(|| text(context.get("stepId"))).or_else(|| top("stepId"));
    let own = own.unwrap_or_else(|| id.to_string());
    Some(Step {
        reservation: Arc::from(format!("aos/{name}/{own}")),
        execution: Ref::new(namespace.as_deref().unwrap_or(DEFAULT_NAMESPACE), &name),
        agent: within("agent", "name")
            .or_else(|| within("agent", "id"))
            .or_else(|| inside("agent", "name"))
            .or_else(|| inside("agent", "id"))
            .or_else(|| top("agent"))
            .map(Arc::from),
    })
}

/// A tool call is held as one call; its cost is what the request states, else nothing: tools are free unless priced.
async fn reserve(app: &App, step: Step, stated: Option<&str>) -> Result<Value, Problem> {
    let usd = stated.and_then(|stated| stated.parse().ok()).unwrap_or_default();
    let digest: [u8; 32] = Sha256::digest(format!("{}\n{usd}", step.execution).as_bytes()).into();
    let id = Arc::clone(&step.reservation);
    let held = app
        .meter
        .reserve(Reserve {
            id: Arc::clone(&id),
            body: digest.first_chunk::<8>().map_or(0, |bytes| u64::from_le_bytes(*bytes)),
            execution: step.execution,
            subject: Subject { agent: step.agent, ..Subject::default() },
            parent: None,
            estimate: Estimate { usd: Some(usd), tool_calls: 1, ..Estimate::default() },
            ceiling: app.budgets.estimate_ceiling,
            ttl_ms: app.budgets.default_ttl_ms,
        })
        .await?;
    let denial = if let Verdict::Refused { denial, .. } = &held.verdict { Some(&**denial) } else { None };
    app.metrics.decided(denial, &held.counters);
    Ok(match &held.verdict {
        Verdict::Granted { expires_at, .. } => decision(
            None,
            &json!({ "reservationId": id, "expiresAt": expires_at, "bindingBudget": held.counters.first().map(counter_json) }),
        ),
        Verdict::Refused { denial, .. } => decision(Some(denial), &Value::Null),
        _ => decision(None, &json!({ "reservationId": id })),
    })
}

/// The call is over: what it cost comes as usage. A hold that is gone already is none of the agent's business.
async fn release(app: &App, step: Step) -> Result<Value, Problem> {
    let reservation = step.reservation;
    app.meter.command(Command::Release { reservation: Arc::clone(&reservation) }).await?;
    Ok(decision(None, &json!({ "reservationId": reservation })))
}

/// A step that holds nothing: may the run go on?
async fn allowance(app: &App, step: &Step) -> Value {
    let now = app.clock.now();
    let allowance = app.view.read_fresh(|state| budget::allowance(state, now, &step.execution)).await;
    let Some(allowance) = allowance else { return decision(None, &Value::Null) };
    app.metrics.decided(allowance.denial.as_ref(), &allowance.counters);
    decision(allowance.denial.as_ref(), &json!({ "bindingBudget": allowance.counters.first().map(counter_json) }))
}

fn decision(denial: Option<&Denial>, data: &Value) -> Value {
    let (word, reason, said) = match denial {
        Some(denial) => ("deny", denial.code(), message(denial)),
        None => ("allow", "within_budget", "within every budget that binds the run".to_owned()),
    };
    let mut data = data.clone();
    let mut version = Value::from("0");
    if let Some(Denial::Limit(counter)) = denial {
        data = json!({ "bindingBudget": counter_json(counter), "retryable": false });
        version = Value::from(counter.generation.to_string());
    }
    json!({
        "decision": word, "reason": reason, "message": said, "policyId": POLICY, "policyVersion": version, "data": data,
    })
}

fn answered(id: &Value, result: &Value) -> Response {
    typed(StatusCode::OK, "application/json", json!({ "jsonrpc": "2.0", "id": id, "result": result }).to_string())
}

fn failed(id: &Value, code: i32, message: &str) -> Response {
    let error = json!({ "jsonrpc": "2.0", "id": id, "error": { "code": code, "message": message } });
    typed(StatusCode::OK, "application/json", error.to_string())
}
