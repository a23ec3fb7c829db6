//! Every entry of the list that claims a name, in the order of precedence: the first one answers, the others are passed over.

use std::sync::Arc;

use super::PriceBook;
use super::index::Index;
use crate::cost::{TableRef, Target};
use crate::model::{Answer, Rank};
use crate::table::{Entry, PriceTable};
use crate::time::Timestamp;

/// Claims of one name, at most: beyond that nobody reads on.
const CLAIMS_MAX: usize = 100;

/// An entry that claims a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Its table.
    pub table: TableRef,
    /// The entry: a model's id, or what a tool's entry matches.
    pub id: Arc<str>,
    /// How it claims the name.
    pub rank: Rank,
    /// By which name, prefix, glob or regular expression.
    pub pattern: String,
    /// For this MCP server alone.
    pub server: Option<String>,
}

impl Claim {
    fn of(table: &PriceTable, entry: &Entry, answer: &Answer<'_>) -> Self {
        Self {
            table: table.reference().clone(),
            id: Arc::clone(&entry.id),
            rank: answer.rank,
            pattern: answer.pattern.to_owned(),
            server: answer.server.map(str::to_owned),
        }
    }
}

impl PriceBook {
    /// The claims of the list prices for this namespace and team: of the highest table that knows the name first, and in
    /// each table by rank.
    #[must_use]
    pub fn claims(&self, target: Target<'_>, at: Timestamp, namespace: &str, team: Option<&str>) -> Vec<Claim> {
        let scoped = self.scopes.as_ref().and_then(|scopes| scopes.list_of(namespace, team));
        let index: &Index = scoped.unwrap_or(&self.list);
        let mut claims: Vec<Claim> = Vec::new();
        let mut note = |table: &PriceTable, entry: &Entry, answer: &Answer<'_>| {
            let claim = Claim::of(table, entry, answer);
            if claims.len() < CLAIMS_MAX && !claims.contains(&claim) {
                claims.push(claim);
            }
        };
        match target {
            Target::Model { provider, model, .. } => index.claims(&self.tables, provider, model, at, &mut note),
            Target::Tool { tool, mcp_server, .. } => {
                for table in index.tables().iter().rev().filter_map(|number| self.tables.get(*number)) {
                    for (entry, answer) in table.tool_claims(tool, mcp_server) {
                        note(table, entry, &answer);
                    }
                }
            }
            Target::Approval => {}
        }
        claims
    }
}
