//! Exchange rates of a table in another currency than US dollars: dated, and by attributes such as the region.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::cascade::Circumstances;
use super::when::When;
use crate::cost::Fx;

/// The rates of a table's currency, in order; the last that holds counts.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Exchange {
    pub(super) rates: Vec<(When, Arc<Fx>)>,
}

impl Exchange {
    /// The rate at a call's own time.
    pub(crate) fn at(&self, circumstances: Circumstances<'_>) -> Option<&Arc<Fx>> {
        let Circumstances { at, usage, attrs } = circumstances;
        self.rates.iter().rev().find(|(when, _)| when.holds(at, usage, attrs)).map(|(_, fx)| fx)
    }

    /// The table's currency.
    pub(crate) fn currency(&self) -> Option<&Arc<str>> {
        self.rates.first().map(|(_, fx)| &fx.currency)
    }
}
