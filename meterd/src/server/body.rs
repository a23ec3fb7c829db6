//! Request bodies within bounds: size before and after decompression, one encoding layer, a time limit.

use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, StatusCode, header};
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};

use super::problem::Problem;

/// Bounds of one body.
#[derive(Clone, Copy, Debug)]
pub struct BodyLimits {
    /// Bytes, as sent and after decompression.
    pub bytes_max: usize,
    /// The whole body must be there in this time.
    pub timeout: Duration,
}

/// Reads a whole body as sent, still compressed if it was.
pub async fn read(body: Body, limits: BodyLimits) -> Result<Bytes, Problem> {
    let whole = tokio::time::timeout(limits.timeout, Limited::new(body, limits.bytes_max).collect()).await;
    match whole {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large(limits.bytes_max)),
        Ok(Err(_)) => Err(Problem::bad_request("body_cut_off", "the body ended before its announced length")),
        Err(_) => Err(Problem::new(
            StatusCode::REQUEST_TIMEOUT,
            "body_timeout",
            format!("the body was not complete within {} s", limits.timeout.as_secs()),
        )
        .retry_after(1)),
    }
}

/// 413 with the bound and the way out.
#[must_use]
pub fn too_large(bytes_max: usize) -> Problem {
    Problem::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "body_too_large",
        format!("the body is larger than {bytes_max} bytes; send fewer events at once, or raise ingest.bodyBytesMax"),
    )
}

/// A header's text, if it is there and is text.
#[must_use]
pub fn header_text<'a>(headers: &'a HeaderMap, name: &header::HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}
