//! How answers are written: JSON, or YAML where the caller asks for it. Digits are kept exactly either way.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use serde::Serialize;

use crate::resource::print::Json;
use crate::server::body::header_text;

/// The form a caller asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Json,
    Yaml,
}

impl Form {
    /// From `?format=` and, without it, `Accept`.
    pub(super) fn of(format: Option<&str>, headers: &HeaderMap) -> Self {
        let yaml = match format {
            Some(format) => format.eq_ignore_ascii_case("yaml"),
            None => header_text(headers, &header::ACCEPT).is_some_and(|accept| accept.contains("yaml")),
        };
        if yaml { Self::Yaml } else { Self::Json }
    }

    pub(super) fn answer(self, document: &Json) -> Response {
        let (text, content_type) = match self {
            Self::Json => (document.to_json(), "application/json"),
            Self::Yaml => (document.to_yaml(), "application/yaml"),
        };
        typed(StatusCode::OK, content_type, text)
    }
}

/// An answer in JSON, written once: for those that are given very often.
pub(super) fn json(status: StatusCode, answer: &impl Serialize) -> Response {
    let mut text = Vec::with_capacity(1_024);
    // Texts and numbers alone, into memory: nothing of it can fail.
    let _ = serde_json::to_writer(&mut text, answer);
    typed(status, "application/json", text)
}

/// A text of a content type.
pub(super) fn typed(status: StatusCode, content_type: &'static str, text: impl Into<Body>) -> Response {
    let mut response = Response::new(text.into());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
