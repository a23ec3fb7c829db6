//! `PUT …/executions/{name}/process`: the process at the other end of a Unix socket registers as the worker of a run.
//!
//! Who it is comes from the kernel's credentials of the connection, never from a body.

use std::os::fd::AsFd;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use budget::{Command, Ref, Verdict};
use serde::Deserialize;
use serde_json::{Value, json};

use super::App;
use super::answer::typed;
use super::extract::Path;
use crate::server::body::read;
use crate::server::problem::Problem;
use crate::server::unix::PeerProcess;
use crate::signal::process::{NotIt, identify};

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Registration {
    /// `group`, `tree` or `cgroup`: what goes with the process; its group if it leads one, unless said.
    #[serde(default)]
    members: Option<String>,
    /// It serves several runs and may be signalled for one of them all the same.
    #[serde(default)]
    shared: bool,
}

pub(super) async fn put(
    State(app): State<App>,
    Path((namespace, name)): Path<(String, String)>,
    peer: Option<Extension<PeerProcess>>,
    body: Body,
) -> Result<Response, Problem> {
    let Some(Extension(peer)) = peer else {
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            "not_a_local_peer",
            "a process registers over the Unix socket, where the kernel says who it is; this request came another way",
        ));
    };
    let raw = read(body, app.body).await?;
    let wish: Registration = if raw.trim_ascii().is_empty() {
        Registration::default()
    } else {
        serde_json::from_slice(&raw).map_err(|error| {
            Problem::bad_request(
                "invalid_registration",
                format!(r#"expected {{"members"?: "group" | "tree" | "cgroup", "shared"?: true}}: {error}"#),
            )
        })?
    };
    let members = wish.members.as_deref().unwrap_or_default();
    if !["", "group", "tree", "cgroup"].contains(&members) {
        return Err(Problem::bad_request("invalid_registration", "members is group, tree or cgroup").at("/members"));
    }
    let process = identify(peer.pid, peer.pidfd.as_fd(), members, wish.shared).map_err(|error| match error {
        NotIt::Refused(message) => Problem::new(StatusCode::FORBIDDEN, "process_refused", message),
        error => Problem::bad_request("process_unknown", error.to_string()),
    })?;
    if process.uid != peer.uid {
        let message = "the process changed its user since it connected; connect again";
        return Err(Problem::new(StatusCode::FORBIDDEN, "process_refused", message));
    }
    let execution = Ref::new(&namespace, &name);
    let command = Command::Register { execution: execution.clone(), process: process.clone() };
    match app.meter.command(command).await? {
        Verdict::UnknownExecution => Err(Problem::not_found(format!("no execution {execution}: open it first"))),
        Verdict::AlreadyEnded(phase) => Err(Problem::new(
            StatusCode::CONFLICT,
            "execution_ended",
            format!("{execution} is over ({}); it needs no worker", phase.as_str()),
        )),
        _ => Ok(typed(StatusCode::OK, "application/json", registered(&execution, &process).to_string())),
    }
}

fn registered(execution: &Ref, process: &budget::signal::Process) -> Value {
    json!({
        "namespace": execution.namespace, "execution": execution.name, "pid": process.pid, "uid": process.uid,
        "bootId": process.boot, "startedTicks": process.started, "members": process.members.as_str(),
        "shared": process.shared,
    })
}
