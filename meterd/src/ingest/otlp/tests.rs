//! Captured requests of real clients against what they truly contain; small made ones for every other dialect.

mod agents;
mod captures;
mod dialects;
mod kept;
mod limits;
mod points;
mod relatives;
mod support;
mod variants;

/// The folder of captures, for the tests of other formats too.
pub(crate) fn captures_folder() -> Option<std::path::PathBuf> {
    captures::folder()
}
