//! Entries to feed the families with, and readers of what comes out; tests of the rooms below share them. Here: the
//! whole answer to a scrape.

mod feed;
mod read;

pub(super) use self::feed::{Feed, PICO, budget_of, cost, counter_at, entry, model, no_price, tool, usd};
pub(super) use self::read::{Exposition, sum};
