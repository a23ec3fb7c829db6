//! The API's own description: one row a route, and from these rows OpenAPI 3.1. Tested against the router.

mod cost;
mod intake;
mod quarantine;
mod reservations;
mod schema;
mod watching;

use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Map, Value, json};

use super::access::{self, Reach};
use super::answer::typed;

/// One operation.
struct Operation {
    method: &'static str,
    path: &'static str,
    id: &'static str,
    summary: &'static str,
    /// Content types of the request's body; empty for none.
    takes: &'static [&'static str],
    /// Content types of the answer.
    gives: &'static [&'static str],
    /// Query parameters: name and what it does.
    query: &'static [(&'static str, &'static str)],
    /// Statuses besides `ok` and their meaning.
    fails: &'static [(u16, &'static str)],
    ok: u16,
}

const JSON: &str = "application/json";
const YAML: &str = "application/yaml";
const PROTOBUF: &str = "application/x-protobuf";
const FORMAT: (&str, &str) = ("format", "`json` or `yaml`; without it `Accept` decides");
const PAGE: [(&str, &str); 2] = [("limit", "1 to 1000, 100 by default"), ("continue", "from the answer before")];
const BODY_FAILS: [(u16, &str); 3] = [
    (400, "The body cannot be read, or is refused; `pointer` names the field."),
    (413, "The body is too large, as sent or after decompression."),
    (415, "The encoding or type is not supported."),
];
/// What every operation that changes something can answer, beside its own.
const WRITE_FAILS: [(u16, &str); 3] = [
    (408, "The body was not complete in time: nothing was taken, send it again."),
    (503, "The queue is full or the ledger has stopped: nothing was taken, send it again after `Retry-After`."),
    (507, "The disk is full: nothing was taken, send it again when there is room."),
];
/// What everybody can be told at the door, where it is not open.
const DOOR_FAILS: [(u16, &str); 3] = [
    (401, "No credential, or one that nobody is known by."),
    (403, "The principal has not the role, or may not speak for this namespace, agent or execution."),
    (429, "More requests than the principal's rate; never about money."),
];
const PARAMETER: [(u16, &str); 1] = [(400, "A parameter cannot be read.")];
const UNKNOWN: [(u16, &str); 1] = [(404, "No such execution.")];

/// Every operation.
fn operations() -> impl Iterator<Item = &'static Operation> {
    let rows = intake::OPERATIONS.iter().chain(OPERATIONS).chain(&cost::OPERATIONS);
    rows.chain(reservations::OPERATIONS).chain(watching::OPERATIONS).chain(quarantine::OPERATIONS)
}

const OPERATIONS: &[Operation] = &[
    Operation {
        method: "post",
        path: "/api/public/otel/v1/traces",
        id: "postTracesAlias",
        summary: "The same as /v1/traces, at the path that some SDKs have built in.",
        takes: &[PROTOBUF, JSON],
        gives: &[PROTOBUF, JSON],
        query: &[],
        fails: &BODY_FAILS,
        ok: 200,
    },
    Operation {
        method: "get",
        path: "/v1/executions",
        id: "listAllExecutions",
        summary: "Executions of every namespace.",
        takes: &[],
        gives: &[JSON, YAML],
        query: &LIST_QUERY,
        fails: &PARAMETER,
        ok: 200,
    },
    Operation {
        method: "get",
        path: "/v1/namespaces/{namespace}/executions",
        id: "listExecutions",
        summary: "Executions of one namespace.",
        takes: &[],
        gives: &[JSON, YAML],
        query: &LIST_QUERY,
        fails: &PARAMETER,
        ok: 200,
    },
    Operation {
        method: "get",
        path: "/v1/namespaces/{namespace}/executions/{name}",
        id: "getExecution",
        summary: "One Execution with its live status.",
        takes: &[],
        gives: &[JSON, YAML],
        query: &[FORMAT],
        fails: &UNKNOWN,
        ok: 200,
    },
    Operation {
        method: "put",
        path: "/v1/namespaces/{namespace}/executions/{name}",
        id: "putExecution",
        summary: "Open an Execution, or change its description and budgets.",
        takes: &[JSON, YAML],
        gives: &[JSON, YAML],
        query: &[],
        ok: 200,
        fails: &[BODY_FAILS[0], (409, "The execution is over.")],
    },
    Operation {
        method: "post",
        path: "/v1/namespaces/{namespace}/executions/{name}/complete",
        id: "completeExecution",
        summary: "End an Execution: Succeeded, Failed or Cancelled.",
        takes: &[JSON],
        gives: &[JSON],
        query: &[],
        ok: 200,
        fails: &[BODY_FAILS[0], UNKNOWN[0], (409, "It has ended in another phase.")],
    },
    Operation {
        method: "get",
        path: "/v1/namespaces/{namespace}/executions/{name}/entries",
        id: "listEntries",
        summary: "The ledger lines behind the cost.",
        takes: &[],
        gives: &[JSON],
        query: &PAGE,
        fails: &[PARAMETER[0], UNKNOWN[0]],
        ok: 200,
    },
    Operation {
        method: "get",
        path: "/v1/namespaces/{namespace}/executions/{name}/allowance",
        id: "getAllowance",
        summary: "What may still be spent, and by which budget.",
        takes: &[],
        gives: &[JSON],
        query: &[],
        fails: &UNKNOWN,
        ok: 200,
    },
    Operation {
        method: "post",
        path: "/v1/namespaces/{namespace}/executions/{name}/kill",
        id: "killExecution",
        summary: "Fence and kill a run as its operator.",
        takes: &[JSON],
        gives: &[JSON],
        query: &[],
        ok: 202,
        fails: &[BODY_FAILS[0], UNKNOWN[0], (409, "The execution is over.")],
    },
    Operation {
        method: "put",
        path: "/v1/namespaces/{namespace}/executions/{name}/process",
        id: "putProcess",
        summary: "Register the process at the other end of the Unix socket as the worker of a run: \
                  `{members?: group | tree | cgroup, shared?}`.",
        takes: &[JSON],
        gives: &[JSON],
        query: &[],
        ok: 200,
        fails: &[
            BODY_FAILS[0],
            (403, "The request came another way than over the Unix socket, or the process may not be signalled."),
            UNKNOWN[0],
            (409, "The execution is over."),
        ],
    },
    Operation {
        method: "get",
        path: "/v1/namespaces/{namespace}/executions/{name}/signals",
        id: "getSignals",
        summary: "Kills and warnings for a run: server-sent events (`Accept: text/event-stream`, resumable by \
                  `Last-Event-ID`), else one long poll.",
        takes: &[],
        gives: &["text/event-stream", JSON],
        ok: 200,
        fails: &[PARAMETER[0], (503, "So many listen to this run already that no more are taken.")],
        query: &[("after", "id of the last signal seen"), ("wait_seconds", "how long a long poll waits, at most 60")],
    },
    Operation {
        method: "post",
        path: "/v1/namespaces/{namespace}/executions/{name}/signals/{id}/ack",
        id: "ackSignal",
        summary: "The agent's acknowledgement of a kill; `proof: process_gone` confirms that the run is gone.",
        takes: &[JSON],
        gives: &[JSON],
        query: &[],
        ok: 200,
        fails: &[BODY_FAILS[0], (404, "No such kill of this execution.")],
    },
    Operation {
        method: "get",
        path: "/v1/budgets",
        id: "listBudgets",
        summary: "Budgets with live status.",
        takes: &[],
        gives: &[JSON, YAML],
        query: &[("namespace", "only this one"), FORMAT],
        fails: &[],
        ok: 200,
    },
    Operation {
        method: "get",
        path: "/v1/namespaces/{namespace}/budgets/{name}",
        id: "getBudget",
        summary: "One Budget with live status.",
        takes: &[],
        gives: &[JSON, YAML],
        query: &[FORMAT],
        fails: &[(404, "No such budget.")],
        ok: 200,
    },
    Operation {
        method: "get",
        path: "/v1/kills",
        id: "listKills",
        summary: "Kills, newest first, with what became of them.",
        takes: &[],
        gives: &[JSON],
        query: &[("namespace", "only this one")],
        fails: &[],
        ok: 200,
    },
    Operation {
        method: "get",
        path: "/v1/quarantine",
        id: "listQuarantine",
        summary: "Usage without a price, oldest first, and how much of each kind. It settles when a table prices it.",
        takes: &[],
        gives: &[JSON],
        query: &[("namespace", "only this one"), ("reason", "only this reason's"), PAGE[0], PAGE[1]],
        fails: &[],
        ok: 200,
    },
    Operation {
        method: "get",
        path: "/v1/dead-letters",
        id: "listDeadLetters",
        summary: "Usage refused for its time (`too_old`, `in_future`) and kept, oldest first; nothing of it is booked.",
        takes: &[],
        gives: &[JSON],
        query: &[("namespace", "only this one"), ("reason", "only this reason's"), PAGE[0], PAGE[1]],
        fails: &[],
        ok: 200,
    },
    Operation {
        method: "post",
        path: "/v1/dead-letters/import",
        id: "importDeadLetters",
        summary: "Book dead letters: `{\"ids\": [1, 2]}`, or `{\"all\": true}`. Each is booked once, however often it is asked for.",
        takes: &[JSON],
        gives: &[JSON],
        query: &[],
        fails: &[BODY_FAILS[0], BODY_FAILS[1]],
        ok: 200,
    },
    Operation {
        method: "post",
        path: "/v1/reprice",
        id: "reprice",
        summary: "Price booked usage again from the tables in the body; `dry_run` only shows the difference.",
        takes: &[JSON],
        gives: &[JSON],
        query: &[],
        fails: &[BODY_FAILS[0], BODY_FAILS[1]],
        ok: 200,
    },
    Operation {
        method: "post",
        path: "/v1/simulate",
        id: "simulate",
        summary: "What proposed budgets would have done to the runs of the ledger: `{documents, since, until?}`.",
        takes: &[JSON],
        gives: &[JSON],
        query: &[],
        fails: &[BODY_FAILS[0], BODY_FAILS[1]],
        ok: 200,
    },
    Operation {
        method: "post",
        path: "/v1/adjustments",
        id: "adjust",
        summary: "State what one booked charge costs (a refund, a correction), with a reason: \
                  `{of, cost_usd, reason}`. The difference is booked once.",
        takes: &[JSON],
        gives: &[JSON],
        query: &[],
        fails: &[
            BODY_FAILS[0],
            (404, "No charge has this sequence number."),
            (409, "The run of the charge is no longer kept at hand."),
            BODY_FAILS[1],
        ],
        ok: 200,
    },
    Operation {
        method: "post",
        path: "/v1/resources/apply",
        id: "applyResources",
        summary: "Create or change resources: multi-document YAML or JSON. Nothing is applied if anything is wrong.",
        takes: &[YAML, JSON],
        gives: &[JSON],
        query: &[],
        fails: &[BODY_FAILS[0], (409, "An Execution in it is over; what stood before it was applied."), BODY_FAILS[1]],
        ok: 200,
    },
    Operation {
        method: "delete",
        path: "/v1/resources/{kind}/{namespace}/{name}",
        id: "deleteResource",
        summary: "Take away a resource that was applied. Prices change only where they still hold together without it.",
        takes: &[],
        gives: &[JSON],
        query: &[],
        fails: &[
            (404, "Nothing of that kind and name was applied."),
            (409, "It comes from the watched folder: remove its file there."),
        ],
        ok: 200,
    },
    Operation {
        method: "post",
        path: "/v1/resources/validate",
        id: "validateResources",
        summary: "Say what is wrong with resources, without applying them.",
        takes: &[YAML, JSON],
        gives: &[JSON],
        query: &[],
        fails: &[BODY_FAILS[0], BODY_FAILS[1]],
        ok: 200,
    },
    Operation {
        method: "get",
        path: "/openapi.json",
        id: "getOpenApi",
        summary: "This description.",
        takes: &[],
        gives: &[JSON],
        query: &[],
        fails: &[],
        ok: 200,
    },
    Operation {
        method: "get",
        path: "/healthz",
        id: "getHealth",
        summary: "The process is alive.",
        takes: &[],
        gives: &["text/plain"],
        query: &[],
        fails: &[],
        ok: 200,
    },
    Operation {
        method: "get",
        path: "/readyz",
        id: "getReadiness",
        summary: "The ledger takes entries; `warnings` names what goes on with its last good snapshot.",
        takes: &[],
        gives: &[JSON],
        query: &[],
        fails: &[(503, "The ledger has stopped, or the daemon is going down.")],
        ok: 200,
    },
];

const LIST_QUERY: [(&str, &str); 7] = [
    ("phase", "Pending, Running, Succeeded, Failed or Cancelled"),
    ("agent", "only this agent's"),
    ("since", "started at or after this RFC 3339 time"),
    ("over_usd", "whose own cost is above this decimal"),
    PAGE[0],
    PAGE[1],
    FORMAT,
];

/// The OpenAPI 3.1 document.
#[must_use]
pub fn document() -> Value {
    let mut paths: Map<String, Value> = Map::new();
    for operation in operations() {
        let path = paths.entry(operation.path).or_insert_with(|| json!({}));
        if let Some(path) = path.as_object_mut() {
            path.insert(operation.method.to_owned(), operation.describe());
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "meterd",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Cost and budget metering for fleets of AI agents. Errors are RFC 9457 problems with a stable `code`.",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "paths": paths,
        "components": {
            "schemas": { "Problem": schema::problem() },
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
        },
    })
}

/// The route as a metric label: one of the paths above.
pub(super) fn handler(matched: &str) -> &'static str {
    let paths = operations().map(|operation| operation.path).chain(["/metrics"]);
    paths.into_iter().find(|path| *path == matched).unwrap_or("other")
}

impl Operation {
    fn describe(&self) -> Value {
        let of_types = |types: &[&str]| -> Map<String, Value> {
            types.iter().map(|name| ((*name).to_owned(), json!({ "schema": {} }))).collect()
        };
        let mut responses = Map::new();
        responses.insert(self.ok.to_string(), json!({ "description": "Done.", "content": of_types(self.gives) }));
        let writes: &[(u16, &str)] = if self.method == "get" { &[] } else { &WRITE_FAILS };
        for (status, meaning) in self.fails.iter().chain(writes) {
            let schema = json!({ "schema": { "$ref": "#/components/schemas/Problem" } });
            // Readiness keeps its own form in either state, for probes.
            let form = if self.path == "/readyz" { JSON } else { "application/problem+json" };
            let content = if self.path == "/readyz" { json!({ "schema": {} }) } else { schema };
            let problem = json!({ "description": meaning, "content": { form: content } });
            responses.insert(status.to_string(), problem);
        }
        let access = access::of(self.method, self.path);
        let open = access.reach == Reach::Open;
        if !open {
            for (status, meaning) in DOOR_FAILS {
                let content = json!({ "schema": { "$ref": "#/components/schemas/Problem" } });
                let problem = json!({ "description": meaning, "content": { "application/problem+json": content } });
                responses.entry(status.to_string()).or_insert(problem);
            }
        }
        let roles: Vec<&str> = access.roles.iter().map(|role| role.as_str()).collect();
        let mut operation = json!({
            "x-roles": roles, "security": if open { json!([]) } else { json!([{ "token": [] }]) },
            "operationId": self.id, "summary": self.summary, "parameters": self.parameters(), "responses": responses,
        });
        if let (false, Some(operation)) = (self.takes.is_empty(), operation.as_object_mut()) {
            operation.insert("requestBody".to_owned(), json!({ "content": of_types(self.takes) }));
        }
        operation
    }

    fn parameters(&self) -> Vec<Value> {
        let named = self.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
        let in_path =
            named.map(|name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } }));
        let in_query = self.query.iter().map(
            |(name, what)| json!({ "name": name, "in": "query", "description": what, "schema": { "type": "string" } }),
        );
        in_path.chain(in_query).collect()
    }
}

pub(super) async fn get() -> Response {
    typed(StatusCode::OK, JSON, document().to_string())
}
