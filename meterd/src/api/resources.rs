//! `POST /v1/resources/apply` and `/validate`: multi-document YAML or JSON of joch kinds, all of it or nothing; and
//! `DELETE` of one that was applied.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use budget::entry::Origin;
use budget::{Command, Ref, Verdict};
use pricing::document::{Problem as Fault, Severity};
use serde_json::{Value, json};

use super::App;
use super::answer::typed;
use super::desk::Change;
use super::extract::Path;
use crate::resource::{self, PRICE_KINDS, Resource};
use crate::server::body::read;
use crate::server::problem::Problem;

pub(super) async fn apply(State(app): State<App>, body: Body) -> Result<Response, Problem> {
    let (resources, warnings) = resources(&app, body).await?;
    // What bears prices comes first, all of it or nothing: it must hold together with what is in force.
    let bearing: Vec<Resource> = resources.iter().filter(|resource| resource.bears_prices()).cloned().collect();
    let mut priced = match bearing.is_empty() {
        true => Vec::new().into_iter(),
        false => app.desk.hand_in(Change::Apply(bearing)).await?.into_iter(),
    };
    let mut results = Vec::with_capacity(resources.len());
    let mut begun = priced.len() > 0;
    for resource in &resources {
        let meta = resource.meta();
        let verdict = if resource.bears_prices() {
            let Some(verdict) = priced.next() else { continue };
            verdict
        } else if begun {
            // A full queue refuses the whole request, or nothing of it: once begun, the rest waits for room.
            app.meter.command_when_room(resource.command(Origin::Api)).await?
        } else {
            app.meter.command(resource.command(Origin::Api)).await?
        };
        begun = true;
        let status = match verdict {
            Verdict::Unchanged => "unchanged",
            Verdict::AlreadyEnded(phase) => {
                let detail = format!(
                    "{} {} is over ({}); what stood before it in the request was applied",
                    meta.kind,
                    meta.id,
                    phase.as_str()
                );
                return Err(
                    Problem::new(StatusCode::CONFLICT, "execution_ended", detail).with("results", results.into())
                );
            }
            Verdict::NothingToSlice => {
                let refused = super::executions::nothing_to_slice(&meta.id.namespace, &meta.id.name);
                return Err(refused.with("results", results.into()));
            }
            _ => "applied",
        };
        results
            .push(json!({ "kind": meta.kind, "namespace": meta.id.namespace, "name": meta.id.name, "status": status }));
    }
    let answer = json!({ "results": results, "warnings": faults(&warnings) });
    Ok(typed(StatusCode::OK, "application/json", answer.to_string()))
}

/// Takes away what `apply` brought. What lies in the watched folder is removed there.
pub(super) async fn delete(
    State(app): State<App>,
    Path((kind, namespace, name)): Path<(String, String, String)>,
) -> Result<Response, Problem> {
    let (kind, id): (Arc<str>, Ref) = (Arc::from(kind), Ref::new(&namespace, &name));
    let origin = app.view.read_fresh(|state| state.resource(&kind, &id).map(|found| found.origin)).await;
    match origin {
        None => return Err(Problem::not_found(format!("no {kind} {id} was applied; kinds are spelt as in documents"))),
        Some(Origin::Directory) => {
            let detail = format!("{kind} {id} comes from resources.dir, which is watched; remove its file there");
            return Err(Problem::new(StatusCode::CONFLICT, "from_directory", detail));
        }
        Some(Origin::Api) => {}
    }
    if PRICE_KINDS.contains(&&*kind) {
        app.desk.hand_in(Change::Remove { kind: Arc::clone(&kind), id: id.clone() }).await?;
    } else {
        app.meter.command(Command::Remove { kind: Arc::clone(&kind), id: id.clone() }).await?;
    }
    let answer = json!({ "kind": kind, "namespace": id.namespace, "name": id.name, "status": "removed" });
    Ok(typed(StatusCode::OK, "application/json", answer.to_string()))
}

pub(super) async fn validate(State(app): State<App>, body: Body) -> Result<Response, Problem> {
    let (resources, warnings) = resources(&app, body).await?;
    let read: Vec<Value> = resources
        .iter()
        .map(Resource::meta)
        .map(|meta| json!({ "kind": meta.kind, "namespace": meta.id.namespace, "name": meta.id.name }))
        .collect();
    let answer = json!({ "valid": true, "resources": read, "warnings": faults(&warnings) });
    Ok(typed(StatusCode::OK, "application/json", answer.to_string()))
}

async fn resources(app: &App, body: Body) -> Result<(Vec<Resource>, Vec<Fault>), Problem> {
    let raw = read(body, app.body).await?;
    let text = std::str::from_utf8(&raw).map_err(|error| {
        Problem::bad_request(
            "not_utf8",
            format!("the body is not UTF-8 text: first bad byte at {}", error.valid_up_to()),
        )
    })?;
    resource::read(text).map_err(|problems| refused(StatusCode::BAD_REQUEST, "invalid_resource", &problems))
}

/// Every problem of a document as one answer; the first one is the detail.
pub(super) fn refused(status: StatusCode, code: &'static str, problems: &[Fault]) -> Problem {
    let first = problems.iter().find(|problem| problem.severity == Severity::Error).or(problems.first());
    let detail = first.map_or_else(
        || "the document could not be read".to_owned(),
        |first| format!("line {}, column {}: {}", first.place.line, first.place.column, first.message),
    );
    let pointer = first.map(|first| pointer(&first.path)).unwrap_or_default();
    Problem::new(status, code, detail).at(pointer).with("problems", faults(problems).into())
}

/// `spec.limits.dailyUsd` as a JSON pointer.
fn pointer(path: &str) -> String {
    path.split(['.', '[']).map(|part| part.trim_end_matches(']')).filter(|part| !part.is_empty()).fold(
        String::new(),
        |mut pointer, part| {
            pointer.push('/');
            pointer.push_str(&part.replace('~', "~0").replace('/', "~1"));
            pointer
        },
    )
}

fn faults(problems: &[Fault]) -> Vec<Value> {
    let severity = |severity| if severity == Severity::Error { "error" } else { "warning" };
    let fault = |fault: &Fault| {
        json!({
            "severity": severity(fault.severity), "line": fault.place.line, "column": fault.place.column,
            "path": fault.path, "message": fault.message, "hint": fault.hint,
        })
    };
    problems.iter().map(fault).collect()
}
