//! The schemas that the description's operations share.

use serde_json::{Value, json};

/// RFC 9457, as every refusal has it.
pub(super) fn problem() -> Value {
    json!({
        "type": "object",
        "required": ["type", "title", "status", "code", "detail", "retryable"],
        "properties": {
            "type": { "type": "string" }, "title": { "type": "string" }, "status": { "type": "integer" },
            "code": { "type": "string", "description": "Stable; for programs." },
            "detail": { "type": "string", "description": "What is wrong and the way out; for people." },
            "pointer": { "type": "string", "description": "JSON pointer to the offending field." },
            "retryable": { "type": "boolean", "description": "The same request may succeed later." },
        },
    })
}
