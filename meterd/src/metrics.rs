//! Every metric family: what is written at `/metrics`, in two text formats.
//!
//! Two writers. Families with free label values (money, tokens, calls, budgets, kills) are folded from the ledger and
//! written here, with exact decimals and caps. The daemon's own families, whose label values are closed sets, are kept
//! by the `prometheus` crate and appended to the same answer. Nothing here decides, and no invoice is made from it.

pub mod catalog;
pub mod daemon;
pub mod ledger;
mod negotiate;
mod scrapers;
mod state;
pub mod text;
mod view;

pub use self::catalog::{Layout, catalog, print_catalog};
pub use self::daemon::{Correction, DaemonMetrics, Reconciled, SINK_FAILURES, SINKS, TableInfo, render_daemon};
pub use self::ledger::{Caps, LedgerMetrics};
pub use self::negotiate::negotiate;
pub use self::scrapers::Scraper;
pub use self::state::{Gauges, gauges};
pub use self::text::{Format, Writer};
pub use self::view::{MetricsFollower, MetricsView};

/// The whole exposition as it is now.
#[cfg(test)]
fn render(
    mut writer: Writer,
    state: &budget::State,
    now: pricing::Timestamp,
    ledger: &LedgerMetrics,
    daemon: &DaemonMetrics,
) -> Vec<u8> {
    ledger.write(&mut writer);
    gauges(state, now, ledger).write(&mut writer);
    render_daemon(daemon, &mut writer);
    writer.finish()
}

#[cfg(test)]
mod tests;
