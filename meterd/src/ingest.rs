//! Wire formats in, validated usage events out. Wire types end here: nothing behind this room knows JSON or protobuf.
//!
//! Pure: bytes and values in, values out. No socket, file, clock or await ever comes in here.

pub mod amount;
pub mod body;
pub mod cloudevents;
pub mod json;
pub mod litellm;
pub mod otlp;
pub mod provider;

use std::sync::Arc;

use crate::event::{Rejection, UsageEvent};

pub use body::BodyError;

/// One event of a request: accepted by its decoder, or refused with the reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Its place in the request, from 0: the element, the line or the span.
    pub index: usize,
    /// Its id, as far as it could be read.
    pub id: Option<Arc<str>>,
    /// The event, or why it is refused.
    pub event: Result<UsageEvent, Rejection>,
    /// Fields that were kept out because nobody knows them; at most `IGNORED_FIELDS_MAX` names.
    pub ignored_fields: Vec<String>,
    /// What the decoder had to settle about the numbers, such as `inconsistent_usage`.
    pub notes: Vec<&'static str>,
}

/// Most names of ignored fields kept for one item.
pub const IGNORED_FIELDS_MAX: usize = 16;
/// The source's numbers contradicted the convention it follows; see `otlp`.
pub const NOTE_INCONSISTENT_USAGE: &str = "inconsistent_usage";
