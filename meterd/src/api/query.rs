//! Query parameters: as axum reads them, refused as a problem that names the parameter.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use crate::server::problem::Problem;

/// The parameters of a request.
pub(super) struct Query<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let read = axum::extract::Query::try_from_uri(&parts.uri).map_err(|error| {
            // The source says which parameter and why; the rejection's own text says nothing more.
            let why = std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
            Problem::bad_request("invalid_parameter", why)
        })?;
        Ok(Self(read.0))
    }
}
