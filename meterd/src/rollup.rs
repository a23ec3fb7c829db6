//! Roll-ups: entries → what it cost by team, agent, model, tool, namespace and execution, in quarter-hours of event time.
//!
//! Derived from the entries and nothing else; never writes the ledger and never prices. Sums are exact. A late event and an
//! adjustment count in the charge's own time. Memory is bounded: the oldest quarter-hours are given up first, and a question
//! that reaches back further is answered from the ledger itself, with the same digits.
//!
//! Quarter-hours, because every zone's offset is a multiple of fifteen minutes: so the days of any zone are sums of whole
//! cells. The ends of a question's span are rounded outwards to quarter-hours, and the answer says to which.

mod answer;
mod cube;
mod focus;
mod line;
mod question;
mod scan;
mod tree;
mod view;

#[cfg(test)]
mod tests;

pub use answer::{Answer, Groups, Names, Row};
pub use focus::{COLUMNS as FOCUS_COLUMNS, Focus};
pub use line::{Line, Sums, calls_of, quarter_of};
pub use question::{Bucket, By, Filter, NotAQuestion, Params, Question, Rank, columns, whole_days};
pub use scan::scan;
pub use view::{AtRest, RollupFollower, RollupView};

/// Length of a cell in time.
pub const QUARTER_NANOS: i64 = 900_000_000_000;
