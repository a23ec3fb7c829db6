//! PriceTable: versioned rates for models and tools, read strictly, digested canonically, immutable once built.

use std::sync::Arc;

use crate::cost::TableRef;
use crate::document::{Node, Problem};

/// One immutable version of a price table.
#[derive(Debug)]
pub struct PriceTable {
    reference: TableRef,
}

impl PriceTable {
    /// Reads one PriceTable resource (`kind: PriceTable`). Every problem at once; warnings come with the table.
    pub fn from_node(node: &Node) -> Result<(Self, Vec<Problem>), Vec<Problem>> {
        let _ = node;
        Err(Vec::new())
    }

    /// Name, version and digest.
    #[must_use]
    pub fn reference(&self) -> &TableRef {
        &self.reference
    }

    /// The canonical JSON of the whole resource: what is pinned beside the ledger, and what `from_node` reads back.
    #[must_use]
    pub fn canonical_json(&self) -> Arc<str> {
        Arc::from("")
    }

    /// How many models and tools it prices.
    #[must_use]
    pub fn entries(&self) -> usize {
        0
    }
}
