//! Other people's price files → PriceTable documents. Text in, text out: reading and writing files is the caller's.
//!
//! Nothing is guessed: what a table cannot say is left out and named, with the reason.

mod draft;
pub mod genai_prices;
pub mod litellm;
mod overlap;
mod rate;
mod yaml;

/// What the file itself does not say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Version of the source that the file belongs to, such as `0.2.3`.
    pub source_version: String,
    /// `spec.version` of the tables. Another content needs another version.
    pub table_version: String,
}

/// What an importer made of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Import {
    /// Provider id and its table as YAML text, sorted by id. The same input gives the same bytes.
    pub tables: Vec<(String, String)>,
    /// What no table says, in the order of the file.
    pub left_out: Vec<LeftOut>,
}

/// Something in the file that has no counterpart in the tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// Provider id.
    pub provider: String,
    /// Model id; `None` where it concerns the provider as a whole.
    pub model: Option<String>,
    /// What is missing: a key, a pattern, or `model` for the whole entry.
    pub what: String,
    /// Why.
    pub why: String,
}

/// Why a file gave no tables at all.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// Not JSON, or not of the expected shape; says where.
    #[error("not a price file of this kind: {0}")]
    Shape(#[from] serde_json::Error),
    /// The same provider twice.
    #[error("provider {0:?} occurs twice")]
    DuplicateProvider(String),
    /// Not readable as YAML; says where.
    #[error("not a document of this kind: {0}")]
    Document(String),
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
