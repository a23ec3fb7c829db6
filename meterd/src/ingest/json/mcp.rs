//! `provider: "mcp:SERVER"`: how gateways write the call of an MCP tool in the form of a model's. It is that server's
//! tool, and what the model's form counts as `tool_calls` are its calls.

use std::sync::Arc;

use budget::charge::Called;
use pricing::{Quantity, Usage, UsageKey};

/// In front of the server's name.
const PREFIX: &str = "mcp:";

/// The call and its usage as a tool's, where the provider says so.
pub(super) fn as_tool(called: Called, usage: Option<Usage>) -> (Called, Option<Usage>) {
    let Called::Model { provider, model, .. } = &called else { return (called, usage) };
    let Some(server) = provider.strip_prefix(PREFIX).filter(|server| !server.is_empty()) else {
        return (called, usage);
    };
    let tool = Called::Tool { tool: Arc::clone(model), mcp_server: Some(Arc::from(server)) };
    (tool, Some(calls(usage.unwrap_or_default())))
}

/// One call, where nothing else is said.
fn calls(usage: Usage) -> Usage {
    let one = Quantity::from_u64(1).unwrap_or_default();
    let mut calls = Usage::new();
    let said = usage.get(UsageKey::ToolCalls).or(usage.get(UsageKey::Requests)).unwrap_or(one);
    let others = usage.iter().filter(|(key, _)| !matches!(key, UsageKey::ToolCalls | UsageKey::Requests));
    for (key, quantity) in others.chain([(UsageKey::Calls, said)]) {
        // Each was a quantity of its key before, and calls are as whole as tool calls.
        let _ = calls.set(key, quantity);
    }
    calls
}
