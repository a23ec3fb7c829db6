//! The console's files and the runbooks, embedded: what a browser loads from `/`. No template, no build step, nothing from
//! elsewhere. Knows no figure: the page asks the API as everybody else does.

pub mod runbook;
#[cfg(test)]
mod tests;

use std::io::Write;
use std::sync::LazyLock;

use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest, Sha256};

/// What the page may do: run its own scripts, use its own styles, ask its own server. Nothing inline, nothing from outside.
pub const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
                          base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// One file.
#[derive(Debug)]
pub struct Asset {
    /// Its name below `/console/`; empty for the page itself.
    pub name: &'static str,
    /// Its content type.
    pub content_type: &'static str,
    /// Its content.
    pub plain: &'static [u8],
    /// The same, compressed.
    pub gzip: Vec<u8>,
    /// A strong validator of its content.
    pub etag: String,
}

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

macro_rules! files {
    ($($name:literal $kind:ident $file:literal;)*) => {
        /// Name, content type, content.
        const FILES: &[(&str, &str, &[u8])] = &[$(($name, $kind, include_bytes!(concat!("console/", $file)))),*];
    };
}

files! {
    "" HTML "index.html";
    "app.css" CSS "app.css";
    "views.css" CSS "views.css";
    "app.js" SCRIPT "app.js";
    "api.js" SCRIPT "api.js";
    "store.js" SCRIPT "store.js";
    "dom.js" SCRIPT "dom.js";
    "fleet.js" SCRIPT "fleet.js";
    "runs.js" SCRIPT "runs.js";
    "run.js" SCRIPT "run.js";
    "kill.js" SCRIPT "kill.js";
    "prices.js" SCRIPT "prices.js";
    "health.js" SCRIPT "health.js";
}

static ASSETS: LazyLock<Vec<Asset>> = LazyLock::new(|| {
    let made = FILES.iter().map(|&(name, content_type, plain)| {
        let digest = Sha256::digest(plain);
        let etag = format!("\"{}\"", digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect::<String>());
        Asset { name, content_type, plain, gzip: gzipped(plain), etag }
    });
    made.collect()
});

/// The file of this name.
#[must_use]
pub fn asset(name: &str) -> Option<&'static Asset> {
    ASSETS.iter().find(|asset| asset.name == name)
}

/// Every file.
#[must_use]
pub fn assets() -> &'static [Asset] {
    &ASSETS
}

/// Empty when it cannot be compressed, which memory never refuses.
fn gzipped(plain: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    if encoder.write_all(plain).is_err() {
        return Vec::new();
    }
    encoder.finish().unwrap_or_default()
}
