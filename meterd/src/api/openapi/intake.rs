//! The operations that take usage in, whatever speaks. Their handlers live with their routes, never here.

use super::{BODY_FAILS, JSON, Operation, PROTOBUF};

pub(super) const OPERATIONS: &[Operation] = &[
    Operation {
        method: "post",
        path: "/v1/usage",
        id: "postUsage",
        summary: "Book usage events: one object, an array, NDJSON, or CloudEvents 1.0 (structured, batch, binary). Answered when durable.",
        takes: &[JSON, "application/x-ndjson", "application/cloudevents+json", "application/cloudevents-batch+json"],
        gives: &[JSON],
        query: &[],
        ok: 200,
        fails: &[
            BODY_FAILS[0],
            (409, "A single event whose id was booked before with other content."),
            BODY_FAILS[1],
            BODY_FAILS[2],
        ],
    },
    Operation {
        method: "post",
        path: "/v1/provider-usage",
        id: "postProviderUsage",
        summary: "Book responses as providers send them, each in an envelope `{provider, api, body, execution, …}`: \
                  one object, an array, or NDJSON. Answered when durable.",
        takes: &[JSON, "application/x-ndjson"],
        gives: &[JSON],
        query: &[],
        ok: 200,
        fails: &[
            BODY_FAILS[0],
            (409, "A single event whose id was booked before with other content."),
            BODY_FAILS[1],
            BODY_FAILS[2],
        ],
    },
    Operation {
        method: "post",
        path: "/v1/litellm",
        id: "postLitellm",
        summary: "Book what LiteLLM's generic API callback sends: one payload, an array, or NDJSON. Answered when durable.",
        takes: &[JSON, "application/x-ndjson"],
        gives: &[JSON],
        query: &[],
        ok: 200,
        fails: &[
            BODY_FAILS[0],
            (409, "A single event whose id was booked before with other content."),
            BODY_FAILS[1],
            BODY_FAILS[2],
        ],
    },
    otlp(
        "/v1/logs",
        "postLogs",
        "Book the usage events of coding agents in OTLP logs; other records are taken and ignored.",
    ),
    otlp(
        "/v1/metrics",
        "postMetrics",
        "Book token counters in OTLP metrics of sources with `metrics: only`; others are taken and ignored.",
    ),
    otlp(
        "/v1/traces",
        "postTraces",
        "Book the model and tool calls of OTLP spans. The answer has the request's content type.",
    ),
];

/// What exporters of OpenTelemetry post: its signals differ in nothing but what is in them.
const fn otlp(path: &'static str, id: &'static str, summary: &'static str) -> Operation {
    Operation {
        method: "post",
        path,
        id,
        summary,
        takes: &[PROTOBUF, JSON],
        gives: &[PROTOBUF, JSON],
        query: &[],
        fails: &BODY_FAILS,
        ok: 200,
    }
}
