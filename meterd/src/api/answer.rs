//! How answers are written: JSON, or YAML where the caller asks for it. Digits are kept exactly either way.

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

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

/// A text of a content type.
pub(super) fn typed(status: StatusCode, content_type: &'static str, text: impl Into<axum::body::Body>) -> Response {
    let mut response = (status, text.into()).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
