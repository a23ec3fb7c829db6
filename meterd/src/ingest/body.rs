//! Request bodies before they mean anything: content encoding, size and ratio caps, and the error of a whole body.
//!
//! Memory is bounded while decompressing: what comes out is counted as it comes, never trusted from a header.

use std::borrow::Cow;
use std::io::Read;

use flate2::read::MultiGzDecoder;

/// Compressed and decompressed size a caller allows.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Most bytes after decompression (and before: a body that is larger as sent is refused too).
    pub body_bytes_max: usize,
    /// Most bytes that one compressed byte may become.
    pub ratio_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { body_bytes_max: BODY_BYTES_MAX, ratio_max: RATIO_MAX }
    }
}

/// The default for `Limits::body_bytes_max`: 4 MiB.
pub const BODY_BYTES_MAX: usize = 4 << 20;
/// The default for `Limits::ratio_max`. Telemetry compresses 5 to 30 times; a bomb 1,000 times.
pub const RATIO_MAX: usize = 100;
/// A body this small may have any ratio: a few repeated bytes harm nobody.
const RATIO_FREE_BYTES: usize = 64 << 10;
/// A zstd frame may look back 8 MiB, as all its levels but the highest do.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;
const CHUNK_BYTES: usize = 16 << 10;

/// Why nothing of a body could be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct BodyError {
    /// Stable code, such as `malformed_json`.
    pub code: &'static str,
    /// What is wrong, where, and what would be right.
    pub message: String,
    /// The HTTP status that says so: 400, 413 or 415.
    pub status: u16,
}

impl BodyError {
    /// The body is not what it claims to be: 400.
    #[must_use]
    pub fn bad_request(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), status: 400 }
    }

    /// The body is over a bound: 413.
    #[must_use]
    pub fn too_large(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), status: 413 }
    }

    /// The body is in a form that is not spoken here: 415.
    #[must_use]
    pub fn unsupported(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), status: 415 }
    }
}

/// The body without its content encoding. One layer of gzip or zstd at most; `identity` and nothing at all are the body itself.
pub fn decompress<'a>(
    body: &'a [u8],
    content_encoding: Option<&str>,
    limits: &Limits,
) -> Result<Cow<'a, [u8]>, BodyError> {
    if body.len() > limits.body_bytes_max {
        return Err(over_size(limits));
    }
    let encoding = content_encoding.unwrap_or("").trim().to_ascii_lowercase();
    match encoding.as_str() {
        "" | "identity" => Ok(Cow::Borrowed(body)),
        "gzip" | "x-gzip" => gunzip(body, limits).map(Cow::Owned),
        "zstd" => unzstd(body, limits).map(Cow::Owned),
        several if several.contains(',') => Err(BodyError::unsupported(
            "unsupported_encoding",
            "more than one content encoding; send one layer of gzip or zstd, or the body as it is",
        )),
        _ => Err(BodyError::unsupported(
            "unsupported_encoding",
            "this content encoding is not supported; send `gzip`, `zstd`, `identity` or no content-encoding at all",
        )),
    }
}

fn gunzip(body: &[u8], limits: &Limits) -> Result<Vec<u8>, BodyError> {
    inflate(MultiGzDecoder::new(body), ("malformed_gzip", "gzip"), body, limits)
}

/// A frame says how far back it looks, and a decoder sets so much aside: bounded like the body itself.
fn unzstd(body: &[u8], limits: &Limits) -> Result<Vec<u8>, BodyError> {
    const WHAT: (&str, &str) = ("malformed_zstd", "zstd");
    let refuse = |error: std::io::Error| malformed(WHAT, &error);
    let mut decoder = zstd::stream::read::Decoder::new(body).map_err(refuse)?;
    decoder.window_log_max(ZSTD_WINDOW_LOG_MAX).map_err(refuse)?;
    inflate(decoder, WHAT, body, limits)
}

fn malformed((code, name): (&'static str, &str), error: &std::io::Error) -> BodyError {
    BodyError::bad_request(code, format!("the body is not valid {name} ({error}); was it compressed, and only once?"))
}

fn inflate(
    mut decoder: impl Read,
    what: (&'static str, &str),
    body: &[u8],
    limits: &Limits,
) -> Result<Vec<u8>, BodyError> {
    let ratio_bytes_max = body.len().saturating_mul(limits.ratio_max).max(RATIO_FREE_BYTES);
    let mut plain = Vec::with_capacity(body.len().saturating_mul(4).min(limits.body_bytes_max));
    let mut chunk = [0u8; CHUNK_BYTES];
    loop {
        let read = match decoder.read(&mut chunk) {
            Ok(0) => return Ok(plain),
            Ok(read) => read,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(malformed(what, &error)),
        };
        plain.extend_from_slice(chunk.get(..read).unwrap_or_default());
        if plain.len() > limits.body_bytes_max {
            return Err(over_size(limits));
        }
        if plain.len() > ratio_bytes_max {
            let message = format!(
                "the body grows more than {} times when decompressed; send less compressible or smaller batches",
                limits.ratio_max
            );
            return Err(BodyError::too_large("compression_ratio", message));
        }
    }
}

fn over_size(limits: &Limits) -> BodyError {
    let message = format!("the body has more than {} bytes; send smaller batches", limits.body_bytes_max);
    BodyError::too_large("body_too_large", message)
}

#[cfg(test)]
mod tests;
