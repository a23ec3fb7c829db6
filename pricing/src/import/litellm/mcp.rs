//! LiteLLM's prices of MCP tools → a price table of tools. Billed per call, whether it succeeded or not.

use sha2::{Digest, Sha256};

use super::{GENERATED_BY, table};
use crate::document::{self, Node};
use crate::import::draft::{Table, Tool};
use crate::import::rate::rate;
use crate::import::{Import, ImportError, LeftOut, Options, hex, yaml};

/// Turns the `mcp_servers` of a proxy configuration (YAML or JSON) into one table of tools: for each server
/// `mcp_info.mcp_server_cost_info` with `default_cost_per_query` and `tool_name_to_cost_per_query`. What else the
/// configuration says is not looked at. A server without prices has no entry, so its tools are unpriced here.
pub fn convert_mcp(text: &str, options: &Options) -> Result<Import, ImportError> {
    let documents = document::parse(text)
        .map_err(|problems| ImportError::Document(problems.first().map(ToString::to_string).unwrap_or_default()))?;
    let servers = documents.iter().find_map(|document| document.get("mcp_servers")).and_then(Node::as_map);
    let Some(servers) = servers else { return Err(ImportError::Document("it has no mcp_servers".to_owned())) };
    let mut import = Import::default();
    let mut tools = Vec::new();
    for (server, settings) in servers {
        let prices = settings.get("mcp_info").and_then(|info| info.get("mcp_server_cost_info"));
        let Some(prices) = prices else { continue };
        let named = prices.get("tool_name_to_cost_per_query").and_then(Node::as_map).unwrap_or_default();
        let named = named.iter().map(|(tool, price)| (Some(tool.name.as_str()), price));
        let other = prices.get("default_cost_per_query").map(|price| (None, price));
        for (tool, price) in named.chain(other) {
            match rate(price.text().unwrap_or_default()) {
                Ok(calls) => tools.push(Tool { mcp_server: server.name.clone(), tool: tool.map(str::to_owned), calls }),
                Err(error) => import.left_out.push(LeftOut {
                    provider: server.name.clone(),
                    model: tool.map(str::to_owned),
                    what: "price per call".to_owned(),
                    why: format!("it is {error}"),
                }),
            }
        }
    }
    if !tools.is_empty() {
        let sha256 = hex(&Sha256::digest(text.as_bytes()));
        let table = Table { tools, ..table("mcp", options, sha256, Vec::new()) };
        import.tables.push(("mcp".to_owned(), yaml::document(&table, GENERATED_BY)));
    }
    Ok(import)
}
