//! Rows of the description: what is there for those who watch, in a browser or with a program.

use super::{JSON, Operation};

const HTML: &str = "text/html";

pub(super) const OPERATIONS: &[Operation] = &[
    Operation {
        method: "get",
        path: "/v1/events",
        id: "watchEvents",
        summary: "What happens, as server-sent events: a snapshot of runs, budgets and kills, then what moved. Resumable \
                  by Last-Event-ID. Without `Accept: text/event-stream`, one snapshot.",
        takes: &[],
        gives: &["text/event-stream", JSON],
        query: &[],
        fails: &[(400, "Last-Event-ID is no number."), (503, "Enough people watch already.")],
        ok: 200,
    },
    Operation {
        method: "get",
        path: "/v1/prices",
        id: "listPriceTables",
        summary: "The price tables in force, the one that goes first first, with their models.",
        takes: &[],
        gives: &[JSON],
        query: &[],
        fails: &[],
        ok: 200,
    },
    Operation {
        method: "get",
        path: "/v1/prices/{digest}",
        id: "getPriceTable",
        summary: "The content of a price table in force, as its digest was made from it.",
        takes: &[],
        gives: &[JSON],
        query: &[],
        fails: &[(404, "No table with this digest is in force.")],
        ok: 200,
    },
    Operation {
        method: "get",
        path: "/",
        id: "console",
        summary: "The console: a page for people.",
        takes: &[],
        gives: &[HTML],
        query: &[],
        fails: &[],
        ok: 200,
    },
    Operation {
        method: "get",
        path: "/console/{file}",
        id: "consoleFile",
        summary: "A file of the console.",
        takes: &[],
        gives: &["text/css", "text/javascript"],
        query: &[],
        fails: &[(404, "The console has no such file.")],
        ok: 200,
    },
    Operation {
        method: "get",
        path: "/runbooks/{name}",
        id: "runbook",
        summary: "What to do about an alert: where its `runbook_url` leads.",
        takes: &[],
        gives: &[HTML],
        query: &[],
        fails: &[(404, "No such runbook.")],
        ok: 200,
    },
];
