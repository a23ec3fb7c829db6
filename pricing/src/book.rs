//! PriceBook: the tables in force, in layers (list → contract → override), looked up by provider and model.

use std::sync::Arc;

use crate::table::PriceTable;

/// The tables in force. Cheap to share; never changes once built: a reload builds another.
#[derive(Debug, Default)]
pub struct PriceBook {
    tables: Vec<Arc<PriceTable>>,
}

impl PriceBook {
    /// A book of these tables. A later table's entry for a model goes before an earlier one's.
    #[must_use]
    pub fn new(tables: Vec<Arc<PriceTable>>) -> Self {
        Self { tables }
    }

    /// The tables, lowest layer first.
    #[must_use]
    pub fn tables(&self) -> &[Arc<PriceTable>] {
        &self.tables
    }
}
