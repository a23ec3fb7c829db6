//! The operations on single calls of the quarantine.

use super::{BODY_FAILS, JSON, Operation};

pub(super) const OPERATIONS: &[Operation] = &[
    Operation {
        method: "get",
        path: "/v1/quarantine/{id}",
        id: "getQuarantined",
        summary: "One call that was booked without a price, by its entry: its usage, why, the way out, and what gave it a price since.",
        takes: &[],
        gives: &[JSON],
        query: &[],
        fails: &[(404, "No call without a price in this entry.")],
        ok: 200,
    },
    Operation {
        method: "post",
        path: "/v1/quarantine/{id}/release",
        id: "releaseQuarantined",
        summary: "Give a call its price: `{\"cost_usd\": \"0.40\", \"reason\": \"…\"}`, or `{}` to ask the tables in force. Booked \
                  once, as an adjustment, however often it is asked for.",
        takes: &[JSON],
        gives: &[JSON],
        query: &[],
        fails: &[
            BODY_FAILS[0],
            (404, "No call without a price in this entry."),
            (409, "It has another price already, or no table has one and none is stated."),
            BODY_FAILS[1],
        ],
        ok: 200,
    },
];
