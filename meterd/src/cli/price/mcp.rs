//! Prices of an MCP server's tools that a call brings along, as LiteLLM's proxy keeps them: `mcp_server_cost_info` as text
//! in the attribute `mcp_price_config`. Offline only: a daemon takes no price from whom it charges.

use std::sync::Arc;

use budget::charge::Called;
use pricing::import::{Options, litellm};
use pricing::{PriceBook, PriceTable};
use serde_json::json;

use crate::event::UsageEvent;

/// The attribute.
const ATTRIBUTE: &str = "mcp_price_config";

/// A book of these prices, if the call is a tool's and has any.
pub(super) fn own_prices(event: &UsageEvent) -> Option<PriceBook> {
    let Called::Tool { mcp_server: Some(server), .. } = &event.called else { return None };
    let prices = event.attrs.get(ATTRIBUTE)?;
    // As text, so that no price passes through a binary float.
    let configuration = format!(
        "{{\"mcp_servers\": {{{}: {{\"mcp_info\": {{\"mcp_server_cost_info\": {prices}}}}}}}}}",
        json!(&**server)
    );
    let options = Options { source_version: "call".to_owned(), table_version: "call".to_owned() };
    let import = litellm::convert_mcp(&configuration, &options).ok()?;
    let tables = import.tables.iter().filter_map(|(_, text)| PriceTable::parse(text).ok());
    let tables: Vec<_> = tables.flat_map(|(tables, _)| tables).map(Arc::new).collect();
    (!tables.is_empty()).then(|| PriceBook::new(tables))
}
