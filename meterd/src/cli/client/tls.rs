//! TLS to a daemon: the system's roots, or those of one file.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use hyper_rustls::{ConfigBuilderExt as _, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

/// Connects to `http:` and `https:`. Without `secure` no certificate is ever looked at, and none is read.
pub(super) fn connector(
    tcp: HttpConnector,
    secure: bool,
    ca: Option<&Path>,
) -> anyhow::Result<HttpsConnector<HttpConnector>> {
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()?;
    let config = match ca {
        _ if !secure => config.with_root_certificates(RootCertStore::empty()),
        Some(file) => config.with_root_certificates(roots(file)?),
        None => config.with_native_roots().context("the system's certificates cannot be read; name one with --ca")?,
    };
    let builder = HttpsConnectorBuilder::new().with_tls_config(config.with_no_client_auth());
    Ok(builder.https_or_http().enable_http1().wrap_connector(tcp))
}

fn roots(file: &Path) -> anyhow::Result<RootCertStore> {
    let what = || format!("{}: expected certificates in PEM", file.display());
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(file).with_context(what)? {
        roots.add(certificate.with_context(what)?).with_context(what)?;
    }
    anyhow::ensure!(!roots.is_empty(), "{}: there is no certificate in it", file.display());
    Ok(roots)
}
