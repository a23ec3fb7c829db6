//! The operations of kills: an operator's, the worker that registers, the signals and their acknowledgement.

use super::{BODY_FAILS, JSON, Operation, PARAMETER, UNKNOWN};

pub(super) const OPERATIONS: &[Operation] = &[
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
        path: "/v1/kills",
        id: "listKills",
        summary: "Kills, newest first, with what became of them.",
        takes: &[],
        gives: &[JSON],
        query: &[("namespace", "only this one")],
        fails: &[],
        ok: 200,
    },
];
