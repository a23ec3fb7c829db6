//! Captured requests of real clients against what they truly contain; small made ones for every other dialect.

mod captures;
mod dialects;
mod limits;
mod relatives;
mod support;
